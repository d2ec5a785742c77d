//! The control row of a domain, and its transitions.
//!
//! Each transition runs in one transaction that holds the row's exclusive lock: read the row, call the function with
//! the epoch that the caller decided on, store the result, notify. Another epoch is a conflict. So every step can be
//! repeated, by any coordinator, and two coordinators never undo each other's steps.

use std::fmt;

use super::{DatabaseTime, Epoch, GenerationId, lease::Holder};

/// What control storage says of a domain's generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlRow {
    /// Grows by one with every change.
    pub epoch: Epoch,
    /// The generation that answers.
    pub live: GenerationId,
    /// The generation that was live before, until it is retired. It keeps tailing.
    pub previous: Option<GenerationId>,
    /// What is under way.
    pub phase: Phase,
}

/// What is under way in a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// Instances open the candidate; it may become live until the deadline.
    Announced {
        /// The generation to become live.
        candidate: GenerationId,
        /// Afterwards anyone may withdraw it.
        deadline: DatabaseTime,
    },
    /// The live generation has changed; instances follow. `previous` is the one that they leave.
    Following {
        /// Afterwards an instance that has not followed can't renew its lease.
        deadline: DatabaseTime,
    },
    /// Instances close the previous generation.
    Retiring {
        /// Afterwards an instance that has not closed it can't renew its lease.
        deadline: DatabaseTime,
    },
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("no switch is under way"),
            Self::Announced { candidate, .. } => write!(f, "generation {} is being promoted", candidate.0),
            Self::Following { .. } => f.write_str("a promotion is being followed"),
            Self::Retiring { .. } => f.write_str("the previous generation is being retired"),
        }
    }
}

/// The checkpoints of one partition, read while those of the live and the candidate's tables are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The live tables.
    pub live: i64,
    /// The candidate's tables.
    pub tables: i64,
}

/// Why a transition was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// The row has changed since the caller read it.
    #[error("the control row is at epoch {}, not {}", found.0, expected.0)]
    Conflict {
        /// The caller's.
        expected: Epoch,
        /// The row's.
        found: Epoch,
    },
    /// The row's phase does not allow it.
    #[error("not possible now: {phase}")]
    WrongPhase {
        /// The row's phase.
        phase: Phase,
    },
    /// The candidate is live already.
    #[error("generation {} is live already", .0.0)]
    AlreadyLive(GenerationId),
    /// Another generation must be retired first.
    #[error("generation {} must be retired first", .0.0)]
    PreviousExists(GenerationId),
    /// There is no previous generation.
    #[error("there is no previous generation")]
    NoPrevious,
    /// The deadline has passed.
    #[error("the deadline has passed")]
    Overdue,
    /// The deadline has not passed.
    #[error("the deadline has not passed")]
    NotOverdue,
    /// The candidate has not applied what the live generation has.
    #[error("the candidate is {0} records behind")]
    Lag(i64),
    /// Instances with a lease have not acknowledged the epoch.
    #[error("{behind} instances have not acknowledged epoch {}", epoch.0)]
    Unacknowledged {
        /// How many.
        behind: usize,
        /// The row's epoch.
        epoch: Epoch,
    },
}

impl ControlRow {
    /// The row of a domain whose first generation is live.
    pub fn first(live: GenerationId) -> Self {
        Self { epoch: Epoch(0), live, previous: None, phase: Phase::Idle }
    }

    /// Begins to promote a generation. The previous one may be the candidate, which is a roll back; any other must be
    /// retired first.
    pub fn announce(
        &self,
        expected: Epoch,
        candidate: GenerationId,
        deadline: DatabaseTime,
    ) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Idle = self.phase else {
            return Err(self.wrong_phase());
        };
        if candidate == self.live {
            return Err(SwitchError::AlreadyLive(candidate));
        }
        match self.previous {
            Some(previous) if previous != candidate => Err(SwitchError::PreviousExists(previous)),
            _ => Ok(self.next(self.live, self.previous, Phase::Announced { candidate, deadline })),
        }
    }

    /// Makes the announced candidate live. The caller holds the locks on the checkpoints of both generations until it
    /// commits, so that neither moves.
    pub fn flip(
        &self,
        expected: Epoch,
        now: DatabaseTime,
        reached: &[Reached],
        follow_until: DatabaseTime,
    ) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Announced { candidate, deadline } = self.phase else {
            return Err(self.wrong_phase());
        };
        if now >= deadline {
            return Err(SwitchError::Overdue);
        }
        match lag(reached) {
            0 => Ok(self.next(candidate, Some(self.live), Phase::Following { deadline: follow_until })),
            lag => Err(SwitchError::Lag(lag)),
        }
    }

    /// Ends the promotion once every instance with a lease has followed.
    pub fn complete(&self, expected: Epoch, now: DatabaseTime, holders: &[Holder]) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Following { .. } = self.phase else {
            return Err(self.wrong_phase());
        };
        self.all_acknowledged(now, holders)?;
        Ok(self.next(self.live, self.previous, Phase::Idle))
    }

    /// Gives up an announced promotion. For the coordinator that announced it; others wait for the deadline.
    pub fn withdraw(&self, expected: Epoch) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Announced { .. } = self.phase else {
            return Err(self.wrong_phase());
        };
        Ok(self.next(self.live, self.previous, Phase::Idle))
    }

    /// Gives up a promotion that another coordinator announced, after its deadline.
    pub fn withdraw_overdue(&self, expected: Epoch, now: DatabaseTime) -> Result<Self, SwitchError> {
        let withdrawn = self.withdraw(expected)?;
        if self.is_overdue(now) { Ok(withdrawn) } else { Err(SwitchError::NotOverdue) }
    }

    /// Begins to retire the previous generation.
    pub fn retire(&self, expected: Epoch, deadline: DatabaseTime) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Idle = self.phase else {
            return Err(self.wrong_phase());
        };
        let previous = self.previous.ok_or(SwitchError::NoPrevious)?;
        Ok(self.next(self.live, Some(previous), Phase::Retiring { deadline }))
    }

    /// Ends the retirement once every instance with a lease has closed the previous generation. Only afterwards may its
    /// tables and index be dropped.
    pub fn retired(&self, expected: Epoch, now: DatabaseTime, holders: &[Holder]) -> Result<Self, SwitchError> {
        self.expect(expected)?;
        let Phase::Retiring { .. } = self.phase else {
            return Err(self.wrong_phase());
        };
        self.all_acknowledged(now, holders)?;
        Ok(self.next(self.live, None, Phase::Idle))
    }

    /// Makes a generation live in one step, and forgets another previous one: for a process that is alone, before it
    /// answers.
    pub fn promote_alone(&self, candidate: GenerationId, now: DatabaseTime) -> Result<Self, SwitchError> {
        let row = match self.previous {
            Some(previous) if previous != candidate => self.retire_alone(now)?,
            _ => self.ended_alone(now)?,
        };
        let announced = row.announce(row.epoch, candidate, DatabaseTime(now.0 + 1))?;
        let flipped = announced.flip(announced.epoch, now, &[], now)?;
        flipped.complete(flipped.epoch, now, &[])
    }

    /// Forgets the previous generation in one step, in the same case.
    pub fn retire_alone(&self, now: DatabaseTime) -> Result<Self, SwitchError> {
        let row = self.ended_alone(now)?;
        if row.previous.is_none() {
            return Ok(row);
        }
        let retiring = row.retire(row.epoch, now)?;
        retiring.retired(retiring.epoch, now, &[])
    }

    /// Ends the phase that a crash has left.
    fn ended_alone(&self, now: DatabaseTime) -> Result<Self, SwitchError> {
        match self.phase {
            Phase::Idle => Ok(*self),
            Phase::Announced { .. } => self.withdraw(self.epoch),
            Phase::Following { .. } => self.complete(self.epoch, now, &[]),
            Phase::Retiring { .. } => self.retired(self.epoch, now, &[]),
        }
    }

    /// Whether a generation may be dropped: the row no longer names it.
    pub fn may_drop(&self, generation: GenerationId) -> bool {
        let candidate = matches!(self.phase, Phase::Announced { candidate, .. } if candidate == generation);
        generation != self.live && self.previous != Some(generation) && !candidate
    }

    /// The generation that instances are leaving: answers wait for it as well.
    pub fn former(&self) -> Option<GenerationId> {
        self.previous.filter(|_| matches!(self.phase, Phase::Following { .. }))
    }

    /// The generation that instances are closing.
    pub fn retiring(&self) -> Option<GenerationId> {
        self.previous.filter(|_| matches!(self.phase, Phase::Retiring { .. }))
    }

    /// Whether the phase's deadline has passed.
    pub fn is_overdue(&self, now: DatabaseTime) -> bool {
        match self.phase {
            Phase::Idle => false,
            Phase::Announced { deadline, .. } | Phase::Following { deadline } | Phase::Retiring { deadline } => {
                now >= deadline
            }
        }
    }

    /// Whether an instance that has acknowledged only this epoch may renew its lease. So a stuck instance holds up the
    /// others for the deadline and one lease at most.
    pub fn allows_renewal(&self, acknowledged: Epoch, now: DatabaseTime) -> bool {
        let is_required = matches!(self.phase, Phase::Following { .. } | Phase::Retiring { .. });
        !is_required || acknowledged >= self.epoch || !self.is_overdue(now)
    }

    fn all_acknowledged(&self, now: DatabaseTime, holders: &[Holder]) -> Result<(), SwitchError> {
        let is_behind = |holder: &&Holder| holder.lease.is_held_at(now) && holder.acknowledged < self.epoch;
        match holders.iter().filter(is_behind).count() {
            0 => Ok(()),
            behind => Err(SwitchError::Unacknowledged { behind, epoch: self.epoch }),
        }
    }

    fn expect(&self, expected: Epoch) -> Result<(), SwitchError> {
        if expected == self.epoch { Ok(()) } else { Err(SwitchError::Conflict { expected, found: self.epoch }) }
    }

    fn wrong_phase(&self) -> SwitchError {
        SwitchError::WrongPhase { phase: self.phase }
    }

    fn next(&self, live: GenerationId, previous: Option<GenerationId>, phase: Phase) -> Self {
        Self { epoch: Epoch(self.epoch.0 + 1), live, previous, phase }
    }
}

/// How many records the candidate's tables are behind the live ones, over all partitions.
fn lag(reached: &[Reached]) -> i64 {
    reached.iter().map(|it| (it.live - it.tables).max(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: GenerationId = GenerationId(1);
    const SECOND: GenerationId = GenerationId(2);
    const THIRD: GenerationId = GenerationId(3);
    const DEADLINE: DatabaseTime = DatabaseTime(10);

    fn announced() -> ControlRow {
        let announced = ControlRow::first(FIRST).announce(Epoch(0), SECOND, DEADLINE);
        announced.unwrap_or_else(|error| panic!("{error}"))
    }

    fn followed() -> ControlRow {
        let flipped = announced().flip(Epoch(1), DatabaseTime(9), &[], DEADLINE);
        let completed = flipped.and_then(|row| row.complete(row.epoch, DEADLINE, &[]));
        completed.unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_step_from_an_older_epoch_is_a_conflict() {
        let conflict = SwitchError::Conflict { expected: Epoch(0), found: Epoch(1) };
        assert_eq!(announced().withdraw(Epoch(0)), Err(conflict));
        assert_eq!(announced().announce(Epoch(0), THIRD, DEADLINE), Err(conflict));
    }

    #[test]
    fn others_withdraw_a_promotion_only_after_its_deadline() {
        let row = announced();
        assert_eq!(row.withdraw_overdue(Epoch(1), DatabaseTime(9)), Err(SwitchError::NotOverdue));
        assert_eq!(row.withdraw_overdue(Epoch(1), DEADLINE), row.withdraw(Epoch(1)));
        assert_eq!(row.flip(Epoch(1), DEADLINE, &[], DEADLINE), Err(SwitchError::Overdue));
    }

    #[test]
    fn a_flip_needs_the_tables_of_every_partition() {
        let reached = |tables| Reached { live: 5, tables };
        let flip = |of: &[Reached]| announced().flip(Epoch(1), DatabaseTime(9), of, DEADLINE).map(|row| row.live);
        assert_eq!(flip(&[reached(5), reached(6)]), Ok(SECOND));
        assert_eq!(flip(&[reached(5), reached(3)]), Err(SwitchError::Lag(2)));
        assert_eq!(flip(&[reached(4), reached(3)]), Err(SwitchError::Lag(3)));
    }

    #[test]
    fn the_previous_generation_is_promoted_or_retired_before_a_third() {
        let row = followed();
        assert_eq!((row.live, row.previous, row.phase), (SECOND, Some(FIRST), Phase::Idle));
        assert_eq!(row.announce(row.epoch, THIRD, DEADLINE), Err(SwitchError::PreviousExists(FIRST)));
        assert_eq!(row.announce(row.epoch, SECOND, DEADLINE), Err(SwitchError::AlreadyLive(SECOND)));
        assert!(row.announce(row.epoch, FIRST, DEADLINE).is_ok());
        let retired = row.retire(row.epoch, DEADLINE).and_then(|row| row.retired(row.epoch, DEADLINE, &[]));
        let third = retired.and_then(|row| row.announce(row.epoch, THIRD, DEADLINE));
        assert_eq!(
            third.map(|row| (row.may_drop(FIRST), row.may_drop(SECOND), row.may_drop(THIRD))),
            Ok((true, false, false))
        );
    }
}
