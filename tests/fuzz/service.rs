//! The embedded service with search, in this process, in a new folder.

use std::{sync::Arc, time::Duration};

use axum::Router;
use daybook_ingest::{
    log::{EventLog, embedded::EmbeddedLog},
    sequence::Sequencer,
};
use daybook_metaflow::{
    events::{SCHEMAS, TOPICS},
    projection::Metaflow,
    routes::{self as metaflow_routes, Settings},
    sequences::SEQUENCES,
};
use daybook_projector::{
    search::tantivy::TantivyStore,
    tables::{Store, sqlite::SqliteStore},
};
use daybook_query_api::{
    app::{App, Config, Domain, Parts},
    routes,
};
use daybook_reindexer::{
    control::Control,
    lease::{Folded, Holding, Lease},
    open,
    rebuilds::Rebuilds,
    running::Platform,
    version::{Version, Versions},
    watcher::Watcher,
};
use daybook_schemas::{core::CoreEvent, event::Encoded, generic::SchemaSets};
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
    let store: Arc<dyn Store> = Arc::new(SqliteStore::new(&folder));
    let control = Control::open(Arc::clone(&store)).await?;
    let holding = Holding {
        instance: "fuzz".to_owned(),
        roles: "api,projector".to_owned(),
        domains: vec![Folded::of(&Metaflow, event_log.as_ref())?],
        throttle: Arc::default(),
    };
    let lease = Arc::new(Lease::unshared(control.clone(), holding));
    let version = Version::new(Arc::new(Metaflow), Some(Arc::new(Metaflow)))?;
    let platform = Platform {
        version: version.clone(),
        versions: Versions::of(0, &version.fingerprint.clone(), version.clone()),
        log: Arc::clone(&event_log),
        control: control.clone(),
        indexes: Some(Arc::new(TantivyStore::new(folder.join("search")))),
        lease: Arc::clone(&lease),
        instance: "fuzz".to_owned(),
        projects: true,
        settings: Arc::default(),
    };
    let watcher = Watcher::start(platform.clone(), &open::open(&platform).await?).await?;
    watcher.look().await?;
    let serving = watcher.serving();
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
    let settings = Settings { path_prefix: String::new(), run_inactive_cutoff_seconds: 360 };
    let api = metaflow_routes::api(settings);
    let (rebuilds, versions) = (Rebuilds::new(platform, serving.clone()), api.version.clone());
    let versions = Versions::of(0, &version.fingerprint, versions);
    let parts = Parts {
        log: event_log,
        sequencer: Sequencer::new(Arc::new(control), SEQUENCES.map(|sequence| (sequence, 0))),
        lease,
        indexes: None,
        domains: vec![Domain::new(api, rebuilds, serving, versions)],
        schemas: SchemaSets(vec![CoreEvent::schemas(), &SCHEMAS]),
        readiness: Arc::new(Vec::new),
    };
    // They work until the process ends.
    std::mem::forget(watcher);
    Ok(routes::router(&Arc::new(App::new(config, parts))))
}
