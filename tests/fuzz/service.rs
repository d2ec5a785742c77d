//! The embedded service with search, in this process, in a new folder.

use std::{sync::Arc, time::Duration};

use axum::Router;
use daybook_ingest::{
    log::{self, EventLog, embedded::EmbeddedLog},
    metaflow::sequences::SEQUENCES,
    sequence::Sequencer,
};
use daybook_projector::{
    control::Control,
    lease::Lease,
    projections::metaflow::Metaflow,
    runner::Runner,
    search::{
        runner::{SearchRunner, Setting},
        source::Documents,
        state::Search,
        tantivy::TantivyStore,
    },
    tables::{Store as _, sqlite::SqliteStore},
};
use daybook_query_api::{
    app::{App, Config, Domain, Parts},
    live::Live,
    routes,
};
use daybook_reindexer::{open, upgrade::Stores};
use daybook_schemas::{
    core::CoreEvent,
    event::Encoded,
    generic::SchemaSets,
    metaflow::{SCHEMAS, TOPICS},
};
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error>;

/// Starts it. It runs until the process ends.
pub(crate) fn start() -> (Runtime, Router) {
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let router = runtime.block_on(serve()).unwrap_or_else(|error| panic!("cannot start the service: {error}"));
    (runtime, router)
}

async fn serve() -> Result<Router, Failure> {
    let folder = std::env::temp_dir().join(format!("daybook-fuzz-{}", std::process::id()));
    let event_log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(&folder, &TOPICS)?);
    let store = SqliteStore::new(&folder);
    let control = Control::new(store.control().await?);
    let stores = Stores { tables: &store, search: None };
    let generation = open::open(&stores, &control, &Metaflow, &event_log).await?.generation;
    let lease = Lease::unshared(control.clone(), "fuzz".to_owned(), log::partitions(event_log.as_ref()));
    let runner = Runner::start(
        "fuzz".to_owned(),
        Arc::clone(&generation),
        Arc::new(Metaflow),
        Arc::clone(&event_log),
        lease.assignment(),
    )?;
    let search = Arc::new(Search::new(Documents::topics(&Metaflow)));
    let search_runner = SearchRunner::start(Setting {
        generation: Arc::clone(&generation),
        documents: Arc::new(Metaflow),
        log: Arc::clone(&event_log),
        store: Arc::new(TantivyStore::new(folder.join("search"))),
        assignment: lease.assignment(),
        search: Arc::clone(&search),
    })?;
    let config = Config {
        body_bytes_max: 64 * 1024,
        requests_max: 64,
        wait_max: Duration::from_secs(10),
        topic_prefix: "daybook".to_owned(),
        instance: "fuzz".to_owned(),
        roles: "api,projector".to_owned(),
        log: event_log.describe(),
        tables: store.describe(),
    };
    let settings = routes::metaflow::Settings { path_prefix: String::new(), run_inactive_cutoff_seconds: 360 };
    let api = routes::metaflow::api(settings);
    let live = Live::new(generation, Some(search), &api.new_view);
    let parts = Parts {
        log: event_log,
        sequencer: Sequencer::new(Arc::new(control), SEQUENCES.map(|sequence| (sequence, 0))),
        lease: Arc::new(lease),
        domains: vec![Domain::new(api, live)],
        schemas: SchemaSets(vec![CoreEvent::schemas(), &SCHEMAS]),
        readiness: Arc::new(Vec::new),
    };
    // They work until the process ends.
    std::mem::forget((runner, search_runner));
    Ok(routes::router(&Arc::new(App::new(config, parts))))
}
