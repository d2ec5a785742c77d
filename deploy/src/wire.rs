//! Wires the parts: log, store, and for each domain generation, projector and search.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_ingest::{
    log::{self, EventLog, LogError, embedded::EmbeddedLog, kafka::KafkaLog},
    sequence::{NumberSource, Sequencer},
};
use daybook_projector::{
    backoff::Backoff,
    bookkeeping::numbers,
    chain, commit_listener,
    control::Control,
    generation::Generation,
    lease::Lease,
    monitor,
    runner::Runner,
    search::{
        SearchError, SearchStore,
        elasticsearch::ElasticsearchStore,
        runner::{SearchRunner, Setting},
        state::Search,
        tantivy::TantivyStore,
    },
    tables::{Store, TablesError, postgres::PostgresStore, sqlite::SqliteStore},
};
use daybook_reindexer::{
    open::{self, OpenError, Opened},
    upgrade::{self, Indexes, Stores},
};
use daybook_schemas::{Topic, position::Vector};
use tokio::task::JoinSet;

use crate::{
    config::{self, Config, Log, Tables},
    domains::Domain,
    start::Start,
};

/// How long the start retries a part that does not answer.
const START_MAX: Duration = Duration::from_secs(60);
/// Time between two reports of progress while the tables catch up.
const REPORT: Duration = Duration::from_secs(2);

/// Everything that runs in this process, except HTTP.
pub(crate) struct Parts {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) instance: String,
    pub(crate) lease: Arc<Lease>,
    pub(crate) domains: Vec<Running>,
    search: Option<Arc<dyn SearchStore>>,
    control: Control,
    background: JoinSet<()>,
}

/// A running domain.
pub(crate) struct Running {
    pub(crate) domain: Domain,
    pub(crate) generation: Arc<Generation>,
    pub(crate) search: Option<Arc<Search>>,
    /// Whether its generation is live already.
    is_live: bool,
    runner: Option<Arc<Mutex<Runner>>>,
    search_runner: Option<SearchRunner>,
}

/// Opens the log.
async fn open_log(config: &Config, domains: &[Domain], start: &Start) -> Result<Arc<dyn EventLog>> {
    let retryable = |error: &LogError| matches!(error, LogError::Unavailable(_));
    let topics = Domain::topics_of(domains);
    match &config.log {
        Log::Embedded => {
            let folder = config.process.data_dir.clone();
            start.wait_for("the embedded log");
            let opened = tokio::task::spawn_blocking(move || open_embedded(&folder, &topics)).await?;
            Ok(Arc::new(opened.context("cannot open the embedded log")?))
        }
        Log::Kafka(address) => {
            let open = || KafkaLog::open(address.clone(), &topics, true);
            let opened =
                retry("the log on Kafka", start, open, retryable).await.context("cannot open the log on Kafka")?;
            Ok(Arc::new(opened))
        }
    }
}

/// Opens the embedded log; creates it, unless there are tables that were built from one.
fn open_embedded(folder: &Path, topics: &[Topic]) -> Result<EmbeddedLog, LogError> {
    let open = if SqliteStore::is_in(folder) { EmbeddedLog::open_existing } else { EmbeddedLog::open };
    open(folder, topics)
}

/// Retries an attempt that fails with a retryable error, for a bounded time.
async fn retry<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
    what: &str,
    start: &Start,
    attempt: impl Fn() -> F,
    retryable: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    let began = Instant::now();
    start.wait_for(what);
    loop {
        match attempt().await {
            Err(error) if retryable(&error) && began.elapsed() < START_MAX => {
                let chain = chain(&error);
                tracing::warn!(error = chain, "waiting for {what}: {chain}");
                start.wait_for(format!("{what}: {chain}"));
                tokio::time::sleep(backoff.pause()).await;
            }
            outcome => return outcome,
        }
    }
}

/// Opens the store.
pub(crate) fn open_store(config: &Config) -> Arc<dyn Store> {
    match &config.tables {
        Tables::Sqlite => Arc::new(SqliteStore::new(&config.process.data_dir)),
        Tables::Postgres(config) => Arc::new(PostgresStore::new((**config).clone())),
    }
}

/// Opens the store of search indexes; `None` if search is switched off.
fn open_search(config: &Config) -> Result<Option<Arc<dyn SearchStore>>> {
    Ok(match &config.search {
        config::Search::Off => None,
        config::Search::Embedded => Some(Arc::new(TantivyStore::new(config.process.data_dir.join("search")))),
        config::Search::Elasticsearch(address) => Some(Arc::new(ElasticsearchStore::new(address.clone())?)),
    })
}

/// Refuses an index that is not of this log. An index that does not answer is looked at later, by its runner.
async fn refuse_foreign(setting: &Setting) -> Result<()> {
    match setting.store.check(&setting.binding()).await {
        Err(error @ SearchError::Foreign(_)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Parts {
    /// Opens all parts and starts their background tasks.
    pub(crate) async fn start(config: &Config, domains: &[Domain], instance: &str, start: &Start) -> Result<Self> {
        let log = open_log(config, domains, start).await?;
        let store = open_store(config);
        tracing::info!(log = log.describe(), log_id = log.id(), "log: {}", log.describe());
        tracing::info!(tables = store.describe(), "tables: {}", store.describe());
        let tables = format!("the tables ({})", store.describe());
        let control = retry(&tables, start, || store.control(), TablesError::is_retryable).await;
        let control = Control::new(control.context("cannot open control storage")?);
        let instance = instance.to_owned();
        let partitions = log::partitions(log.as_ref());
        let lease = if store.shared() {
            let roles = config.process.roles.names();
            let join = || Lease::join(control.clone(), instance.clone(), roles.clone(), partitions.clone());
            retry("a lease", start, join, TablesError::is_retryable).await.context("cannot take a lease")?
        } else {
            Lease::unshared(control.clone(), instance.clone(), partitions)
        };
        let lease = Arc::new(lease);
        let mut background = JoinSet::new();
        let of_task = Arc::clone(&lease);
        background.spawn(async move { of_task.keep().await });
        let search = open_search(config)?;
        let parts = Self { log, store, instance, lease, domains: Vec::new(), search, control, background };
        parts.start_domains(config, domains, start).await
    }

    async fn start_domains(mut self, config: &Config, domains: &[Domain], start: &Start) -> Result<Self> {
        for domain in domains {
            let projection = (domain.projection)();
            let stores = self.stores(*domain);
            let open = || open::open(&stores, &self.control, projection.as_ref(), &self.log);
            let transient = |error: &OpenError| match error {
                OpenError::Tables { source, .. } => source.is_retryable(),
                OpenError::Log { source, .. } => matches!(source, LogError::Unavailable(_)),
                _ => false,
            };
            let what = format!("the live generation of {}", projection.domain());
            let Opened { generation, is_live } = retry(&what, start, open, transient).await?;
            self.background.spawn(commit_listener::listen(self.instance.clone(), Arc::clone(&generation)));
            let runner = if config.process.roles.projector {
                let (generation, log) = (Arc::clone(&generation), Arc::clone(&self.log));
                let assignment = self.lease.assignment();
                let runner = Runner::start(self.instance.clone(), generation, projection, log, assignment)?;
                Some(Arc::new(Mutex::new(runner)))
            } else {
                None
            };
            let mut running =
                Running { domain: *domain, generation, search: None, is_live, runner, search_runner: None };
            if let (Some(store), Some(documents)) = (&self.search, (domain.documents)()) {
                let search = Arc::new(Search::new(documents.topics()));
                let setting = Setting {
                    generation: Arc::clone(&running.generation),
                    documents,
                    log: Arc::clone(&self.log),
                    store: Arc::clone(store),
                    assignment: self.lease.assignment(),
                    search: Arc::clone(&search),
                };
                refuse_foreign(&setting).await?;
                running.search_runner = Some(SearchRunner::start(setting)?);
                running.search = Some(search);
            }
            let (log, generation) = (Arc::clone(&self.log), Arc::clone(&running.generation));
            self.background.spawn(monitor::watch(log, generation, running.search.clone()));
            self.domains.push(running);
        }
        Ok(self)
    }

    /// The stores of a domain's generations.
    fn stores(&self, domain: Domain) -> Stores<'_> {
        let indexes = |store| (domain.documents)().map(|documents| Indexes { store, shape: documents.shape() });
        Stores { tables: self.store.as_ref(), search: self.search.as_deref().and_then(indexes) }
    }

    /// Waits until the tables have applied all records that the log held at the start, and promotes generations that
    /// are not live.
    pub(crate) async fn catch_up(&self, start: &Start) -> Result<()> {
        start.wait_for("the end of the log");
        let log = Arc::clone(&self.log);
        let end = tokio::task::spawn_blocking(move || log.end()).await??;
        for running in &self.domains {
            running.catch_up(&end, start).await?;
            if !running.is_live {
                running.catch_up_search(&end, start).await;
                start.wait_for(format!("the promotion of {}'s new generation", running.generation.domain));
                upgrade::promote(&self.stores(running.domain), &self.control, &running.generation).await?;
            }
        }
        Ok(())
    }

    /// Creates the sequencer. The tables must have caught up.
    pub(crate) async fn sequencer(&self, start: &Start) -> Result<Sequencer> {
        start.wait_for("the highest numbers in the tables");
        let mut sequences = Vec::new();
        for running in &self.domains {
            let highest = numbers::highest(running.generation.tables.as_ref()).await?;
            let floor = |name: &str| highest.get(name).copied().unwrap_or(0);
            sequences.extend(running.domain.sequences.iter().map(|sequence| (*sequence, floor(sequence.name))));
        }
        let source: Arc<dyn NumberSource> = Arc::new(self.control.clone());
        Ok(Sequencer::new(source, sequences))
    }

    /// Returns a function that lists why this process cannot serve; the list is empty if it can.
    pub(crate) fn readiness(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<> {
        let domains: Vec<_> = self.domains.iter().map(|it| (Arc::clone(&it.generation), it.runner.clone())).collect();
        let (log, lease) = (Arc::clone(&self.log), Arc::clone(&self.lease));
        move || {
            let failed = |(generation, runner): &(Arc<Generation>, Option<Arc<Mutex<Runner>>>)| {
                let failure = runner.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).health().failure?;
                Some(format!("projector of {}: {failure}", generation.domain))
            };
            let owes = |(generation, _): &(Arc<Generation>, _)| {
                let (domain, owed) = (generation.domain, generation.progress.owed());
                (!owed.0.is_empty()).then(|| format!("tables of {domain}: they went back, and reach {owed} again soon"))
            };
            let log = log.failure().map(|failure| format!("log: {failure}"));
            let lease = lease.failure().map(|failure| format!("lease: {failure}"));
            let refused = domains.iter().filter_map(|(generation, _)| generation.refusal().map(str::to_owned));
            let tables = domains.iter().filter_map(failed).chain(domains.iter().filter_map(owes));
            refused.chain(tables).chain(log).chain(lease).collect()
        }
    }

    /// Stops in order: search, projectors, lease, log. What was acknowledged is durable.
    pub(crate) async fn stop(mut self, limit: Duration) {
        let domains = std::mem::take(&mut self.domains);
        let stopping = move || {
            for Running { runner, search_runner, .. } in domains {
                drop(search_runner);
                if let Some(runner) = runner {
                    runner.lock().unwrap_or_else(PoisonError::into_inner).stop();
                }
            }
        };
        if tokio::task::spawn_blocking(stopping).await.is_err() {
            tracing::error!("the projectors did not stop in order");
        }
        self.background.shutdown().await;
        self.lease.leave().await;
        let log = self.log;
        if tokio::task::spawn_blocking(move || log.flush(limit)).await.is_err() {
            tracing::error!("the log did not stop in order");
        }
    }
}

impl Running {
    /// Waits until the tables have reached `end`, and logs progress.
    async fn catch_up(&self, end: &Vector, start: &Start) -> Result<()> {
        let progress = &self.generation.progress;
        let topics = self.domain.topics;
        let own = end.0.iter().filter(|(partition, _)| topics.contains(&partition.topic));
        let end = Vector(own.map(|(partition, next)| (*partition, *next)).collect());
        let domain = self.generation.domain;
        let began = Instant::now();
        start.wait_for(format!("the tables of {domain}, which are catching up"));
        while tokio::time::timeout(REPORT, progress.wait_for(&end)).await.is_err() {
            if let Some(reason) = self.generation.refusal() {
                anyhow::bail!("{reason}");
            }
            let lag = progress.applied().lag(&end);
            let done = end.0.values().sum::<i64>() - lag;
            let seconds = began.elapsed().as_secs_f64() * lag as f64 / done.max(1) as f64;
            start.wait_for(format!("the tables of {domain}, which are catching up: {lag} records left"));
            tracing::info!(domain, lag, "{domain} is catching up: {lag} records left, about {seconds:.0} s");
        }
        Ok(())
    }

    /// Waits until search sees everything before `end`, or fails; and logs progress.
    async fn catch_up_search(&self, end: &Vector, start: &Start) {
        let Some(search) = &self.search else { return };
        let domain = self.generation.domain;
        start.wait_for(format!("search of {domain}, which is catching up"));
        while tokio::time::timeout(REPORT, search.wait(end)).await.is_err() {
            let lag = search.lag(end);
            if let Some(failure) = search.health().failure {
                tracing::warn!(domain, lag, "search of {domain} does not catch up: {failure}");
                return;
            }
            tracing::info!(domain, lag, "search of {domain} is catching up: {lag} records left");
        }
    }
}

/// A unique name for this process: another one may get the same process id later or on another machine.
pub(crate) fn instance_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), since.as_nanos())
}
