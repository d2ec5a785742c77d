//! Answers of the registry: their content type, and errors as `{"error_code", "message"}`.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use daybook_schemas::registry::Released;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{error::Message, json};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

/// Why a request is refused, with the registry's codes.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Subject '{0}' not found.")]
    NoSubject(String),
    #[error("Version {0} not found.")]
    NoVersion(String),
    #[error("Schema not found.")]
    NoSchema,
    #[error("Invalid schema: {0}")]
    InvalidSchema(String),
    #[error(
        "The specified version '{0}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \
         \"latest\""
    )]
    InvalidVersion(String),
    #[error("{name} is {text:?}, not a whole number")]
    InvalidNumber { name: &'static str, text: String },
    #[error("Subject {0} is in read-only mode: schemas are released with the program")]
    ReadOnly(String),
}

impl Refusal {
    /// The code: a status, with two more digits where the registry tells several reasons apart.
    const fn code(&self) -> u16 {
        match self {
            Self::NoSubject(_) => 40401,
            Self::NoVersion(_) => 40402,
            Self::NoSchema => 40403,
            Self::InvalidNumber { .. } => 400,
            Self::InvalidSchema(_) => 42201,
            Self::InvalidVersion(_) => 42202,
            Self::ReadOnly(_) => 42205,
        }
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.code();
        let status = if code < 1000 { code } else { code / 100 };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        json::respond(status, &json!({"error_code": code, "message": self.to_string()}))
    }
}

/// An answer, or why there is none.
pub(super) type Answer = Result<Response, Refusal>;

pub(super) fn shown(body: &impl Serialize) -> Response {
    json::respond(StatusCode::OK, body)
}

/// A version of a subject.
pub(super) fn entry(subject: &str, released: &Released) -> Value {
    json!({
        "subject": subject, "version": released.version, "id": released.id, "schemaType": "AVRO",
        "schema": released.text,
    })
}

/// Gives every answer the registry's content type, and errors of routing and limits its shape.
pub(super) async fn in_shape(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(Message(error)) = response.extensions_mut().remove::<Message>() {
        let body = json!({"error_code": response.status().as_u16(), "message": error.get("message")});
        *response.body_mut() = Body::from(body.to_string());
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}
