//! Every way a request can fail, with its status and body. No answer holds SQL or the name of a host.
//!
//! Bodies are `{"message", "field", "request_id"}`, some with more members ([`ApiError::Detailed`]), unless a domain's
//! clients expect another shape ([`ApiError::Shaped`]).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use daybook_ingest::{log::AppendError, sequence::SequenceError};
use daybook_projector::{search::SearchError, tables::TablesError};
use daybook_reindexer::rebuilds::RequestError;
use daybook_schemas::rules::Violation;
use serde_json::{Map, Value, json};

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// No such object: 404.
    #[error("{0}")]
    NotFound(String),
    /// The path does not take this method: 405.
    #[error("this path does not take this method; the header Allow names those that it takes")]
    NotAllowed,
    /// The object exists already: 409.
    #[error("{0}")]
    Duplicate(String),
    /// It was there, and is gone: 410.
    #[error("{0}")]
    Gone(String),
    /// The client's mistake: 400.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The field, if it is only one.
        field: Option<String>,
    },
    /// A failure with more members than a message, such as a code that programs can compare.
    #[error("{message}")]
    Detailed {
        /// The status.
        status: StatusCode,
        /// What is wrong.
        message: String,
        /// The other members of the body. `field` is null unless it is among them.
        members: Map<String, Value>,
    },
    /// A failure with a body in the shape that a domain's clients expect.
    #[error("{message}")]
    Shaped {
        /// The status.
        status: StatusCode,
        /// What is wrong, for reports and logs.
        message: String,
        /// The body.
        body: Value,
    },
    /// The client sent its request too slowly: 408. Its connection is closed.
    #[error("{0}")]
    Slow(String),
    /// Over a limit: 413.
    #[error("{message}")]
    TooLarge {
        /// What is too large.
        message: String,
        /// The field, if it is only one.
        field: Option<String>,
    },
    /// An idempotency key that was used for another kind of request: 422.
    #[error("{0}")]
    KeyReused(String),
    /// Not available in this process: 501.
    #[error("{0}")]
    SwitchedOff(String),
    /// Overloaded, or a part is down: 503; clients try again.
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

    /// A failure with a code.
    pub fn detailed(status: StatusCode, code: &str, message: String) -> Self {
        Self::Detailed { status, message, members: Map::new() }.with("code", code)
    }

    /// The same with one more member, if it can have any.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Detailed { members, .. } = &mut self {
            members.insert(name.to_owned(), value.into());
        }
        self
    }

    /// A write is in the log, but not in the tables yet.
    pub fn not_applied() -> Self {
        Self::Unavailable("recorded, but the tables have not caught up in time".to_owned())
    }

    /// A text with a NUL character, which PostgreSQL cannot store.
    pub fn nul(field: &str) -> Self {
        Self::invalid(field, format!("{field} holds a NUL character"))
    }
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        let (message, field) = (violation.to_string(), Some(violation.field().to_owned()));
        match violation {
            Violation::TooLong { .. } => Self::TooLarge { message, field },
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
                Self::Unavailable("the log accepts no records now".to_owned())
            }
        }
    }
}

impl From<SequenceError> for ApiError {
    fn from(error: SequenceError) -> Self {
        tracing::warn!(error = %error, "no number: {error}");
        Self::Unavailable("no numbers are available now".to_owned())
    }
}

impl From<TablesError> for ApiError {
    fn from(error: TablesError) -> Self {
        if error.is_retryable() || matches!(error, TablesError::Unusable(_)) {
            tracing::warn!(error = %error, "read failed: {error}");
            return Self::Unavailable("the tables do not answer now".to_owned());
        }
        Self::Internal(error.to_string())
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Unavailable(_) | SearchError::Full(_) | SearchError::Gone(_) => {
                tracing::warn!(error = %error, "search failed: {error}");
                Self::Unavailable("search does not answer now".to_owned())
            }
            SearchError::Foreign(_) => {
                tracing::warn!(error = %error, "{error}");
                Self::Unavailable("the search index is not this installation's; see the status".to_owned())
            }
            SearchError::Unusable(_) => {
                tracing::warn!(error = %error, "{error}");
                Self::Unavailable("search cannot be used now; see the status".to_owned())
            }
            SearchError::Unsupported(_) => {
                tracing::warn!(error = %error, "{error}");
                Self::Unavailable("the search index cannot be made; see the status".to_owned())
            }
            SearchError::Refused(reason) => Self::Internal(reason),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Unknown { .. } => Self::NotFound(error.to_string()),
            RequestError::Invalid { field, reason } => Self::invalid(field, reason),
            RequestError::Conflict(reason) => Self::Duplicate(reason),
            RequestError::Late(reason) => Self::Unavailable(reason),
            RequestError::Search(error @ SearchError::Unsupported(_)) => Self::Duplicate(error.to_string()),
            RequestError::Search(error) => error.into(),
            RequestError::Tables(error) => error.into(),
            RequestError::Log(error) => Self::Unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let plain = |field: Option<String>| json!({"message": message, "field": field});
        // Only bodies of this shape carry the request's id; those that a domain's clients know are complete.
        let is_own = !matches!(self, Self::Shaped { .. });
        let (status, body) = match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, plain(None)),
            Self::NotAllowed => (StatusCode::METHOD_NOT_ALLOWED, plain(None)),
            Self::Duplicate(_) => (StatusCode::CONFLICT, plain(None)),
            Self::Gone(_) => (StatusCode::GONE, plain(None)),
            Self::Invalid { field, .. } => (StatusCode::BAD_REQUEST, plain(field)),
            Self::Detailed { status, mut members, .. } => {
                members.insert("message".to_owned(), message.as_str().into());
                members.entry("field").or_insert(Value::Null);
                (status, Value::Object(members))
            }
            Self::Shaped { status, body, .. } => (status, body),
            Self::Slow(_) => (StatusCode::REQUEST_TIMEOUT, plain(Some("body".to_owned()))),
            Self::TooLarge { field, .. } => (StatusCode::PAYLOAD_TOO_LARGE, plain(field)),
            Self::KeyReused(_) => (StatusCode::UNPROCESSABLE_ENTITY, plain(Some("Idempotency-Key".to_owned()))),
            Self::SwitchedOff(_) => (StatusCode::NOT_IMPLEMENTED, plain(None)),
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
        if status == StatusCode::REQUEST_TIMEOUT {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(object) = body.as_object().filter(|_| is_own) {
            // The outermost layer knows the request's id and adds it.
            response.extensions_mut().insert(Message(object.clone()));
        }
        response
    }
}

/// The answer where there is no route.
pub fn no_route() -> ApiError {
    ApiError::NotFound("nothing is served at this path".to_owned())
}

/// An error body without the request's id.
#[derive(Clone)]
pub(crate) struct Message(pub(crate) Map<String, Value>);
