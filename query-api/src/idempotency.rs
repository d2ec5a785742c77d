//! Retried requests: the first applied event with an idempotency key counts, and the retry gets its answer.
//!
//! Keys are kept per record key in the generation's bookkeeping, for as long as the log keeps the events. A rejected
//! request is not remembered: it recorded nothing, and its retry is decided again.

use std::sync::Arc;

use daybook_ingest::append::nth_key;
use daybook_projector::{
    bookkeeping::idempotency::{FIND, FirstRow},
    generation::Generation,
    tables::FromRow,
};
use daybook_schemas::position::Position;

use crate::{error::ApiError, loader::Loader};

/// An event that a request recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its position.
    pub position: Position,
    /// The first of the numbers that it uses; 0 for none.
    pub number: i64,
    /// How many entries it has.
    pub entries: usize,
}

/// Whether a row was created by the first of the recorded events.
pub fn made_by(recorded: &[Recorded], record_partition: i64, record_offset: i64) -> bool {
    let first = recorded.first().map(|it| (i64::from(it.position.partition.id), it.position.offset));
    first == Some((record_partition, record_offset))
}

/// Looks up first events, with one query for many requests.
pub(crate) struct IdempotencyKeys(Loader);

impl IdempotencyKeys {
    pub(crate) fn start(generation: &Arc<Generation>) -> Self {
        Self(Loader::start(&generation.tables, &FIND))
    }

    /// The events of the first request with this key; empty if there was none. An error if they are of another kind.
    pub(crate) async fn firsts(
        &self,
        record_key: &str,
        key: Option<&str>,
        kind: &str,
    ) -> Result<Vec<Recorded>, ApiError> {
        let Some(key) = key else { return Ok(Vec::new()) };
        let mut firsts = Vec::new();
        while let Some(first) = self.first(record_key, &nth_key(key, firsts.len()), kind).await? {
            firsts.push(first);
        }
        Ok(firsts)
    }

    async fn first(&self, record_key: &str, key: &str, kind: &str) -> Result<Option<Recorded>, ApiError> {
        let Some(row) = self.0.load(vec![record_key.into(), key.into()]).await? else { return Ok(None) };
        let first = FirstRow::read(&row)?;
        if first.kind != kind {
            return Err(ApiError::KeyReused("this idempotency key was used for another kind of request".to_owned()));
        }
        let internal = |error: &dyn std::fmt::Display| ApiError::Internal(error.to_string());
        let topic = first.topic.parse().map_err(|error: daybook_schemas::topics::UnknownTopic| internal(&error))?;
        let id = i32::try_from(first.partition_id).map_err(|error| internal(&error))?;
        let position = Position::new(topic, id, first.record_offset);
        let entries = usize::try_from(first.entries).map_err(|error| internal(&error))?;
        Ok(Some(Recorded { position, number: first.number, entries }))
    }
}
