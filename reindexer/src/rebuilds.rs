//! What people ask of a domain's generations: to rebuild, to promote, to go back, to cancel, to retire.
//!
//! A request is noted in control storage; the process that coordinates the domain carries it out. So any process takes it,
//! and a crash loses none.

mod known;
mod resume;

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::LogError;
use daybook_projector::{search::SearchError, tables::TablesError};
use tokio::{sync::watch, time::Instant};

pub use self::known::{Known, Pace, PartitionProgress};
use crate::{
    control::{ChangeError, Entry, NewState, State},
    coordinator::{self, VERIFIED_TOO_LONG_AGO},
    running::Platform,
    switch::{
        Epoch, GenerationId,
        control::{ControlRow, Phase, SwitchError},
    },
    switching::Switching,
    until::Until,
    watcher::Serving,
    work::WorkerProgress,
};

/// How long a request waits for a switch to be carried out.
const SWITCH_MAX: Duration = Duration::from_secs(30);
/// Between two looks at it, in case a notification was lost.
const LOOK: Duration = Duration::from_millis(100);

/// Requests about the generations of one domain. Clones share what they need.
#[derive(Clone)]
pub struct Rebuilds {
    pub(crate) platform: Platform,
    pub(crate) serving: watch::Receiver<Serving>,
    switching: Switching,
}

/// What a rebuild shall be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What it is called; may be empty.
    pub label: String,
    /// Whether it is promoted as soon as it is ready.
    pub promotes: bool,
    /// Whether it may quarantine records that the live generation has applied.
    pub accepts_quarantine: bool,
    /// The moment at which it ends, if it shall show the past.
    pub until: Option<Until>,
    /// Whether only its index is built: it has the tables of the live generation.
    pub only_search: bool,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    /// That the generation, which was announced at an epoch, is live or was withdrawn.
    Promotion(Epoch),
    /// That the generation, which is verified again before, is live or was given up.
    Verification,
    /// That it is retired.
    Retirement,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no such generation.
    #[error("there is no generation {generation} of {domain}")]
    Unknown {
        /// The domain.
        domain: &'static str,
        /// The generation.
        generation: i64,
    },
    /// What is asked for cannot be built.
    #[error("{reason}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// Why not.
        reason: String,
    },
    /// Something else is under way, or has to be done first.
    #[error("{0}")]
    Conflict(String),
    /// It was noted, but not carried out in time. It may be later.
    #[error("{0}")]
    Late(String),
    /// The search store failed, or cannot make the index.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Control storage, or tables, failed.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Rebuilds {
    /// Requests about the generations that a watcher runs.
    pub fn new(platform: Platform, serving: watch::Receiver<Serving>) -> Self {
        let switching = Switching::new(&platform);
        Self { platform, serving, switching }
    }

    /// Whether its generations have an index.
    pub fn has_documents(&self) -> bool {
        self.platform.version.documents.is_some()
    }

    /// The domain.
    pub fn domain(&self) -> &'static str {
        self.platform.domain()
    }

    /// All generations, oldest first.
    pub async fn list(&self) -> Result<Vec<Known>, RequestError> {
        let entries = self.platform.control.generations(self.domain()).await?;
        let notes = self.platform.control.notes(self.domain()).await?;
        let workers = |entry: &Entry| notes.get(&entry.generation).map(WorkerProgress::of_notes).unwrap_or_default();
        let known = |entry: &Entry| Known { workers: workers(entry), ..self.known(entry.clone(), &entries) };
        Ok(entries.iter().map(known).collect())
    }

    /// One generation.
    pub async fn show(&self, generation: i64) -> Result<Known, RequestError> {
        let found = self.list().await?.into_iter().find(|known| known.entry.generation == generation);
        found.ok_or_else(|| self.unknown(generation))
    }

    /// The report of a generation's verification; `None` if it was not verified.
    pub async fn report(&self, generation: i64) -> Result<Option<String>, RequestError> {
        self.show(generation).await?;
        let report = self.platform.control.report(self.domain(), generation).await?;
        Ok(Some(report).filter(|report| !report.is_empty()))
    }

    /// Changes whenever control storage has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.platform.control.changes()
    }

    /// Begins a rebuild. A domain has one at a time.
    pub async fn rebuild(&self, wanted: Wanted) -> Result<Known, RequestError> {
        if let Some(until) = &wanted.until {
            self.check(until, wanted.promotes).await?;
        }
        let (domain, log_id) = (self.domain(), self.platform.log.id().to_owned());
        let mut version = self.platform.newest().version;
        let mut of_live = None;
        if wanted.only_search {
            self.check_only_search(wanted.until.is_some())?;
            let (live, _) = self.live_and_all().await?;
            version = self.version_on(&live).await?;
            of_live = Some(live.schema);
        }
        self.check_shape(&version).await?;
        let fingerprint = version.fingerprint;
        let store = Arc::clone(self.platform.control.store());
        let decide = move |row: &ControlRow, entries: Vec<Entry>| {
            if let Some(other) = entries.iter().find(|entry| entry.is_under_way()) {
                return Err(RequestError::Conflict(is_held_by(domain, other)));
            }
            let last = entries.iter().map(|entry| entry.generation).fold(row.live.0, i64::max);
            let Wanted { label, promotes, accepts_quarantine, until, only_search } = wanted;
            let until = until.map(|until| until.to_string()).unwrap_or_default();
            let own = store.schema(domain, last + 1);
            let is_live = |it: &Entry| it.state == State::Live && Some(&it.schema) == of_live.as_ref();
            if only_search && !entries.iter().any(is_live) {
                return Err(RequestError::Conflict(format!("another generation of {domain} is live now; try again")));
            }
            let schema = of_live.unwrap_or_else(|| own.clone());
            let entry = Entry::new(last + 1, schema, State::Planned, fingerprint, log_id);
            Ok(Entry { index: own, label, promotes, accepts_quarantine, until, ..entry })
        };
        let entry = self.platform.control.add_new(domain, decide).await?;
        let (generation, label) = (entry.generation, entry.label.as_str());
        tracing::info!(domain, generation, label, "a rebuild of {domain} begins: generation {generation}");
        self.show(generation).await
    }

    /// Checks a moment at which a generation shall end.
    async fn check(&self, until: &Until, promotes: bool) -> Result<(), RequestError> {
        let refuse = |reason: String| Err(RequestError::Invalid { field: "until", reason });
        if promotes {
            return refuse("a generation that shows the past cannot be promoted".to_owned());
        }
        let Until::Vector(vector) = until else { return Ok(()) };
        let topics = self.platform.version.projection.topics();
        if let Some(other) = vector.0.keys().find(|partition| !topics.contains(&partition.topic)) {
            return refuse(format!("{other} is not a partition of {}", self.domain()));
        }
        let log = Arc::clone(&self.platform.log);
        let end = tokio::task::spawn_blocking(move || log.end(&topics)).await;
        let end = end.map_err(|error| LogError::Unavailable(format!("reading the log ended: {error}")))??;
        match vector.0.iter().find(|(partition, next)| end.next(**partition) < **next) {
            Some((partition, next)) => {
                refuse(format!("{partition}@{next} is after the end of the log, {}", end.next(*partition)))
            }
            None => Ok(()),
        }
    }

    /// Checks that an index can be built alone.
    pub(crate) fn check_only_search(&self, is_past: bool) -> Result<(), RequestError> {
        let reason = match self.platform.stores().search {
            None => format!("{} has no search, or search is switched off", self.domain()),
            Some(_) if is_past => "the tables of the live generation do not show the past".to_owned(),
            Some(_) => return Ok(()),
        };
        Err(RequestError::Invalid { field: "only", reason })
    }

    /// Gives up a rebuild, also one that a deadline stopped: what was made for it is removed.
    pub async fn cancel(&self, generation: i64, reason: String) -> Result<Known, RequestError> {
        let cancelled = NewState { generation, state: State::Cancelled, reason };
        let decide = move |seen: &crate::control::Seen| {
            let is_kept = |entry: &Entry| entry.generation == generation && entry.stopped.is_some();
            if !seen.entries.iter().any(is_kept) {
                seen.expect_state(generation, State::is_unpromoted)?;
            }
            match seen.row.phase {
                Phase::Announced { candidate, .. } if candidate.0 == generation => {
                    Err(SwitchError::WrongPhase { phase: seen.row.phase }.into())
                }
                _ => Ok(seen.row),
            }
        };
        let changed = self.platform.control.change(self.domain(), vec![cancelled], decide).await;
        changed.map_err(|error| self.refused(error))?;
        self.show(generation).await
    }

    /// Makes a generation live that is ready, or that was live before; and keeps the reason, if one is given.
    pub async fn promote(&self, generation: i64, reason: &str) -> Result<Known, RequestError> {
        // A switch that is under way decides what it is. So a promotion that is asked for twice is one.
        self.idle().await?;
        let known = self.show(generation).await?;
        let entries = self.platform.control.generations(self.domain()).await?;
        let is_stale =
            known.entry.age() > self.platform.settings.verified_max || known.entry.is_of_former_live(&entries);
        match known.entry.state {
            state if known.entry.is_past() => {
                let (domain, until, state) = (self.domain(), &known.entry.until, state.as_str());
                let text = format!(
                    "generation {generation} of {domain} ({state}) shows the past, until {until}: it can be previewed, not \
                     promoted"
                );
                Err(RequestError::Conflict(text))
            }
            State::Previous => self.roll_back(Some(generation), reason).await,
            State::Ready if is_stale => {
                let known = self.verify_and_promote(generation).await?;
                self.keep_reason(known, reason).await
            }
            State::Ready => {
                let row = self.idle().await?;
                if row.live == GenerationId(generation) {
                    return self.show(generation).await;
                }
                if let Some(previous) = row.previous {
                    self.retire(previous.0, "").await?;
                }
                let epoch = self.idle().await?.epoch;
                let known = self.announce(epoch, GenerationId(generation)).await?;
                self.keep_reason(known, reason).await
            }
            State::Live => Ok(known),
            state => {
                let text = format!("generation {generation} of {} is {}, not ready", self.domain(), state.as_str());
                Err(RequestError::Conflict(text))
            }
        }
    }

    /// Makes a generation live that has to be verified again before.
    async fn verify_and_promote(&self, generation: i64) -> Result<Known, RequestError> {
        let (domain, control) = (self.domain(), &self.platform.control);
        control.set_promotes(domain, generation).await?;
        let (state, reason) = (State::Tailing, VERIFIED_TOO_LONG_AGO.to_owned());
        // If it is not ready any longer, another process was faster.
        control.move_state(domain, State::Ready, NewState { generation, state, reason }).await?;
        self.wait_for(generation, Awaited::Verification).await
    }

    /// Makes the previous generation live again, which has to be this one if one is named; and keeps the reason, if one is
    /// given, also for the one that it replaces. Without a name, it is refused while another switch is under way: asked for
    /// twice, it would go back and forth.
    pub async fn roll_back(&self, to: Option<i64>, reason: &str) -> Result<Known, RequestError> {
        let row = if to.is_some() { self.idle().await? } else { self.row().await? };
        if row.phase != Phase::Idle {
            return Err(RequestError::Conflict(format!("{}: {}", self.domain(), row.phase)));
        }
        if let Some(number) = to.filter(|number| row.previous != Some(GenerationId(*number))) {
            let state = self.show(number).await?.entry.state.as_str();
            let text = format!("generation {number} of {} is {state}, not previous", self.domain());
            return Err(RequestError::Conflict(text));
        }
        let nothing = || RequestError::Conflict(format!("{} has no previous generation", self.domain()));
        let previous = row.previous.ok_or_else(nothing)?;
        let known = self.announce(row.epoch, previous).await?;
        if !reason.is_empty() {
            let (domain, control) = (self.domain(), &self.platform.control);
            control.keep_reason(domain, row.live.0, State::Previous, &format!("rolled back: {reason}")).await?;
        }
        self.keep_reason(known, reason).await
    }

    /// Announces a generation, and waits until it is live or was withdrawn.
    async fn announce(&self, epoch: Epoch, to: GenerationId) -> Result<Known, RequestError> {
        let announced = self.switching.announce(epoch, to).await.map_err(|error| self.refused(error))?;
        self.wait_for(to.0, Awaited::Promotion(announced.epoch)).await
    }

    /// Removes the previous generation; and keeps the reason, if one is given.
    pub async fn retire(&self, generation: i64, reason: &str) -> Result<Known, RequestError> {
        let known = self.show(generation).await?;
        let row = self.idle().await?;
        if row.previous != Some(GenerationId(generation)) {
            let (domain, state) = (self.domain(), known.entry.state.as_str());
            let text = format!("generation {generation} of {domain} is {state}: only a previous one is retired");
            return Err(RequestError::Conflict(text));
        }
        self.switching.retire(row.epoch).await.map_err(|error| self.refused(error))?;
        let known = self.wait_for(generation, Awaited::Retirement).await?;
        self.keep_reason(known, reason).await
    }

    /// The control row once no switch is under way: one that has just been made may not be followed by all yet.
    async fn idle(&self) -> Result<ControlRow, RequestError> {
        let (mut changes, deadline) = (self.changes(), Instant::now() + SWITCH_MAX);
        loop {
            changes.mark_unchanged();
            let row = self.row().await?;
            if row.phase == Phase::Idle {
                return Ok(row);
            }
            if Instant::now() >= deadline {
                return Err(RequestError::Conflict(format!("{}: {}", self.domain(), row.phase)));
            }
            // Either is a reason to look.
            let _due = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// Keeps why a generation has the state that was waited for.
    async fn keep_reason(&self, mut known: Known, reason: &str) -> Result<Known, RequestError> {
        if !reason.is_empty() {
            let Entry { generation, state, .. } = known.entry;
            self.platform.control.keep_reason(self.domain(), generation, state, reason).await?;
            reason.clone_into(&mut known.entry.reason);
        }
        Ok(known)
    }

    pub(crate) async fn row(&self) -> Result<ControlRow, RequestError> {
        let unknown = || RequestError::Conflict(format!("{} has no generations yet", self.domain()));
        self.platform.control.domain(self.domain()).await?.ok_or_else(unknown)
    }

    /// Waits until a request was carried out, for a bounded time.
    async fn wait_for(&self, generation: i64, awaited: Awaited) -> Result<Known, RequestError> {
        let (mut changes, deadline) = (self.changes(), Instant::now() + SWITCH_MAX);
        loop {
            changes.mark_unchanged();
            let known = self.show(generation).await?;
            let (domain, state) = (self.domain(), known.entry.state);
            let is_done = match awaited {
                Awaited::Promotion(_) | Awaited::Verification => state == State::Live && self.answers_from(&known)?,
                Awaited::Retirement => state == State::Retired,
            };
            if is_done {
                return Ok(known);
            }
            let is_withdrawn = match awaited {
                Awaited::Promotion(announced) => {
                    let row = self.row().await?;
                    row.epoch > announced && row.phase == Phase::Idle && row.live.0 != generation
                }
                Awaited::Verification => state.has_ended(),
                Awaited::Retirement => false,
            };
            if is_withdrawn {
                let why = match known.lag {
                    _ if state.has_ended() => format!(": it is {}: {}", state.as_str(), known.entry.reason),
                    Some(lag) => format!(": it is {lag} records behind"),
                    None => String::new(),
                };
                let text = format!("generation {generation} of {domain} was not promoted{why}");
                return Err(RequestError::Conflict(text));
            }
            if Instant::now() >= deadline {
                let state = state.as_str();
                let text = match awaited {
                    Awaited::Verification => format!(
                        "generation {generation} of {domain} was verified too long ago: it is {state}, and is promoted \
                         once it is verified again"
                    ),
                    _ => format!("generation {generation} of {domain} is still {state}; try later"),
                };
                return Err(RequestError::Late(text));
            }
            // Either is a reason to look.
            let _due = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// Whether this process answers from a live generation, if it can.
    pub fn answers_from(&self, known: &Known) -> Result<bool, TablesError> {
        let is_foreign = self.platform.of(&known.entry.fingerprint).is_none();
        let live = self.serving.borrow().local.waits.live;
        let is_here = live.0 == known.entry.generation && self.platform.lease.is_held();
        Ok(is_here || is_foreign)
    }

    /// Why no rebuild can begin while there is this candidate.
    pub(crate) fn is_held_by(&self, candidate: &Entry) -> String {
        is_held_by(self.domain(), candidate)
    }

    fn unknown(&self, generation: i64) -> RequestError {
        RequestError::Unknown { domain: self.domain(), generation }
    }

    fn refused(&self, error: ChangeError) -> RequestError {
        match error {
            ChangeError::Unknown { generation } => self.unknown(generation),
            ChangeError::Tables(error) => error.into(),
            ChangeError::Switch(SwitchError::Conflict { .. } | SwitchError::WrongPhase { .. }) => {
                RequestError::Conflict(format!("another switch of {} is under way; try again", self.domain()))
            }
            ChangeError::Switch(_) | ChangeError::State { .. } | ChangeError::Stale { .. } => {
                RequestError::Conflict(error.to_string())
            }
        }
    }

    fn known(&self, entry: Entry, entries: &[Entry]) -> Known {
        let serving = self.serving.borrow();
        let open = serving.open.get(&entry.generation);
        let search = open.and_then(|open| open.search.as_ref());
        let health = search.map(|search| search.health()).unwrap_or_default();
        let pauses = matches!(entry.state, State::Loading | State::Indexing | State::Verifying);
        let pause_percent = if pauses { self.platform.lease.throttle().pauses().percent() } else { 0 };
        Known {
            domain: self.domain(),
            workers: Vec::new(),
            applied: open.map(|open| open.generation.progress.applied()),
            lag: open.map(|open| coordinator::lag(&serving.current, open)),
            index: search.and_then(|search| search.index()).map(|index| index.describe()),
            is_indexed: health.is_built,
            building: health.building,
            shared_parts: if !entry.is_gone() && entry.shares_tables(entries) { vec!["tables"] } else { vec![] },
            pause_percent,
            entry,
        }
    }
}

/// Why no rebuild can begin.
fn is_held_by(domain: &str, other: &Entry) -> String {
    let (number, state) = (other.generation, other.state.as_str());
    let what = if other.is_past() { "wait for it, or cancel it" } else { "promote or cancel it" };
    format!("generation {number} of {domain} is {state}: {what} first")
}
