//! The headers that say how a request is handled.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use daybook_ingest::append::Context;
use uuid::Uuid;

use crate::error::ApiError;

/// Longest header value that is kept, in bytes, inclusive.
const VALUE_BYTES_MAX: usize = 255;

/// The request's id, set once at its start.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The client's `X-Request-Id` if it is a short plain text, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = text(headers, "x-request-id").filter(|id| !id.is_empty() && id.len() <= VALUE_BYTES_MAX);
        Self(given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// How a write is to be recorded and answered.
#[derive(Debug, Clone)]
pub struct WriteContext {
    /// What goes into the envelope.
    pub record: Context,
    /// Whether the client asked not to wait for the tables (`Prefer: respond-async`, RFC 7240).
    pub respond_async: bool,
}

impl<S: Sync> FromRequestParts<S> for WriteContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        let idempotency_key = match headers.get("idempotency-key") {
            None => None,
            Some(value) => {
                let key =
                    value.to_str().map_err(|_| ApiError::invalid("Idempotency-Key", "the key is not plain text"))?;
                if key.is_empty() || key.len() > VALUE_BYTES_MAX {
                    let text = format!("the key has {} bytes, not 1 to {VALUE_BYTES_MAX}", key.len());
                    return Err(ApiError::invalid("Idempotency-Key", text));
                }
                Some(key.to_owned())
            }
        };
        let short = |name| text(headers, name).filter(|value| value.len() <= VALUE_BYTES_MAX).map(str::to_owned);
        let record = Context {
            actor: short("daybook-actor"),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
            trace_parent: short("traceparent"),
            idempotency_key,
        };
        let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let respond_async = preferences.flat_map(|value| value.split(',')).any(|value| value.trim() == "respond-async");
        Ok(Self { record, respond_async })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
