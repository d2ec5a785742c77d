//! Steps of projectors, index runners and coordinators.

use crate::switch::{
    DatabaseTime, Epoch, apply,
    control::{ControlRow, Phase, Reached, SwitchError},
};

use super::{
    Settings,
    rules::Rule,
    state::{Batch, Invariant, LATER, NOW, PAST, State, id_of, index_of},
    step::{changed, note},
};

impl Settings {
    /// Where a batch of one record from `from` may end, by the rows as they are now.
    fn tables_limit(&self, s: &State, generation: usize, partition: usize, wanted: u8) -> u8 {
        let live = s.stored(s.row.live).tables[partition];
        let limit = apply::tables_limit(&s.row, id_of(generation), i64::from(wanted), i64::from(live));
        if self.has(Rule::TablesLimit) { u8::try_from(limit).unwrap_or(0) } else { wanted }
    }

    /// One transaction: lock the checkpoint, read the limit, apply, commit.
    pub(super) fn apply(&self, s: &mut State, generation: usize, partition: usize) -> Option<()> {
        let from = s.generations[generation].tables[partition];
        if s.generations[generation].dropped || from >= s.log[partition] {
            return None;
        }
        let to = self.tables_limit(s, generation, partition, from + 1);
        s.generations[generation].rows[partition] += to.saturating_sub(from);
        changed(&mut s.generations[generation].tables[partition], to)
    }

    /// A second projector reads its checkpoint and prepares a batch.
    pub(super) fn prepare_batch(&self, s: &mut State, generation: usize, partition: usize) -> Option<()> {
        let from = s.generations[generation].tables[partition];
        if s.batch.is_some() || s.generations[generation].dropped || from >= s.log[partition] {
            return None;
        }
        let to = self.tables_limit(s, generation, partition, from + 1);
        let to = if self.has(Rule::TablesLimitUnderLock) { from + 1 } else { to };
        (to > from).then(|| s.batch = Some(Batch { generation, partition, from, to }))
    }

    /// The second projector commits, perhaps much later.
    pub(super) fn commit_batch(&self, s: &mut State) -> Option<()> {
        let Batch { generation, partition, from, mut to } = s.batch.take()?;
        if self.has(Rule::TablesLimitUnderLock) {
            to = self.tables_limit(s, generation, partition, to);
        }
        let stored = &mut s.generations[generation];
        let is_current = stored.tables[partition] == from || !self.has(Rule::CompareCheckpoint);
        if is_current && to > from && !stored.dropped {
            stored.rows[partition] += to - from;
            stored.tables[partition] = to;
        }
        Some(())
    }

    /// Only without its rule: the index runner reads the control row, long before it reads its tables.
    pub(super) fn read_row_for_index(&self, s: &mut State, generation: usize) -> Option<()> {
        let may_pass = s.row.former() != Some(id_of(generation));
        if self.has(Rule::IndexTablesFirst) { None } else { changed(&mut s.generations[generation].may_pass, may_pass) }
    }

    /// The index runner reads how far it may go, and sends documents. They are found later.
    pub(super) fn send_to_index(&self, s: &mut State, generation: usize) -> Option<()> {
        let live = s.stored(s.row.live).index;
        let stored = &s.generations[generation];
        if stored.sent != stored.index || stored.dropped {
            return None;
        }
        let mut sent = stored.sent;
        for partition in 0..self.partitions {
            let (tables, live) = (stored.tables[partition], live[partition]);
            let limit = apply::index_limit(&s.row, id_of(generation), i64::from(tables), i64::from(live));
            let may_pass = !self.has(Rule::IndexLimit) || stored.may_pass;
            let limit = if may_pass { tables } else { u8::try_from(limit).unwrap_or(0) };
            sent[partition] = sent[partition].max(limit);
        }
        s.generations[generation].may_pass = false;
        changed(&mut s.generations[generation].sent, sent)
    }

    pub(super) fn read_row(&self, s: &mut State, coordinator: usize) -> Option<()> {
        if !self.coordinators {
            return None;
        }
        let row = s.row;
        changed(&mut s.coordinators[coordinator], Some(row))
    }

    /// A transition by a coordinator, with the epoch that it knows, under the exclusive lock of the row.
    fn change(
        &self,
        s: &mut State,
        coordinator: usize,
        transition: impl Fn(&ControlRow, Epoch) -> Result<ControlRow, SwitchError>,
    ) -> Option<()> {
        if s.renewal.is_some() && self.has(Rule::RenewUnderLock) {
            return None;
        }
        let known = if self.coordinators { s.coordinators[coordinator].take()? } else { s.row };
        if self.has(Rule::CompareEpoch) {
            s.row = transition(&s.row, known.epoch).ok()?;
        } else {
            note(&mut s.violated, Invariant::OneCoordinator, known.epoch != s.row.epoch);
            s.row = transition(&known, known.epoch).ok()?;
        }
        Some(())
    }

    pub(super) fn announce(&self, s: &mut State, coordinator: usize, candidate: usize) -> Option<()> {
        if s.row.epoch.0 > self.announced_until || s.generations[candidate].dropped {
            return None;
        }
        self.change(s, coordinator, |row, epoch| {
            let previous = row.previous.filter(|_| self.has(Rule::RetireFirst));
            let phase = if self.has(Rule::AnnounceWhenIdle) { row.phase } else { Phase::Idle };
            ControlRow { previous, phase, ..*row }.announce(epoch, id_of(candidate), LATER)
        })
    }

    /// The checkpoints of the live generation and of the candidate.
    fn reached(&self, s: &State) -> Vec<Reached> {
        let Phase::Announced { candidate, .. } = s.row.phase else {
            return Vec::new();
        };
        let (live, candidate) = (s.stored(s.row.live), s.stored(candidate));
        let reached = |partition: usize| {
            let live = i64::from(live.tables[partition]);
            let tables = i64::from(candidate.tables[partition]);
            let tables = if self.has(Rule::FlipTablesLag) { tables } else { live };
            Reached { live, tables }
        };
        (0..if self.has(Rule::FlipEveryPartition) { self.partitions } else { 1 }).map(reached).collect()
    }

    /// Only without its rule: the lag is checked, and the locks are released before the flip.
    pub(super) fn check_flip(&self, s: &mut State) -> Option<()> {
        let is_granted = s.row.flip(s.row.epoch, NOW, &self.reached(s), LATER).is_ok();
        if is_granted && !self.has(Rule::FlipUnderLock) { changed(&mut s.is_checked, true) } else { None }
    }

    pub(super) fn flip(&self, s: &mut State, coordinator: usize) -> Option<()> {
        let (before, mut reached) = (s.row, self.reached(s));
        if !self.has(Rule::FlipUnderLock) {
            changed(&mut s.is_checked, false)?;
            reached.clear();
        }
        let now = if self.has(Rule::FlipInTime) { NOW } else { DatabaseTime(-1) };
        self.change(s, coordinator, |row, epoch| row.flip(epoch, now, &reached, LATER))?;
        let (from, to) = (s.stored(before.live).tables, s.stored(s.row.live).tables);
        note(&mut s.violated, Invariant::NothingLost, from.iter().zip(to).any(|(from, to)| to < *from));
        let live = &mut s.generations[index_of(s.row.live)];
        live.was_live = true;
        if self.index {
            live.floor = live.tables;
        }
        Some(())
    }

    /// Only without its rule: the leases are read, and the lock is released before the promotion is completed.
    pub(super) fn check_complete(&self, s: &mut State) -> Option<()> {
        let is_granted = s.row.complete(s.row.epoch, NOW, &s.holders()).is_ok();
        if is_granted && !self.has(Rule::CompleteUnderLock) { changed(&mut s.is_checked, true) } else { None }
    }

    pub(super) fn complete(&self, s: &mut State, coordinator: usize) -> Option<()> {
        let mut holders = s.holders();
        if !self.has(Rule::CompleteUnderLock) {
            changed(&mut s.is_checked, false)?;
            holders.clear();
        }
        if !self.has(Rule::CompleteAcknowledged) {
            holders.clear();
        }
        self.change(s, coordinator, |row, epoch| row.complete(epoch, NOW, &holders))
    }

    pub(super) fn withdraw(&self, s: &mut State, coordinator: usize) -> Option<()> {
        self.change(s, coordinator, |row, epoch| match (row.phase, row.previous) {
            (Phase::Following { deadline }, Some(former)) if !self.has(Rule::WithdrawBeforeFlip) => {
                let phase = Phase::Announced { candidate: row.live, deadline };
                ControlRow { live: former, previous: Some(row.live), phase, ..*row }.withdraw(epoch)
            }
            _ => row.withdraw(epoch),
        })
    }

    pub(super) fn retire(&self, s: &mut State, coordinator: usize) -> Option<()> {
        if !self.retires {
            return None;
        }
        self.change(s, coordinator, |row, epoch| match row.phase {
            Phase::Following { .. } if !self.has(Rule::RetireWhenIdle) => {
                ControlRow { phase: Phase::Idle, ..*row }.retire(epoch, LATER)
            }
            _ => row.retire(epoch, LATER),
        })
    }

    /// Ends a retirement. The generation is dropped at once: no later moment is worse for its readers.
    pub(super) fn retired(&self, s: &mut State, coordinator: usize) -> Option<()> {
        let holders = if self.has(Rule::RetiredAcknowledged) { s.holders() } else { Vec::new() };
        let retiring = s.row.retiring();
        self.change(s, coordinator, |row, epoch| row.retired(epoch, NOW, &holders))?;
        let dropped = retiring.filter(|it| s.row.may_drop(*it)).map(index_of)?;
        s.generations[dropped].dropped = true;
        s.generations[dropped].was_live = false;
        Some(())
    }

    pub(super) fn deadline_passes(s: &mut State) -> Option<()> {
        match &mut s.row.phase {
            Phase::Idle => None,
            Phase::Announced { deadline, .. } | Phase::Following { deadline } | Phase::Retiring { deadline } => {
                changed(deadline, PAST)
            }
        }
    }
}
