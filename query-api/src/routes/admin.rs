//! What clients and load balancers ask first: ping, version, health check; and tokens, which Daybook does not give.

use axum::{http::StatusCode, response::Response};
use daybook_projector::{
    statement,
    tables::{Params, Statement},
};
use serde_json::{Value, json};

use crate::{app::METAFLOW_SERVICE_VERSION, error::ApiError, json, view::View};

const PROBE: Statement = statement!("admin/probe");
pub(super) const STATEMENTS: &[&Statement] = &[&PROBE];

pub(super) async fn ping() -> Response {
    json::respond_text(StatusCode::OK, "pong")
}

pub(super) async fn version() -> Response {
    json::respond_text(StatusCode::OK, METAFLOW_SERVICE_VERSION)
}

/// Whether the tables answer. The body is a JSON string that holds JSON, as clients know it.
pub(super) async fn healthcheck(view: View) -> Result<Response, ApiError> {
    let rows = view.generation.tables.read(&PROBE, Params::One(Vec::new())).await?;
    let (status, word) = match rows.first() {
        Some(_) => (StatusCode::OK, "UP"),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "DOWN"),
    };
    Ok(json::respond(status, &Value::String(json!({"status": word}).to_string())))
}

/// Tokens of a cloud role are a matter of the hosted sandbox; as there, without a role it is an error.
pub(super) async fn token() -> Response {
    let body = json!({"err_msg": "this service gives out no tokens", "traceback": ""});
    json::respond(StatusCode::INTERNAL_SERVER_ERROR, &body)
}
