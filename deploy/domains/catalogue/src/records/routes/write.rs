//! The write of one record's event, answered with what the record is then.

use std::marker::PhantomData;

use axum::{http::StatusCode, response::Response};
use daybook_query_api::{
    app::App,
    create::{Creation, ReadBack},
    error::ApiError,
    idempotency::Recorded,
    json,
    live::Live,
};
use daybook_schemas::{Envelope, EventSet};
use serde_json::{Map, Value, json};

use super::{View, body, caught_up};
use crate::records::{events::Event, states::Stored};

/// The kind of event that a write records.
pub(super) trait Kind: Send + Sync {
    /// The name of the event.
    const NAME: &'static str;
}

/// A write of one record.
pub(super) struct Write<'a, K, D> {
    pub(super) live: &'a Live,
    pub(super) view: &'a View,
    pub(super) record_id: String,
    pub(super) kind: PhantomData<K>,
    /// What the answer says of the request, beside what the record is.
    pub(super) notes: Map<String, Value>,
    /// The event for the state before it, or why there is none; `Ok(None)` if it would change nothing.
    pub(super) decide: D,
}

/// Decides on the state of a record; `None` for one that was never named.
pub(super) trait Decide: Fn(Option<&Stored>) -> Result<Option<Event>, ApiError> + Send + Sync {}

impl<D: Fn(Option<&Stored>) -> Result<Option<Event>, ApiError> + Send + Sync> Decide for D {}

impl<K: Kind, D: Decide> Write<'_, K, D> {
    /// What the record is now.
    async fn now(&self, is_changed: bool) -> Result<Response, ApiError> {
        let state = self.view.state(&self.record_id).await?;
        let shown = self.view.shown(&self.record_id).await?;
        let mut answer = match &shown {
            Some(shown) => body(shown)?,
            None => json!({"record_id": self.record_id, "revision": state.as_ref().map(|it| it.state.revision)}),
        };
        answer["changed"] = is_changed.into();
        answer["taken_down"] = state.is_some_and(|it| it.state.taken_down.is_some()).into();
        for (name, note) in &self.notes {
            answer[name] = note.clone();
        }
        Ok(json::respond(StatusCode::OK, &answer))
    }
}

impl<K: Kind, D: Decide> Creation for Write<'_, K, D> {
    type Event = Event;
    const KIND: &'static str = K::NAME;

    fn record_key(&self) -> &str {
        &self.record_id
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let state = self.view.state(&self.record_id).await?;
        let mut decided = (self.decide)(state.as_ref());
        if !matches!(decided, Ok(Some(_))) {
            // That nothing changes counts only on tables that hold every write before this one.
            caught_up(app, self.live, self.view, Some(&self.record_id)).await?;
            let state = self.view.state(&self.record_id).await?;
            decided = (self.decide)(state.as_ref());
        }
        let Some(event) = decided? else { return Ok(Vec::new()) };
        event.check()?;
        Ok(vec![event])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        self.now(!envelopes.is_empty()).await
    }

    /// An event that changed nothing because another one said the same before it.
    async fn read_back(&self, _recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        Ok(ReadBack::Answer(self.now(false).await?))
    }
}
