//! A model of the switch, checked exhaustively: each state that the settings allow is reached, and each invariant is
//! tested in it.
//!
//! The steps call the functions of the switch, so the model checks them and not a copy. A process that freezes, dies or
//! misses a notification is one whose next step is not taken; so every interleaving of these is covered. Time stands
//! still, and leases and deadlines end by steps of their own.

mod bounded;
mod canonical;
mod instances;
mod requests;
mod rules;
mod state;
mod step;
mod stores;
mod tests;

use stateright::{Model, Property};

use self::{
    rules::Rule,
    state::{GENERATIONS_MAX, Invariant, State, id_of},
    step::Step,
};
use crate::switch::control::Phase;

/// What a run of the model covers.
#[derive(Debug, Clone, Copy)]
struct Settings {
    instances: usize,
    partitions: usize,
    generations: usize,
    /// Records that are written.
    writes: u8,
    /// Reads under way at the same time.
    reads: usize,
    /// The last epoch from which a promotion is announced.
    announced_until: i64,
    /// Reads are searches, and a flip needs the index.
    index: bool,
    /// The previous generation is retired.
    retires: bool,
    /// The previous generation is read by name.
    previews: bool,
    /// Notifications are delivered late, also after later ones.
    late_news: bool,
    /// Another step can come between the check and the commit of a renewal.
    slow_renewals: bool,
    /// A second projector applies batches.
    batches: bool,
    /// Two coordinators that may have read an older control row.
    coordinators: bool,
    /// Promotions are withdrawn.
    withdraws: bool,
    /// Deadlines pass.
    deadlines: bool,
    /// Another step can come between the check of an answer and its sending.
    slow_answers: bool,
    /// Processes end, and others join under their names.
    crashes: bool,
    /// Writers are held up for a bounded time only.
    bounded: bool,
    /// What must be reached, so that the run is not empty.
    goal: Goal,
    /// The rule that is left out.
    without: Option<Rule>,
}

/// What a run must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// A promotion is complete.
    Promoted,
    /// A roll back is complete, and what was written in between is live.
    RolledBack,
    /// The third generation is live.
    Third,
}

/// The model with its steps.
struct Switch {
    settings: Settings,
    steps: Vec<Step>,
}

impl Switch {
    fn new(settings: Settings) -> Self {
        Self { settings, steps: settings.steps() }
    }

    /// I2: what clients know to be written is in the live tables.
    fn live_has_what_is_known(&self, s: &State) -> bool {
        let live = s.stored(s.row.live).tables;
        s.known.iter().zip(live).all(|(known, live)| *known <= live)
    }

    /// I3: rows and checkpoints agree.
    fn rows_agree(&self, s: &State) -> bool {
        s.generations.iter().all(|it| it.rows == it.tables)
    }

    /// The order of tables on which the other rules rest.
    fn live_is_ahead(&self, s: &State) -> bool {
        let live = s.stored(s.row.live).tables;
        s.generations.iter().all(|it| it.dropped || it.tables.iter().zip(live).all(|(tables, live)| *tables <= live))
    }

    /// I7: until it is retired, the generation that was live before is there to go back to; and there is only one.
    fn previous_is_kept(&self, s: &State) -> bool {
        let is_kept = |index: usize| {
            let (stored, id) = (s.generations[index], id_of(index));
            let is_named = id == s.row.live || Some(id) == s.row.previous;
            !(is_named && stored.dropped) && (is_named || !stored.was_live)
        };
        (0..GENERATIONS_MAX).all(is_kept)
    }

    fn goal(&self, s: &State) -> bool {
        let is_idle = s.row.phase == Phase::Idle;
        is_idle
            && match self.settings.goal {
                Goal::Promoted => s.row.live == id_of(1),
                Goal::RolledBack => s.row.live == id_of(0) && s.row.epoch.0 >= 6 && s.known[0] > 0,
                Goal::Third => s.row.live == id_of(2),
            }
    }
}

const FRESHNESS: &str = "I2: a read sees what was acknowledged or shown before it began";
const SEARCH_FRESHNESS: &str = "I2: a search finds what an earlier one found";
const KNOWN: &str = "I2: what was acknowledged or shown is in the live tables";
const ROWS: &str = "I3: rows and checkpoint agree";
const ORDER: &str = "a generation that is not live is never ahead";
const ONE_GENERATION: &str = "I4: a request reads one generation, which exists";
const NOTHING_LOST: &str = "I7: a flip loses nothing";
const PREVIOUS: &str = "I7: the previous generation is kept";
const ONE_COORDINATOR: &str = "no coordinator undoes the step of another";
const BOUNDED: &str = "no instance holds up the writers of others";
const GOAL: &str = "the goal is reached";

impl Model for Switch {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.settings.instances)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.violated.is_none() {
            steps.extend_from_slice(&self.steps);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.settings.step(state, step).map(|next| self.settings.canonical(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FRESHNESS, |_, s: &State| s.violated != Some(Invariant::Freshness)),
            Property::always(SEARCH_FRESHNESS, |_, s: &State| s.violated != Some(Invariant::SearchFreshness)),
            Property::always(KNOWN, Self::live_has_what_is_known),
            Property::always(ROWS, Self::rows_agree),
            Property::always(ORDER, Self::live_is_ahead),
            Property::always(ONE_GENERATION, |_, s: &State| s.violated != Some(Invariant::OneGeneration)),
            Property::always(NOTHING_LOST, |_, s: &State| s.violated != Some(Invariant::NothingLost)),
            Property::always(PREVIOUS, Self::previous_is_kept),
            Property::always(ONE_COORDINATOR, |_, s: &State| s.violated != Some(Invariant::OneCoordinator)),
            Property::always(BOUNDED, |it: &Self, s| !it.settings.bounded || it.settings.is_bounded(s)),
            Property::sometimes(GOAL, Self::goal),
        ]
    }
}
