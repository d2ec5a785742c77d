//! The envelope around every event: who recorded it, when, and for which request.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One event of a domain with its metadata; the value of every record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<E> {
    /// A UUIDv7 (RFC 9562).
    pub event_id: String,
    /// The server's clock when the event was recorded, in milliseconds since 1970.
    pub occurred_at: i64,
    /// Who caused the event, as far as the server knows.
    pub actor: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// W3C Trace Context, `traceparent`.
    pub trace_parent: Option<String>,
    /// The request's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The event.
    pub event: E,
}

impl<E> Envelope<E> {
    /// An envelope with a new event id and without request data.
    pub fn new(occurred_at: i64, event: E) -> Self {
        Self {
            event_id: Uuid::now_v7().to_string(),
            occurred_at,
            actor: None,
            request_id: None,
            trace_parent: None,
            idempotency_key: None,
            event,
        }
    }
}
