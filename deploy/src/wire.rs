//! Wires the parts: log, store, and for each domain generation, projector and search.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_ingest::{
    log::{EventLog, LogError, WAYS_OUT, embedded::EmbeddedLog, kafka::KafkaLog},
    sequence::{NumberSource, Sequencer},
};
use daybook_projector::{
    backoff::Backoff,
    bookkeeping::numbers,
    chain,
    search::{SearchStore, elasticsearch::ElasticsearchStore, tantivy::TantivyStore},
    tables::{Store, TablesError, postgres::PostgresStore, sqlite::SqliteStore},
    throttle::Throttle,
};
use daybook_reindexer::{
    control::Control,
    lease::{Folded, Holding, Lease},
    prepare,
};
use daybook_schemas::Topic;
use tokio::task::JoinSet;

use crate::{
    config::{self, Config, Log, Tables},
    defining::{Added, Defining},
    domains::Domain,
    exit::{Code, Failure},
    prepare_command,
    running::{Base, DomainVersions, Domains, Running},
    start::Start,
};

/// How long the start retries a part that does not answer.
const START_MAX: Duration = Duration::from_secs(60);

/// Everything that runs in this process, except HTTP.
pub(crate) struct Parts {
    pub(crate) base: Base,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) domains: Domains,
    /// What runs the domains that others define, until it follows them.
    defining: Vec<Defining>,
    background: JoinSet<()>,
}

/// Opens control storage.
async fn open_control(config: &Config, store: &Arc<dyn Store>, start: &Start) -> Result<Control> {
    let tables = format!("the tables ({})", store.describe());
    let control = retry(&tables, start, || Control::open(Arc::clone(store)), TablesError::is_retryable).await;
    control.with_context(|| format!("cannot open control storage of {}", config.name_of_tables()))
}

/// Makes the data directory. One that cannot be made is a fault of the configuration.
fn make_data_dir(config: &Config) -> Result<()> {
    let (folder, name) = (&config.process.data_dir, config.names.of("data-dir"));
    let failed = |error: io::Error| {
        let text = format!("{name} cannot be used: cannot create the data directory {}", folder.display());
        Failure::because(Code::Usage, text, error)
    };
    Ok(fs::create_dir_all(folder).map_err(failed)?)
}

/// Opens the log and control storage. Control storage comes after the embedded log, whose lock is that of the folder, and
/// before the log on Kafka, because it says which topics may be created.
async fn open_log(
    config: &Config,
    domains: &[Domain],
    store: &Arc<dyn Store>,
    start: &Start,
) -> Result<(Arc<dyn EventLog>, Control)> {
    let topics = Domain::topics_of(domains);
    match &config.log {
        Log::Embedded => {
            let folder = config.process.data_dir.clone();
            start.wait_for("the embedded log");
            make_data_dir(config)?;
            let opened = tokio::task::spawn_blocking(move || open_embedded(&folder, &topics)).await?;
            let log = Arc::new(opened.context("cannot open the embedded log")?);
            Ok((log, open_control(config, store, start).await?))
        }
        Log::Kafka(address) => {
            let control = open_control(config, store, start).await?;
            let creatable = topics_without_tables(domains, &control).await?;
            let open = || KafkaLog::open_creating(address.clone(), &topics, &creatable);
            let retryable = |error: &LogError| matches!(error, LogError::Unavailable(_));
            let opened = retry("the log on Kafka", start, open, retryable).await.map_err(|error| match error {
                LogError::Absent(reason) => LogError::Absent(format!(
                    "{reason}, but the tables ({}) were built from topics with the prefix {} (to empty the tables, remove \
                     {}); {WAYS_OUT}",
                    store.describe(),
                    address.prefix,
                    store.contents(),
                )),
                error => error,
            });
            Ok((Arc::new(opened.context("cannot open the log on Kafka")?), control))
        }
    }
}

/// The topics of domains that have no tables yet. Others are not created: what the tables hold came from them.
async fn topics_without_tables(domains: &[Domain], control: &Control) -> Result<Vec<Topic>> {
    let mut creatable = Vec::new();
    for domain in domains {
        if control.generations((domain.projection)().domain()).await?.is_empty() {
            creatable.extend_from_slice(domain.topics);
        }
    }
    Ok(creatable)
}

/// Opens the embedded log; creates it, unless there are tables that were built from one.
fn open_embedded(folder: &Path, topics: &[Topic]) -> Result<EmbeddedLog, LogError> {
    let open = if SqliteStore::is_in(folder) { EmbeddedLog::open_existing } else { EmbeddedLog::open };
    open(folder, topics)
}

/// Retries an attempt that fails with a retryable error, for a bounded time.
pub(crate) async fn retry<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
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
pub(crate) fn open_search(config: &Config) -> Result<Option<Arc<dyn SearchStore>>> {
    Ok(match &config.search {
        config::Search::Off => None,
        config::Search::Embedded => Some(Arc::new(TantivyStore::new(config.process.data_dir.join("search")))),
        config::Search::Elasticsearch(address) => Some(Arc::new(ElasticsearchStore::new(address.clone())?)),
    })
}

impl Parts {
    /// Opens all parts and starts their background tasks.
    pub(crate) async fn start(config: &Config, domains: &[Domain], instance: &str, start: &Start) -> Result<Self> {
        let parts = Self::connect(config, domains, instance, config.process.roles.names(), start).await?;
        parts.start_domains(config, domains, start).await
    }

    /// Opens the log, the stores and control storage, and takes a lease. No domain runs yet.
    pub(crate) async fn connect(
        config: &Config,
        domains: &[Domain],
        instance: &str,
        roles: String,
        start: &Start,
    ) -> Result<Self> {
        let store = open_store(config);
        let (log, control) = open_log(config, domains, &store, start).await?;
        tracing::info!(log = log.describe(), log_id = log.id(), "log: {}", log.describe());
        tracing::info!(tables = store.describe(), "tables: {}", store.describe());
        let instance = instance.to_owned();
        let holding = Holding {
            instance: instance.clone(),
            roles,
            domains: domains
                .iter()
                .map(|domain| Folded::of((domain.projection)().as_ref(), log.as_ref()))
                .collect::<Result<_, _>>()?,
            throttle: Arc::new(Throttle::new(config.rebuild.read_latency_max)),
        };
        let lease = if store.shared() {
            let join = || Lease::join(control.clone(), holding.clone());
            retry("a lease", start, join, TablesError::is_retryable).await.context("cannot take a lease")?
        } else {
            Lease::unshared(control.clone(), holding)
        };
        let lease = Arc::new(lease);
        let mut background = JoinSet::new();
        let of_task = Arc::clone(&lease);
        background.spawn(async move { of_task.keep().await });
        let of_task = Arc::clone(&lease);
        background.spawn(async move { of_task.throttle().keep().await });
        let of_task = control.clone();
        background.spawn(async move { of_task.hear().await });
        let (indexes, settings) = (open_search(config)?, Arc::new(config.rebuild.settings.clone()));
        let projects = config.process.roles.projector;
        let base =
            Base { log, control, lease, instance, indexes, settings, projects, is_search_checked: Arc::default() };
        Ok(Self { base, store, domains: Domains::default(), defining: Vec::new(), background })
    }

    async fn start_domains(mut self, config: &Config, domains: &[Domain], start: &Start) -> Result<Self> {
        for domain in domains {
            let parts = domain.parts(&config.domains);
            let versions = DomainVersions::of(&parts)?;
            let version = versions.folds.newest();
            let is_used = prepare::is_used(&self.base.platform(version.clone(), &versions.folds)).await?;
            let _lock = if is_used { Some(prepare_command::lock(config)?) } else { None };
            let running = Arc::new(self.base.open(parts.api, version, versions, start).await?);
            if let Some(defines) = domain.defines {
                let (base, domains) = (self.base.clone(), self.domains.clone());
                self.defining.push(Defining::new(base, domains, Arc::clone(&running), defines));
            }
            self.domains.push(running);
        }
        Ok(self)
    }

    /// Waits until the tables have applied all records that the log held at the start, and promotes generations that
    /// are not live.
    pub(crate) async fn catch_up(&mut self, start: &Start) -> Result<()> {
        start.wait_for("the end of the log");
        let log = Arc::clone(&self.base.log);
        let end = tokio::task::spawn_blocking(move || log.end(&log.topics())).await??;
        // Others may make another generation live at any time: this process has partitions of it then.
        for running in self.domains.all() {
            running.follow(&end, start).await?;
        }
        for running in self.domains.all() {
            running.catch_up(&end, start).await?;
        }
        for defining in &mut self.defining {
            // They are served together with the others. One that does not run is tried again later, and holds up no other.
            if let Err(error) = defining.look(start, &(Arc::new(|_: &Running| {}) as Added)).await {
                tracing::error!(error = format!("{error:#}"), "a defined domain does not run: {error:#}");
            }
        }
        Ok(())
    }

    /// Runs further domains as they are defined, and calls `added` with each.
    pub(crate) fn follow_definitions(&mut self, added: &Added) {
        for defining in self.defining.drain(..) {
            self.background.spawn(defining.follow(Arc::clone(added)));
        }
    }

    /// Creates the sequencer. The tables must have caught up.
    pub(crate) async fn sequencer(&self, domains: &[Domain], start: &Start) -> Result<Sequencer> {
        start.wait_for("the highest numbers in the tables");
        let mut sequences = Vec::new();
        for domain in domains.iter().filter(|domain| !domain.sequences.is_empty()) {
            let Some(running) = self.domains.find(domain.name()) else { continue };
            let live = Arc::clone(&running.serving.borrow().live().generation);
            let highest = numbers::highest(live.tables.as_ref()).await?;
            let floor = |name: &str| highest.get(name).copied().unwrap_or(0);
            sequences.extend(domain.sequences.iter().map(|sequence| (*sequence, floor(sequence.name))));
        }
        let source: Arc<dyn NumberSource> = Arc::new(self.base.control.clone());
        Ok(Sequencer::new(source, sequences))
    }

    /// Returns a function that lists why this process cannot serve; the list is empty if it can.
    pub(crate) fn readiness(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<> {
        let domains = self.domains.clone();
        let (log, lease) = (Arc::clone(&self.base.log), Arc::clone(&self.base.lease));
        let control = self.base.control.clone();
        move || {
            let mut reasons: Vec<String> = domains.all().iter().flat_map(|running| running.reasons()).collect();
            reasons.extend(log.failure().map(|failure| format!("log: {failure}")));
            reasons.extend(control.failure().map(|failure| format!("control storage: {failure}")));
            reasons.extend(lease.failure().map(|failure| format!("lease: {failure}")));
            reasons
        }
    }

    /// Stops in order: search, projectors, lease, log. What was acknowledged is durable.
    pub(crate) async fn stop(mut self, limit: Duration) {
        // Nothing is begun any longer.
        self.background.shutdown().await;
        std::mem::take(&mut self.domains).stop().await;
        let Base { log, lease, .. } = self.base;
        lease.leave().await;
        if tokio::task::spawn_blocking(move || log.flush(limit)).await.is_err() {
            tracing::error!("the log did not stop in order");
        }
    }
}

/// A unique name for this process: another one may get the same process id later or on another machine.
pub(crate) fn instance_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), since.as_nanos())
}
