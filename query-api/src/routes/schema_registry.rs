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
    Topic,
    registry::{self, Released},
};
use serde_json::{Value, json};

use crate::{
    app::{App, Domain},
    json,
};

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

/// The subjects of a domain's topics.
fn subjects_of<'a>(app: &'a App, domain: &'a Domain) -> impl Iterator<Item = String> + 'a {
    domain.api.topics.iter().map(|topic: &Topic| registry::subject(*topic, &app.config.topic_prefix))
}

/// The released versions of a subject.
fn released_of(app: &App, subject: &str) -> Option<&'static [Released]> {
    let domain = app.domains.values().find(|domain| subjects_of(app, domain).any(|known| known == subject))?;
    let set = app.schemas.0.iter().find(|set| set.domain() == domain.api.name)?;
    Some(set.released())
}

async fn subjects(State(app): State<Arc<App>>) -> Response {
    let subjects: Vec<String> = app.domains.values().flat_map(|domain| subjects_of(&app, domain)).collect();
    json::respond(StatusCode::OK, &subjects)
}

async fn types() -> Response {
    json::respond(StatusCode::OK, &["AVRO"])
}

async fn versions(State(app): State<Arc<App>>, Path(subject): Path<String>) -> Response {
    match released_of(&app, &subject) {
        Some(released) => json::respond(StatusCode::OK, &released.iter().map(|it| it.version).collect::<Vec<_>>()),
        None => refused(StatusCode::NOT_FOUND, 40401, "Subject not found."),
    }
}

async fn version(State(app): State<Arc<App>>, Path((subject, version)): Path<(String, String)>) -> Response {
    let Some(released) = released_of(&app, &subject) else {
        return refused(StatusCode::NOT_FOUND, 40401, "Subject not found.");
    };
    let found = if version == "latest" || version == "-1" {
        released.last()
    } else {
        let Ok(version) = version.parse::<u32>() else {
            return refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                "The specified version is not a valid version id.",
            );
        };
        released.iter().find(|released| released.version == version)
    };
    match found {
        Some(released) => json::respond(StatusCode::OK, &entry(&subject, released)),
        None => refused(StatusCode::NOT_FOUND, 40402, "Version not found."),
    }
}

fn entry(subject: &str, released: &Released) -> Value {
    json!({"subject": subject, "version": released.version, "id": released.id, "schemaType": "AVRO", "schema": released.text})
}

async fn schema(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let found = id.parse::<u32>().ok().and_then(|id| app.schemas.0.iter().find_map(|set| set.find(id)));
    match found {
        Some(released) => json::respond(StatusCode::OK, &json!({"schemaType": "AVRO", "schema": released.text})),
        None => refused(StatusCode::NOT_FOUND, 40403, "Schema not found."),
    }
}
