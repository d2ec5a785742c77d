//! All routes. Each folder or file holds handlers, their statements, and nothing that another one needs.

pub mod admin;
pub mod artifacts;
pub mod bodies;
pub mod docs;
pub mod events;
pub mod flows;
pub mod health;
pub mod heartbeats;
pub mod metadata;
pub mod migration;
pub mod runs;
pub mod schema_registry;
pub mod search;
pub mod status;
pub mod steps;
pub mod tags;
pub mod tasks;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, patch, post},
};
use daybook_projector::tables::Statement;

use crate::{app::App, server, view};

/// The routes of Metaflow's metadata API.
fn metaflow() -> Router<Arc<App>> {
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

/// Everything that is served on the main port.
pub fn router(app: &Arc<App>) -> Router {
    let own = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(docs::openapi))
        .route("/api/doc", get(docs::page))
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/quarantine", get(status::quarantine))
        .route("/api/v1/search", get(search::search))
        .route("/api/v1/tags", get(search::tags))
        .route("/api/v1/users", get(search::users))
        .route("/api/v1/events", post(events::ingest))
        .nest("/api/v1/schema-registry", schema_registry::routes());
    let prefix = &app.config.path_prefix;
    let metaflow = if prefix.is_empty() { metaflow() } else { Router::new().nest(prefix, metaflow()) };
    server::wrap(app, own.merge(metaflow))
}

/// Everything that is served on the port of Metaflow's migration service.
pub fn migration_router(app: &Arc<App>) -> Router {
    server::wrap(app, migration::routes())
}

/// Every statement of the HTTP surface, so that a test can run each on every engine.
pub fn statements() -> Vec<&'static Statement> {
    let views: [&Statement; 8] = [
        &view::FLOW,
        &view::RUN,
        &view::RUN_BY_NAME,
        &view::STEP,
        &view::TASK,
        &view::TASK_BY_NAME,
        &view::OUTCOME,
        &view::REQUEST,
    ];
    [views.as_slice(), flows::STATEMENTS, runs::STATEMENTS, steps::STATEMENTS, tasks::STATEMENTS]
        .concat()
        .into_iter()
        .chain([artifacts::STATEMENTS, metadata::STATEMENTS, admin::STATEMENTS].concat())
        .collect()
}
