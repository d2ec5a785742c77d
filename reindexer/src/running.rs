//! A generation that runs in this process: its records are applied, its index is written, and requests can read it.
//! Generations with the same tables apply records together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use daybook_ingest::log::EventLog;
use daybook_projector::{
    commit_listener,
    generation::Generation,
    projection::Projection,
    runner::{LiveGeneration, Runner},
    search::{
        SearchStore,
        binding::Binding,
        runner::{Gate, SearchRunner, Setting},
        source::Documents,
        state::Search,
    },
    tables::TablesError,
};
use daybook_schemas::position::Partition;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    control::Control,
    lease::Lease,
    settings::Settings,
    switch::GenerationId,
    upgrade::{Indexes, Stores},
};

/// What the generations of a domain run on. Clones share it.
#[derive(Clone)]
pub struct Platform {
    /// The fold.
    pub projection: Arc<dyn Projection>,
    /// How rows become documents; none for a domain without search.
    pub documents: Option<Arc<dyn Documents>>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Control storage, in the store of the tables.
    pub control: Control,
    /// Where indexes live, unless search is switched off.
    pub indexes: Option<Arc<dyn SearchStore>>,
    /// This process's lease.
    pub lease: Arc<Lease>,
    /// The name of this process.
    pub instance: String,
    /// Whether this process applies records.
    pub projects: bool,
    /// What the deployment decides.
    pub settings: Arc<Settings>,
}

impl Platform {
    /// The domain.
    pub fn domain(&self) -> &'static str {
        self.projection.domain()
    }

    /// The stores of its generations.
    pub fn stores(&self) -> Stores<'_> {
        let shape = || self.documents.as_ref().map(|documents| documents.shape());
        let of_search = |store| shape().map(|shape| Indexes { store, shape });
        Stores { tables: self.control.store().as_ref(), search: self.indexes.as_deref().and_then(of_search) }
    }

    /// What the index of a generation is bound to; `None` for a domain without search.
    pub fn binding(&self, generation: &Generation) -> Option<Binding> {
        Some(Binding {
            log_id: self.log.id().to_owned(),
            domain: generation.domain.to_owned(),
            index: generation.index.clone(),
            fingerprint: generation.fingerprint.clone(),
            shape: self.documents.as_ref()?.shape(),
        })
    }

    /// The index of a generation that instances are leaving shows no more than before.
    fn gate(&self, generation: &Generation) -> Gate {
        let (control, domain) = (self.control.clone(), generation.domain);
        let number = GenerationId(generation.number);
        Arc::new(move || {
            let control = control.clone();
            Box::pin(async move {
                let row = control.domain(domain).await?;
                Ok(row.and_then(|row| row.former()) != Some(number))
            })
        })
    }

    /// How the index of a generation is written; `None` for a domain without search.
    fn setting(
        &self,
        generation: &Arc<Generation>,
        search: &Arc<Search>,
        assignment: watch::Receiver<Vec<Partition>>,
    ) -> Option<Setting> {
        Some(Setting {
            generation: Arc::clone(generation),
            documents: Arc::clone(self.documents.as_ref()?),
            log: Arc::clone(&self.log),
            store: Arc::clone(self.indexes.as_ref()?),
            assignment,
            search: Arc::clone(search),
            gate: self.gate(generation),
        })
    }
}

/// A generation that requests can read. Clones share it.
#[derive(Clone)]
pub struct Open {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Its search, unless that is switched off.
    pub search: Option<Arc<Search>>,
    /// Requests that read it.
    requests: Arc<AtomicUsize>,
}

impl Open {
    /// A generation that nobody reads yet.
    pub fn new(generation: Arc<Generation>, search: Option<Arc<Search>>) -> Self {
        Self { generation, search, requests: Arc::default() }
    }

    /// Counts a request that reads it, until that is dropped.
    pub fn begin(&self) -> Reading {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Reading(Arc::clone(&self.requests))
    }

    /// Whether a request reads it.
    pub fn is_read(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }
}

/// A request that reads a generation.
pub struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A generation that runs in this process. Dropping it stops it, and its tables with the last that has them, which blocks
/// for a bounded time.
pub struct Running {
    /// The generation.
    pub open: Open,
    search_runner: Option<SearchRunner>,
    tables: Arc<RunningTables>,
}

/// Tables to which records are applied, until the last generation that has them is dropped.
struct RunningTables {
    runner: Option<Runner>,
    /// The partitions that this process applies.
    assignment: watch::Receiver<Vec<Partition>>,
    /// Whether they are being built, so that workers take part.
    is_built: watch::Sender<bool>,
    _background: JoinSet<()>,
}

impl Running {
    /// Starts to apply records. The index is written from [`Running::index`] on. `is_built` says whether the tables are
    /// being built.
    pub fn start(
        platform: &Platform,
        generation: &Arc<Generation>,
        live: LiveGeneration,
        is_built: bool,
    ) -> Result<Self, TablesError> {
        let tables = Arc::new(RunningTables::start(platform, generation, live, is_built)?);
        Ok(Self { open: open(platform, generation), search_runner: None, tables })
    }

    /// Another generation with the same tables.
    pub fn beside(&self, platform: &Platform, number: i64, index: String) -> Self {
        let generation = Arc::new(self.open.generation.with_index(number, index));
        Self { open: open(platform, &generation), search_runner: None, tables: Arc::clone(&self.tables) }
    }

    /// How its index is written; `None` without search.
    pub fn setting(&self, platform: &Platform) -> Option<Setting> {
        platform.setting(&self.open.generation, self.open.search.as_ref()?, self.tables.assignment.clone())
    }

    /// Notes whether its tables are still being built.
    pub fn note_built(&self, is_built: bool) {
        self.tables.is_built.send_if_modified(|before| std::mem::replace(before, is_built) != is_built);
    }

    /// Starts to write its index, unless that was started before.
    pub fn index(&mut self, platform: &Platform) -> Result<(), TablesError> {
        if self.search_runner.is_none()
            && let Some(setting) = self.setting(platform)
        {
            self.search_runner = Some(threaded(SearchRunner::start(setting))?);
        }
        Ok(())
    }

    /// The last failure of its runner, until the next success.
    pub fn failure(&self) -> Option<String> {
        self.tables.runner.as_ref()?.health().failure
    }

    /// How many records its runner has applied.
    pub fn records(&self) -> u64 {
        self.tables.runner.as_ref().map_or(0, |runner| runner.health().records)
    }
}

/// A generation for requests.
fn open(platform: &Platform, generation: &Arc<Generation>) -> Open {
    let documents = platform.indexes.as_ref().and(platform.documents.as_ref());
    let search = documents.map(|documents| Arc::new(Search::new(documents.topics())));
    Open::new(Arc::clone(generation), search)
}

impl RunningTables {
    fn start(
        platform: &Platform,
        generation: &Arc<Generation>,
        live: LiveGeneration,
        is_built: bool,
    ) -> Result<Self, TablesError> {
        let mut background = JoinSet::new();
        let is_built = watch::Sender::new(is_built);
        let assigned = watch::Sender::new(assignment_of(&platform.lease, *is_built.borrow()).borrow().clone());
        let assignment = assigned.subscribe();
        background.spawn(assign(Arc::clone(&platform.lease), is_built.subscribe(), assigned));
        background.spawn(commit_listener::listen(platform.instance.clone(), Arc::clone(generation)));
        let runner = match platform.projects {
            true => Some(threaded(Runner::start(
                platform.instance.clone(),
                Arc::clone(generation),
                Arc::clone(&platform.projection),
                Arc::clone(&platform.log),
                assignment.clone(),
                live,
            ))?),
            false => None,
        };
        Ok(Self { runner, assignment, is_built, _background: background })
    }
}

/// What a thread runs in, if it could be started.
fn threaded<T>(started: std::io::Result<T>) -> Result<T, TablesError> {
    started.map_err(|error| TablesError::Unavailable(format!("cannot start a thread: {error}")))
}

/// The partitions of a generation that is being built, or is not.
fn assignment_of(lease: &Lease, is_built: bool) -> watch::Receiver<Vec<Partition>> {
    if is_built { lease.rebuild_assignment() } else { lease.assignment() }
}

/// Keeps the assignment of a generation up to date until the generation is dropped.
async fn assign(lease: Arc<Lease>, mut is_built: watch::Receiver<bool>, assigned: watch::Sender<Vec<Partition>>) {
    loop {
        let mut current = assignment_of(&lease, *is_built.borrow_and_update());
        let next = current.borrow_and_update().clone();
        assigned.send_if_modified(|before| {
            let changed = *before != next;
            *before = next;
            changed
        });
        tokio::select! {
            Ok(()) = is_built.changed() => {}
            Ok(()) = current.changed() => {}
            else => return,
        }
    }
}
