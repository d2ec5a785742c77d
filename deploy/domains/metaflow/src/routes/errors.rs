//! Failures in the shapes that Metaflow's clients expect: `{}` for a missing object, and a JSON string that holds JSON
//! for an error of the database.

use axum::http::StatusCode;
use daybook_query_api::error::ApiError;
use serde_json::{Value, json};

use super::python_text;
use crate::decisions::Rejection;

/// No such object.
pub(super) fn not_found() -> ApiError {
    shaped(StatusCode::NOT_FOUND, "not found".to_owned(), json!({}))
}

/// The object exists already: answered like a unique violation.
pub(super) fn duplicate(message: String) -> ApiError {
    let body = refusal("23505", &message);
    shaped(StatusCode::CONFLICT, message, body)
}

/// A mistake that is answered with a bare JSON string.
pub(super) fn text(status: StatusCode, message: String) -> ApiError {
    let body = Value::String(message.clone());
    shaped(status, message, body)
}

fn shaped(status: StatusCode, message: String, body: Value) -> ApiError {
    ApiError::Shaped { status, message, body }
}

/// An error of the database in the format of Metaflow's service: a JSON string that holds JSON.
fn refusal(code: &str, message: &str) -> Value {
    let diag = json!({"message_primary": message, "severity": "ERROR"});
    Value::String(json!({"err_msg": {"pgerror": message, "pgcode": code, "diag": diag}}).to_string())
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::Duplicate(_) => duplicate(message),
            // Answered like a foreign-key violation.
            Rejection::UnknownFlow(_) | Rejection::UnknownStep(_) => {
                let body = refusal("23503", &message);
                shaped(StatusCode::NOT_FOUND, message, body)
            }
            Rejection::UnknownRun(_) => {
                let body = json!({"detail": "'run_number'", "status": 500,
                    "title": "Internal Server Error", "type": "about:blank"});
                shaped(StatusCode::INTERNAL_SERVER_ERROR, message, body)
            }
            Rejection::UnknownTask(_) => {
                let message = "need to register run_id and task_id first".to_owned();
                let body = json!({"message": message});
                shaped(StatusCode::BAD_REQUEST, message, body)
            }
            Rejection::SystemTags(tags) => {
                let tags: Vec<_> = tags.iter().map(|tag| python_text::quoted(tag)).collect();
                let message = format!("Cannot remove tags that are existing system tags {{{}}}", tags.join(", "));
                text(StatusCode::UNPROCESSABLE_ENTITY, message)
            }
            Rejection::Violation(violation) => violation.into(),
        }
    }
}
