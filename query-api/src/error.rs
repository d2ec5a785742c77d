//! Every way a request can fail, mapped to status and body in this one place. No SQL and no host leaves the server.
//!
//! Shapes that Metaflow's clients know are kept: `{}` for a missing object, and for a database's refusal a JSON string
//! that holds JSON. All others are `{"message", "field", "request_id"}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use daybook_ingest::{log::AppendError, metaflow::Rejection, sequence::SequenceError};
use daybook_projector::tables::TablesError;
use daybook_schemas::rules::Broken;
use serde_json::{Value, json};

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No such object: 404 with an empty object.
    #[error("not found")]
    NotFound,
    /// The object exists already: 409, as of a unique violation.
    #[error("{0}")]
    Duplicate(String),
    /// The object's parent does not exist: 404, as of a foreign-key violation.
    #[error("{0}")]
    MissingParent(String),
    /// The run of a new step or task does not exist: 500, as clients' tests demand.
    #[error("{0}")]
    MissingRun(String),
    /// The task of artifacts or metadata does not exist: 400.
    #[error("need to register run_id and task_id first")]
    Unregistered,
    /// The client's mistake: 400.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where, if it is one field.
        field: Option<String>,
    },
    /// A mistake that clients know as a bare JSON string.
    #[error("{1}")]
    Text(StatusCode, String),
    /// Over a limit: 413.
    #[error("{message}")]
    TooLarge {
        /// What is too large.
        message: String,
        /// Where, if it is one field.
        field: Option<String>,
    },
    /// An idempotency key that was used for another kind of request: 422.
    #[error("{0}")]
    KeyReused(String),
    /// Overloaded, or a part is down: 503, to be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// A bug: 500. The text is logged, not sent.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// A mistake in one field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), field: Some(field.to_owned()) }
    }

    /// The number that was given to an object is another one's: it was given out twice over a crash of the source of
    /// numbers. Nothing was made, and the next try gets another number.
    pub fn number_taken() -> Self {
        Self::Unavailable("the number is another object's; try again".to_owned())
    }

    /// A write is in the log, but the tables do not show it yet.
    pub fn not_applied() -> Self {
        Self::Unavailable("recorded, but the tables have not caught up in time".to_owned())
    }

    /// A text that PostgreSQL could not hold, were it to get there.
    pub fn nul(field: &str) -> Self {
        Self::invalid(field, format!("{field} holds a NUL character"))
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let text = rejection.to_string();
        match rejection {
            Rejection::Duplicate(_) => Self::Duplicate(text),
            Rejection::UnknownFlow(_) | Rejection::UnknownStep(_) => Self::MissingParent(text),
            Rejection::UnknownRun(_) => Self::MissingRun(text),
            Rejection::UnknownTask(_) => Self::Unregistered,
            Rejection::SystemTags(tags) => {
                let quoted: Vec<_> = tags.iter().map(|tag| format!("'{tag}'")).collect();
                let text = format!("Cannot remove tags that are existing system tags {{{}}}", quoted.join(", "));
                Self::Text(StatusCode::UNPROCESSABLE_ENTITY, text)
            }
            Rejection::Broken(broken) => broken.into(),
        }
    }
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> Self {
        let (message, field) = (broken.to_string(), Some(broken.field().to_owned()));
        match broken {
            Broken::TooLong { .. } => Self::TooLarge { message, field },
            _ => Self::Invalid { message, field },
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } => Self::TooLarge { message: error.to_string(), field: None },
            AppendError::Full => Self::Unavailable("too many writes wait for the log".to_owned()),
            AppendError::Unavailable(reason) => {
                tracing::warn!(reason, "append failed: {reason}");
                Self::Unavailable("the log does not take records now".to_owned())
            }
        }
    }
}

impl From<SequenceError> for ApiError {
    fn from(error: SequenceError) -> Self {
        tracing::warn!(error = %error, "no number: {error}");
        Self::Unavailable("numbers cannot be given out now".to_owned())
    }
}

impl From<TablesError> for ApiError {
    fn from(error: TablesError) -> Self {
        match error {
            TablesError::Unavailable(_) | TablesError::Conflict(_) => {
                tracing::warn!(error = %error, "read failed: {error}");
                Self::Unavailable("the tables do not answer now".to_owned())
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

/// A database's refusal as Metaflow's service words it: a JSON string that holds JSON.
fn refusal(code: &str, message: &str) -> Value {
    let diag = json!({"message_primary": message, "severity": "ERROR"});
    Value::String(json!({"err_msg": {"pgerror": message, "pgcode": code, "diag": diag}}).to_string())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let plain = |field: Option<String>| json!({"message": message, "field": field});
        let (status, body) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, json!({})),
            Self::Duplicate(_) => (StatusCode::CONFLICT, refusal("23505", &message)),
            Self::MissingParent(_) => (StatusCode::NOT_FOUND, refusal("23503", &message)),
            Self::MissingRun(_) => {
                let body = json!({"detail": "'run_number'", "message": message, "status": 500,
                    "title": "Internal Server Error", "type": "about:blank"});
                (StatusCode::INTERNAL_SERVER_ERROR, body)
            }
            Self::Unregistered => (StatusCode::BAD_REQUEST, json!({"message": message})),
            Self::Invalid { field, .. } => (StatusCode::BAD_REQUEST, plain(field)),
            Self::Text(status, text) => (status, Value::String(text)),
            Self::TooLarge { field, .. } => (StatusCode::PAYLOAD_TOO_LARGE, plain(field)),
            Self::KeyReused(_) => (StatusCode::UNPROCESSABLE_ENTITY, plain(Some("Idempotency-Key".to_owned()))),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, plain(None)),
            Self::Internal(_) => {
                tracing::error!(error = message, "request failed: {message}");
                (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "internal error", "field": null}))
            }
        };
        let mut response = crate::json::respond(status, &body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(object) = body.as_object().filter(|object| object.contains_key("message")) {
            // The request's id is known to the layer around this one, which writes it in.
            response.extensions_mut().insert(Message(object.clone()));
        }
        response
    }
}

/// An error body that still lacks the request's id.
#[derive(Clone)]
pub(crate) struct Message(pub(crate) serde_json::Map<String, Value>);
