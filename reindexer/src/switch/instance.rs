//! What an instance knows of a domain: one value, always replaced as a whole.

use super::{Epoch, GenerationId, OwnTime, control::ControlRow, control::Phase, lease::LeaseNumber};

/// What an instance knows of a domain.
///
/// The caller opens what [`Local::waits`] names before it swaps this value in. It reports an epoch only afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// The epoch of the control row that was applied last.
    pub epoch: Epoch,
    /// The generations that an answer waits for. Requests begin on the live one.
    pub waits: Waits,
    /// A generation that takes no new requests, not even previews and further pages.
    pub closing: Option<GenerationId>,
    /// The lease.
    pub lease: Option<OwnLease>,
}

/// The generations that must have applied what an answer shows or acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waits {
    /// The live generation.
    pub live: GenerationId,
    /// The one that instances are leaving, of which others may still read.
    pub former: Option<GenerationId>,
}

impl Waits {
    /// Whether each of them has reached something.
    pub fn all(&self, has_reached: impl Fn(GenerationId) -> bool) -> bool {
        has_reached(self.live) && self.former.is_none_or(&has_reached)
    }
}

/// A lease as its instance sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnLease {
    /// Its number.
    pub number: LeaseNumber,
    /// When it ends by the instance's own clock: counted from before the renewal was sent, and less a margin. So it
    /// ends before the one in control storage does.
    pub until: OwnTime,
}

impl Local {
    /// Before any control row was applied: requests begin on a generation that was opened.
    pub fn starting(live: GenerationId) -> Self {
        Self { epoch: Epoch(-1), waits: Waits { live, former: None }, closing: None, lease: None }
    }

    /// After joining: the lease, and the control row that was read with it.
    pub fn joined(row: &ControlRow, lease: OwnLease) -> Self {
        Self { lease: Some(lease), ..Self::of(row) }
    }

    /// After a control row was read or notified. None if it is not newer than what was applied.
    pub fn apply(&self, row: &ControlRow) -> Option<Self> {
        (row.epoch > self.epoch).then(|| Self { lease: self.lease, ..Self::of(row) })
    }

    /// After a renewal.
    pub fn renewed(&self, lease: OwnLease) -> Self {
        Self { lease: Some(lease), ..*self }
    }

    /// Before joining again: from now on nothing is answered under the former lease.
    pub fn given_up(&self) -> Self {
        Self { lease: None, ..*self }
    }

    /// The epoch to report with a renewal. While requests still read the generation that is closing, the epoch that
    /// closes it is not acknowledged.
    pub fn acknowledges(&self, is_read: impl Fn(GenerationId) -> bool) -> Epoch {
        if self.closing.is_some_and(is_read) { Epoch(self.epoch.0 - 1) } else { self.epoch }
    }

    /// The number of the lease if it is held.
    pub fn held_at(&self, now: OwnTime) -> Option<LeaseNumber> {
        self.lease.filter(|lease| now < lease.until).map(|lease| lease.number)
    }

    fn of(row: &ControlRow) -> Self {
        let waits = Waits { live: row.live, former: row.former() };
        Self { epoch: row.epoch, waits, closing: row.retiring(), lease: None }
    }
}

/// The generation whose handle an instance opens when it sees a control row, before it applies it.
pub fn to_open(row: &ControlRow) -> GenerationId {
    match row.phase {
        Phase::Announced { candidate, .. } => candidate,
        _ => row.live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::DatabaseTime;

    #[test]
    fn a_closing_generation_is_acknowledged_when_nothing_reads_it() {
        let (live, previous) = (GenerationId(2), GenerationId(1));
        let phase = Phase::Retiring { deadline: DatabaseTime(5) };
        let row = ControlRow { epoch: Epoch(4), live, previous: Some(previous), phase };
        let local = Local::of(&row);
        assert_eq!(local.acknowledges(|generation| generation == previous), Epoch(3));
        assert_eq!(local.acknowledges(|generation| generation == live), Epoch(4));
    }

    #[test]
    fn the_candidate_is_opened_before_it_is_live() {
        let candidate = GenerationId(2);
        let first = ControlRow::first(GenerationId(1));
        let announced = ControlRow { phase: Phase::Announced { candidate, deadline: DatabaseTime(5) }, ..first };
        assert_eq!((to_open(&first), to_open(&announced)), (first.live, candidate));
    }
}
