//! The steps of the model. Each one is a transaction, or a moment within one process, and calls the function of the
//! switch that the code calls there.

use super::{
    Settings,
    rules::Rule,
    state::{Invariant, State},
};

/// A step. Instances, generations, partitions, coordinators and writes are indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Append { instance: usize, partition: usize },
    Apply { generation: usize, partition: usize },
    PrepareBatch { generation: usize, partition: usize },
    CommitBatch,
    ReadRowForIndex { generation: usize },
    SendToIndex { generation: usize },
    RefreshIndex { generation: usize },
    NoteIndex { generation: usize },
    ReadRow { coordinator: usize },
    Announce { coordinator: usize, candidate: usize },
    CheckFlip,
    CheckComplete,
    Flip { coordinator: usize },
    Complete { coordinator: usize },
    Withdraw { coordinator: usize },
    Retire { coordinator: usize },
    Retired { coordinator: usize },
    DeadlinePasses,
    Notify { instance: usize },
    Hear { instance: usize },
    Learn { instance: usize },
    Renew { instance: usize },
    CommitRenewal,
    Join { instance: usize },
    JoinAsOther { instance: usize },
    OwnLeaseEnds { instance: usize },
    LeaseEnds { instance: usize },
    Crash { instance: usize },
    BeginRead { instance: usize, is_search: bool, of_previous: bool },
    Read { instance: usize },
    LookUp { instance: usize },
    WaitRead { instance: usize },
    CheckRead { instance: usize },
    SendRead { instance: usize },
    WaitWrite { write: usize },
    CheckWrite { write: usize },
    SendWrite { write: usize },
}

impl Settings {
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// All steps that can be possible in some state.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for generation in 0..self.generations {
            for partition in 0..self.partitions {
                steps.push(Step::Apply { generation, partition });
                if self.batches {
                    steps.push(Step::PrepareBatch { generation, partition });
                }
            }
            if self.index {
                steps.extend([
                    Step::ReadRowForIndex { generation },
                    Step::SendToIndex { generation },
                    Step::RefreshIndex { generation },
                    Step::NoteIndex { generation },
                ]);
            }
        }
        for coordinator in 0..if self.coordinators { 2 } else { 1 } {
            steps.extend((0..self.generations).map(|candidate| Step::Announce { coordinator, candidate }));
            let (flip, complete) = (Step::Flip { coordinator }, Step::Complete { coordinator });
            steps.extend([Step::ReadRow { coordinator }, flip, complete]);
            steps.extend([Step::Retire { coordinator }, Step::Retired { coordinator }]);
            if self.withdraws {
                steps.push(Step::Withdraw { coordinator });
            }
        }
        steps.extend([Step::CommitBatch, Step::CheckFlip, Step::CheckComplete, Step::CommitRenewal]);
        if self.deadlines {
            steps.push(Step::DeadlinePasses);
        }
        for instance in 0..self.instances {
            self.steps_of_instance(instance, &mut steps);
        }
        for write in 0..usize::from(self.writes) {
            steps.extend([Step::WaitWrite { write }, Step::CheckWrite { write }, Step::SendWrite { write }]);
        }
        steps
    }

    fn steps_of_instance(&self, instance: usize, steps: &mut Vec<Step>) {
        steps.extend((0..self.partitions).map(|partition| Step::Append { instance, partition }));
        if self.late_news {
            steps.extend([Step::Notify { instance }, Step::Hear { instance }]);
        }
        steps.extend([Step::Learn { instance }, Step::Renew { instance }, Step::Join { instance }]);
        steps.extend([Step::OwnLeaseEnds { instance }, Step::LeaseEnds { instance }]);
        if self.crashes {
            steps.extend([Step::JoinAsOther { instance }, Step::Crash { instance }]);
        }
        if self.reads > 0 {
            steps.push(Step::BeginRead { instance, is_search: self.index, of_previous: false });
            if self.previews {
                steps.push(Step::BeginRead { instance, is_search: false, of_previous: true });
            }
            steps.extend([Step::Read { instance }, Step::WaitRead { instance }]);
            steps.extend([Step::CheckRead { instance }, Step::SendRead { instance }]);
            if self.index {
                steps.push(Step::LookUp { instance });
            }
        }
    }

    /// The state after a step; none if the step is not possible.
    pub(super) fn step(&self, state: &State, step: Step) -> Option<State> {
        let mut s = *state;
        match step {
            Step::Apply { generation, partition } => self.apply(&mut s, generation, partition),
            Step::PrepareBatch { generation, partition } => self.prepare_batch(&mut s, generation, partition),
            Step::CommitBatch => self.commit_batch(&mut s),
            Step::ReadRowForIndex { generation } => self.read_row_for_index(&mut s, generation),
            Step::SendToIndex { generation } => self.send_to_index(&mut s, generation),
            Step::RefreshIndex { generation } => {
                let stored = s.generations.get_mut(generation)?;
                changed(&mut stored.visible, stored.sent)
            }
            Step::NoteIndex { generation } => {
                let stored = s.generations.get_mut(generation)?;
                changed(&mut stored.index, stored.visible)
            }
            Step::ReadRow { coordinator } => self.read_row(&mut s, coordinator),
            Step::Announce { coordinator, candidate } => self.announce(&mut s, coordinator, candidate),
            Step::CheckFlip => self.check_flip(&mut s),
            Step::CheckComplete => self.check_complete(&mut s),
            Step::Flip { coordinator } => self.flip(&mut s, coordinator),
            Step::Complete { coordinator } => self.complete(&mut s, coordinator),
            Step::Withdraw { coordinator } => self.withdraw(&mut s, coordinator),
            Step::Retire { coordinator } => self.retire(&mut s, coordinator),
            Step::Retired { coordinator } => self.retired(&mut s, coordinator),
            Step::DeadlinePasses => Self::deadline_passes(&mut s),
            Step::Notify { instance } => changed(&mut s.instances[instance].news, Some(state.row)),
            Step::Hear { instance } => self.hear(&mut s, instance),
            Step::Learn { instance } => self.learn(&mut s, instance, &state.row),
            Step::Renew { instance } => self.renew(&mut s, instance),
            Step::CommitRenewal => Self::commit_renewal(&mut s),
            Step::Join { instance } => self.join(&mut s, instance),
            Step::JoinAsOther { instance } => self.join_as_other(&mut s, instance),
            Step::OwnLeaseEnds { instance } => Self::own_lease_ends(&mut s, instance),
            Step::LeaseEnds { instance } => self.lease_ends(&mut s, instance),
            Step::Crash { instance } => Self::crash(&mut s, instance),
            Step::Append { instance, partition } => self.append(&mut s, instance, partition),
            Step::BeginRead { instance, is_search, of_previous } => {
                self.begin_read(&mut s, instance, is_search, of_previous)
            }
            Step::Read { instance } => self.read(&mut s, instance),
            Step::LookUp { instance } => self.look_up(&mut s, instance),
            Step::WaitRead { instance } => self.wait_read(&mut s, instance),
            Step::CheckRead { instance } => self.check_read(&mut s, instance),
            Step::SendRead { instance } => Self::send_read(&mut s, instance),
            Step::WaitWrite { write } => self.wait_write(&mut s, write),
            Step::CheckWrite { write } => self.check_write(&mut s, write),
            Step::SendWrite { write } => Self::send_write(&mut s, write),
        }?;
        Some(s)
    }
}

/// Sets a value; none if it was the same, so that the step leads nowhere.
pub(super) fn changed<T: PartialEq>(place: &mut T, value: T) -> Option<()> {
    (*place != value).then(|| *place = value)
}

/// Notes the first invariant that was violated.
pub(super) fn note(violated: &mut Option<Invariant>, invariant: Invariant, is_violated: bool) {
    if is_violated && violated.is_none() {
        *violated = Some(invariant);
    }
}
