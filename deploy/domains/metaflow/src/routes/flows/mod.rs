//! Flows: list, show, register.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use daybook_projector::{
    statements,
    tables::{FromRow, json_array},
};
use daybook_query_api::{
    app::App,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::{Recorded, made_by},
    json,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    path::Path,
    query::Query,
};
use daybook_schemas::Envelope;

use super::{
    description::description,
    errors, objects,
    python_json::PythonJson,
    rows::{Flow, FlowRow},
    view::View,
};
use crate::{
    decisions::flow::{RegisterFlow, decide},
    events::{Event, FlowRegistered, ids::FlowId},
};

statements! {
    pub(super) STATEMENTS;
    LIST = "list", Flow;
}

pub(super) async fn list(view: View, query: Query) -> Result<Response, ApiError> {
    let page = Page::of(&query, "flows", view.live.generation.number, false)?;
    let list = List {
        name: "flows",
        statement: &LIST,
        params: Vec::new(),
        after: |key| vec![key.t.into(), key.s.as_str().into()],
        key: |row| {
            let flow = Flow::read(row)?;
            Ok(Key { t: flow.ts_epoch, n: 0, s: flow.flow_id.to_owned() })
        },
        write: Box::new(|row, out| {
            objects::write_flow(&Flow::read(row)?, out);
            Ok(Shown::Yes)
        }),
        filtered: false,
    };
    lists::respond(&view.live, list, page).await
}

pub(super) async fn show(view: View, Path(flow): Path<String>) -> Result<Response, ApiError> {
    let row = view.flows.load(vec![flow.as_str().into()]).await?.ok_or_else(errors::not_found)?;
    let flow = FlowRow::read(&row)?.flow;
    Ok(json::respond_object(|out| objects::write_flow(&flow, out)))
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path(flow): Path<String>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let description = description(&json::object(&body)?)?;
    let command = RegisterFlow { flow_id: FlowId(flow), description };
    create(&app, &view.live, &context, Registration { view: &view, command }).await
}

struct Registration<'a> {
    view: &'a View,
    command: RegisterFlow,
}

impl Creation for Registration<'_> {
    type Event = Event;
    const KIND: &'static str = "FlowRegistered";

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    async fn decide(&self, _app: &App) -> Result<Vec<Event>, ApiError> {
        let exists = self.view.facts.flow_exists(self.view, self.command.flow_id.as_str()).await?;
        Ok(vec![decide(self.command.clone(), exists)?])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        let Some(Envelope { event: Event::FlowRegistered(event), occurred_at, .. }) = envelopes.first() else {
            return Err(ApiError::Internal("the registration of a flow recorded no FlowRegistered".to_owned()));
        };
        Ok(json::respond_object(|out| write_registered(event, *occurred_at, out)))
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let flow = self.command.flow_id.as_str();
        let row = self.view.flows.load(vec![flow.into()]).await?;
        let row = row.ok_or_else(|| ApiError::Internal(format!("flow {flow} was applied and has no row")))?;
        let row = FlowRow::read(&row)?;
        if !made_by(recorded, row.record_partition, row.record_offset) {
            return Err(errors::duplicate(format!("flow {flow} exists already")));
        }
        Ok(ReadBack::Answer(json::respond_object(|out| objects::write_flow(&row.flow, out))))
    }
}

/// Writes the flow that an event registered.
fn write_registered(event: &FlowRegistered, occurred_at: i64, out: &mut Vec<u8>) {
    let (tags, system_tags) = (json_array(&event.tags), json_array(&event.system_tags));
    let flow = Flow {
        flow_id: event.flow_id.as_str(),
        user_name: event.user_name.as_deref(),
        ts_epoch: occurred_at,
        tags: &tags,
        system_tags: &system_tags,
    };
    objects::write_flow(&flow, out);
}
