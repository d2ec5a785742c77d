//! Ping, version and health check, for clients and load balancers; and tokens, which Daybook does not issue.

use axum::{http::StatusCode, response::Response};
use daybook_projector::{row, statements, tables::Params};
use daybook_query_api::{error::ApiError, json};
use serde_json::{Value, json};

use super::{SERVICE_VERSION, view::View};

statements! {
    pub(super) STATEMENTS;
    PROBE = "admin/probe", ProbeRow;
}

row! {
    /// A checkpoint; only its existence matters.
    struct ProbeRow {
        next_offset: i64,
    }
}

pub(super) async fn ping() -> Response {
    json::respond_text(StatusCode::OK, "pong")
}

pub(super) async fn version() -> Response {
    json::respond_text(StatusCode::OK, SERVICE_VERSION)
}

/// Whether the tables answer. The body is a JSON string that holds JSON, as clients expect it.
pub(super) async fn healthcheck(view: View) -> Result<Response, ApiError> {
    let rows = view.live.generation.tables.read(&PROBE, Params::One(Vec::new())).await?;
    let (status, word) = match rows.first() {
        Some(_) => (StatusCode::OK, "UP"),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "DOWN"),
    };
    Ok(json::respond(status, &Value::String(json!({"status": word}).to_string())))
}

/// Tokens of a cloud role exist only in Metaflow's hosted sandbox. Without a role, the original answers with an error,
/// too.
pub(super) async fn token() -> Response {
    let body = json!({"err_msg": "this service issues no tokens", "traceback": ""});
    json::respond(StatusCode::INTERNAL_SERVER_ERROR, &body)
}
