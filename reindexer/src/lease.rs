//! This process's lease in control storage: whether it may answer, and which partitions it applies.
//!
//! Every process on a shared store holds a lease and renews it. With each renewal it reports which control rows it has
//! applied, so that a switch of generations can wait for it (`switch/lease.rs` has the rules). Partitions are assigned for
//! each version of a domain, to projectors that hold a lease and know the version; each computes the same assignment from
//! the list of leases. Two processes may disagree for a moment: compare-and-set on the checkpoints lets only one of them
//! commit each batch. A process whose lease expired by its own clock stops answering, which is strictly before others see
//! the lease expired.

mod assignment;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use daybook_projector::{
    tables::{LEASE, TablesError},
    throttle::Throttle,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub use self::assignment::{Assignment, Folded, WORKER};
use self::assignment::{PROJECTOR, has};
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
/// The end of a lease that nobody else could take.
const FOREVER: OwnTime = OwnTime(i64::MAX);
/// What a process has acknowledged of a domain whose control row it has not seen.
pub(crate) const NOTHING: Epoch = Epoch(-1);

/// The lease of one process.
pub struct Lease {
    control: Control,
    instance: String,
    roles: String,
    /// The versions of the domains that this process runs. It may add some while it has the lease.
    domains: RwLock<Vec<Folded>>,
    throttle: Arc<Throttle>,
    assignment: watch::Sender<Assignment>,
    rebuild_assignment: watch::Sender<Assignment>,
    /// The beginning of this process's own time.
    began: Instant,
    shared: bool,
    state: Mutex<State>,
    /// Renews before it is due.
    hurry: Notify,
    /// Why it was not renewed when that was last tried.
    failure: Mutex<Option<String>>,
    /// Held during a renewal.
    renewal: tokio::sync::Mutex<()>,
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
    /// How long its reads take, which is reported with each renewal.
    pub throttle: Arc<Throttle>,
}

impl Lease {
    fn new(control: Control, of: Holding, shared: bool) -> Self {
        let Holding { instance, roles, domains, throttle } = of;
        Self {
            control,
            instance,
            roles,
            domains: RwLock::new(domains),
            throttle,
            assignment: watch::Sender::default(),
            rebuild_assignment: watch::Sender::default(),
            began: Instant::now(),
            shared,
            state: Mutex::default(),
            hurry: Notify::new(),
            failure: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
        }
    }

    /// The lease of the only process on a store that is not shared: all partitions are assigned to it.
    pub fn unshared(control: Control, of: Holding) -> Self {
        let lease = Self::new(control, of, false);
        lease.assign_all();
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

    /// Adds a domain that this process runs from now on, or another version of one: it takes part in the assignment of its
    /// partitions, and reports which of its control rows it has acknowledged. Returns the epoch of the one that it must have
    /// applied before it answers anything of the domain. Can be repeated.
    pub async fn add(&self, domain: Folded) -> Result<Epoch, TablesError> {
        let name = domain.domain;
        self.remember(domain);
        if self.shared {
            self.renew().await?;
        } else {
            self.assign_all();
        }
        Ok(self.state().acknowledged(name))
    }

    /// Takes back [`Lease::add`] for a domain that could not be run: it is acknowledged and applied here no more.
    pub fn remove(&self, domain: &str) {
        self.domains.write().unwrap_or_else(PoisonError::into_inner).retain(|folded| folded.domain != domain);
        let mut state = self.state();
        state.required.remove(domain);
        state.applied.remove(domain);
        state.acknowledged.remove(domain);
    }

    /// Whether this process has applied a control row of a domain of this epoch, or a newer one.
    pub fn has_applied(&self, domain: &str, epoch: Epoch) -> bool {
        self.state().applied.get(domain).is_some_and(|applied| *applied >= epoch)
    }

    /// What this process applies, as it changes.
    pub fn assignment(&self) -> watch::Receiver<Assignment> {
        self.assignment.subscribe()
    }

    /// The same of generations that are being built: workers take part in them.
    pub fn rebuild_assignment(&self) -> watch::Receiver<Assignment> {
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
        let _renewal = self.renewal.lock().await;
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

    /// Adds a version of a domain, unless it is known.
    fn remember(&self, domain: Folded) {
        let mut domains = self.domains.write().unwrap_or_else(PoisonError::into_inner);
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }

    /// The names of the domains.
    fn names(&self) -> BTreeSet<&'static str> {
        self.folded().iter().map(|folded| folded.domain).collect()
    }

    /// The versions of the domains.
    fn folded(&self) -> Vec<Folded> {
        self.domains.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The groups of the partitions, as other processes see them.
    fn groups(&self) -> String {
        let groups: BTreeSet<String> = self.folded().iter().flat_map(Folded::groups).collect();
        groups.into_iter().collect::<Vec<_>>().join(",")
    }

    /// Assigns all partitions to this process, which is alone.
    fn assign_all(&self) {
        let all = Assignment::all(&self.folded());
        for assignment in [&self.assignment, &self.rebuild_assignment] {
            assignment.send_replace(all.clone());
        }
    }

    fn holding(&self) -> LeaseOf {
        let (instance, roles, topics) = (self.instance.clone(), self.roles.clone(), self.groups());
        LeaseOf { instance, roles, topics, reads_ms: self.throttle.own_ms() }
    }

    async fn extend(&self, number: LeaseNumber) -> Result<(), RenewError> {
        let (sent, state, domains) = (self.now(), self.state().clone(), self.names());
        let decide = move |seen: &LeaseSeen| {
            // A domain that was added begins with the row that is read here, as all do when the lease is taken.
            let of =
                |domain: &&'static str| state.acknowledged.get(domain).copied().unwrap_or_else(|| seen.epoch(domain));
            let acknowledged: BTreeMap<_, _> = domains.iter().map(|domain| (*domain, of(domain))).collect();
            let report = |domain: &&'static str| {
                let found = seen.domains.iter().find(|found| found.domain == **domain)?;
                Some(Report { row: &found.row, acknowledged: acknowledged[*domain] })
            };
            let reports: Vec<Report<'_>> = acknowledged.keys().filter_map(report).collect();
            let lease = seen.lease.ok_or(LeaseError::Expired)?;
            let lease = lease.renew(number, seen.now, expires_at(seen.now), &reports)?;
            Ok::<_, RenewError>(Granted { lease, acknowledged })
        };
        let granted = self.control.lease(self.holding(), decide).await?;
        let mut state = self.state();
        state.lease = Some(own(granted.lease.number, sent));
        for (domain, epoch) in granted.acknowledged {
            state.acknowledged.entry(domain).or_insert(epoch);
        }
        Ok(())
    }

    async fn take(&self) -> Result<(), RenewError> {
        let (sent, given_up, domains) = (self.now(), self.state().given_up, self.names());
        let decide = move |seen: &LeaseSeen| {
            let lease = Rules::join(seen.lease.as_ref(), given_up, seen.now, expires_at(seen.now))?;
            let acknowledged = domains.iter().map(|domain| (*domain, seen.epoch(domain))).collect();
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
        let folded = self.folded();
        for (assignment, roles) in
            [(&self.assignment, &[PROJECTOR][..]), (&self.rebuild_assignment, &[PROJECTOR, WORKER])]
        {
            let takes_part = |it: &&Instance| roles.iter().any(|role| has(&it.roles, role));
            let projectors: Vec<&Instance> = instances.iter().filter(is_there).filter(takes_part).collect();
            let assigned = Assignment::among(&self.instance, &projectors, &folded);
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

#[cfg(test)]
mod tests {
    use super::*;

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
