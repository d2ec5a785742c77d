//! Puts the parts together: log, store, generation, projector.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_ingest::{
    log::{self, EventLog, LogError, embedded::EmbeddedLog, kafka::KafkaLog},
    metaflow::sequences::SEQUENCES,
    sequence::{NumberSource, Sequencer},
};
use daybook_projector::{
    commit_listener,
    control::Control,
    generation::Generation,
    lease::Lease,
    monitor,
    projection::Projection,
    projections::metaflow::Metaflow,
    runner::Runner,
    search::{
        SearchStore,
        elasticsearch::ElasticsearchStore,
        runner::{SearchRunner, Setting},
        state::Search,
        tantivy::TantivyStore,
    },
    tables::{Params, Store, TablesError, postgres::PostgresStore, sqlite::SqliteStore},
};
use daybook_reindexer::first::{self, OpenError};
use tokio::task::JoinSet;

use crate::config::{self, Config, Log, Tables};

/// How long parts that do not answer at start are tried again.
const START_MAX: Duration = Duration::from_secs(60);

/// Everything that runs in this process but for HTTP.
pub(crate) struct Parts {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) instance: String,
    pub(crate) search: Option<Arc<Search>>,
    runner: Option<Arc<Mutex<Runner>>>,
    search_runner: Option<SearchRunner>,
    pub(crate) lease: Arc<Lease>,
    control: Control,
    background: JoinSet<()>,
}

/// Opens the log.
pub(crate) async fn open_log(config: &Config) -> Result<Arc<dyn EventLog>> {
    let retryable = |error: &LogError| matches!(error, LogError::Unavailable(_));
    match &config.log {
        Log::Embedded => {
            let folder = config.data_dir.clone();
            let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(&folder)).await?;
            Ok(Arc::new(opened.context("cannot open the embedded log")?))
        }
        Log::Kafka(address) => {
            let open = || KafkaLog::open(address.clone(), true);
            let opened = persist("the log", open, retryable).await.context("cannot open the log on Kafka")?;
            Ok(Arc::new(opened))
        }
    }
}

/// Tries again, for a bounded time, what fails with a retryable error.
async fn persist<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
    what: &str,
    attempt: impl Fn() -> F,
    retryable: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(100));
    loop {
        match attempt().await {
            Err(error) if retryable(&error) && began.elapsed() < START_MAX => {
                let chain = daybook_projector::runner::chain(&error);
                tracing::warn!(error = chain, "{what} does not answer yet: {chain}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            outcome => return outcome,
        }
    }
}

/// Opens the store.
fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    Ok(match &config.tables {
        Tables::Sqlite => Arc::new(SqliteStore::new(&config.data_dir)?),
        Tables::Postgres(config) => Arc::new(PostgresStore::new((**config).clone())),
    })
}

/// Where indexes live, unless search is switched off.
fn open_search(config: &Config) -> Result<Option<Arc<dyn SearchStore>>> {
    Ok(match &config.search {
        config::Search::Off => None,
        config::Search::Embedded => Some(Arc::new(TantivyStore::new(config.data_dir.join("search")))),
        config::Search::Elasticsearch(address) => Some(Arc::new(ElasticsearchStore::new(address.clone())?)),
    })
}

impl Parts {
    /// Opens everything and starts what works in the background.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        let log = open_log(config).await?;
        let store = open_store(config)?;
        tracing::info!(log = log.describe(), log_id = log.id(), "log: {}", log.describe());
        tracing::info!(tables = store.describe(), "tables: {}", store.describe());
        let retryable = |error: &TablesError| matches!(error, TablesError::Unavailable(_) | TablesError::Conflict(_));
        let control =
            persist("PostgreSQL", || store.control(), retryable).await.context("cannot open control storage")?;
        let control = Control::new(control);
        let open = || first::open(store.as_ref(), &control, &Metaflow, log.as_ref());
        let transient = |error: &OpenError| matches!(error, OpenError::Tables { source, .. } if retryable(source));
        let generation = persist("the live generation", open, transient).await?;
        let instance = instance_name();
        let partitions = log::partitions(log.as_ref());
        let lease = if store.shared() {
            Lease::join(control.clone(), instance.clone(), config.roles.names(), partitions).await?
        } else {
            Lease::unshared(control.clone(), instance.clone(), partitions)
        };
        let lease = Arc::new(lease);
        let mut background = JoinSet::new();
        let of_task = Arc::clone(&lease);
        background.spawn(async move { of_task.keep().await });
        background.spawn(commit_listener::listen(instance.clone(), Arc::clone(&generation)));
        let runner = if config.roles.projector {
            let (generation, log) = (Arc::clone(&generation), Arc::clone(&log));
            let runner = Runner::start(instance.clone(), generation, Arc::new(Metaflow), log, lease.assignment())?;
            Some(Arc::new(Mutex::new(runner)))
        } else {
            None
        };
        let (search, search_runner) = match open_search(config)? {
            Some(store) => {
                let search = Arc::new(Search::default());
                let setting = Setting {
                    generation: Arc::clone(&generation),
                    documents: Arc::new(Metaflow),
                    log: Arc::clone(&log),
                    store,
                    assignment: lease.assignment(),
                    search: Arc::clone(&search),
                };
                (Some(search), Some(SearchRunner::start(setting)?))
            }
            None => (None, None),
        };
        background.spawn(monitor::watch(Arc::clone(&log), Arc::clone(&generation), search.clone()));
        Ok(Self { log, store, generation, instance, search, runner, search_runner, lease, control, background })
    }

    /// Waits until the tables have all that the log held at the start, then makes the source of numbers.
    pub(crate) async fn sequencer(&self) -> Result<Sequencer> {
        let log = Arc::clone(&self.log);
        let end = tokio::task::spawn_blocking(move || log.end()).await??;
        let began = Instant::now();
        let mut told = Instant::now();
        while tokio::time::timeout(Duration::from_millis(500), self.generation.progress.wait_for(&end)).await.is_err() {
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                let lag = self.generation.progress.applied().lag(&end);
                let done = end.0.values().sum::<i64>() - lag;
                let left = began.elapsed().as_secs_f64() * lag as f64 / (done.max(1)) as f64;
                tracing::info!(lag, "catching up with the log: {lag} records left, about {left:.0} s");
            }
        }
        let rows = self.generation.tables.read(Metaflow.highest_numbers(), Params::One(Vec::new())).await?;
        let mut sequences = SEQUENCES.map(|sequence| (sequence, 0));
        for row in &rows {
            let name = row.text(0)?;
            if let Some((_, highest)) = sequences.iter_mut().find(|(sequence, _)| sequence.name == name) {
                *highest = row.int(1)?;
            }
        }
        let source: Arc<dyn NumberSource> = Arc::new(self.control.clone());
        Ok(Sequencer::new(source, sequences))
    }

    /// Tells why this process cannot serve now.
    pub(crate) fn readiness(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<> {
        let (runner, log, lease) = (self.runner.clone(), Arc::clone(&self.log), Arc::clone(&self.lease));
        move || {
            let projector = failure_of(runner.as_deref()).map(|failure| format!("projector: {failure}"));
            let log = log.failure().map(|failure| format!("log: {failure}"));
            let lease = (!lease.is_held()).then(|| "lease: not held".to_owned());
            [projector, log, lease].into_iter().flatten().collect()
        }
    }

    /// Stops in order: search, projector, lease, log. What was accepted is durable.
    pub(crate) async fn stop(mut self, limit: Duration) {
        let (runner, search_runner) = (self.runner.take(), self.search_runner.take());
        if runner.is_some() || search_runner.is_some() {
            let stopping = move || {
                drop(search_runner);
                runner.iter().for_each(|runner| runner.lock().unwrap_or_else(PoisonError::into_inner).stop());
            };
            if tokio::task::spawn_blocking(stopping).await.is_err() {
                tracing::error!("the projector did not stop in order");
            }
        }
        self.background.shutdown().await;
        self.lease.leave().await;
        let log = self.log;
        if tokio::task::spawn_blocking(move || log.flush(limit)).await.is_err() {
            tracing::error!("the log did not stop in order");
        }
    }
}

/// What this process' projector last failed on, if it has one and has not succeeded since.
fn failure_of(runner: Option<&Mutex<Runner>>) -> Option<String> {
    runner.and_then(|runner| runner.lock().unwrap_or_else(PoisonError::into_inner).health().failure)
}

/// A name for this process: no other has it, also not one that gets the same process id later or on another machine.
fn instance_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), since.as_nanos())
}
