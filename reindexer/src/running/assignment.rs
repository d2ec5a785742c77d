//! The partitions that this process applies of what is built, as its stage says.

use std::{collections::BTreeSet, sync::Arc};

use daybook_schemas::position::Partition;
use tokio::{sync::watch, task::JoinSet};

use super::Stage;
use crate::lease::{Assignment, Lease};

/// The partitions of one index. The index of a generation that has the tables of another one is at another stage than
/// these.
pub(super) struct IndexAssignment {
    stage: watch::Sender<Stage>,
    partitions: watch::Receiver<Vec<Partition>>,
    _background: JoinSet<()>,
}

impl IndexAssignment {
    /// Begins to follow the assignment.
    pub(super) fn start(lease: &Arc<Lease>, fingerprint: &str, stage: Stage) -> Self {
        let all = watch::Sender::new(assignment_of(lease, stage).borrow().of(fingerprint));
        let of_fingerprint = watch::Sender::new(BTreeSet::from([fingerprint.to_owned()]));
        let (stage, partitions) = (watch::Sender::new(stage), all.subscribe());
        let mut background = JoinSet::new();
        let set = move |next: &[Partition], _| set_changed(&all, next.to_vec());
        background.spawn(follow(Arc::clone(lease), of_fingerprint.subscribe(), stage.subscribe(), set));
        Self { stage, partitions, _background: background }
    }

    /// Notes how far the index is.
    pub(super) fn note(&self, stage: Stage) {
        self.stage.send_if_modified(|before| std::mem::replace(before, stage) != stage);
    }

    /// The partitions, as they change.
    pub(super) fn partitions(&self) -> watch::Receiver<Vec<Partition>> {
        self.partitions.clone()
    }
}

/// What this process applies at a stage.
pub(super) fn assignment_of(lease: &Lease, stage: Stage) -> watch::Receiver<Assignment> {
    if stage == Stage::Complete { lease.assignment() } else { lease.rebuild_assignment() }
}

/// Sends partitions, unless they are the same.
pub(super) fn set_changed(sender: &watch::Sender<Vec<Partition>>, next: Vec<Partition>) {
    sender.send_if_modified(|before| {
        let changed = *before != next;
        *before = next;
        changed
    });
}

/// Hands on the partitions of what the generations of some fingerprints have, as all of this changes.
pub(super) async fn follow(
    lease: Arc<Lease>,
    mut fingerprints: watch::Receiver<BTreeSet<String>>,
    mut stage: watch::Receiver<Stage>,
    set: impl Fn(&[Partition], Stage) + Send,
) {
    loop {
        let now = *stage.borrow_and_update();
        let mut current = assignment_of(&lease, now);
        let next = current.borrow_and_update().of_any(&fingerprints.borrow_and_update());
        set(&next, now);
        tokio::select! {
            Ok(()) = stage.changed() => {}
            Ok(()) = fingerprints.changed() => {}
            Ok(()) = current.changed() => {}
            else => return,
        }
    }
}
