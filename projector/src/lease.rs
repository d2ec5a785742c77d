//! This process's lease in control storage: whether it may answer, and which partitions it applies.
//!
//! Every process on a shared store holds a lease and renews it. Partitions are assigned to projectors that hold one;
//! each computes the same assignment from the list of leases. Two processes may disagree for a moment: compare-and-set
//! on the checkpoints lets only one of them commit each batch. A process whose lease expired by its own clock stops
//! answering, which is strictly before others see the lease expired.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_schemas::position::Partition;
use tokio::{sync::watch, time::Instant};

use crate::{
    control::{Control, Instance},
    tables::TablesError,
};

/// How long a lease lasts after its last renewal.
pub const LEASE: Duration = Duration::from_secs(5);
/// How much earlier a lease ends by the process's own clock than in control storage, to allow for clock drift.
const MARGIN: Duration = Duration::from_millis(500);
/// Time to the next attempt to renew a lease after one that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long the name of a process is kept after its lease expired.
const EXPIRED_KEPT: Duration = Duration::from_secs(60);
/// The role that partitions are assigned to.
const PROJECTOR: &str = "projector";

/// The lease of one process.
pub struct Lease {
    control: Control,
    instance: String,
    roles: String,
    topics: String,
    partitions: Vec<Partition>,
    assignment: watch::Sender<Vec<Partition>>,
    state: Mutex<State>,
    /// Why it was not renewed when that was last tried.
    failure: Mutex<Option<String>>,
}

/// What this process knows of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The store is not shared: nobody else can hold one.
    Unshared,
    /// Not granted yet.
    Missing,
    /// Granted until then, by this process's clock.
    Held { until: Instant },
}

impl State {
    fn is_held_at(self, now: Instant) -> bool {
        match self {
            Self::Unshared => true,
            Self::Missing => false,
            Self::Held { until } => now < until,
        }
    }
}

impl Lease {
    /// The lease of the only process on a store that is not shared: all partitions are assigned to it.
    pub fn unshared(control: Control, instance: String, partitions: Vec<Partition>) -> Self {
        let (assignment, state) = (watch::Sender::new(partitions.clone()), Mutex::new(State::Unshared));
        let (roles, topics, failure) = (String::new(), String::new(), Mutex::default());
        Self { control, instance, roles, topics, partitions, assignment, state, failure }
    }

    /// Joins the processes of a shared store: takes a lease and a first assignment.
    pub async fn join(
        control: Control,
        instance: String,
        roles: String,
        partitions: Vec<Partition>,
    ) -> Result<Self, TablesError> {
        let (assignment, state) = (watch::Sender::default(), Mutex::new(State::Missing));
        let topics: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.name()).collect();
        let topics = topics.into_iter().collect::<Vec<_>>().join(",");
        let failure = Mutex::default();
        let lease = Self { control, instance, roles, topics, partitions, assignment, state, failure };
        lease.renew().await?;
        lease.control.forget_expired(EXPIRED_KEPT).await?;
        Ok(lease)
    }

    /// The partitions that this process applies, as they change.
    pub fn assignment(&self) -> watch::Receiver<Vec<Partition>> {
        self.assignment.subscribe()
    }

    /// Whether the lease holds now. A process without it must not answer.
    pub fn is_held(&self) -> bool {
        self.state().is_held_at(Instant::now())
    }

    /// Why this process has no lease, or cannot renew it and will have none soon.
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failure = failure.map(|failure| format!("cannot be renewed: {failure}"));
        failure.or_else(|| (!self.is_held()).then(|| "not held".to_owned()))
    }

    /// Renews the lease until the task is dropped.
    pub async fn keep(&self) {
        if *self.state() == State::Unshared {
            return;
        }
        let mut pause = LEASE / 3;
        loop {
            tokio::time::sleep(pause).await;
            let failure = self.renew().await.err().map(|error| error.to_string());
            if let Some(error) = &failure {
                tracing::warn!(error, "cannot renew the lease of {}: {error}", self.instance);
            }
            pause = if failure.is_none() { LEASE / 3 } else { RETRY };
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
    }

    /// Releases the lease, so that others take over immediately.
    pub async fn leave(&self) {
        if *self.state() == State::Unshared {
            return;
        }
        if let Err(error) = self.control.leave(&self.instance).await {
            tracing::warn!(error = %error, "cannot release the lease of {}: {error}", self.instance);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<(), TablesError> {
        let began = Instant::now();
        self.control.renew_lease(&self.instance, &self.roles, &self.topics, LEASE).await?;
        let instances = self.control.instances().await?;
        *self.state() = State::Held { until: began + LEASE - MARGIN };
        let projectors: Vec<&Instance> =
            instances.iter().filter(|it| it.leased && it.connected && has(&it.roles, PROJECTOR)).collect();
        let assigned = assign(&self.instance, &projectors, &self.partitions);
        self.assignment.send_if_modified(|assignment| {
            let changed = *assignment != assigned;
            *assignment = assigned;
            changed
        });
        Ok(())
    }
}

/// Whether a comma-separated list has an item.
fn has(list: &str, item: &str) -> bool {
    list.split(',').any(|other| other == item)
}

/// The partitions that are assigned to `instance` among these projectors, which are in order of name.
///
/// A partition goes to one of those that know its topic, chosen by what all of them see alike. So programs with different
/// domains run side by side, as in a rolling upgrade.
fn assign(instance: &str, projectors: &[&Instance], partitions: &[Partition]) -> Vec<Partition> {
    let is_mine = |partition: &&Partition| {
        let topic = partition.topic.name();
        let able: Vec<&str> =
            projectors.iter().filter(|it| has(&it.topics, topic)).map(|it| it.name.as_str()).collect();
        // Topics begin with different projectors, so that small ones are not all assigned to the first.
        let first: usize = topic.bytes().map(usize::from).sum();
        let index = first + usize::try_from(partition.id).unwrap_or(0);
        able.get(index % able.len().max(1)) == Some(&instance)
    };
    partitions.iter().filter(is_mine).copied().collect()
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, topics::Declaration};

    use super::*;

    const EVENTS: Topic = Topic::new(&Declaration { name: "test", compacted: false, partitions: 2 });

    const OTHER: Topic = Topic::new(&Declaration { name: "other", compacted: false, partitions: 2 });

    fn projector(index: usize, topics: &str) -> Instance {
        let (name, roles, topics) = (format!("i{index:02}"), PROJECTOR.to_owned(), topics.to_owned());
        Instance { name, roles, topics, leased: true, connected: true }
    }

    fn partitions(topics: &[Topic]) -> Vec<Partition> {
        topics.iter().flat_map(|topic| (0..12).map(|id| Partition { topic: *topic, id })).collect()
    }

    #[test]
    fn every_partition_is_assigned_to_exactly_one_instance() {
        let partitions = partitions(&[EVENTS]);
        for count in 1..15 {
            let projectors: Vec<Instance> = (0..count).map(|index| projector(index, "test")).collect();
            let projectors: Vec<&Instance> = projectors.iter().collect();
            let assigned = |it: &&Instance| assign(&it.name, &projectors, &partitions);
            let mut assigned: Vec<Partition> = projectors.iter().flat_map(assigned).collect();
            assigned.sort();
            assert_eq!(assigned, partitions, "{count} instances");
        }
        assert!(assign("absent", &[&projector(0, "test")], &partitions).is_empty());
        assert!(assign("a", &[], &partitions).is_empty());
    }

    #[test]
    fn instances_with_other_topics_share_those_that_both_know_and_leave_none_out() {
        let (old, new) = (partitions(&[EVENTS]), partitions(&[EVENTS, OTHER]));
        for (olds, news) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
            let projectors: Vec<Instance> = (0..olds + news)
                .map(|index| projector(index, if index < olds { "test" } else { "other,test" }))
                .collect();
            let projectors: Vec<&Instance> = projectors.iter().collect();
            let assigned = projectors
                .iter()
                .enumerate()
                .flat_map(|(index, it)| assign(&it.name, &projectors, if index < olds { &old } else { &new }));
            let mut assigned: Vec<Partition> = assigned.collect();
            let mut expected = new.clone();
            assigned.sort();
            expected.sort();
            assert_eq!(assigned, expected, "{olds} old, {news} new");
        }
    }

    #[test]
    fn a_lease_ends_by_the_own_clock_before_it_does_for_others() {
        let began = Instant::now();
        let held = State::Held { until: began + LEASE - MARGIN };
        assert!(held.is_held_at(began) && held.is_held_at(began + LEASE - 2 * MARGIN));
        assert!(!held.is_held_at(began + LEASE - MARGIN));
        assert!(!State::Missing.is_held_at(began));
        assert!(State::Unshared.is_held_at(began + 1000 * LEASE));
    }
}
