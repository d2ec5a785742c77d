//! Shares the partitions among the projectors that work on one store.
//!
//! Each instance holds a lease in control storage; all compute the same shares from the list of those that hold one. A lease ends
//! with its process, as a lock that goes with its connection tells, or with its time, as that of an instance that is frozen. Two
//! that disagree for a moment do no harm: compare-and-set on the checkpoints lets one of them win each batch. What must never be wrong
//! is concluded from the time of leases alone, in [`crate::standing`].

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use daybook_schemas::position::Partition;
use tokio::{sync::watch, time::Instant};

use crate::{
    control::{Control, Instance},
    standing::{Seen, Standing},
    tables::TablesError,
};

/// How long an instance counts as alive after its last beat.
pub const LEASE: Duration = Duration::from_secs(5);
/// How long the name of a dead instance is kept.
const DEAD_KEPT: Duration = Duration::from_secs(60);
/// The role that gets a share.
const PROJECTOR: &str = "projector";

/// This instance among the others.
pub struct Membership {
    control: Control,
    instance: String,
    roles: String,
    partitions: Vec<Partition>,
    share: watch::Sender<Share>,
    standing: Arc<Standing>,
    /// The other instances of the last renewal.
    others: Mutex<HashSet<String>>,
}

/// What falls to an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// The partitions that are its to apply.
    pub partitions: Vec<Partition>,
    /// Whether no other instance is known to live, of whatever role.
    pub alone: bool,
}

impl Membership {
    /// The only process on a store that is not shared: all partitions are its own, whatever leases are left of others.
    pub fn alone(control: Control, instance: String, partitions: Vec<Partition>) -> Self {
        let share = watch::Sender::new(Share { partitions: partitions.clone(), alone: true });
        let (standing, others) = (Arc::new(Standing::only()), Mutex::default());
        Self { control, instance, roles: String::new(), partitions, share, standing, others }
    }

    /// Joins: takes a lease and a first share.
    pub async fn join(
        control: Control,
        instance: String,
        roles: String,
        partitions: Vec<Partition>,
    ) -> Result<Self, TablesError> {
        let (share, standing) = (watch::Sender::default(), Arc::new(Standing::joining(is_projector(&roles))));
        let membership = Self { control, instance, roles, partitions, share, standing, others: Mutex::default() };
        membership.renew().await?;
        membership.control.forget_dead(DEAD_KEPT).await?;
        Ok(membership)
    }

    /// What falls to this instance, as it changes.
    pub fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    /// What this instance may conclude from its lease.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Renews the lease until the task is dropped.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = self.renew().await {
                tracing::warn!(error = %error, "cannot renew this instance's lease: {error}");
            }
        }
    }

    /// Gives the lease up, so that others take over at once.
    pub async fn leave(&self) {
        if let Err(error) = self.control.leave(&self.instance).await {
            tracing::warn!(error = %error, "cannot give this instance's lease up: {error}");
        }
    }

    /// What is to be seen of others.
    fn see(&self, instances: &[Instance]) -> Seen {
        let others = || instances.iter().filter(|it| it.name != self.instance);
        let names: HashSet<String> = others().map(|it| it.name.clone()).collect();
        let mut before = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Seen { leased: others().any(|it| it.leased), new: !names.is_subset(&before) };
        *before = names;
        seen
    }

    async fn renew(&self) -> Result<(), TablesError> {
        let began = Instant::now();
        self.control.beat(&self.instance, &self.roles, LEASE).await?;
        let instances = self.control.instances().await?;
        self.standing.renewed((began, Instant::now()), LEASE, self.see(&instances));
        let live = || instances.iter().filter(|it| it.leased && it.connected);
        let projectors = live().filter(|it| is_projector(&it.roles));
        let projectors: Vec<&str> = projectors.map(|it| it.name.as_str()).collect();
        let partitions = share_of(&self.instance, &projectors, &self.partitions);
        let mine = Share { partitions, alone: live().all(|Instance { name, .. }| *name == self.instance) };
        self.share.send_if_modified(|share| {
            let changed = *share != mine;
            *share = mine;
            changed
        });
        Ok(())
    }
}

fn is_projector(roles: &str) -> bool {
    roles.split(',').any(|role| role == PROJECTOR)
}

/// The partitions that fall to `instance` among `instances`, which are in order of name.
fn share_of(instance: &str, instances: &[&str], partitions: &[Partition]) -> Vec<Partition> {
    let falls_to = |index: usize| instances.get(index % instances.len().max(1)) == Some(&instance);
    partitions.iter().enumerate().filter(|(index, _)| falls_to(*index)).map(|(_, partition)| *partition).collect()
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::Topic;

    use super::*;

    #[test]
    fn every_partition_falls_to_exactly_one_instance() {
        let partitions: Vec<Partition> = (0..12).map(|id| Partition { topic: Topic::Events, id }).collect();
        for count in 1..15 {
            let names: Vec<String> = (0..count).map(|index| format!("i{index:02}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut shared: Vec<Partition> =
                names.iter().flat_map(|name| share_of(name, &names, &partitions)).collect();
            shared.sort();
            assert_eq!(shared, partitions, "{count} instances");
        }
        assert!(share_of("absent", &["a"], &partitions).is_empty());
        assert!(share_of("a", &[], &partitions).is_empty());
    }
}
