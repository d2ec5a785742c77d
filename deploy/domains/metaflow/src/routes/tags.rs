//! Changing the user tags of a run. The log orders concurrent changes, so they never conflict.

use std::{borrow::Cow, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::tables::FromRow;
use daybook_query_api::{
    app::App,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::Recorded,
    json::{self, Object},
    path::Path,
};
use daybook_schemas::Envelope;
use serde_json::json;

use super::{errors, facts, python_json::PythonJson, rows::RunRow, view::View};
use crate::{
    decisions::run_tags::{MutateRunTags, decide},
    events::{Event, ids::FlowId},
};

pub(super) async fn mutate(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let (add, remove) = (list(&object, "tags_to_add")?, list(&object, "tags_to_remove")?);
    let (add, remove) = (tags(&add)?, tags(&remove)?);
    let half = || ApiError::invalid("tags_to_add", "tags_to_add holds half of a surrogate pair");
    let add = add.into_iter().collect::<Option<Vec<_>>>().ok_or_else(half)?;
    // No run has a tag that holds half of a surrogate pair.
    let remove = remove.into_iter().flatten().collect();
    let command = MutateRunTags { flow_id: FlowId(flow), run, add, remove };
    create(&app, &view.live, &context, Mutation { view: &view, command }).await
}

struct Mutation<'a> {
    view: &'a View,
    command: MutateRunTags,
}

impl Mutation<'_> {
    /// The run's current tags.
    async fn current(&self) -> Result<Vec<String>, ApiError> {
        let flow = self.command.flow_id.as_str();
        let run = self.view.facts.run(self.view, flow, &self.command.run).await?.ok_or_else(errors::not_found)?;
        let row = self.view.runs.load(vec![run.run_number.0.into(), flow.into()]).await?;
        let row = row.ok_or_else(errors::not_found)?;
        Ok(facts::tags(RunRow::read(&row)?.run.tags)?)
    }

    async fn respond(&self) -> Result<Response, ApiError> {
        Ok(json::respond(StatusCode::OK, &json!({"tags": self.current().await?})))
    }
}

/// A change of tags is not a creation but uses the same pipeline. One that changes nothing records no event.
impl Creation for Mutation<'_> {
    type Event = Event;
    const KIND: &'static str = "RunTagsMutated";

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    async fn decide(&self, _app: &App) -> Result<Vec<Event>, ApiError> {
        let flow = self.command.flow_id.as_str();
        let run = self.view.facts.run(self.view, flow, &self.command.run).await?.ok_or_else(errors::not_found)?;
        let event = decide(self.command.clone(), Some(&run), &self.current().await?)?;
        Ok(event.into_iter().collect())
    }

    async fn answer(&self, _envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        self.respond().await
    }

    async fn read_back(&self, _recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        self.respond().await.map(ReadBack::Answer)
    }
}

/// The items of a list in the body. Its errors, and those of its items, have the texts that clients show; both lists
/// are checked before the items of any.
fn list<'a>(object: &Object<'a>, field: &str) -> Result<Vec<&'a str>, ApiError> {
    match object.items(field) {
        Some(items) => Ok(items),
        None if object.has(field) => Err(errors::text(StatusCode::BAD_REQUEST, format!("{field} must be a list"))),
        None => Ok(Vec::new()),
    }
}

/// The tags of a list; `None` for one that holds half of a surrogate pair.
fn tags(items: &[&str]) -> Result<Vec<Option<String>>, ApiError> {
    let tag = |item: &&str| match item.starts_with('"') {
        true => Ok(json::string(item).map(Cow::into_owned)),
        false => Err(errors::text(StatusCode::BAD_REQUEST, "All tag values must be strings".to_owned())),
    };
    items.iter().map(tag).collect()
}
