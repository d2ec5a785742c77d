//! What every request works with, and the configuration of the HTTP surface.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use daybook_ingest::{append::Appender, log::EventLog, sequence::Sequencer};
use daybook_projector::{generation::Generation, lease::Lease, search::state::Search};

use crate::{facts::Facts, view::View};

/// The version of Metaflow's service that clients are told; they switch features on by it.
pub const METAFLOW_SERVICE_VERSION: &str = "2.6.1";

/// Configuration of the HTTP surface.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the metadata routes' paths begin with; empty, or begins with `/` and does not end with it.
    pub path_prefix: String,
    /// Largest request body, in bytes, inclusive.
    pub body_bytes_max: usize,
    /// Requests that are worked on at once; more are answered 503.
    pub requests_max: usize,
    /// How long a request may wait for the tables to reach a position.
    pub wait_max: Duration,
    /// Seconds after the last heartbeat at which a run counts as failed.
    pub run_inactive_cutoff_seconds: i64,
    /// What the topics' full names begin with; the registry's subjects too.
    pub topic_prefix: String,
    /// This process among its like.
    pub instance: String,
    /// The roles of this process, comma-separated.
    pub roles: String,
    /// The log, for people.
    pub log: String,
    /// The tables, for people.
    pub tables: String,
}

/// Tells why the process cannot serve now; empty if it can.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What every request works with.
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
    /// What never changes, cached.
    pub facts: Facts,
    /// The live generation's search, unless it is switched off.
    pub search: Option<Arc<Search>>,
    /// Whether the process can serve.
    pub readiness: Readiness,
    /// When the process started.
    pub started: Instant,
    live: RwLock<View>,
}

impl App {
    /// An app that serves a generation. Must be called on a runtime.
    pub fn new(
        config: Config,
        log: Arc<dyn EventLog>,
        sequencer: Sequencer,
        lease: Arc<Lease>,
        generation: Arc<Generation>,
        search: Option<Arc<Search>>,
        readiness: Readiness,
    ) -> Self {
        let appender = Appender::new(Arc::clone(&log));
        let live = RwLock::new(View::new(generation));
        let (facts, started) = (Facts::default(), Instant::now());
        Self { config, log, appender, sequencer, lease, facts, search, readiness, started, live }
    }

    /// The live generation, as a request takes it at its start.
    pub fn live(&self) -> View {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
