//! The API of Metaflow's migration service. Daybook's tables always fit its own version, so there is nothing to
//! migrate: the schema version is the name of the live generation's schema.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::Response,
    routing::{get, patch},
};
use serde_json::json;

use crate::{app::App, json, live::Live};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ping", get(|| async { json::respond_text(StatusCode::OK, "pong") }))
        .route("/version", get(|| async { json::respond_text(StatusCode::OK, "latest") }))
        .route("/db_schema_status", get(schema_status))
        .route("/upgrade", patch(|| async { json::respond_text(StatusCode::OK, "upgrade success") }))
}

async fn schema_status(live: Live) -> Response {
    let body = json!({
        "is_up_to_date": true,
        "current_version": live.generation.schema,
        "migration_in_progress": false,
        "db_schema_versions": [live.generation.schema],
        "unapplied_migrations": [],
    });
    json::respond(StatusCode::OK, &body)
}
