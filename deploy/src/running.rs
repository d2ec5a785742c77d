//! The domains that run in this process. Each is opened, brought up to date and followed in the same way, at the start or
//! while the process serves.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use daybook_ingest::log::{EventLog, LogError};
use daybook_projector::{
    generation::Generation,
    monitor,
    search::{SearchError, SearchStore, state::Search},
};
use daybook_query_api::app::{ApiVersion, DomainApi, DomainParts};
use daybook_reindexer::{
    control::Control,
    coordinator::Coordinator,
    lease::Lease,
    open::{self, OpenError, Opened},
    running::Platform,
    settings::Settings,
    upgrade,
    version::{Version, Versions},
    watcher::{Generations, Serving, Watcher},
};
use daybook_schemas::position::Vector;
use futures_util::future::join_all;
use tokio::{sync::watch, task::JoinSet};

use crate::{start::Start, wire::retry};

/// Time between two looks at the progress while tables and search catch up, and between two lines of the log about it.
const LOOK: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_secs(2);
/// How long a start waits for search, which everything else is served without.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// What every domain of this process runs on. Clones share it.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) control: Control,
    pub(crate) lease: Arc<Lease>,
    pub(crate) instance: String,
    pub(crate) indexes: Option<Arc<dyn SearchStore>>,
    pub(crate) settings: Arc<Settings>,
    /// Whether this process applies records.
    pub(crate) projects: bool,
    /// Whether domains are opened without a look at the search server: it did not answer in time, or the start is over.
    pub(crate) is_search_checked: Arc<AtomicBool>,
}

/// The domains that run in this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Domains(Arc<RwLock<Vec<Arc<Running>>>>);

/// The versions of a domain that this process knows. Clones share them.
#[derive(Clone)]
pub(crate) struct DomainVersions {
    /// How they fold.
    pub(crate) folds: Versions<Version>,
    /// What the routes need of them.
    pub(crate) apis: Versions<ApiVersion>,
}

/// A running domain.
pub(crate) struct Running {
    pub(crate) api: DomainApi,
    pub(crate) versions: DomainVersions,
    /// The generation with which it was opened.
    pub(crate) opened: Opened,
    /// What this process knows of its generations.
    pub(crate) serving: watch::Receiver<Serving>,
    pub(crate) platform: Platform,
    search: Option<Arc<Search>>,
    generations: Generations,
    /// Until it follows.
    watcher: Mutex<Option<Watcher>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Domains {
    /// Adds a domain.
    pub(crate) fn push(&self, running: Arc<Running>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(running);
    }

    /// All of them, in the order in which they were added.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The domain of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Running>> {
        self.all().into_iter().find(|running| running.platform.domain() == name)
    }

    /// Stops all of them at the same time, within a bounded time.
    pub(crate) async fn stop(&self) {
        let all = self.all();
        join_all(all.iter().map(|running| running.stop())).await;
    }
}

impl Base {
    /// What the generations of a domain run on. This process opens the one of `version`.
    pub(crate) fn platform(&self, version: Version, versions: &Versions<Version>) -> Platform {
        Platform {
            version,
            versions: versions.clone(),
            log: Arc::clone(&self.log),
            control: self.control.clone(),
            indexes: self.indexes.clone(),
            lease: Arc::clone(&self.lease),
            instance: self.instance.clone(),
            projects: self.projects,
            settings: Arc::clone(&self.settings),
        }
    }

    /// The same for a domain of the program's list, which has one version.
    pub(crate) fn platform_of(&self, domain: &DomainParts) -> Result<Platform> {
        let DomainVersions { folds, .. } = DomainVersions::of(domain)?;
        Ok(self.platform(folds.newest(), &folds))
    }

    /// Opens the generation of a domain that was built with `version`, and begins to apply records to it.
    pub(crate) async fn open(
        &self,
        api: DomainApi,
        version: Version,
        versions: DomainVersions,
        start: &Start,
    ) -> Result<Running> {
        let platform = self.platform(version, &versions.folds);
        let transient = |error: &OpenError| match error {
            OpenError::Tables { source, .. } => source.is_retryable(),
            OpenError::Log { source, .. } => matches!(source, LogError::Unavailable(_)),
            _ => false,
        };
        let what = format!("the live generation of {}", platform.domain());
        let opened = retry(&what, start, || open::open(&platform), transient).await?;
        self.check_search(&platform, &opened.generation, start).await?;
        let watcher = Watcher::start(platform.clone(), &opened).await?;
        let (serving, generations) = (watcher.serving(), watcher.generations());
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_live(Arc::clone(&self.log), serving.clone()));
        let (search, watcher) = (serving.borrow().live().search.clone(), Mutex::new(Some(watcher)));
        let tasks = Mutex::new(tasks);
        Ok(Running { api, versions, opened, serving, platform, search, generations, watcher, tasks })
    }

    /// Refuses an index that is not of this log, and an address where no index can be. What does not answer is looked at
    /// later, by its runner.
    async fn check_search(&self, platform: &Platform, generation: &Generation, start: &Start) -> Result<()> {
        let (Some(store), Some(binding)) = (&self.indexes, platform.binding(generation)) else { return Ok(()) };
        if self.is_search_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        start.wait_for(format!("search ({})", store.describe()));
        match tokio::time::timeout(SEARCH_MAX, store.check(&binding)).await {
            Ok(Err(error @ (SearchError::Foreign(_) | SearchError::Unusable(_)))) => Err(error.into()),
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => {
                let (place, seconds) = (store.describe(), SEARCH_MAX.as_secs());
                tracing::warn!("search ({place}) has not answered for {seconds} s; the start does not wait for it");
                self.is_search_checked.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl DomainVersions {
    /// One version.
    pub(crate) fn of(parts: &DomainParts) -> Result<Self> {
        let version = version_of(parts)?;
        let (revision, fingerprint) = (parts.revision, version.fingerprint.clone());
        let apis = Versions::of(revision, &fingerprint, parts.api.version.clone());
        Ok(Self { folds: Versions::of(revision, &fingerprint, version), apis })
    }

    /// Adds a version. Returns its fingerprint.
    pub(crate) fn add(&self, parts: &DomainParts) -> Result<String> {
        let version = version_of(parts)?;
        let fingerprint = version.fingerprint.clone();
        // What its routes need is there before a generation is.
        self.apis.add(parts.revision, &fingerprint, parts.api.version.clone());
        self.folds.add(parts.revision, &fingerprint, version);
        Ok(fingerprint)
    }
}

/// How a domain folds.
pub(crate) fn version_of(parts: &DomainParts) -> Result<Version> {
    let version = Version::new(Arc::clone(&parts.projection), parts.documents.clone())?;
    Ok(Version { inspector: parts.inspector.clone(), settings: parts.settings, ..version })
}

/// Watches the live generation until the task is dropped.
async fn watch_live(log: Arc<dyn EventLog>, mut serving: watch::Receiver<Serving>) {
    loop {
        let live = serving.borrow_and_update().live().clone();
        let number = live.generation.number;
        tokio::select! {
            () = monitor::watch(Arc::clone(&log), live.generation, live.search) => {}
            changed = serving.wait_for(|serving| serving.live().generation.number != number) => {
                // The domain is not run any more.
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Running {
    /// Stops its tasks and its generations, within a bounded time.
    pub(crate) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
        let (domain, generations) = (self.platform.domain(), self.generations.clone());
        if tokio::task::spawn_blocking(move || generations.stop()).await.is_err() {
            tracing::error!(domain, "the projectors of {domain} did not stop in order");
        }
    }

    /// Looks at control storage, and follows it from now on. A generation that is not live is promoted first if this
    /// process is alone.
    pub(crate) async fn follow(&self, end: &Vector, start: &Start) -> Result<()> {
        if !self.opened.is_live && !self.platform.control.store().shared() {
            self.catch_up(end, start).await?;
            self.catch_up_search(end, start).await;
            start.wait_for(format!("the promotion of {}'s new generation", self.platform.domain()));
            upgrade::promote(&self.platform, &self.opened.generation).await?;
        }
        start.wait_for(format!("the generations of {}", self.platform.domain()));
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            watcher.look().await?;
            self.tasks().spawn(watcher.follow());
        }
        self.tasks().spawn(Coordinator::new(self.platform.clone(), self.serving.clone()).coordinate());
        Ok(())
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another version of this program serves the live generation.
    pub(crate) fn is_foreign(&self) -> bool {
        let serving = self.serving.borrow();
        serving.current.generation.number != serving.live().generation.number
    }

    /// Why this process cannot answer from it now; empty if it can.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let current = self.serving.borrow().current.generation.number;
        let live = Arc::clone(&self.serving.borrow().live().generation);
        if self.is_foreign() {
            let (domain, number) = (live.domain, live.number);
            reasons.push(format!(
                "generation {current} of {domain} is live, which another version of this program serves; generation \
                 {number} of this one is not promoted"
            ));
        }
        let (domain, owed) = (live.domain, live.progress.owed());
        // A refusal may say the same.
        reasons.extend(live.refusal().map(str::to_owned).or_else(|| live.lost()));
        let failures = self.generations.failures().into_iter().filter(|failed| failed.generation == live.number);
        reasons.extend(failures.map(|failed| format!("projector of {domain}: {}", failed.failure)));
        if !owed.0.is_empty() {
            reasons.push(format!("tables of {domain}: they went back, and reach {owed} again soon"));
        }
        reasons
    }

    /// Waits until the live tables have reached `end`, and logs progress. Another generation may become live meanwhile;
    /// one of another version of this program is not waited for.
    pub(crate) async fn catch_up(&self, end: &Vector, start: &Start) -> Result<()> {
        let topics = self.platform.version.projection.topics();
        let own = end.0.iter().filter(|(partition, _)| topics.contains(&partition.topic));
        let end = Vector(own.map(|(partition, next)| (*partition, *next)).collect());
        let (domain, began) = (self.platform.domain(), Instant::now());
        let mut reported = began;
        loop {
            if self.is_foreign() {
                return Ok(());
            }
            let live = Arc::clone(&self.serving.borrow().live().generation);
            let lag = live.progress.applied().lag(&end);
            start.wait_for(format!("the tables of {domain}, which are catching up: {lag} records left"));
            if tokio::time::timeout(LOOK, live.progress.wait_for(&end)).await.is_ok() {
                return Ok(());
            }
            if let Some(reason) = live.refusal() {
                anyhow::bail!("{reason}");
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                let done = end.0.values().sum::<i64>() - lag;
                let seconds = began.elapsed().as_secs_f64() * lag as f64 / done.max(1) as f64;
                tracing::info!(domain, lag, "{domain} is catching up: {lag} records left, about {seconds:.0} s");
            }
        }
    }

    /// Waits until search sees everything before `end`, or fails; and logs progress.
    async fn catch_up_search(&self, end: &Vector, start: &Start) {
        let Some(search) = &self.search else { return };
        let (domain, mut reported) = (self.opened.generation.domain, Instant::now());
        loop {
            let lag = search.lag(end);
            start.wait_for(format!("search of {domain}, which is catching up: {lag} records left"));
            if tokio::time::timeout(LOOK, search.wait(end)).await.is_ok() {
                return;
            }
            if reported.elapsed() < REPORT {
                continue;
            }
            reported = Instant::now();
            if let Some(failure) = search.health().failure {
                tracing::warn!(domain, lag, "search of {domain} does not catch up: {failure}");
                return;
            }
            tracing::info!(domain, lag, "search of {domain} is catching up: {lag} records left");
        }
    }
}
