//! Follows the control row of one domain in this process: opens and closes generations, and says which one answers.
//!
//! A control row is applied only once the generations that it names are open (`switch/instance.rs` has the rules). What
//! is published is one value, replaced as a whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_projector::{
    bookkeeping::checkpoints, chain, commit_listener, generation::Generation, tables::TablesError,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    control::{Entry, State},
    open::{self, OpenError, Opened},
    plan,
    running::{Open, Platform, Running, Stage},
    switch::{
        GenerationId,
        control::{ControlRow, Phase},
        instance::Local,
    },
    work::{WorkNotes, WorkerProgress},
};

/// Between two looks at control storage, in case a notification was lost.
const LOOK: Duration = Duration::from_secs(5);
/// The same while a generation is built.
const LOOK_BUILDING: Duration = Duration::from_millis(500);
/// The same while a switch is under way.
const LOOK_SWITCHING: Duration = Duration::from_millis(50);

/// What this process knows of a domain: which generation answers, and which are open.
#[derive(Clone)]
pub struct Serving {
    /// The control row as it was applied, without the lease.
    pub local: Local,
    /// The generations that are open, by number.
    pub open: BTreeMap<i64, Open>,
    /// The one that is live, as the control row was read last. One that another version of the program has built is not
    /// among the open ones: only its progress is used.
    pub current: Open,
}

impl Serving {
    /// The generation on which requests begin.
    pub fn live(&self) -> &Open {
        let live = self.local.waits.live.0;
        self.open.get(&live).expect("a control row is applied only once its live generation is open")
    }
}

/// Runs the generations of one domain.
pub struct Watcher {
    platform: Platform,
    /// Shared with those who ask for failures.
    running: Arc<Mutex<BTreeMap<i64, Running>>>,
    /// Hears of the commits of a live generation that another version of the program has built.
    listening: Mutex<JoinSet<()>>,
    serving: watch::Sender<Serving>,
    live: watch::Sender<Option<Arc<Generation>>>,
    noted: WorkNotes,
}

/// The generations of a domain that run in this process. Clones share them.
#[derive(Clone)]
pub struct Generations(Arc<Mutex<BTreeMap<i64, Running>>>);

/// A generation whose runner has failed.
pub struct Failed {
    /// Its number.
    pub generation: i64,
    /// The failure.
    pub failure: String,
}

impl Generations {
    /// The last failure of each runner, until its next success.
    pub fn failures(&self) -> Vec<Failed> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(|(number, it)| Some(Failed { generation: *number, failure: it.failure()? })).collect()
    }

    /// Stops all of them. Blocks for a bounded time.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(running);
    }
}

impl Watcher {
    /// Starts with the generation that was opened. It is treated as the one that answers, although it may have to be
    /// promoted first.
    pub async fn start(platform: Platform, opened: &Opened) -> Result<Self, TablesError> {
        let generation = &opened.generation;
        let live = watch::Sender::new(Some(Arc::clone(generation)));
        let mut running = Running::start(&platform, generation, &live.subscribe(), Stage::Complete).await?;
        if opened.is_live || !platform.control.store().shared() {
            running.index(&platform)?;
        }
        let serving = Serving {
            local: Local::starting(GenerationId(generation.number)),
            open: [(generation.number, running.open.clone())].into(),
            current: running.open.clone(),
        };
        let running = Arc::new(Mutex::new(BTreeMap::from([(generation.number, running)])));
        let listening = Mutex::default();
        let (serving, noted) = (watch::Sender::new(serving), WorkNotes::default());
        Ok(Self { platform, running, listening, serving, live, noted })
    }

    /// What this process knows, as it changes.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.serving.subscribe()
    }

    /// The generations that run.
    pub fn generations(&self) -> Generations {
        Generations(Arc::clone(&self.running))
    }

    /// Follows until the task is dropped.
    pub async fn follow(self) {
        let mut changes = self.platform.control.changes();
        loop {
            changes.mark_unchanged();
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    let (domain, chain) = (self.platform.domain(), chain(&error));
                    tracing::warn!(domain, error = chain, "cannot follow the generations of {domain}: {chain}");
                    LOOK_BUILDING
                }
            };
            // Either is a reason to look.
            let _due = tokio::time::timeout(pause, changes.changed()).await;
        }
    }

    /// Looks at control storage once, and does what it says. The time until the next look.
    pub async fn look(&self) -> Result<Duration, OpenError> {
        let domain = self.platform.domain();
        let failed = |source| OpenError::Tables { domain, source };
        let control = &self.platform.control;
        // In this order: the entries of the generations that the row names are there.
        let row = control.domain(domain).await.map_err(failed)?;
        let row = row.ok_or_else(|| failed(TablesError::Unavailable("control storage was emptied".to_owned())))?;
        let entries = control.generations(domain).await.map_err(failed)?;
        let runs = |entry: &Entry| {
            let is_there = !entry.state.has_ended() && entry.state != State::Planned;
            self.platform.of(&entry.fingerprint).filter(|_| is_there)
        };
        for (platform, entry) in entries.iter().filter_map(|entry| Some((runs(entry)?, entry))) {
            match self.run(&platform, entry, &entries).await {
                // One that shows the past holds up no other.
                Err(error) if entry.is_past() => {
                    let (number, chain) = (entry.generation, chain(&error));
                    tracing::warn!(domain, error = chain, "generation {number} of {domain} cannot be read: {chain}");
                }
                outcome => outcome?,
            }
        }
        self.pace(&entries);
        if let Phase::Announced { candidate, .. } = row.phase {
            let announced = self.serving.borrow().open.get(&candidate.0).cloned();
            if let Some(announced) = announced {
                announced.warm().await;
            }
        }
        let live = entries.iter().find(|entry| entry.generation == row.live.0);
        let other = live.filter(|entry| self.platform.of(&entry.fingerprint).is_none());
        match other {
            None => {
                self.raise_floor(&row).await?;
                self.apply(&row);
            }
            Some(other) => self.stand_back(&row, other).await?,
        }
        if other.is_none() {
            let local = self.serving.borrow().local;
            let is_read = |number: GenerationId| self.serving.borrow().open.get(&number.0).is_some_and(Open::is_read);
            self.platform.lease.acknowledge(domain, local.epoch, local.acknowledges(is_read));
        }
        let kept = |number: i64| {
            let is_named = GenerationId(number) == row.live || row.previous == Some(GenerationId(number));
            is_named || entries.iter().any(|entry| entry.generation == number && runs(entry).is_some())
        };
        self.close(kept).await;
        Ok(match row.phase {
            Phase::Idle if entries.iter().any(|entry| entry.state.is_unpromoted()) => LOOK_BUILDING,
            Phase::Idle => LOOK,
            _ => LOOK_SWITCHING,
        })
    }

    /// While a generation is filled, it pauses if reads are slow. Afterwards it has to keep up with the live one.
    fn pace(&self, entries: &[Entry]) {
        let pauses = self.platform.lease.throttle().pauses();
        let serving = self.serving.borrow();
        for entry in entries {
            if let Some(open) = serving.open.get(&entry.generation) {
                open.generation.set_pauses(entry.state.paced(pauses));
            }
        }
    }

    /// Runs a generation, if it does not run yet; and writes its index from the state on in which it has one.
    async fn run(&self, platform: &Platform, entry: &Entry, entries: &[Entry]) -> Result<(), OpenError> {
        let number = entry.generation;
        let of_tables = entries.iter().filter(|other| other.schema == entry.schema && !other.state.has_ended());
        // Tables that were live are complete, whoever has them now.
        let is_own = of_tables.clone().all(|other| other.generation == number) && !entry.is_search_only();
        let index_stage = Stage::of(entry);
        let tables_stage = if is_own { index_stage } else { Stage::Complete };
        let is_running = self.lock().contains_key(&number);
        if !is_running {
            let same = |running: &&Running| running.open.generation.schema == entry.schema;
            let beside = |running: &Running| running.beside(platform, number, entry.index.clone(), index_stage);
            let shared = self.lock().values().find(same).map(beside);
            let running = match shared {
                Some(running) => {
                    plan::note_parts(platform, number).await.map_err(|source| self.failed(source))?;
                    running
                }
                None => {
                    let is_live = of_tables.clone().any(|other| other.state == State::Live);
                    let generation = open::open_entry(platform, entry, is_live).await?;
                    let live = self.live.subscribe();
                    let running = Running::start(platform, &generation, &live, tables_stage).await;
                    running.map_err(|source| self.failed(source))?
                }
            };
            self.serving.send_modify(|serving| drop(serving.open.insert(number, running.open.clone())));
            self.lock().insert(number, running);
        }
        let mut done = None;
        if let Some(running) = self.lock().get_mut(&number) {
            done = Some(WorkerProgress::of(platform, running)).filter(|_| entry.is_under_way());
            running.note(tables_stage, index_stage);
            // One that is planned is run by nobody yet.
            let having = of_tables.filter(|other| other.state != State::Planned);
            running.note_fingerprints(having.map(|other| other.fingerprint.clone()).collect());
            if entry.state != State::Loading {
                running.index(platform).map_err(|source| self.failed(source))?;
            }
        }
        if let Some(done) = done {
            self.noted.note(platform, entry, &done).await;
        }
        Ok(())
    }

    /// If another generation is live now, its searches wait until the index has reached what the tables have: the former
    /// index may have shown that much. The index is refreshed for that, whether or not a search waits in this process.
    async fn raise_floor(&self, row: &ControlRow) -> Result<(), OpenError> {
        let (current, next) = {
            let serving = self.serving.borrow();
            (serving.local.waits.live.0, serving.open.get(&row.live.0).cloned())
        };
        if let Some(Open { generation, search: Some(search), .. }) = next.filter(|_| current != row.live.0) {
            let domain = self.platform.domain();
            let floor = checkpoints::read(generation.tables.as_ref()).await;
            search.require(&floor.map_err(|source| OpenError::Tables { domain, source })?);
        }
        Ok(())
    }

    /// Applies a control row if it is newer, and if the generations that it names are open.
    fn apply(&self, row: &ControlRow) {
        let mut live = None;
        self.serving.send_if_modified(|serving| {
            let Some(local) = serving.local.apply(row) else { return false };
            let is_open = |number: GenerationId| serving.open.contains_key(&number.0);
            if !local.waits.all(is_open) {
                return false;
            }
            serving.local = local;
            serving.current = serving.live().clone();
            live = Some(Arc::clone(&serving.current.generation));
            true
        });
        if let Some(live) = live {
            let (domain, number) = (live.domain, live.number);
            let changed = self.live.send_replace(Some(live)).is_none_or(|before| before.number != number);
            if changed {
                tracing::info!(domain, generation = number, "generation {number} of {domain} answers from now on");
            }
        }
    }

    /// Answers nothing while the live generation belongs to another version of the program, and follows its progress.
    async fn stand_back(&self, row: &ControlRow, live: &Entry) -> Result<(), OpenError> {
        let (domain, number) = (self.platform.domain(), live.generation);
        if self.serving.borrow().current.generation.number != number {
            let generation = open::open_other(&self.platform, live).await?;
            let mut listening = JoinSet::new();
            listening.spawn(commit_listener::listen(self.platform.instance.clone(), Arc::clone(&generation)));
            *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = listening;
            self.live.send_replace(Some(Arc::clone(&generation)));
            self.serving.send_modify(|serving| serving.current = Open::new(generation, None));
            tracing::warn!(
                domain,
                generation = number,
                "generation {number} of {domain} is live, which another version of this program serves"
            );
        }
        self.platform.lease.stand_back(domain, row.epoch);
        Ok(())
    }

    /// Closes generations that are not kept.
    async fn close(&self, kept: impl Fn(i64) -> bool) {
        let closed: Vec<i64> = self.lock().keys().copied().filter(|number| !kept(*number)).collect();
        for number in closed {
            self.serving.send_modify(|serving| {
                // Requests begin on it, and are refused, if the live one belongs to another version of the program.
                if serving.local.waits.live != GenerationId(number) {
                    serving.open.remove(&number);
                }
            });
            let running = self.lock().remove(&number);
            let stopped = tokio::task::spawn_blocking(move || drop(running)).await;
            let domain = self.platform.domain();
            match stopped {
                Ok(()) => tracing::info!(domain, generation = number, "generation {number} of {domain} is closed"),
                Err(error) => tracing::error!(error = %error, "generation {number} of {domain} did not stop: {error}"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: TablesError) -> OpenError {
        OpenError::Tables { domain: self.platform.domain(), source }
    }
}
