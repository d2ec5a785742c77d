//! This process's lease in control storage: whether it may answer, and which partitions it applies.
//!
//! Every process on a shared store holds a lease and renews it. With each renewal it reports which control rows it has
//! applied, so that a switch of generations can wait for it (`switch/lease.rs` has the rules). Partitions are assigned to
//! projectors that hold a lease and have the same fingerprint of the domain, because each program applies the generations
//! of its own fingerprint; each computes the same assignment from the list of leases. Two processes may disagree for
//! a moment: compare-and-set on the checkpoints lets only one of them commit each batch. A process whose lease expired by
//! its own clock stops answering, which is strictly before others see the lease expired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_projector::{
    generation,
    projection::Projection,
    tables::{LEASE, TablesError},
    throttle::Throttle,
};
use daybook_schemas::{Topic, position::Partition};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    control::{Control, Granted, Instance, LeaseOf, LeaseSeen},
    switch::{
        DatabaseTime, Epoch, OwnTime,
        instance::OwnLease,
        lease::{Holder, Lease as Rules, LeaseError, LeaseNumber, Report},
    },
};

/// How much earlier a lease ends by the process's own clock than in control storage, to allow for clock drift.
const MARGIN: Duration = Duration::from_millis(500);
/// Time to the next attempt to renew a lease after one that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long the name of a process is kept after its lease expired.
const EXPIRED_KEPT: Duration = Duration::from_secs(60);
/// The role that partitions are assigned to.
const PROJECTOR: &str = "projector";
/// The role of a process that takes part in rebuilds only.
pub const WORKER: &str = "worker";
/// The end of a lease that nobody else could take.
const FOREVER: OwnTime = OwnTime(i64::MAX);
/// What a process has acknowledged of a domain whose control row it has not seen.
const NOTHING: Epoch = Epoch(-1);

/// The lease of one process.
pub struct Lease {
    control: Control,
    instance: String,
    roles: String,
    topics: String,
    domains: Vec<&'static str>,
    partitions: Vec<Assigned>,
    throttle: Arc<Throttle>,
    assignment: watch::Sender<Vec<Partition>>,
    rebuild_assignment: watch::Sender<Vec<Partition>>,
    /// The beginning of this process's own time.
    began: Instant,
    shared: bool,
    state: Mutex<State>,
    /// Renews before it is due.
    hurry: Notify,
    /// Why it was not renewed when that was last tried.
    failure: Mutex<Option<String>>,
}

/// What this process knows of its lease.
#[derive(Debug, Clone, Default)]
struct State {
    /// The lease; `None` if it was not granted yet, or was given up.
    lease: Option<OwnLease>,
    /// The number of the lease that was given up.
    given_up: Option<LeaseNumber>,
    /// The epochs of the control rows that were read when the lease was granted: it does not hold before they are applied.
    required: BTreeMap<&'static str, Epoch>,
    /// The epochs that this process has applied.
    applied: BTreeMap<&'static str, Epoch>,
    /// Those that it acknowledges.
    acknowledged: BTreeMap<&'static str, Epoch>,
}

impl State {
    fn held_at(&self, now: OwnTime) -> Option<OwnLease> {
        let is_applied =
            |(domain, epoch): (&&str, &Epoch)| self.applied.get(*domain).is_some_and(|applied| applied >= epoch);
        self.lease.filter(|lease| now < lease.until && self.required.iter().all(is_applied))
    }

    fn acknowledged(&self, domain: &str) -> Epoch {
        self.acknowledged.get(domain).copied().unwrap_or(NOTHING)
    }
}

/// Why a lease was not renewed.
#[derive(Debug, Clone, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Rules(#[from] LeaseError),
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// For which process a lease is.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The name of the process.
    pub instance: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// Its domains.
    pub domains: Vec<Folded>,
    /// All partitions of the log.
    pub partitions: Vec<Partition>,
    /// How long its reads take, which is reported with each renewal.
    pub throttle: Arc<Throttle>,
}

/// A domain as this program folds it.
#[derive(Debug, Clone)]
pub struct Folded {
    /// Its name.
    pub domain: &'static str,
    /// The topics that are folded.
    pub topics: Vec<Topic>,
    /// The fingerprint of its generations.
    pub fingerprint: String,
}

impl Folded {
    /// A projection's domain.
    pub fn of(projection: &dyn Projection) -> Result<Self, TablesError> {
        let (domain, topics) = (projection.domain(), projection.topics());
        Ok(Self { domain, topics, fingerprint: generation::fingerprint(projection)? })
    }
}

/// Partitions that are assigned together: those of one topic, among programs of one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assigned {
    partition: Partition,
    /// The topic and the fingerprint, as in the list of an instance.
    group: String,
}

impl Lease {
    fn new(control: Control, of: Holding, shared: bool) -> Self {
        let Holding { instance, roles, domains, partitions, throttle } = of;
        let group = |partition: &Partition| {
            let of_topic = domains.iter().find(|folded| folded.topics.contains(&partition.topic))?;
            Some(format!("{}@{}", partition.topic.name(), of_topic.fingerprint))
        };
        let assigned = |partition: &Partition| Some(Assigned { partition: *partition, group: group(partition)? });
        let partitions: Vec<Assigned> = partitions.iter().filter_map(assigned).collect();
        let topics: BTreeSet<&str> = partitions.iter().map(|assigned| assigned.group.as_str()).collect();
        let topics = topics.into_iter().collect::<Vec<_>>().join(",");
        let domains = domains.iter().map(|folded| folded.domain).collect();
        Self {
            control,
            instance,
            roles,
            topics,
            domains,
            partitions,
            throttle,
            assignment: watch::Sender::default(),
            rebuild_assignment: watch::Sender::default(),
            began: Instant::now(),
            shared,
            state: Mutex::default(),
            hurry: Notify::new(),
            failure: Mutex::default(),
        }
    }

    /// The lease of the only process on a store that is not shared: all partitions are assigned to it.
    pub fn unshared(control: Control, of: Holding) -> Self {
        let lease = Self::new(control, of, false);
        for assignment in [&lease.assignment, &lease.rebuild_assignment] {
            assignment.send_replace(lease.partitions.iter().map(|assigned| assigned.partition).collect());
        }
        lease.state().lease = Some(OwnLease { number: LeaseNumber(1), until: FOREVER });
        lease
    }

    /// Joins the processes of a shared store: takes a lease and a first assignment.
    pub async fn join(control: Control, of: Holding) -> Result<Self, TablesError> {
        let lease = Self::new(control, of, true);
        lease.renew().await?;
        lease.control.forget_expired(EXPIRED_KEPT).await?;
        Ok(lease)
    }

    /// The partitions that this process applies, as they change.
    pub fn assignment(&self) -> watch::Receiver<Vec<Partition>> {
        self.assignment.subscribe()
    }

    /// Those of generations that are being built: workers take part in them.
    pub fn rebuild_assignment(&self) -> watch::Receiver<Vec<Partition>> {
        self.rebuild_assignment.subscribe()
    }

    /// How long reads take, and what rebuilds pause for that.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The lease, if it holds now. A process without it must not answer.
    pub fn held(&self) -> Option<OwnLease> {
        self.state().held_at(self.now())
    }

    /// Whether the lease holds now.
    pub fn is_held(&self) -> bool {
        self.held().is_some()
    }

    /// The time by this process's own clock.
    pub fn now(&self) -> OwnTime {
        OwnTime(millis(self.began.elapsed()))
    }

    /// Notes which control row of a domain this process has applied, and which it acknowledges. Others learn it soon.
    pub fn acknowledge(&self, domain: &'static str, applied: Epoch, acknowledged: Epoch) {
        let mut state = self.state();
        state.applied.insert(domain, applied);
        if state.acknowledged.insert(domain, acknowledged) != Some(acknowledged) {
            self.hurry.notify_one();
        }
    }

    /// From now on nothing of a domain is answered before a control row of this epoch, or a newer one, is applied: for a
    /// program that cannot read the generation that is live. Others need not wait for it.
    pub fn stand_back(&self, domain: &'static str, epoch: Epoch) {
        let mut state = self.state();
        state.required.insert(domain, epoch);
        if state.acknowledged.insert(domain, epoch) != Some(epoch) {
            self.hurry.notify_one();
        }
    }

    /// This process as the control row of a domain sees it, if control storage does not show it: it is alone.
    pub fn lone_holder(&self, domain: &str) -> Option<Holder> {
        let lease = Rules { number: LeaseNumber(1), expires_at: DatabaseTime(i64::MAX) };
        (!self.shared).then(|| Holder { lease, acknowledged: self.state().acknowledged(domain) })
    }

    /// Why this process has no lease, or cannot renew it and will have none soon.
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failure = failure.map(|failure| format!("cannot be renewed: {failure}"));
        failure.or_else(|| (!self.is_held()).then(|| "not held".to_owned()))
    }

    /// Renews the lease until the task is dropped.
    pub async fn keep(&self) {
        if !self.shared {
            return;
        }
        let mut pause = LEASE / 3;
        loop {
            // Either is a reason to renew.
            let _due = tokio::time::timeout(pause, self.hurry.notified()).await;
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
        if !self.shared {
            return;
        }
        self.state().lease = None;
        if let Err(error) = self.control.leave(&self.instance).await {
            tracing::warn!(error = %error, "cannot release the lease of {}: {error}", self.instance);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease. One that cannot be renewed is given up, and taken under a new number.
    async fn renew(&self) -> Result<(), TablesError> {
        let held = self.state().lease;
        if let Some(lease) = held {
            match self.extend(lease.number).await {
                Ok(()) => return self.assign().await,
                Err(RenewError::Tables(error)) => return Err(error),
                Err(RenewError::Rules(error)) => {
                    tracing::warn!(error = %error, "the lease of {} was lost: {error}", self.instance);
                    let mut state = self.state();
                    // From now on nothing is answered under it.
                    (state.lease, state.given_up) = (None, Some(lease.number));
                }
            }
        }
        match self.take().await {
            Ok(()) => self.assign().await,
            Err(RenewError::Tables(error)) => Err(error),
            Err(RenewError::Rules(error)) => Err(TablesError::Conflict(error.to_string())),
        }
    }

    fn holding(&self) -> LeaseOf {
        let (instance, roles, topics) = (self.instance.clone(), self.roles.clone(), self.topics.clone());
        LeaseOf { instance, roles, topics, reads_ms: self.throttle.own_ms() }
    }

    async fn extend(&self, number: LeaseNumber) -> Result<(), RenewError> {
        let (sent, state) = (self.now(), self.state().clone());
        let acknowledged: BTreeMap<&'static str, Epoch> =
            self.domains.iter().map(|domain| (*domain, state.acknowledged(domain))).collect();
        let decide = move |seen: &LeaseSeen| {
            let report = |domain: &&'static str| {
                let found = seen.domains.iter().find(|found| found.domain == **domain)?;
                Some(Report { row: &found.row, acknowledged: acknowledged[*domain] })
            };
            let reports: Vec<Report<'_>> = acknowledged.keys().filter_map(report).collect();
            let lease = seen.lease.ok_or(LeaseError::Expired)?;
            let lease = lease.renew(number, seen.now, expires_at(seen.now), &reports)?;
            Ok::<_, RenewError>(Granted { lease, acknowledged: acknowledged.clone() })
        };
        let granted = self.control.lease(self.holding(), decide).await?;
        self.state().lease = Some(own(granted.lease.number, sent));
        Ok(())
    }

    async fn take(&self) -> Result<(), RenewError> {
        let (sent, given_up, domains) = (self.now(), self.state().given_up, self.domains.clone());
        let decide = move |seen: &LeaseSeen| {
            let lease = Rules::join(seen.lease.as_ref(), given_up, seen.now, expires_at(seen.now))?;
            let found = |domain: &str| seen.domains.iter().find(|found| found.domain == domain);
            let epoch = |domain: &str| found(domain).map_or(NOTHING, |found| found.row.epoch);
            let acknowledged = domains.iter().map(|domain| (*domain, epoch(domain))).collect();
            Ok::<_, RenewError>(Granted { lease, acknowledged })
        };
        let granted = self.control.lease(self.holding(), decide).await?;
        let mut state = self.state();
        state.lease = Some(own(granted.lease.number, sent));
        state.required = granted.acknowledged.clone();
        // What a domain's first generation needs is acknowledged when it is there.
        state.required.retain(|_, epoch| *epoch > NOTHING);
        for (domain, epoch) in granted.acknowledged {
            let acknowledged = state.acknowledged.entry(domain).or_insert(epoch);
            *acknowledged = epoch.max(*acknowledged);
        }
        drop(state);
        // Who applies control rows looks at once.
        self.control.wake();
        Ok(())
    }

    async fn assign(&self) -> Result<(), TablesError> {
        let instances = self.control.instances().await?;
        let others = instances.iter().filter(|it| it.leased && it.name != self.instance);
        self.throttle.hear(others.map(|it| it.reads_ms).max().unwrap_or(0));
        let is_there = |it: &&Instance| it.leased && it.connected;
        for (assignment, roles) in
            [(&self.assignment, &[PROJECTOR][..]), (&self.rebuild_assignment, &[PROJECTOR, WORKER])]
        {
            let takes_part = |it: &&Instance| roles.iter().any(|role| has(&it.roles, role));
            let projectors: Vec<&Instance> = instances.iter().filter(is_there).filter(takes_part).collect();
            let assigned = assign(&self.instance, &projectors, &self.partitions);
            assignment.send_if_modified(|before| {
                let changed = *before != assigned;
                *before = assigned;
                changed
            });
        }
        Ok(())
    }
}

/// The lease as this process sees it, if its renewal was sent at `sent`.
fn own(number: LeaseNumber, sent: OwnTime) -> OwnLease {
    OwnLease { number, until: OwnTime(sent.0 + millis(LEASE - MARGIN)) }
}

fn expires_at(now: DatabaseTime) -> DatabaseTime {
    DatabaseTime(now.0 + millis(LEASE))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a comma-separated list has an item.
fn has(list: &str, item: &str) -> bool {
    list.split(',').any(|other| other == item)
}

/// The partitions that are assigned to `instance` among these projectors, which are in order of name.
///
/// A partition goes to one of those that know its topic and have its fingerprint, chosen by what all of them see alike. So
/// programs with different domains or fingerprints run side by side, as in a rolling upgrade.
fn assign(instance: &str, projectors: &[&Instance], partitions: &[Assigned]) -> Vec<Partition> {
    let is_mine = |Assigned { partition, group }: &&Assigned| {
        let able: Vec<&str> =
            projectors.iter().filter(|it| has(&it.topics, group)).map(|it| it.name.as_str()).collect();
        // Topics begin with different projectors, so that small ones are not all assigned to the first.
        let first: usize = partition.topic.name().bytes().map(usize::from).sum();
        let index = first + usize::try_from(partition.id).unwrap_or(0);
        able.get(index % able.len().max(1)) == Some(&instance)
    };
    partitions.iter().filter(is_mine).map(|assigned| assigned.partition).collect()
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::Declaration;

    use super::*;

    const EVENTS: Topic = Topic::new(&Declaration { name: "test", compacted: false, partitions: 2 });

    const OTHER: Topic = Topic::new(&Declaration { name: "other", compacted: false, partitions: 2 });

    fn projector(index: usize, topics: &str) -> Instance {
        let (name, roles, topics) = (format!("i{index:02}"), PROJECTOR.to_owned(), topics.to_owned());
        Instance { name, roles, topics, leased: true, connected: true, reads_ms: 0 }
    }

    fn partitions(topics: &[Topic]) -> Vec<Assigned> {
        let assigned =
            |topic: Topic, id| Assigned { partition: Partition { topic, id }, group: topic.name().to_owned() };
        topics.iter().flat_map(|topic| (0..12).map(|id| assigned(*topic, id))).collect()
    }

    fn all(partitions: &[Assigned]) -> Vec<Partition> {
        partitions.iter().map(|assigned| assigned.partition).collect()
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
            assert_eq!(assigned, all(&partitions), "{count} instances");
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
            let mut expected = all(&new);
            assigned.sort();
            expected.sort();
            assert_eq!(assigned, expected, "{olds} old, {news} new");
        }
    }

    #[test]
    fn a_lease_ends_by_the_own_clock_before_it_does_for_others() {
        let lease = own(LeaseNumber(1), OwnTime(100));
        let held = |now| State { lease: Some(lease), ..State::default() }.held_at(OwnTime(now)).is_some();
        assert!(held(100) && held(100 + millis(LEASE - MARGIN) - 1));
        assert!(!held(100 + millis(LEASE - MARGIN)));
        assert!(expires_at(DatabaseTime(100)).0 > lease.until.0);
    }

    #[test]
    fn a_lease_does_not_hold_before_the_control_rows_that_were_read_with_it_are_applied() {
        let mut state = State { lease: Some(own(LeaseNumber(1), OwnTime(0))), ..State::default() };
        state.required.insert("one", Epoch(3));
        assert!(state.held_at(OwnTime(0)).is_none());
        state.applied.insert("one", Epoch(2));
        assert!(state.held_at(OwnTime(0)).is_none());
        state.applied.insert("one", Epoch(3));
        assert!(state.held_at(OwnTime(0)).is_some());
    }
}
