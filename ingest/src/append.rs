//! From a decided event to a durable record: envelope, encoding, partition, headers, append.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use daybook_schemas::{Envelope, EventSet, codec, position::Position, topics};

use crate::log::{AppendError, Done, EventLog, Headers, NewRecord};

/// The request that an event was recorded for.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Who sent it.
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

    /// Appends envelopes, in order; `done` is called with their positions once all are durable.
    pub fn append_then<E: EventSet>(&self, envelopes: &[Envelope<E>], done: Done) -> Result<(), AppendError> {
        self.log.append_then(self.encode(envelopes)?, done);
        Ok(())
    }

    /// Appends envelopes, in order, and returns their positions once all are durable.
    pub async fn append<E: EventSet>(&self, envelopes: &[Envelope<E>]) -> Result<Vec<Position>, AppendError> {
        self.log.append(self.encode(envelopes)?).await
    }

    fn encode<E: EventSet>(&self, envelopes: &[Envelope<E>]) -> Result<Vec<NewRecord>, AppendError> {
        envelopes.iter().map(|envelope| self.encode_one(envelope)).collect()
    }

    fn encode_one<E: EventSet>(&self, envelope: &Envelope<E>) -> Result<NewRecord, AppendError> {
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

impl Context {
    /// Envelopes for the events of one request, in order.
    pub fn envelopes<E>(&self, events: Vec<E>) -> Vec<Envelope<E>> {
        let now = now_ms();
        let envelope = |(index, event)| Envelope {
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
            trace_parent: self.trace_parent.clone(),
            idempotency_key: self.idempotency_key.as_deref().map(|key| nth_key(key, index)),
            ..Envelope::new(now, event)
        };
        events.into_iter().enumerate().map(envelope).collect()
    }
}

/// The idempotency key of a request's nth event: the keys of one request's events differ.
pub fn nth_key(key: &str, index: usize) -> String {
    if index == 0 { key.to_owned() } else { format!("{key}#{index}") }
}

/// The wall clock in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
