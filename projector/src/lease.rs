//! This process's lease in control storage: whether it may answer, and which partitions are its to apply.
//!
//! Every process on a shared store holds a lease and renews it. Partitions are assigned to the projectors that hold one; each
//! computes the same assignment from the list of leases. Two processes that disagree for a moment do no harm: compare-and-set
//! on the checkpoints lets one of them win each batch. A process that misses its lease by its own clock stops answering, which
//! is strictly before others see the lease expired.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_schemas::position::Partition;
use tokio::{sync::watch, time::Instant};

use crate::{control::Control, tables::TablesError};

/// How long a lease lasts after its last renewal.
pub const LEASE: Duration = Duration::from_secs(5);
/// How much sooner than in control storage a lease ends by the process's own clock: clocks do not run alike.
const MARGIN: Duration = Duration::from_millis(500);
/// How long the name of a process is kept after its lease expired.
const EXPIRED_KEPT: Duration = Duration::from_secs(60);
/// The role that partitions are assigned to.
const PROJECTOR: &str = "projector";

/// The lease of one process.
pub struct Lease {
    control: Control,
    instance: String,
    roles: String,
    partitions: Vec<Partition>,
    assignment: watch::Sender<Vec<Partition>>,
    state: Mutex<State>,
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
        Self { control, instance, roles: String::new(), partitions, assignment, state }
    }

    /// Joins the processes of a shared store: takes a lease and a first assignment.
    pub async fn join(
        control: Control,
        instance: String,
        roles: String,
        partitions: Vec<Partition>,
    ) -> Result<Self, TablesError> {
        let (assignment, state) = (watch::Sender::default(), Mutex::new(State::Missing));
        let lease = Self { control, instance, roles, partitions, assignment, state };
        lease.renew().await?;
        lease.control.forget_expired(EXPIRED_KEPT).await?;
        Ok(lease)
    }

    /// The partitions that are this process's to apply, as they change.
    pub fn assignment(&self) -> watch::Receiver<Vec<Partition>> {
        self.assignment.subscribe()
    }

    /// Whether the lease holds now. A process without it must not answer.
    pub fn is_held(&self) -> bool {
        self.state().is_held_at(Instant::now())
    }

    /// Renews the lease until the task is dropped.
    pub async fn keep(&self) {
        if *self.state() == State::Unshared {
            return;
        }
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = self.renew().await {
                tracing::warn!(error = %error, "cannot renew the lease of {}: {error}", self.instance);
            }
        }
    }

    /// Gives the lease up, so that others take over at once.
    pub async fn leave(&self) {
        if *self.state() == State::Unshared {
            return;
        }
        if let Err(error) = self.control.leave(&self.instance).await {
            tracing::warn!(error = %error, "cannot give up the lease of {}: {error}", self.instance);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<(), TablesError> {
        let began = Instant::now();
        self.control.renew_lease(&self.instance, &self.roles, LEASE).await?;
        let instances = self.control.instances().await?;
        *self.state() = State::Held { until: began + LEASE - MARGIN };
        let projectors = instances.iter().filter(|it| it.leased && it.connected && is_projector(&it.roles));
        let projectors: Vec<&str> = projectors.map(|it| it.name.as_str()).collect();
        let assigned = assign(&self.instance, &projectors, &self.partitions);
        self.assignment.send_if_modified(|assignment| {
            let changed = *assignment != assigned;
            *assignment = assigned;
            changed
        });
        Ok(())
    }
}

fn is_projector(roles: &str) -> bool {
    roles.split(',').any(|role| role == PROJECTOR)
}

/// The partitions that are assigned to `instance` among `instances`, which are in order of name.
fn assign(instance: &str, instances: &[&str], partitions: &[Partition]) -> Vec<Partition> {
    let is_mine = |index: usize| instances.get(index % instances.len().max(1)) == Some(&instance);
    partitions.iter().enumerate().filter(|(index, _)| is_mine(*index)).map(|(_, partition)| *partition).collect()
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::Topic;

    use super::*;

    #[test]
    fn every_partition_is_assigned_to_exactly_one_instance() {
        let partitions: Vec<Partition> = (0..12).map(|id| Partition { topic: Topic::Events, id }).collect();
        for count in 1..15 {
            let names: Vec<String> = (0..count).map(|index| format!("i{index:02}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut assigned: Vec<Partition> =
                names.iter().flat_map(|name| assign(name, &names, &partitions)).collect();
            assigned.sort();
            assert_eq!(assigned, partitions, "{count} instances");
        }
        assert!(assign("absent", &["a"], &partitions).is_empty());
        assert!(assign("a", &[], &partitions).is_empty());
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
