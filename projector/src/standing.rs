//! What a process may conclude from its lease about the others on one store.
//!
//! Two conclusions, each from clocks alone, so that they hold for a process that was frozen or cut off as well:
//!
//! - *alone*: no other process can be serving. Seen at the last renewal, at which no lease but its own had time left, and it
//!   ends a little sooner than its own lease. A process that is alone may acknowledge a write that its own tables do not have yet.
//! - *known*: no other process can still take itself for alone. So it is one lease after joining: by then the others have renewed
//!   theirs and seen it, or theirs have run out. Until then a process cannot know from its tables what others have acknowledged.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_ingest::sequence::Spell;
use tokio::time::Instant;

/// How much sooner than its lease a process' conclusions end: clocks do not run alike.
const MARGIN: Duration = Duration::from_millis(500);

/// Between two looks whether the process is known by now.
const LOOK: Duration = Duration::from_millis(50);

/// What a process saw of others when it renewed its lease.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Whether any of their leases has time left.
    pub leased: bool,
    /// Whether one was not there at the renewal before. It may have left since it came.
    pub new: bool,
}

/// The standing of one process.
pub struct Standing {
    applies: bool,
    state: Mutex<State>,
}

struct State {
    lease: Lease,
    spell: Spell,
}

enum Lease {
    /// The store is not shared.
    Unneeded,
    /// Not taken yet.
    Lacking,
    Held {
        /// When conclusions end, unless the lease is renewed.
        until: Instant,
        /// When the process is known.
        known_from: Instant,
        alone: bool,
    },
}

impl Standing {
    /// That of the only process on a store that is not shared.
    pub fn only() -> Self {
        Self { applies: true, state: Mutex::new(State { lease: Lease::Unneeded, spell: 1 }) }
    }

    /// That of a process that holds no lease yet. One that does not apply events itself is never alone.
    pub fn joining(applies: bool) -> Self {
        Self { applies, state: Mutex::new(State { lease: Lease::Lacking, spell: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the lease was renewed for `lease` at some time between `began` and `ended`, and what was seen of others after that.
    pub fn renewed(&self, (began, ended): (Instant, Instant), lease: Duration, seen: Seen) {
        let mut state = self.lock();
        let held = match state.lease {
            Lease::Unneeded => return,
            Lease::Held { until, known_from, alone } if began < until => Some((known_from, alone)),
            Lease::Lacking | Lease::Held { .. } => None,
        };
        let joined = if seen.leased { ended + lease } else { began };
        let (known_from, was_alone) = held.unwrap_or((joined, false));
        if !was_alone || seen.new {
            state.spell += 1;
        }
        state.lease = Lease::Held { until: began + lease - MARGIN, known_from, alone: !seen.leased };
    }

    /// The spell, while the process is alone.
    pub fn spell(&self) -> Option<Spell> {
        self.spell_at(Instant::now())
    }

    fn spell_at(&self, now: Instant) -> Option<Spell> {
        let state = self.lock();
        let alone = match state.lease {
            Lease::Unneeded => true,
            Lease::Lacking => false,
            Lease::Held { until, alone, .. } => alone && now < until,
        };
        (alone && self.applies).then_some(state.spell)
    }

    /// Begins another spell: what was concluded in the one before holds no longer.
    pub fn end_spell(&self) {
        self.lock().spell += 1;
    }

    /// Whether the process is known.
    pub fn is_known(&self) -> bool {
        self.is_known_at(Instant::now())
    }

    /// Waits until the process is known.
    pub async fn known(&self) {
        while !self.is_known() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_known_at(&self, now: Instant) -> bool {
        match self.lock().lease {
            Lease::Unneeded => true,
            Lease::Lacking => false,
            Lease::Held { until, known_from, .. } => (known_from..until).contains(&now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    const NOBODY: Seen = Seen { leased: false, new: false };
    const SOMEBODY: Seen = Seen { leased: true, new: false };

    /// A standing, and the time of its first renewal.
    fn joining() -> (Standing, impl Fn(f64) -> Instant) {
        let start = Instant::now();
        (Standing::joining(true), move |seconds| start + Duration::from_secs_f64(seconds))
    }

    fn concluded(standing: &Standing, now: Instant) -> (Option<Spell>, bool) {
        (standing.spell_at(now), standing.is_known_at(now))
    }

    #[test]
    fn one_that_finds_no_lease_is_alone_and_known_until_a_little_before_its_own_ends() {
        let (standing, at) = joining();
        assert_eq!(concluded(&standing, at(0.0)), (None, false));
        standing.renewed((at(0.0), at(0.1)), LEASE, NOBODY);
        assert_eq!(concluded(&standing, at(0.1)), (Some(1), true));
        assert_eq!(concluded(&standing, at(4.4)), (Some(1), true));
        standing.renewed((at(4.4), at(4.6)), LEASE, NOBODY);
        assert_eq!(concluded(&standing, at(8.8)), (Some(1), true), "renewed in time");
        assert_eq!(concluded(&standing, at(9.0)), (None, false));
        standing.renewed((at(9.0), at(9.1)), LEASE, NOBODY);
        assert_eq!(concluded(&standing, at(9.1)), (Some(2), true), "others may have come and gone");
    }

    #[test]
    fn one_that_joins_others_is_known_after_a_lease_and_alone_once_they_are_gone() {
        let (standing, at) = joining();
        for second in [0.0, 1.5, 3.0, 4.5] {
            standing.renewed((at(second), at(second + 0.1)), LEASE, SOMEBODY);
            assert_eq!(concluded(&standing, at(second + 0.5)), (None, false));
        }
        assert_eq!(concluded(&standing, at(5.2)), (None, true));
        standing.renewed((at(6.0), at(6.1)), LEASE, NOBODY);
        let alone = standing.spell_at(at(6.1));
        assert!(alone.is_some());
        standing.renewed((at(7.0), at(7.1)), LEASE, SOMEBODY);
        assert_eq!(concluded(&standing, at(7.1)), (None, true));
        standing.renewed((at(8.0), at(8.1)), LEASE, NOBODY);
        assert!(standing.spell_at(at(8.1)) > alone);
    }

    #[test]
    fn a_spell_ends_with_another_that_came_and_left_between_two_looks() {
        let (standing, at) = joining();
        standing.renewed((at(0.0), at(0.1)), LEASE, NOBODY);
        let before = standing.spell_at(at(1.0));
        standing.renewed((at(1.5), at(1.6)), LEASE, Seen { leased: false, new: true });
        assert!(standing.spell_at(at(1.6)) > before);
    }

    #[test]
    fn one_that_applies_nothing_itself_is_never_alone() {
        let (_, at) = joining();
        let standing = Standing::joining(false);
        standing.renewed((at(0.0), at(0.1)), LEASE, NOBODY);
        assert_eq!(concluded(&standing, at(0.1)), (None, true));
    }

    #[test]
    fn one_whose_lease_ran_out_joins_anew() {
        let (standing, at) = joining();
        standing.renewed((at(0.0), at(0.1)), LEASE, NOBODY);
        standing.renewed((at(6.0), at(6.1)), LEASE, SOMEBODY);
        assert_eq!(concluded(&standing, at(6.2)), (None, false));
    }

    #[test]
    fn the_only_process_stays_alone_and_a_spell_ends_when_told() {
        let standing = Standing::only();
        assert_eq!((standing.spell(), standing.is_known()), (Some(1), true));
        standing.end_spell();
        assert_eq!(standing.spell(), Some(2));
    }
}
