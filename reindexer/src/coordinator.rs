//! Takes the candidate of a domain from one state to the next, and carries out promotions and retirements.
//!
//! One process coordinates the generations of one version: the one to which the first partition is assigned. If two
//! disagree for a moment, they repeat each other's steps: every step is a compare-and-set in control storage, and so is
//! what a new coordinator finds after a crash.

mod ended;
mod late;
mod live_name;
mod room;
mod verified;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_projector::{bookkeeping::quarantine, chain, generation::Generation, tables::TablesError};
use daybook_schemas::position::{Partition, Position, Vector};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use self::{ended::Ended, verified::verified};
use crate::{
    control::{ChangeError, Control, Entry, NewState, State},
    lease::Assignment,
    open::{OpenError, make_candidate},
    plan,
    running::{Open, Platform},
    switch::{
        GenerationId,
        control::{ControlRow, Phase, SwitchError},
    },
    switching::{Flip, Switching},
    upgrade,
    verify::{Limits, Report, VerifyError},
    version::Version,
    watcher::Serving,
};

/// Between two looks while something is under way.
const LOOK: Duration = Duration::from_millis(200);
/// The same while nothing is, in case a notification was lost.
const LOOK_IDLE: Duration = Duration::from_secs(5);
/// The same while a switch is under way.
const LOOK_SWITCHING: Duration = Duration::from_millis(20);
/// Between two attempts to promote: the live tables stand still for a moment in each.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at the room on the disk.
const ROOM_LOOK: Duration = Duration::from_secs(2);
/// The pause after a step that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Records that a candidate may be behind the live generation when it is verified.
const VERIFIED_LAG_MAX: i64 = 10_000;
/// Why a candidate that was ready is not any longer.
pub(crate) const VERIFIED_TOO_LONG_AGO: &str = "it was verified too long ago, or another generation was live then";

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the background work ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// Coordinates one domain.
pub struct Coordinator {
    platform: Platform,
    serving: watch::Receiver<Serving>,
    assignment: watch::Receiver<Assignment>,
    switching: Switching,
    /// Generations that have ended, and what is left of them.
    ended: BTreeMap<i64, Ended>,
    /// Tables of a candidate are being made.
    making: Option<Making>,
    verification: Option<Verification>,
    /// Before then, no other attempt is made to promote.
    next_attempt: Option<Instant>,
    /// Attempts that have failed in a row.
    failed: u32,
    /// The id of the index to which the name for others leads.
    pointed: Option<String>,
    /// Before then, no other attempt is made to let it lead there.
    next_point: Option<Instant>,
    /// When the room on the disk was last looked at.
    room_looked: Option<Instant>,
}

/// Tables that are being made.
struct Making {
    generation: i64,
    outcome: JoinHandle<Result<(), OpenError>>,
}

/// A verification under way.
struct Verification {
    generation: i64,
    /// The live generation that it is compared with.
    live: i64,
    outcome: JoinHandle<Result<Report, VerifyError>>,
}

impl Coordinator {
    /// A coordinator that works whenever this process has the domain's first partition, of some version.
    pub fn new(platform: Platform, serving: watch::Receiver<Serving>) -> Self {
        let (switching, assignment) = (Switching::new(&platform), platform.lease.assignment());
        Self {
            platform,
            serving,
            assignment,
            switching,
            ended: BTreeMap::new(),
            making: None,
            verification: None,
            next_attempt: None,
            failed: 0,
            pointed: None,
            next_point: None,
            room_looked: None,
        }
    }

    /// Coordinates until the task is dropped.
    pub async fn coordinate(mut self) {
        let mut changes = self.platform.control.changes();
        loop {
            changes.mark_unchanged();
            let mut pause = LOOK;
            if self.platform.versions.all().iter().any(|version| self.coordinates(version)) {
                match self.step().await {
                    Ok(next) => pause = next,
                    Err(error) => {
                        let (domain, chain) = (self.platform.domain(), chain(&error));
                        tracing::warn!(domain, error = chain, "a rebuild of {domain} waits: {chain}");
                        tokio::time::sleep(FAILED_PAUSE).await;
                    }
                }
            } else {
                // Another process may let the name for others lead elsewhere.
                self.pointed = None;
                pause = LOOK_IDLE;
            }
            // Each is a reason to look.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = changes.changed() => {}
                _ = self.assignment.changed() => {}
            }
        }
    }

    /// Whether this process coordinates the generations of a version.
    fn coordinates(&self, version: &Version) -> bool {
        let Some(topic) = version.projection.topics().first().copied() else { return false };
        let first = Partition { topic, id: 0 };
        self.assignment.borrow().of(&version.fingerprint).contains(&first)
    }

    fn control(&self) -> &Control {
        &self.platform.control
    }

    /// Makes the next step, if there is one. The time until the next look.
    async fn step(&mut self) -> Result<Duration, StepError> {
        let domain = self.platform.domain();
        let Some(row) = self.control().domain(domain).await? else { return Ok(LOOK) };
        let entries = self.control().generations(domain).await?;
        match row.phase {
            Phase::Announced { candidate, .. } => self.promote(&row, candidate).await?,
            Phase::Following { .. } => acknowledged(self.switching.complete(row.epoch).await)?,
            Phase::Retiring { .. } => {
                if let Some(previous) = row.previous {
                    acknowledged(self.switching.retired(row.epoch, previous).await)?;
                }
            }
            Phase::Idle => self.advance(&row, &entries).await?,
        }
        Ok(match row.phase {
            Phase::Idle if entries.iter().all(|entry| self.is_done(entry)) => LOOK_IDLE,
            Phase::Idle => LOOK,
            _ => LOOK_SWITCHING,
        })
    }

    /// Whether there is nothing to do for a generation.
    fn is_done(&self, entry: &Entry) -> bool {
        let is_removed = || matches!(self.ended.get(&entry.generation), Some(Ended::Removed));
        !entry.state.is_unpromoted() && (!entry.is_gone() || is_removed())
    }

    /// Tries to make the announced candidate live, until it is, or too late.
    async fn promote(&mut self, row: &ControlRow, candidate: GenerationId) -> Result<(), StepError> {
        if self.next_attempt.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        let domain = self.platform.domain();
        let serving = self.serving.borrow().clone();
        let is_current = serving.current.generation.number == row.live.0;
        let behind = match serving.open.get(&candidate.0).filter(|_| is_current) {
            Some(open) => {
                open.warm().await;
                let (live, candidate) = (Arc::clone(&serving.current.generation), Arc::clone(&open.generation));
                let (live_search, search) = (serving.current.search.clone(), open.search.clone());
                let flip = Flip { expected: row.epoch, live, candidate, search, live_search, failed: self.failed };
                match self.switching.flip(flip).await {
                    Err(ChangeError::Switch(SwitchError::Lag(lag))) => format!("it is {lag} records behind"),
                    Err(ChangeError::Switch(SwitchError::Overdue)) => "it is too late".to_owned(),
                    // Or somebody else made the step.
                    Ok(_) | Err(ChangeError::Switch(_)) => {
                        self.failed = 0;
                        return Ok(());
                    }
                    Err(ChangeError::Tables(error)) if error.is_retryable() => error.to_string(),
                    Err(error) => return Err(error.into()),
                }
            }
            None => "it is not open here".to_owned(),
        };
        (self.next_attempt, self.failed) = (Some(Instant::now() + ATTEMPT_PAUSE), self.failed + 1);
        match self.switching.withdraw_overdue(row.epoch).await {
            Ok(_) => {
                let number = candidate.0;
                tracing::warn!(
                    domain,
                    generation = number,
                    "generation {number} of {domain} is not promoted: {behind}"
                );
                Ok(())
            }
            Err(ChangeError::Switch(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What there is to do while no switch is under way.
    async fn advance(&mut self, row: &ControlRow, entries: &[Entry]) -> Result<(), StepError> {
        self.point(row).await;
        if let Err(error) = self.remove_ended(entries).await {
            let (domain, chain) = (self.platform.domain(), chain(&error));
            tracing::warn!(domain, error = chain, "what has ended of {domain} is not removed yet: {chain}");
        }
        for candidate in entries.iter().filter(|entry| entry.state.is_unpromoted()) {
            let Some(platform) = self.platform.of(&candidate.fingerprint) else { continue };
            if !self.coordinates(&platform.version) {
                continue;
            }
            match self.advance_candidate(&platform, row, candidate, entries).await {
                // One that shows the past holds up nothing else.
                Err(error) if candidate.is_past() => {
                    let (number, chain) = (candidate.generation, chain(&error));
                    tracing::warn!(
                        domain = self.platform.domain(),
                        error = chain,
                        "generation {number} waits: {chain}"
                    );
                }
                outcome => outcome?,
            }
        }
        let previous = entries.iter().find(|entry| Some(GenerationId(entry.generation)) == row.previous);
        if let Some(previous) = previous
            && self.previous_max().is_some_and(|max| previous.age() > max)
        {
            self.switching.retire(row.epoch).await?;
        }
        Ok(())
    }

    /// How long the previous generation is kept.
    fn previous_max(&self) -> Option<Duration> {
        let of_version = self.platform.versions.newest().settings.previous_max;
        of_version.or(self.platform.settings.previous_max)
    }

    async fn advance_candidate(
        &mut self,
        platform: &Platform,
        row: &ControlRow,
        candidate: &Entry,
        entries: &[Entry],
    ) -> Result<(), StepError> {
        let serving = self.serving.borrow().clone();
        if self.stop_late(platform, candidate, &serving).await? {
            return Ok(());
        }
        if candidate.state == State::Planned {
            return self.make(platform, candidate).await;
        }
        let Some(open) = serving.open.get(&candidate.generation) else { return Ok(()) };
        let live = &serving.current;
        if let Some(max) = self.limits(candidate).quarantined
            && let Some(reason) = refuses_more(max, &live.generation, &open.generation).await?
        {
            return self.move_to(candidate, State::Failed, reason).await;
        }
        if candidate.state != State::Ready && self.room_looked.is_none_or(|looked| looked.elapsed() >= ROOM_LOOK) {
            self.room_looked = Some(Instant::now());
            if let Some(shortage) = room::shortage(platform, live, open).await {
                return self.move_to(candidate, State::Failed, shortage).await;
            }
        }
        match candidate.state {
            State::Loading if open.generation.progress.applied().reaches(&goal(candidate)) => {
                let next = if open.search.is_some() { State::Indexing } else { after_load(candidate) };
                self.move_to(candidate, next, String::new()).await
            }
            State::Indexing if is_indexed(open, &goal(candidate)) => {
                self.move_to(candidate, after_load(candidate), String::new()).await
            }
            State::Ready if candidate.is_past() => Ok(()),
            State::Tailing if lag(live, open) <= VERIFIED_LAG_MAX => {
                self.move_to(candidate, State::Verifying, String::new()).await
            }
            State::Verifying => self.verify(platform, row, candidate, live, open).await,
            State::Ready if candidate.age() > self.platform.settings.verified_max => self.expire(candidate).await,
            State::Ready if candidate.is_of_former_live(entries) => self.expire(candidate).await,
            State::Ready if candidate.promotes => self.announce(row, candidate).await,
            _ => Ok(()),
        }
    }

    /// Makes the empty tables of a candidate, in the background: to find where the past ends can take long.
    async fn make(&mut self, platform: &Platform, candidate: &Entry) -> Result<(), StepError> {
        let generation = candidate.generation;
        // What is made for one that was cancelled removes itself.
        match self.making.take().filter(|making| making.generation == generation) {
            None => {
                let (platform, candidate) = (platform.clone(), candidate.clone());
                let outcome = tokio::spawn(async move { make_candidate(&platform, &candidate).await });
                self.making = Some(Making { generation, outcome });
                Ok(())
            }
            Some(making) if !making.outcome.is_finished() => {
                self.making = Some(making);
                Ok(())
            }
            Some(finished) => match finished.outcome.await? {
                Err(error) if error.is_of_log() => self.move_to(candidate, State::Failed, chain(&error)).await,
                outcome => Ok(outcome?),
            },
        }
    }

    /// How much a candidate may differ.
    fn limits(&self, candidate: &Entry) -> Limits {
        let limits = self.platform.settings.limits;
        let quarantined = limits.quarantined.filter(|_| !candidate.accepts_quarantine);
        Limits { quarantined, ..limits }
    }

    async fn verify(
        &mut self,
        platform: &Platform,
        row: &ControlRow,
        candidate: &Entry,
        live: &Open,
        open: &Open,
    ) -> Result<(), StepError> {
        let number = candidate.generation;
        match self.verification.take().filter(|running| running.generation == number) {
            None => {
                let (platform, of_live, open) = (platform.clone(), live.clone(), open.clone());
                let limits = self.limits(candidate);
                let outcome = tokio::spawn(async move { verified(&platform, &of_live, &open, &limits).await });
                let live = live.generation.number;
                self.verification = Some(Verification { generation: number, live, outcome });
                Ok(())
            }
            Some(running) if !running.outcome.is_finished() => {
                self.verification = Some(running);
                Ok(())
            }
            // Another generation is live now.
            Some(finished) if finished.live != row.live.0 => self.expire(candidate).await,
            Some(finished) => match finished.outcome.await? {
                Ok(report) => {
                    let text = serde_json::to_string(&report).unwrap_or_default();
                    self.control().keep_report(self.platform.domain(), number, text).await?;
                    let next = if report.passed { State::Ready } else { State::Failed };
                    if report.passed {
                        plan::note_ready(self.control(), self.platform.domain(), candidate).await?;
                    }
                    self.move_to(candidate, next, report.reasons.join("; ")).await
                }
                // It is tried again.
                Err(error) if error.is_retryable() => Err(error.into()),
                Err(error) => self.move_to(candidate, State::Failed, chain(&error)).await,
            },
        }
    }

    /// Begins to promote a candidate. An older previous generation is retired first.
    async fn announce(&self, row: &ControlRow, candidate: &Entry) -> Result<(), StepError> {
        let to = GenerationId(candidate.generation);
        let announced = match row.previous {
            Some(previous) if previous != to => self.switching.retire(row.epoch).await,
            _ => self.switching.announce(row.epoch, to).await,
        };
        match announced {
            Err(ChangeError::Stale { .. }) => self.expire(candidate).await,
            // Somebody else made a step.
            Ok(_) | Err(ChangeError::Switch(_) | ChangeError::State { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A candidate that was verified too long ago, or against another live generation, is verified again.
    async fn expire(&self, candidate: &Entry) -> Result<(), StepError> {
        self.move_to(candidate, State::Tailing, VERIFIED_TOO_LONG_AGO.to_owned()).await
    }

    async fn move_to(&self, entry: &Entry, to: State, reason: String) -> Result<(), StepError> {
        let (domain, number) = (self.platform.domain(), entry.generation);
        let state = NewState { generation: number, state: to, reason: reason.clone() };
        if self.control().move_state(domain, entry.state, state).await? {
            let (was, now) = (entry.state.as_str(), to.as_str());
            if to == State::Failed {
                tracing::error!(domain, generation = number, "generation {number} of {domain} has failed: {reason}");
            } else {
                tracing::info!(domain, generation = number, "generation {number} of {domain}: {was}, now {now}");
            }
        }
        Ok(())
    }
}

/// A step that waits for others is tried again.
fn acknowledged(step: Result<ControlRow, ChangeError>) -> Result<(), ChangeError> {
    match step {
        Ok(_) | Err(ChangeError::Switch(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The state after everything up to the goal is there.
fn after_load(entry: &Entry) -> State {
    if entry.is_past() { State::Ready } else { State::Tailing }
}

/// The vector at which a candidate's load ends.
fn goal(entry: &Entry) -> Vector {
    entry.goal.parse().unwrap_or_default()
}

fn is_indexed(open: &Open, goal: &Vector) -> bool {
    open.search.as_ref().is_none_or(|search| search.is_complete() && search.lag(goal) == 0)
}

/// How many records a generation is behind the live one, for its tables and its index.
pub(crate) fn lag(live: &Open, open: &Open) -> i64 {
    let end = open.generation.within(live.generation.progress.applied());
    let tables = open.generation.progress.applied().lag(&end);
    open.search.as_ref().map_or(tables, |search| tables.max(search.lag(&end)))
}

/// Why a candidate fails that has put more records into quarantine that the live generation has applied than it may.
async fn refuses_more(max: u64, live: &Generation, candidate: &Generation) -> Result<Option<String>, TablesError> {
    if candidate.schema == live.schema || quarantine::count(candidate.tables.as_ref()).await? == 0 {
        return Ok(None);
    }
    let mut found: BTreeMap<Position, String> = upgrade::quarantined(candidate.tables.as_ref()).await?;
    let known = upgrade::quarantined(live.tables.as_ref()).await?;
    found.retain(|position, _| !known.contains_key(position));
    let first = found.first_key_value().filter(|_| found.len() as u64 > max);
    Ok(first.map(|(position, reason)| {
        let more = if found.len() > 1 { format!(" ({} records in all)", found.len()) } else { String::new() };
        format!("it refuses {position}, which generation {} has applied{more}: {reason}", live.number)
    }))
}
