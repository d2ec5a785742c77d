//! A generation that runs in this process: its records are applied, its index is written, and requests can read it.
//! Generations with the same tables apply records together.

mod assignment;
mod tables;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daybook_ingest::log::EventLog;
use daybook_projector::{
    bookkeeping::checkpoints,
    generation::Generation,
    runner::{Health, LiveGeneration},
    search::{
        SearchStore,
        binding::Binding,
        runner::{Gate, SearchRunner, Setting},
        state::Search,
    },
    tables::TablesError,
};
use daybook_schemas::position::Partition;
use futures_util::future::join_all;
use tokio::{
    sync::{OnceCell, watch},
    time::timeout,
};

pub(crate) use self::tables::Stage;
use self::{assignment::IndexAssignment, tables::RunningTables};
use crate::{
    control::Control,
    lease::Lease,
    settings::Settings,
    switch::GenerationId,
    upgrade::{Indexes, Stores},
    version::{Version, Versions},
};

/// Reads that are sent concurrently to a generation that is to be promoted: each opens a connection.
const WARM_READS: usize = 8;
/// How long a promotion waits for them.
const WARM_MAX: Duration = Duration::from_millis(500);

/// What the generations of a domain run on. Clones share it.
#[derive(Clone)]
pub struct Platform {
    /// How events become rows and documents here.
    pub version: Version,
    /// All versions that this process knows.
    pub versions: Versions<Version>,
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
        self.version.projection.domain()
    }

    /// The same for generations of a fingerprint; `None` if this process does not know their version.
    pub fn of(&self, fingerprint: &str) -> Option<Self> {
        let version = self.versions.find(fingerprint)?;
        Some(Self { version, ..self.clone() })
    }

    /// The same for new generations.
    #[must_use]
    pub fn newest(&self) -> Self {
        Self { version: self.versions.newest(), ..self.clone() }
    }

    /// The stores of its generations.
    pub fn stores(&self) -> Stores<'_> {
        let shape = || self.version.documents.as_ref().map(|documents| documents.shape());
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
            shape: self.version.documents.as_ref()?.shape(),
        })
    }

    /// The index of a generation that instances are leaving is sent nothing.
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
            documents: Arc::clone(self.version.documents.as_ref()?),
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
    warmed: Arc<OnceCell<()>>,
}

impl Open {
    /// A generation that nobody reads yet.
    pub fn new(generation: Arc<Generation>, search: Option<Arc<Search>>) -> Self {
        Self { generation, search, requests: Arc::default(), warmed: Arc::default() }
    }

    /// What there is no room for, as far as this process knows.
    pub(crate) fn shortage(&self) -> Option<&'static str> {
        if self.generation.is_full() {
            return Some("there is no room for its tables");
        }
        let is_full = self.search.as_ref().is_some_and(|search| search.health().is_full);
        is_full.then_some("there is no room for its index")
    }

    /// Counts a request that reads it, until that is dropped.
    pub fn begin(&self) -> Reading {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Reading(Arc::clone(&self.requests))
    }

    /// Opens connections for reads, once, before the first requests come: else all of them would wait for that.
    pub(crate) async fn warm(&self) {
        let tables = self.generation.tables.as_ref();
        let warming = async { drop(join_all((0..WARM_READS).map(|_| checkpoints::read(tables))).await) };
        // Where one cannot be opened, requests find out why.
        let warmed = async { drop(timeout(WARM_MAX, warming).await) };
        self.warmed.get_or_init(|| warmed).await;
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
    of_index: IndexAssignment,
    /// None where another process applies records to them.
    tables: Option<Arc<RunningTables>>,
}

impl Running {
    /// Starts to apply records to tables that are so far. The index is written from [`Running::index`] on.
    pub(crate) async fn start(
        platform: &Platform,
        generation: &Arc<Generation>,
        live: &LiveGeneration,
        stage: Stage,
    ) -> Result<Self, TablesError> {
        let tables = Arc::new(RunningTables::start(platform, generation, live, stage).await?);
        Ok(Self::on(platform, Arc::clone(generation), stage, Some(tables)))
    }

    /// Another generation with the same tables, and how far its index is.
    pub(crate) fn beside(&self, platform: &Platform, number: i64, index: String, stage: Stage) -> Self {
        let generation = self.open.generation.with_index(number, index);
        let generation = Arc::new(generation.of_fingerprint(platform.version.fingerprint.clone()));
        Self::on(platform, generation, stage, self.tables.clone())
    }

    /// A generation of which this process writes only the index.
    pub(crate) fn index_only(platform: &Platform, generation: Generation, stage: Stage) -> Self {
        let generation = Arc::new(generation.of_fingerprint(platform.version.fingerprint.clone()));
        Self::on(platform, generation, stage, None)
    }

    fn on(platform: &Platform, generation: Arc<Generation>, stage: Stage, tables: Option<Arc<RunningTables>>) -> Self {
        let of_index = IndexAssignment::start(&platform.lease, &platform.version.fingerprint, stage);
        Self { open: open(platform, &generation), search_runner: None, of_index, tables }
    }

    /// How its index is written; `None` without search.
    pub fn setting(&self, platform: &Platform) -> Option<Setting> {
        platform.setting(&self.open.generation, self.open.search.as_ref()?, self.of_index.partitions())
    }

    /// Notes how far its tables and its index are.
    pub(crate) fn note(&self, of_tables: Stage, of_index: Stage) {
        if let Some(tables) = &self.tables {
            tables.note(of_tables);
        }
        self.of_index.note(of_index);
    }

    /// Notes the fingerprints of all generations that have its tables.
    pub(crate) fn note_fingerprints(&self, now: BTreeSet<String>) {
        if let Some(tables) = &self.tables {
            tables.note_fingerprints(now);
        }
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

    /// The last failure of its runners, until the next success.
    pub fn failure(&self) -> Option<String> {
        self.health().find_map(|health| health.failure)
    }

    /// How many records its runners have applied.
    pub fn records(&self) -> u64 {
        self.health().map(|health| health.records).sum()
    }

    fn health(&self) -> impl Iterator<Item = Health> {
        self.tables.iter().flat_map(|tables| tables.health())
    }
}

/// A generation for requests.
fn open(platform: &Platform, generation: &Arc<Generation>) -> Open {
    let documents = platform.indexes.as_ref().and(platform.version.documents.as_ref());
    let search = documents.map(|documents| Arc::new(Search::new(documents.topics())));
    Open::new(Arc::clone(generation), search)
}

/// What a thread runs in, if it could be started.
fn threaded<T>(started: std::io::Result<T>) -> Result<T, TablesError> {
    started.map_err(|error| TablesError::Unavailable(format!("cannot start a thread: {error}")))
}
