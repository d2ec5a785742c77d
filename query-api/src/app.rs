//! The state that every request uses, and the configuration of the HTTP API.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::Router;
use daybook_ingest::{
    append::Appender,
    log::{BoxFuture, EventLog},
    sequence::Sequencer,
};
use daybook_projector::{
    projection::Projection,
    search::{SearchStore, source::Documents},
    tables::Statement,
};
use daybook_reindexer::{
    lease::Lease, rebuilds::Rebuilds, running::Open, settings::VersionSettings, verify::inspect::Inspect,
    version::Versions, watcher::Serving,
};
use daybook_schemas::{SchemaSet, Topic, generic::SchemaSets};
use tokio::sync::{Semaphore, watch};

use crate::{
    bodies::Bodies,
    error::ApiError,
    live::{Live, NewView},
};

/// Configuration of the HTTP API.
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest request body, in bytes, inclusive.
    pub body_bytes_max: usize,
    /// Concurrent requests, at most; more are answered 503. A request counts once its body is there.
    pub requests_max: usize,
    /// How long a request may wait for the tables to reach a position.
    pub wait_max: Duration,
    /// The prefix of the topics' full names and of the registry's subjects.
    pub topic_prefix: String,
    /// The name of this process.
    pub instance: String,
    /// The roles of this process, comma-separated.
    pub roles: String,
    /// A description of the log.
    pub log: String,
    /// A description of the tables.
    pub tables: String,
}

/// Returns why the process cannot serve now; empty if it can.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Creates a domain's routes.
pub type NewRoutes = Arc<dyn Fn(&App) -> Router<Arc<App>> + Send + Sync>;

/// Waits until this process knows the newest version of a domain, for a bounded time.
pub type KnowNewest = Arc<dyn for<'a> Fn(&'a App) -> BoxFuture<'a, Result<(), ApiError>> + Send + Sync>;

/// What a domain adds to the HTTP API.
#[derive(Clone)]
pub struct DomainApi {
    /// The domain.
    pub name: &'static str,
    /// Its topics.
    pub topics: Vec<Topic>,
    /// The released schemas of its events.
    pub schemas: &'static SchemaSet,
    /// Creates its routes.
    pub routes: NewRoutes,
    /// Creates those of its routes that no lease is needed for, as the routes of the process are.
    pub process_routes: Option<NewRoutes>,
    /// Those of its routes whose bodies are read part by part ([`Streamed`](crate::bodies::Streamed)).
    pub streamed: Vec<String>,
    /// The prefix of the paths of its search, as in `/api/v1`.
    pub search_prefix: String,
    /// Whether it is meant where no domain is named, if it is the only such one.
    pub is_default: bool,
    /// What its routes need of this version of it.
    pub version: ApiVersion,
    /// Waits for its newest version before a rebuild begins, if its versions are made at run time.
    pub know_newest: Option<KnowNewest>,
    /// Every statement of its routes, so that a test can run each on every engine.
    pub statements: Vec<&'static Statement>,
}

/// What a domain's routes need of a version of it.
#[derive(Clone)]
pub struct ApiVersion {
    /// Creates what they need for a generation.
    pub new_view: NewView,
    /// What the version is made from, if it is made at run time.
    pub definition: Option<Arc<dyn Any + Send + Sync>>,
}

impl ApiVersion {
    /// A version that the program contains.
    pub fn of(new_view: NewView) -> Self {
        Self { new_view, definition: None }
    }
}

/// A domain as a value that is made at run time.
#[derive(Clone)]
pub struct DomainParts {
    /// The number of the definition that it is made from; 0 if the program contains it.
    pub revision: i64,
    /// The projection that builds its tables.
    pub projection: Arc<dyn Projection>,
    /// Its search documents, if it has any.
    pub documents: Option<Arc<dyn Documents>>,
    /// What it checks itself when a generation is verified.
    pub inspector: Option<Arc<dyn Inspect>>,
    /// What it decides about its generations.
    pub settings: VersionSettings,
    /// What it adds to the HTTP API.
    pub api: DomainApi,
}

/// A domain that the events of another domain define while the process runs.
pub struct Defined {
    /// Its name.
    pub domain: String,
    /// Its newest revision.
    pub newest: i64,
    /// The domain as each of its revisions makes it that is not known yet and that this program understands, the newest
    /// last.
    pub versions: Vec<DomainParts>,
}

/// A domain as requests see it.
pub struct Domain {
    /// What it adds to the HTTP API.
    pub api: DomainApi,
    /// What people ask of its generations.
    pub rebuilds: Rebuilds,
    serving: watch::Receiver<Serving>,
    versions: Versions<ApiVersion>,
    /// What requests need of the generations that are open, made when it is first needed, by whom.
    views: Mutex<BTreeMap<i64, (NewView, Live)>>,
}

impl Domain {
    /// A domain whose generations are followed.
    pub fn new(
        api: DomainApi,
        rebuilds: Rebuilds,
        serving: watch::Receiver<Serving>,
        versions: Versions<ApiVersion>,
    ) -> Self {
        Self { api, rebuilds, serving, versions, views: Mutex::default() }
    }

    /// What its newest version is made from, if it is a `D`.
    pub fn newest_definition<D: Any + Send + Sync>(&self) -> Option<Arc<D>> {
        Arc::downcast(self.versions.newest().definition?).ok()
    }

    /// What the version of a fingerprint is made from, if this process knows that version and it is made from a `D`.
    pub fn definition_of<D: Any + Send + Sync>(&self, fingerprint: &str) -> Option<Arc<D>> {
        Arc::downcast(self.versions.find(fingerprint)?.definition?).ok()
    }

    /// Waits until this process knows its newest version: another one may have taken it a moment ago.
    pub async fn know_newest(&self, app: &App) -> Result<(), ApiError> {
        match &self.api.know_newest {
            Some(know_newest) => know_newest(app).await,
            None => Ok(()),
        }
    }

    /// Waits until its newest version is made from a `D` as it is expected.
    pub async fn until_newest<D: Any + Send + Sync>(&self, is_expected: impl Fn(&D) -> bool) {
        let is_made_so = |version: &ApiVersion| {
            let definition = version.definition.as_ref().and_then(|definition| definition.downcast_ref::<D>());
            definition.is_some_and(&is_expected)
        };
        self.versions.until_newest(is_made_so).await;
    }

    /// What this process knows of its generations.
    pub fn serving(&self) -> watch::Ref<'_, Serving> {
        self.serving.borrow()
    }

    /// The same, as it changes.
    pub fn changes(&self) -> watch::Receiver<Serving> {
        self.serving.clone()
    }

    /// The live generation. Must be called on a Tokio runtime.
    pub fn live(&self) -> Live {
        let open = self.serving().live().clone();
        self.view(open)
    }

    /// A generation that is open. Must be called on a Tokio runtime.
    pub fn generation(&self, number: i64) -> Option<Live> {
        let open = self.serving().open.get(&number).cloned()?;
        Some(self.view(open))
    }

    fn view(&self, open: Open) -> Live {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.generation.number;
        if !views.contains_key(&number) {
            let serving = self.serving();
            views.retain(|number, _| serving.open.contains_key(number));
        }
        let version = self.versions.find(&open.generation.fingerprint);
        // The generation that a start opens may be one of another program, which nothing is answered from.
        let new_view = version.unwrap_or_else(|| self.versions.newest()).new_view;
        match views.get(&number) {
            Some((by, live)) if Arc::ptr_eq(by, &new_view) => live.clone(),
            // A definition that shapes nothing may have taken the place of another one.
            _ => {
                let live = Live::new(open, &new_view);
                views.insert(number, (new_view, live.clone()));
                live
            }
        }
    }
}

/// The state that every request uses.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Appends events.
    pub appender: Appender,
    /// Gives out numbers.
    pub sequencer: Sequencer,
    /// This process's lease: without it, it must not answer.
    pub lease: Arc<Lease>,
    /// Where indexes live, unless search is switched off.
    pub indexes: Option<Arc<dyn SearchStore>>,
    /// The domains, by name. Some may be added while the process serves.
    domains: RwLock<BTreeMap<&'static str, Arc<Domain>>>,
    /// The names of those whose routes are served.
    served: watch::Sender<BTreeSet<&'static str>>,
    /// The released schemas of all domains.
    pub schemas: SchemaSets,
    /// Whether the process can serve.
    pub readiness: Readiness,
    /// When the process started.
    pub started: Instant,
    /// One permit for each request in progress.
    pub(crate) requests: Arc<Semaphore>,
    /// Reads the bodies of requests.
    pub(crate) bodies: Bodies,
}

/// The parts of an [`App`].
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Gives out numbers.
    pub sequencer: Sequencer,
    /// This process's lease.
    pub lease: Arc<Lease>,
    /// Where indexes live, unless search is switched off.
    pub indexes: Option<Arc<dyn SearchStore>>,
    /// The domains.
    pub domains: Vec<Domain>,
    /// The released schemas of all domains.
    pub schemas: SchemaSets,
    /// Whether the process can serve.
    pub readiness: Readiness,
}

impl App {
    /// An app that serves domains.
    pub fn new(config: Config, parts: Parts) -> Self {
        let Parts { log, sequencer, lease, indexes, domains, schemas, readiness } = parts;
        let appender = Appender::new(Arc::clone(&log));
        let served = domains.iter().map(|domain| domain.api.name).collect();
        let domains = domains.into_iter().map(|domain| (domain.api.name, Arc::new(domain))).collect();
        let (requests, bodies) = (Arc::new(Semaphore::new(config.requests_max)), Bodies::new(config.body_bytes_max));
        let started = Instant::now();
        let (served, domains) = (watch::Sender::new(served), RwLock::new(domains));
        Self {
            config,
            log,
            appender,
            sequencer,
            lease,
            indexes,
            domains,
            served,
            schemas,
            readiness,
            started,
            requests,
            bodies,
        }
    }

    /// The domains, in order of name.
    pub fn domains(&self) -> Vec<Arc<Domain>> {
        self.domains.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The domain of a name.
    pub fn domain(&self, name: &str) -> Option<Arc<Domain>> {
        self.domains.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The domain that is meant where none is named.
    pub fn default_domain(&self) -> Option<Arc<Domain>> {
        let mut defaults = self.domains().into_iter().filter(|domain| domain.api.is_default);
        defaults.next().filter(|_| defaults.next().is_none())
    }

    /// Adds a domain. `serve` makes its routes part of what is served.
    pub fn add(&self, domain: Domain, serve: impl FnOnce()) {
        let name = domain.api.name;
        self.domains.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(domain));
        serve();
        self.served.send_modify(|served| served.extend([name]));
    }

    /// Waits until the routes of a domain are served.
    pub async fn domain_served(&self, name: &str) {
        let mut served = self.served.subscribe();
        // The sender lives as long as this.
        let _there = served.wait_for(|served| served.contains(name)).await;
    }
}
