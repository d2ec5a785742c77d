//! Lends this process to rebuilds: it applies records of generations that are being built, and answers nothing.

use std::{collections::BTreeMap, sync::Arc};

use daybook_projector::{chain, commit_listener, generation::Generation};
use daybook_schemas::position::Vector;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    control::{Entry, State},
    open::{self, OpenError},
    plan,
    running::{Platform, Running, Stage},
    work::{WorkNotes, WorkerProgress},
};

/// The rebuilds of one domain in which this process takes part.
pub struct Worker {
    platform: Platform,
    running: BTreeMap<i64, Running>,
    live: watch::Sender<Option<Arc<Generation>>>,
    /// Whether this program knows the version of the live generation.
    knows_live: bool,
    /// Hears of the commits of the live generation.
    listening: JoinSet<()>,
    noted: WorkNotes,
}

/// A rebuild as a worker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The domain.
    pub domain: &'static str,
    /// The generation.
    pub generation: i64,
    /// Its state.
    pub state: State,
    /// Whether it waits for a person: it is ready, and not promoted by itself.
    pub waits: bool,
    /// Records that this process has applied.
    pub records: u64,
    /// Records until its goal.
    pub left: i64,
    /// Documents that this process has written, while the index is built.
    pub documents: Option<u64>,
    /// The last failure of its runner, until the next success.
    pub failure: Option<String>,
}

impl Worker {
    /// A worker that takes part in nothing yet.
    pub fn new(platform: Platform) -> Self {
        let (live, listening) = (watch::Sender::default(), JoinSet::new());
        Self { platform, running: BTreeMap::new(), live, knows_live: false, listening, noted: WorkNotes::default() }
    }

    /// Why this process must not take part: it could not do its share of the rebuilds of those that serve.
    pub async fn unfit(&self) -> Result<Option<String>, OpenError> {
        let domain = self.platform.domain();
        let failed = |source| OpenError::Tables { domain, source };
        let control = &self.platform.control;
        let Some(row) = control.domain(domain).await.map_err(failed)? else {
            return Ok(Some(format!(
                "there is no generation of {domain}: start `daybook serve` with the same stores first"
            )));
        };
        let entries = control.generations(domain).await.map_err(failed)?;
        let Some(live) = entries.iter().find(|entry| entry.generation == row.live.0) else { return Ok(None) };
        if live.log_id != self.platform.log.id() {
            let (theirs, ours) = (&live.log_id, self.platform.log.id());
            return Ok(Some(format!(
                "the tables of {domain} are built from log {theirs}, and --log leads to log {ours}"
            )));
        }
        let differs = plan::configuration_differs(&self.platform, live).await.map_err(failed)?;
        let text =
            || format!("search of {domain} is on there and off here, or the other way: give the --search of `serve`");
        Ok(differs.then(text))
    }

    /// The live generation as it was found last, if this program knows its version.
    pub fn live(&self) -> Option<Arc<Generation>> {
        self.live.borrow().clone().filter(|_| self.knows_live)
    }

    /// Looks at control storage once: takes part in the rebuilds that are under way, and leaves those that have ended.
    pub async fn look(&mut self) -> Result<Vec<Work>, OpenError> {
        let domain = self.platform.domain();
        let failed = |source| OpenError::Tables { domain, source };
        let control = self.platform.control.clone();
        let Some(row) = control.domain(domain).await.map_err(failed)? else { return Ok(Vec::new()) };
        let entries = control.generations(domain).await.map_err(failed)?;
        // Before anything that can fail or take long: no switch waits for this process.
        self.platform.lease.stand_back(domain, row.epoch);
        if let Some(live) = entries.iter().find(|entry| entry.generation == row.live.0) {
            self.note_live(live).await?;
            self.knows_live = self.platform.of(&live.fingerprint).is_some();
        }
        let is_built = |entry: &&Entry| {
            let can_be_read = self.platform.of(&entry.fingerprint).is_some() && entry.log_id == self.platform.log.id();
            can_be_read && entry.is_under_way() && entry.state != State::Planned
        };
        let built: Vec<&Entry> = entries.iter().filter(is_built).collect();
        self.leave(|number| built.iter().any(|entry| entry.generation == number)).await;
        let mut work = Vec::new();
        for entry in built {
            if let Some(platform) = self.platform.of(&entry.fingerprint) {
                work.push(self.take_part(&platform, entry).await?);
            }
        }
        Ok(work)
    }

    /// Follows the progress of the live generation: no other one passes it.
    async fn note_live(&mut self, live: &Entry) -> Result<(), OpenError> {
        let is_known = self.live.borrow().as_ref().is_some_and(|known| known.number == live.generation);
        if !is_known {
            let generation = open::open_other(&self.platform, live).await?;
            self.listening = JoinSet::new();
            self.listening.spawn(commit_listener::listen(self.platform.instance.clone(), Arc::clone(&generation)));
            self.live.send_replace(Some(generation));
        }
        Ok(())
    }

    async fn take_part(&mut self, platform: &Platform, entry: &Entry) -> Result<Work, OpenError> {
        let (domain, number) = (self.platform.domain(), entry.generation);
        let failed = |source| OpenError::Tables { domain, source };
        let running = match self.running.remove(&number) {
            Some(running) => running,
            None => self.begin(platform, entry).await?,
        };
        let running = self.running.entry(number).or_insert(running);
        running.note(Stage::of(entry), Stage::of(entry));
        running.open.generation.set_pauses(entry.state.paced(self.platform.lease.throttle().pauses()));
        if entry.state != State::Loading {
            running.index(platform).map_err(failed)?;
        }
        let done = WorkerProgress::of(platform, running);
        let goal: Vector = entry.goal.parse().unwrap_or_default();
        let left = running.open.generation.progress.applied().lag(&goal);
        self.noted.note(&self.platform, entry, &done).await;
        let WorkerProgress { records, documents, failure, .. } = done;
        let state = entry.state;
        let waits = state == State::Ready && !entry.promotes;
        Ok(Work { domain, generation: number, state, waits, records, left, documents, failure })
    }

    /// Begins to take part: in the tables and the index, or in the index alone if these are the live tables.
    async fn begin(&self, platform: &Platform, entry: &Entry) -> Result<Running, OpenError> {
        let stage = Stage::of(entry);
        let of_tables = self.live.borrow().clone().filter(|live| live.schema == entry.schema);
        if let Some(live) = of_tables {
            return Ok(Running::index_only(platform, live.with_index(entry.generation, entry.index.clone()), stage));
        }
        let generation = open::open_entry(platform, entry, false).await?;
        let running = Running::start(platform, &generation, &self.live.subscribe(), stage).await;
        running.map_err(|source| OpenError::Tables { domain: platform.domain(), source })
    }

    /// Stops its part in rebuilds that are not kept.
    async fn leave(&mut self, kept: impl Fn(i64) -> bool) {
        let ended: Vec<i64> = self.running.keys().copied().filter(|number| !kept(*number)).collect();
        for running in ended.iter().filter_map(|number| self.running.remove(number)).collect::<Vec<_>>() {
            if let Err(error) = tokio::task::spawn_blocking(move || drop(running)).await {
                tracing::error!(error = %error, "a part in a rebuild did not stop: {}", chain(&error));
            }
        }
    }

    /// Stops its part in all rebuilds.
    pub async fn stop(mut self) {
        self.leave(|_| false).await;
    }
}
