//! The routes of a port during the start: the process is alive and says what it waits for; all else is answered 503.

use std::{sync::Arc, time::Instant};

use axum::{Router, http::StatusCode, routing::get};
use serde_json::{Value, json};

use crate::{
    app::Readiness,
    error::ApiError,
    json,
    routes::{health, schema_registry},
    server,
};

/// What is known of a process while it starts.
pub struct Starting {
    /// The name of the process.
    pub instance: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// A description of the log.
    pub log: String,
    /// A description of the tables.
    pub tables: String,
    /// What it waits for.
    pub reasons: Readiness,
    /// When it started.
    pub started: Instant,
}

/// The routes.
pub fn router(starting: &Arc<Starting>) -> Router {
    let (of_ready, of_status) = (Arc::clone(starting), Arc::clone(starting));
    let live = || async { json::respond(StatusCode::OK, &json!({"status": "starting"})) };
    let ready = move || async move {
        let body = json!({"status": "starting", "reasons": (of_ready.reasons)()});
        json::respond(StatusCode::SERVICE_UNAVAILABLE, &body)
    };
    let status = move || async move { json::respond(StatusCode::OK, &of_status.status()) };
    let routes = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/status", get(status))
        .merge(schema_registry::closed(unavailable))
        .fallback(unavailable);
    server::outermost(routes)
}

async fn unavailable() -> ApiError {
    ApiError::Unavailable("this process is starting; /health/ready says what it waits for".to_owned())
}

impl Starting {
    /// The same shape as that of a process that serves, without what is not open yet.
    fn status(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "instance": self.instance,
            "roles": self.roles.split(',').collect::<Vec<_>>(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "ready": false,
            "reasons": (self.reasons)(),
            "log": {"id": null, "place": self.log, "end": null},
            "tables": {"place": self.tables},
            "generations": [],
        })
    }
}
