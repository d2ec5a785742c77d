//! Wires the parts: log, store, and for each domain generation, projector and search.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_ingest::{
    log::{self, EventLog, LogError, WAYS_OUT, embedded::EmbeddedLog, kafka::KafkaLog},
    sequence::{NumberSource, Sequencer},
};
use daybook_projector::{
    backoff::Backoff,
    bookkeeping::numbers,
    chain,
    generation::Generation,
    monitor,
    search::{SearchError, SearchStore, elasticsearch::ElasticsearchStore, state::Search, tantivy::TantivyStore},
    tables::{Store, TablesError, postgres::PostgresStore, sqlite::SqliteStore},
    throttle::Throttle,
};
use daybook_reindexer::{
    control::Control,
    coordinator::Coordinator,
    lease::{Folded, Holding, Lease},
    open::{self, OpenError, Opened},
    prepare,
    running::Platform,
    settings::Settings,
    upgrade,
    watcher::{Generations, Serving, Watcher},
};
use daybook_schemas::{Topic, position::Vector};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::{self, Config, Log, Tables},
    domains::Domain,
    prepare_command,
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
    pub(crate) control: Control,
    settings: Arc<Settings>,
    background: JoinSet<()>,
}

/// A running domain.
pub(crate) struct Running {
    pub(crate) domain: Domain,
    /// The generation with which the program started.
    pub(crate) opened: Opened,
    pub(crate) search: Option<Arc<Search>>,
    /// What this process knows of its generations.
    pub(crate) serving: watch::Receiver<Serving>,
    pub(crate) platform: Platform,
    generations: Generations,
    /// Until it follows.
    watcher: Option<Watcher>,
}

/// Opens control storage.
async fn open_control(store: &Arc<dyn Store>, start: &Start) -> Result<Control> {
    let tables = format!("the tables ({})", store.describe());
    let control = retry(&tables, start, || Control::open(Arc::clone(store)), TablesError::is_retryable).await;
    control.context("cannot open control storage")
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
            let opened = tokio::task::spawn_blocking(move || open_embedded(&folder, &topics)).await?;
            let log = Arc::new(opened.context("cannot open the embedded log")?);
            Ok((log, open_control(store, start).await?))
        }
        Log::Kafka(address) => {
            let control = open_control(store, start).await?;
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
pub(crate) fn open_search(config: &Config) -> Result<Option<Arc<dyn SearchStore>>> {
    Ok(match &config.search {
        config::Search::Off => None,
        config::Search::Embedded => Some(Arc::new(TantivyStore::new(config.process.data_dir.join("search")))),
        config::Search::Elasticsearch(address) => Some(Arc::new(ElasticsearchStore::new(address.clone())?)),
    })
}

/// Refuses an index that is not of this log. An index that does not answer is looked at later, by its runner.
async fn refuse_foreign(platform: &Platform, generation: &Generation) -> Result<()> {
    let (Some(store), Some(binding)) = (&platform.indexes, platform.binding(generation)) else { return Ok(()) };
    match store.check(&binding).await {
        Err(error @ SearchError::Foreign(_)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Watches the live generation until the task is dropped.
async fn watch_live(log: Arc<dyn EventLog>, mut serving: watch::Receiver<Serving>) {
    loop {
        let live = serving.borrow_and_update().live().clone();
        let number = live.generation.number;
        tokio::select! {
            () = monitor::watch(Arc::clone(&log), live.generation, live.search) => {}
            // The sender lives as long as this process serves.
            _ = serving.wait_for(|serving| serving.live().generation.number != number) => {}
        }
    }
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
                .map(|domain| Folded::of((domain.projection)().as_ref()))
                .collect::<Result<_, _>>()?,
            partitions: log::partitions(log.as_ref()),
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
        let search = open_search(config)?;
        let settings = Arc::new(config.rebuild.settings.clone());
        Ok(Self { log, store, instance, lease, domains: Vec::new(), search, control, settings, background })
    }

    async fn start_domains(mut self, config: &Config, domains: &[Domain], start: &Start) -> Result<Self> {
        for domain in domains {
            let platform = self.platform(*domain, config.process.roles.projector);
            let open = || open::open(&platform);
            let transient = |error: &OpenError| match error {
                OpenError::Tables { source, .. } => source.is_retryable(),
                OpenError::Log { source, .. } => matches!(source, LogError::Unavailable(_)),
                _ => false,
            };
            let _lock = if prepare::is_used(&platform).await? { Some(prepare_command::lock(config)?) } else { None };
            let what = format!("the live generation of {}", platform.domain());
            let opened = retry(&what, start, open, transient).await?;
            refuse_foreign(&platform, &opened.generation).await?;
            let watcher = Watcher::start(platform.clone(), &opened).await?;
            let serving = watcher.serving();
            self.background.spawn(watch_live(Arc::clone(&self.log), serving.clone()));
            let (search, generations) = (serving.borrow().live().search.clone(), watcher.generations());
            let watcher = Some(watcher);
            self.domains.push(Running { domain: *domain, opened, search, serving, platform, generations, watcher });
        }
        Ok(self)
    }

    /// What the generations of a domain run on.
    pub(crate) fn platform(&self, domain: Domain, projects: bool) -> Platform {
        Platform {
            projection: (domain.projection)(),
            documents: (domain.documents)(),
            log: Arc::clone(&self.log),
            control: self.control.clone(),
            indexes: self.search.clone(),
            lease: Arc::clone(&self.lease),
            instance: self.instance.clone(),
            projects,
            settings: Arc::clone(&self.settings),
        }
    }

    /// Waits until the tables have applied all records that the log held at the start, and promotes generations that
    /// are not live.
    pub(crate) async fn catch_up(&mut self, start: &Start) -> Result<()> {
        start.wait_for("the end of the log");
        let log = Arc::clone(&self.log);
        let end = tokio::task::spawn_blocking(move || log.end()).await??;
        for running in &mut self.domains {
            let domain = running.platform.domain();
            let is_alone = !self.store.shared();
            if running.opened.is_live || is_alone {
                running.catch_up(&end, start).await?;
            }
            if !running.opened.is_live && is_alone {
                running.catch_up_search(&end, start).await;
                start.wait_for(format!("the promotion of {domain}'s new generation"));
                upgrade::promote(&running.platform, &running.opened.generation).await?;
            }
            start.wait_for(format!("the generations of {domain}"));
            if let Some(watcher) = running.watcher.take() {
                watcher.look().await?;
                self.background.spawn(watcher.follow());
            }
            let (platform, serving) = (running.platform.clone(), running.serving.clone());
            self.background.spawn(Coordinator::new(platform, serving).coordinate());
        }
        Ok(())
    }

    /// Creates the sequencer. The tables must have caught up.
    pub(crate) async fn sequencer(&self, start: &Start) -> Result<Sequencer> {
        start.wait_for("the highest numbers in the tables");
        let mut sequences = Vec::new();
        for running in &self.domains {
            let highest = numbers::highest(running.opened.generation.tables.as_ref()).await?;
            let floor = |name: &str| highest.get(name).copied().unwrap_or(0);
            sequences.extend(running.domain.sequences.iter().map(|sequence| (*sequence, floor(sequence.name))));
        }
        let source: Arc<dyn NumberSource> = Arc::new(self.control.clone());
        Ok(Sequencer::new(source, sequences))
    }

    /// Returns a function that lists why this process cannot serve; the list is empty if it can.
    pub(crate) fn readiness(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<> {
        let domains: Vec<_> = self.domains.iter().map(|it| (it.serving.clone(), it.generations.clone())).collect();
        let (log, lease) = (Arc::clone(&self.log), Arc::clone(&self.lease));
        move || {
            let mut reasons = Vec::new();
            for (serving, generations) in &domains {
                let current = serving.borrow().current.generation.number;
                let live = Arc::clone(&serving.borrow().live().generation);
                if current != live.number {
                    let (domain, number) = (live.domain, live.number);
                    reasons.push(format!(
                        "generation {current} of {domain} is live, which another version of this program serves; \
                         generation {number} of this one is not promoted"
                    ));
                }
                let (domain, owed) = (live.domain, live.progress.owed());
                reasons.extend(live.refusal().map(str::to_owned));
                let failures = generations.failures().into_iter().filter(|failed| failed.generation == live.number);
                reasons.extend(failures.map(|failed| format!("projector of {domain}: {}", failed.failure)));
                if !owed.0.is_empty() {
                    reasons.push(format!("tables of {domain}: they went back, and reach {owed} again soon"));
                }
            }
            reasons.extend(log.failure().map(|failure| format!("log: {failure}")));
            reasons.extend(lease.failure().map(|failure| format!("lease: {failure}")));
            reasons
        }
    }

    /// Stops in order: search, projectors, lease, log. What was acknowledged is durable.
    pub(crate) async fn stop(mut self, limit: Duration) {
        // Nothing is begun any longer.
        self.background.shutdown().await;
        let domains = std::mem::take(&mut self.domains);
        let stopping = move || {
            for running in domains {
                running.generations.stop();
            }
        };
        if tokio::task::spawn_blocking(stopping).await.is_err() {
            tracing::error!("the projectors did not stop in order");
        }
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
        let progress = &self.opened.generation.progress;
        let topics = self.domain.topics;
        let own = end.0.iter().filter(|(partition, _)| topics.contains(&partition.topic));
        let end = Vector(own.map(|(partition, next)| (*partition, *next)).collect());
        let domain = self.opened.generation.domain;
        let began = Instant::now();
        start.wait_for(format!("the tables of {domain}, which are catching up"));
        while tokio::time::timeout(REPORT, progress.wait_for(&end)).await.is_err() {
            if let Some(reason) = self.opened.generation.refusal() {
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
        let domain = self.opened.generation.domain;
        start.wait_for(format!("search of {domain}, which is catching up"));
        while tokio::time::timeout(REPORT, search.wait(end)).await.is_err() {
            let lag = search.lag(end);
            if let Some(failure) = search.health().failure {
                tracing::warn!(domain, lag, "search of {domain} does not catch up: {failure}");
                return;
            }
            start.wait_for(format!("search of {domain}, which is catching up: {lag} records left"));
            tracing::info!(domain, lag, "search of {domain} is catching up: {lag} records left");
        }
    }
}

/// A unique name for this process: another one may get the same process id later or on another machine.
pub(crate) fn instance_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), since.as_nanos())
}
