//! Health of the process, and its metrics.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus::{Encoder, TextEncoder};
use serde_json::json;

use crate::{app::App, error::ApiError, json};

/// The process runs.
pub(super) async fn live() -> Response {
    json::respond(StatusCode::OK, &json!({"status": "live"}))
}

/// Whether the process can serve; 503 with the reasons if not.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let reasons = (app.readiness)();
    let (status, word) =
        if reasons.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    json::respond(status, &json!({"status": word, "reasons": reasons}))
}

/// Metrics in Prometheus' text format.
pub(crate) async fn metrics() -> Result<Response, ApiError> {
    // Registers those that were not used yet: a figure of 0 is one, too.
    let _registered = (crate::metrics::metrics(), daybook_projector::metrics::metrics());
    let (encoder, mut text) = (TextEncoder::new(), Vec::new());
    encoder.encode(&prometheus::gather(), &mut text).map_err(|e| ApiError::Internal(e.to_string()))?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
