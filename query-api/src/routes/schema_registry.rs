//! The released schemas as a read-only, Confluent-compatible registry, so that ordinary Kafka tools can decode the log.
//!
//! Paths, shapes and error codes: Confluent Schema Registry API reference.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use daybook_schemas::{
    registry::{self, Released},
    topics::Topic,
};
use serde_json::{Value, json};

use crate::{app::App, json};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}/versions", get(versions))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/types", get(types))
}

fn refused(status: StatusCode, code: u32, message: &str) -> Response {
    json::respond(status, &json!({"error_code": code, "message": message}))
}

fn known(app: &App) -> Vec<String> {
    Topic::ALL.iter().map(|topic| registry::subject(*topic, &app.config.topic_prefix)).collect()
}

async fn subjects(State(app): State<Arc<App>>) -> Response {
    json::respond(StatusCode::OK, &known(&app))
}

async fn types() -> Response {
    json::respond(StatusCode::OK, &["AVRO"])
}

async fn versions(State(app): State<Arc<App>>, Path(subject): Path<String>) -> Response {
    if !known(&app).contains(&subject) {
        return refused(StatusCode::NOT_FOUND, 40401, "Subject not found.");
    }
    json::respond(StatusCode::OK, &registry::released().iter().map(|released| released.version).collect::<Vec<_>>())
}

async fn version(State(app): State<Arc<App>>, Path((subject, version)): Path<(String, String)>) -> Response {
    if !known(&app).contains(&subject) {
        return refused(StatusCode::NOT_FOUND, 40401, "Subject not found.");
    }
    let found = if version == "latest" || version == "-1" {
        Some(registry::current())
    } else {
        let Ok(version) = version.parse::<u32>() else {
            return refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                "The specified version is not a valid version id.",
            );
        };
        registry::released().iter().find(|released| released.version == version)
    };
    match found {
        Some(released) => json::respond(StatusCode::OK, &entry(&subject, released)),
        None => refused(StatusCode::NOT_FOUND, 40402, "Version not found."),
    }
}

fn entry(subject: &str, released: &Released) -> Value {
    json!({"subject": subject, "version": released.version, "id": released.id, "schemaType": "AVRO", "schema": released.text})
}

async fn schema(Path(id): Path<String>) -> Response {
    let found = id.parse::<u32>().ok().and_then(|id| registry::released().iter().find(|released| released.id == id));
    match found {
        Some(released) => json::respond(StatusCode::OK, &json!({"schemaType": "AVRO", "schema": released.text})),
        None => refused(StatusCode::NOT_FOUND, 40403, "Schema not found."),
    }
}
