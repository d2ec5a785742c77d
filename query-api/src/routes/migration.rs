//! The API of Metaflow's migration service. Daybook's tables are always those of its own version, so there is nothing to
//! migrate: schema versions are fingerprints of generations.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::Response,
    routing::{get, patch},
};
use serde_json::json;

use crate::{app::App, json, view::View};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ping", get(|| async { json::respond_text(StatusCode::OK, "pong") }))
        .route("/version", get(|| async { json::respond_text(StatusCode::OK, "latest") }))
        .route("/db_schema_status", get(schema_status))
        .route("/upgrade", patch(|| async { json::respond_text(StatusCode::OK, "upgrade success") }))
}

async fn schema_status(view: View) -> Response {
    let body = json!({
        "is_up_to_date": true,
        "current_version": view.generation.schema,
        "migration_in_progress": false,
        "db_schema_versions": [view.generation.schema],
        "unapplied_migrations": [],
    });
    json::respond(StatusCode::OK, &body)
}
