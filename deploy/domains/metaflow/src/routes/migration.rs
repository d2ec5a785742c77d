//! The API of Metaflow's migration service. Its schema versions are fingerprints of generations, and its migration is a
//! rebuild with its promotion, during which everything keeps serving.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, patch},
};
use daybook_query_api::{app::App, error::ApiError, json};
use daybook_reindexer::{
    migration::Migration,
    rebuilds::{Rebuilds, RequestError},
};
use serde_json::json;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ping", get(|| async { json::respond_text(StatusCode::OK, "pong") }))
        .route("/version", get(version))
        .route("/db_schema_status", get(schema_status))
}

/// The route that begins an upgrade.
pub(super) fn upgrade_route() -> Router<Arc<App>> {
    Router::new().route("/upgrade", patch(upgrade))
}

fn rebuilds(app: &App) -> Result<Rebuilds, ApiError> {
    let served = app.domain("metaflow").map(|domain| domain.rebuilds.clone());
    served.ok_or_else(|| ApiError::NotFound("this process does not serve Metaflow".to_owned()))
}

/// `latest`, or the version of the tables if they are not this program's.
async fn version(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    match rebuilds(&app)?.migration().await {
        Ok(Migration { is_current: true, .. }) => Ok(json::respond_text(StatusCode::OK, "latest")),
        Ok(Migration { current, .. }) => Ok(text(StatusCode::OK, current)),
        Err(error) => Ok(failed(&error)),
    }
}

async fn schema_status(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let Migration { is_current, current, in_progress, versions, unapplied } = match rebuilds(&app)?.migration().await {
        Ok(migration) => migration,
        Err(error) => return Ok(failed(&error)),
    };
    let body = json!({
        "is_up_to_date": is_current,
        "current_version": current,
        "migration_in_progress": in_progress,
        "db_schema_versions": versions,
        "unapplied_migrations": unapplied,
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// Answers once the tables are this program's. If the client goes away, the rebuild goes on.
async fn upgrade(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    match rebuilds(&app)?.migrate().await {
        Ok(()) => Ok(json::respond_text(StatusCode::OK, "upgrade success")),
        Err(error) => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, format!("upgrade failed: {error}"))),
    }
}

fn failed(error: &RequestError) -> Response {
    json::respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({"detail": error.to_string()}))
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = json::respond_text(status, "");
    *response.body_mut() = Body::from(text);
    response
}
