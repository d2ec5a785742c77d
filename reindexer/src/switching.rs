//! Carries out the steps of a switch: each is one transaction on the control row, decided by the rules in [`crate::switch`].
//!
//! Every step can be repeated, by any process: one that was made already is a conflict.

use std::{sync::Arc, time::Duration};

use daybook_projector::{
    bookkeeping::checkpoints::{self, LOCK, SET_LIVE},
    generation::Generation,
    search::state::Search,
    tables::{Params, TablesError},
};
use daybook_schemas::position::{Offset, Partition, Vector};
use futures_util::future::join_all;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    control::{ChangeError, Control, JointControl, NewState, Seen, State},
    lease::Lease,
    running::Platform,
    switch::{
        DatabaseTime, Epoch, GenerationId,
        control::{ControlRow, Reached, SwitchError},
        lease::Holder,
    },
};

/// How long instances may take to open a candidate, before anyone may withdraw its promotion.
const ANNOUNCED_MAX: Duration = Duration::from_secs(10);
/// How long instances may take to follow, before they can't renew their leases.
const FOLLOWING_MAX: Duration = Duration::from_secs(5);
/// How long instances may take to finish their requests on a generation that is retired.
const RETIRING_MAX: Duration = Duration::from_secs(60);
/// How long the live tables stand still until the candidate has reached them: at the first attempt, and at most. It is
/// less than a joint transaction may be idle.
const REACH_FIRST: Duration = Duration::from_millis(50);
const REACH_LONGEST: Duration = Duration::from_millis(200);
/// How long it is waited for a candidate that is behind, while writes go on.
const NEAR_MAX: Duration = Duration::from_secs(5);
/// How long it is waited before that until both indexes show what the live tables have.
const SHOWN_MAX: Duration = Duration::from_millis(250);

/// Carries out the steps for one domain.
#[derive(Clone)]
pub struct Switching {
    control: Control,
    lease: Arc<Lease>,
    domain: &'static str,
    verified_max: Duration,
}

/// The generations of a flip.
#[derive(Clone)]
pub struct Flip {
    /// The epoch at which the candidate was announced.
    pub expected: Epoch,
    /// The live generation.
    pub live: Arc<Generation>,
    /// The one that takes its place.
    pub candidate: Arc<Generation>,
    /// The candidate's search; none for a domain without.
    pub search: Option<Arc<Search>>,
    /// The live generation's, if this process has it.
    pub live_search: Option<Arc<Search>>,
    /// How many attempts have failed.
    pub failed: u32,
}

/// Who must acknowledge: the instances with a lease, or the one that is alone.
fn holders<'s>(seen: &'s Seen, lone: Option<&'s Holder>) -> &'s [Holder] {
    lone.map_or(&seen.holders, std::slice::from_ref)
}

fn until(now: DatabaseTime, time: Duration) -> DatabaseTime {
    DatabaseTime(now.0 + i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

impl Switching {
    /// The steps for a domain. A process that is alone acknowledges through its lease, not through control storage.
    pub fn new(platform: &Platform) -> Self {
        let (control, lease, domain) = (platform.control.clone(), Arc::clone(&platform.lease), platform.domain());
        Self { control, lease, domain, verified_max: platform.settings.verified_max }
    }

    /// Begins to promote a generation. One that was verified too long ago is refused.
    pub async fn announce(&self, expected: Epoch, candidate: GenerationId) -> Result<ControlRow, ChangeError> {
        let verified_max = self.verified_max;
        let decide = move |seen: &Seen| {
            seen.expect_state(candidate.0, |state| matches!(state, State::Ready | State::Previous))?;
            seen.expect_verified(candidate.0, verified_max)?;
            Ok(seen.row.announce(expected, candidate, until(seen.now, ANNOUNCED_MAX))?)
        };
        self.control.change(self.domain, Vec::new(), decide).await
    }

    /// Gives up a promotion that any process announced, after its deadline.
    pub async fn withdraw_overdue(&self, expected: Epoch) -> Result<ControlRow, ChangeError> {
        let decide = move |seen: &Seen| Ok(seen.row.withdraw_overdue(expected, seen.now)?);
        self.control.change(self.domain, Vec::new(), decide).await
    }

    /// Ends a promotion once every instance has followed.
    pub async fn complete(&self, expected: Epoch) -> Result<ControlRow, ChangeError> {
        let lone = self.lease.lone_holder(self.domain);
        let decide = move |seen: &Seen| Ok(seen.row.complete(expected, seen.now, holders(seen, lone.as_ref()))?);
        self.control.change(self.domain, Vec::new(), decide).await
    }

    /// Begins to retire the previous generation.
    pub async fn retire(&self, expected: Epoch) -> Result<ControlRow, ChangeError> {
        let decide = move |seen: &Seen| Ok(seen.row.retire(expected, until(seen.now, RETIRING_MAX))?);
        self.control.change(self.domain, Vec::new(), decide).await
    }

    /// Ends the retirement once no instance reads the previous generation.
    pub async fn retired(&self, expected: Epoch, previous: GenerationId) -> Result<ControlRow, ChangeError> {
        let lone = self.lease.lone_holder(self.domain);
        let decide = move |seen: &Seen| Ok(seen.row.retired(expected, seen.now, holders(seen, lone.as_ref()))?);
        self.control.change(self.domain, vec![NewState::new(previous.0, State::Retired)], decide).await
    }

    /// Makes the announced candidate live, in one transaction over control storage and the tables of both generations. If
    /// the candidate is behind, nothing changes.
    pub async fn flip(&self, flip: Flip) -> Result<ControlRow, ChangeError> {
        show_applied(&flip).await;
        // What was written before the live tables stand still is not waited for while they do. The index has what the live
        // one shows now: searches wait for the rest.
        let near = flip.live.progress.applied();
        let shown = flip.live_search.as_ref().map_or_else(|| near.clone(), |search| search.visible());
        let reached = async {
            flip.candidate.progress.wait_for(&near).await;
            if let Some(search) = &flip.search {
                search.wait(&shown).await;
            }
        };
        if timeout(NEAR_MAX, reached).await.is_err() {
            let tables = flip.candidate.progress.applied().lag(&near);
            let index = flip.search.as_ref().map_or(0, |search| search.lag(&shown));
            return Err(SwitchError::Lag(tables.max(index).max(1)).into());
        }
        let (this, runtime) = (self.clone(), Handle::current());
        let flipped = tokio::task::spawn_blocking(move || this.flip_blocking(&flip, &runtime)).await;
        self.control.wake();
        flipped.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a switch ended: {e}")).into()))
    }

    fn flip_blocking(&self, flip: &Flip, runtime: &Handle) -> Result<ControlRow, ChangeError> {
        let Flip { expected, live, candidate, failed, .. } = flip;
        let store = self.control.store();
        let nothing = Params::One(Vec::new());
        let mut joint = store.begin_joint()?;
        let has_own_tables = candidate.schema != live.schema;
        // From here on the live tables stand still.
        let reached = checkpoints::of_rows(&joint.read(&live.schema, &LOCK, &nothing)?)?.next;
        let reach_max = REACH_LONGEST.min(REACH_FIRST * 2u32.saturating_pow(*failed));
        let near = async { timeout(reach_max, candidate.progress.wait_for(&reached)).await };
        if runtime.block_on(near).is_err() {
            return Err(SwitchError::Lag(candidate.progress.applied().lag(&reached).max(1)).into());
        }
        let (schema, domain) = (store.control_schema(), self.domain);
        let (row, now) = JointControl { joint: joint.as_mut(), schema: schema.clone(), domain }.lock()?;
        let tables = checkpoints::of_rows(&joint.read(&candidate.schema, &LOCK, &nothing)?)?.next;
        let flipped = row.flip(*expected, now, &of_all(&reached, &tables), until(now, FOLLOWING_MAX))?;
        let states = [NewState::new(live.number, State::Previous), NewState::new(candidate.number, State::Live)];
        if has_own_tables {
            joint.execute(&live.schema, &SET_LIVE, &Params::One(vec![0.into()]))?;
        }
        JointControl { joint: joint.as_mut(), schema, domain }.write(&flipped, &states)?;
        if has_own_tables {
            joint.execute(&candidate.schema, &SET_LIVE, &Params::One(vec![1.into()]))?;
        }
        joint.commit()?;
        Ok(flipped)
    }
}

/// Waits a moment until both indexes show what the live tables have now. So no refresh is under way at the flip, and a
/// search waits afterwards only for one, of the last writes. Before and after it finds nearly the same, also through a
/// process that follows later. An index that needs longer holds up no promotion.
async fn show_applied(flip: &Flip) {
    let applied = flip.live.progress.applied();
    let indexes = [&flip.search, &flip.live_search].into_iter().flatten();
    let shown = join_all(indexes.map(|search| search.wait(&applied)));
    // Searches wait for what is not shown.
    let _shown = timeout(SHOWN_MAX, shown).await;
}

/// What the tables of a candidate have reached in each partition of the live tables.
fn of_all(live: &Vector, tables: &Vector) -> Vec<Reached> {
    let reached = |(partition, live): (&Partition, &Offset)| Reached { live: *live, tables: tables.next(*partition) };
    live.0.iter().map(reached).collect()
}
