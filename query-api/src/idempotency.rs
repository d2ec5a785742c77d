//! Retried requests: the first event with an idempotency key counts, and the retry gets its answer.
//!
//! Keys are remembered per flow, by the fold, for as long as the flow's history. That a request was rejected is not
//! remembered: it left nothing behind and is decided afresh.

use daybook_ingest::append::nth_key;
use daybook_schemas::{position::Position, topics::Topic};

use crate::{app::App, context::WriteContext, error::ApiError, view::View};

/// What the first request with a key left behind.
#[derive(Debug, Clone)]
pub(crate) struct First {
    /// Number of the run or task that it made, 0 for others.
    pub(crate) number: i64,
    /// Entries of its event.
    pub(crate) entries: i64,
    /// Where its event stands.
    pub(crate) position: Position,
}

impl App {
    /// The first event with this request's key, if there is one; an error if that was of another kind.
    pub(crate) async fn first(
        &self,
        view: &View,
        context: &WriteContext,
        flow: &str,
        kind: &str,
    ) -> Result<Option<First>, ApiError> {
        let Some(key) = &context.record.idempotency_key else { return Ok(None) };
        self.first_of_key(view, key, flow, kind).await
    }

    /// The events of the first request with this key, of which there may be several.
    pub(crate) async fn firsts(
        &self,
        view: &View,
        context: &WriteContext,
        flow: &str,
        kind: &str,
    ) -> Result<Vec<First>, ApiError> {
        let Some(key) = &context.record.idempotency_key else { return Ok(Vec::new()) };
        let mut firsts = Vec::new();
        while let Some(first) = self.first_of_key(view, &nth_key(key, firsts.len()), flow, kind).await? {
            firsts.push(first);
        }
        Ok(firsts)
    }

    async fn first_of_key(&self, view: &View, key: &str, flow: &str, kind: &str) -> Result<Option<First>, ApiError> {
        let Some(row) = view.requests.load(vec![flow.into(), key.into()]).await? else { return Ok(None) };
        if row.text(0)? != kind {
            return Err(ApiError::KeyReused("this idempotency key was used for another kind of request".to_owned()));
        }
        let id = i32::try_from(row.int(3)?).map_err(|e| ApiError::Internal(e.to_string()))?;
        let position = Position::new(Topic::Events, id, row.int(4)?);
        Ok(Some(First { number: row.int(1)?, entries: row.int(2)?, position }))
    }
}
