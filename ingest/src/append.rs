//! From a decided event to a durable record: envelope, encoding, partition, headers, append.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use daybook_schemas::{Envelope, Event, codec, position::Position, topics};

use crate::log::{AppendError, Done, EventLog, Headers, NewRecord};

/// What is known of the request behind an event.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Who asks.
    pub actor: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
    /// The `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
}

/// Appends events to the log.
#[derive(Clone)]
pub struct Appender {
    log: Arc<dyn EventLog>,
}

impl Appender {
    /// An appender to a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// The events of one request, in order, with its circumstances.
    pub fn envelopes(context: &Context, events: Vec<Event>) -> Vec<Envelope> {
        let now = now_ms();
        let envelope = |(index, event)| {
            let key = context.idempotency_key.as_deref().map(|key| nth_key(key, index));
            Envelope {
                actor: context.actor.clone(),
                request_id: context.request_id.clone(),
                trace_parent: context.trace_parent.clone(),
                idempotency_key: key,
                ..Envelope::new(now, event)
            }
        };
        events.into_iter().enumerate().map(envelope).collect()
    }

    /// Appends envelopes as they are, in order; `done` is called with where they stand once all are durable.
    pub fn append_then(&self, envelopes: &[Envelope], done: Done) -> Result<(), AppendError> {
        self.log.append_then(self.encode(envelopes)?, done);
        Ok(())
    }

    /// Appends envelopes as they are, in order, and returns their positions once all are durable.
    pub async fn append(&self, envelopes: &[Envelope]) -> Result<Vec<Position>, AppendError> {
        self.log.append(self.encode(envelopes)?).await
    }

    fn encode(&self, envelopes: &[Envelope]) -> Result<Vec<NewRecord>, AppendError> {
        envelopes.iter().map(|envelope| self.encode_one(envelope)).collect()
    }

    fn encode_one(&self, envelope: &Envelope) -> Result<NewRecord, AppendError> {
        let topic = envelope.event.topic();
        let key = envelope.event.key();
        let value = codec::encode(envelope).map_err(|e| AppendError::Unavailable(e.to_string()))?;
        let headers = Headers {
            id: envelope.event_id.clone(),
            kind: envelope.event.kind(),
            time: envelope.occurred_at,
            trace_parent: envelope.trace_parent.clone(),
        };
        let partition = topics::partition_of(key.as_bytes(), self.log.partition_count(topic));
        Ok(NewRecord { topic, partition, key, value, headers: Some(headers) })
    }
}

/// The idempotency key of a request's nth event: each event of a request must be known apart.
pub fn nth_key(key: &str, index: usize) -> String {
    if index == 0 { key.to_owned() } else { format!("{key}#{index}") }
}

/// The wall clock in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
