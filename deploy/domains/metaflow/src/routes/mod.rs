//! Metaflow's metadata API, and bulk ingestion of its events.

mod admin;
mod artifacts;
mod bulk;
mod description;
mod entries;
mod errors;
mod facts;
mod filters;
mod flows;
mod heartbeats;
mod lists_of_run;
mod metadata;
mod migration;
mod objects;
mod python_json;
mod python_text;
mod rows;
mod run_tags;
mod runs;
mod shared_columns;
mod steps;
mod tags;
mod tasks;
mod values;
mod view;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Request},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::{self, Next},
    response::Response,
    routing::{get, patch, post},
};
use daybook_projector::tables::Statement;
use daybook_query_api::{
    app::{ApiVersion, App, DomainApi},
    error::ApiError,
    server,
};

use crate::events::{SCHEMAS, TOPICS};

/// The version of Metaflow's service that answers report; clients enable features by it.
pub(crate) const SERVICE_VERSION: &str = "2.6.1";

/// The prefix of the paths of search.
pub const SEARCH_PREFIX: &str = "/api/v1";

/// The path of bulk ingestion.
const EVENTS: &str = "/api/v1/events";

const VERSION: HeaderName = HeaderName::from_static("metadata_service_version");

/// Settings of Metaflow's routes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The prefix of the metadata routes' paths: empty, or begins with `/` and does not end with it.
    pub path_prefix: String,
    /// Seconds after the last heartbeat at which a run counts as failed.
    pub run_inactive_cutoff_seconds: i64,
}

impl<S: Sync> FromRequestParts<S> for Settings {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let settings = parts.extensions.get::<Self>().cloned();
        settings.ok_or_else(|| ApiError::Internal("a request has no settings".to_owned()))
    }
}

/// What Metaflow adds to the HTTP API.
pub fn api(settings: Settings) -> DomainApi {
    DomainApi {
        name: "metaflow",
        topics: TOPICS.to_vec(),
        routes: Arc::new(move |_| routes(settings.clone())),
        schemas: &SCHEMAS,
        process_routes: None,
        streamed: vec![EVENTS.to_owned()],
        search_prefix: SEARCH_PREFIX.to_owned(),
        is_default: true,
        version: ApiVersion::of(Arc::new(|generation| Arc::new(view::Loaders::new(generation)))),
        know_newest: None,
        statements: statements(),
    }
}

/// Everything that is served on the port of Metaflow's migration service.
pub fn migration_router(app: &Arc<App>) -> Router {
    server::wrap(app, migration::routes().merge(migration::upgrade_route()))
}

/// The same, but no upgrade can be begun.
pub fn migration_router_without_upgrade(app: &Arc<App>) -> Router {
    server::wrap(app, migration::routes())
}

fn routes(settings: Settings) -> Router<Arc<App>> {
    let own = Router::new()
        .route(EVENTS, post(bulk::ingest))
        .route("/api/v1/tags", get(values::tags))
        .route("/api/v1/users", get(values::users));
    let prefix = settings.path_prefix.clone();
    let metadata = if prefix.is_empty() { metadata_api() } else { Router::new().nest(&prefix, metadata_api()) };
    own.merge(metadata).layer(Extension(settings)).layer(middleware::from_fn(add_version))
}

async fn add_version(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(VERSION, HeaderValue::from_static(SERVICE_VERSION));
    response
}

/// The routes of Metaflow's metadata service.
fn metadata_api() -> Router<Arc<App>> {
    const RUN: &str = "/flows/{flow_id}/runs/{run_number}";
    const STEP: &str = "/flows/{flow_id}/runs/{run_number}/steps/{step_name}";
    const TASK: &str = "/flows/{flow_id}/runs/{run_number}/steps/{step_name}/tasks/{task_id}";
    let run = |path: &str| format!("{RUN}{path}");
    let step = |path: &str| format!("{STEP}{path}");
    let task = |path: &str| format!("{TASK}{path}");
    Router::new()
        .route("/ping", get(admin::ping))
        .route("/version", get(admin::version))
        .route("/healthcheck", get(admin::healthcheck))
        .route("/auth/token", get(admin::token))
        .route("/flows", get(flows::list))
        .route("/flows/{flow_id}", get(flows::show).post(flows::register))
        .route("/flows/{flow_id}/runs", get(runs::list))
        .route("/flows/{flow_id}/run", post(runs::start))
        .route(RUN, get(runs::show))
        .route(&run("/heartbeat"), post(heartbeats::run))
        .route(&run("/tag/mutate"), patch(tags::mutate))
        .route(&run("/metadata"), get(metadata::list_of_run))
        .route(&run("/artifacts"), get(artifacts::list_of_run))
        .route(&run("/steps"), get(steps::list))
        .route(STEP, get(steps::show))
        .route(&step("/step"), post(steps::register))
        .route(&step("/tasks"), get(tasks::list))
        .route(&step("/filtered_tasks"), get(tasks::filtered))
        .route(&step("/task"), post(tasks::register))
        .route(&step("/artifacts"), get(artifacts::list_of_step))
        .route(TASK, get(tasks::show))
        .route(&task("/heartbeat"), post(heartbeats::task))
        .route(&task("/metadata"), get(metadata::list_of_task).post(metadata::register))
        .route(&task("/artifact"), post(artifacts::register))
        .route(&task("/artifacts"), get(artifacts::list_of_task))
        .route(&task("/artifacts/{name}"), get(artifacts::show))
        .route(&task("/artifacts/{name}/attempt/{attempt}"), get(artifacts::show_of_attempt))
        .route(&task("/attempt/{attempt}/artifacts"), get(artifacts::list_of_attempt))
}

/// Every statement of Metaflow's routes.
fn statements() -> Vec<&'static Statement> {
    let of_folders = [
        view::STATEMENTS,
        flows::STATEMENTS,
        runs::STATEMENTS,
        steps::STATEMENTS,
        tasks::STATEMENTS,
        metadata::STATEMENTS,
        admin::STATEMENTS,
    ];
    [of_folders.concat(), artifacts::statements()].concat()
}
