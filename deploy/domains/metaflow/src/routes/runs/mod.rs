//! Runs: list with filters, show, start.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use daybook_ingest::{append::now_ms, sequence::Sequence};
use daybook_projector::{
    statements,
    tables::{Cursor, FromRow, Row, json_array},
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
    Settings,
    description::description,
    errors,
    filters::{Filter, RunField, Value},
    objects,
    python_json::PythonJson,
    rows::{Run, RunRow},
    view::View,
};
use crate::{
    decisions::run::{Facts, StartRun, decide},
    events::{
        Event, RunStarted,
        ids::{FlowId, NumberOrName, RUN_NUMBER_MAX, RunNumber, is_numeric},
    },
    projection::run_status::{Status, status_of},
    sequences::RUN_NUMBERS,
};

statements! {
    pub(super) STATEMENTS;
    LIST = "list", split, Run;
}

pub(super) async fn list(
    settings: Settings,
    view: View,
    Path(flow): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = Filter::<RunField>::parse(&query, true)?;
    let filtered = !filter.is_empty();
    let page = Page::of(&query, "runs", view.live.generation.number, filtered)?;
    let (now, cutoff) = (now_ms(), settings.run_inactive_cutoff_seconds);
    let uses_status = filter.uses_status();
    let write = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let run = Run::read(row)?;
        let status = uses_status.then(|| status(&run, now, cutoff));
        if filtered && !matches(&filter, &run, status) {
            return Ok(Shown::No);
        }
        objects::write_run(&run, true, status.map(Status::as_str), out);
        Ok(Shown::Yes)
    };
    let list = List {
        name: "runs",
        statement: &LIST,
        params: vec![flow.as_str().into()],
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| {
            let run = Run::read(row)?;
            Ok(Key { t: run.ts_epoch, n: run.run_number, s: String::new() })
        },
        write: Box::new(write),
        filtered,
    };
    lists::respond(&view.live, list, page).await
}

fn status(run: &Run<'_>, now_ms: i64, cutoff_seconds: i64) -> Status {
    let outcome = run.outcome.and_then(Status::parse);
    status_of(outcome, run.heartbeat(), now_ms.div_euclid(1000), cutoff_seconds)
}

fn matches(filter: &Filter<RunField>, run: &Run<'_>, status: Option<Status>) -> bool {
    let value_of = |field| match field {
        RunField::FlowId => Value::Text(run.flow_id),
        RunField::RunNumber => Value::Int(run.run_number),
        RunField::RunId => run.run_id.into(),
        RunField::UserName => run.user_name.into(),
        RunField::TsEpoch => Value::Int(run.ts_epoch),
        RunField::LastHeartbeatTs => run.heartbeat().into(),
        RunField::Tags => Value::Text(run.tags),
        RunField::SystemTags => Value::Text(run.system_tags),
        RunField::User => objects::owner(run.user_name, run.system_tags).into(),
        RunField::Status => status.map(Status::as_str).into(),
    };
    filter.matches(value_of, &[run.tags, run.system_tags])
}

pub(super) async fn show(view: View, Path((flow, run)): Path<(String, String)>) -> Result<Response, ApiError> {
    let number = match NumberOrName::parse(&run, RUN_NUMBER_MAX) {
        NumberOrName::Number(number) => number,
        NumberOrName::OutOfRange => return Err(errors::not_found()),
        NumberOrName::Name(_) => {
            let facts = view.facts.run(&view, &flow, &run).await?;
            facts.ok_or_else(errors::not_found)?.run_number.0
        }
    };
    let row = view.runs.load(vec![number.into(), flow.as_str().into()]).await?.ok_or_else(errors::not_found)?;
    respond(&row, true)
}

/// Only reads show the owner.
fn respond(row: &Row, shows_owner: bool) -> Result<Response, ApiError> {
    let run = RunRow::read(row)?.run;
    Ok(json::respond_object(|out| objects::write_run(&run, shows_owner, None, out)))
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    view: View,
    Path(flow): Path<String>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let description = description(&object)?;
    let run_id = object.name("run_number")?;
    if run_id.as_deref().is_some_and(is_numeric) {
        return Err(ApiError::invalid("run_number", "provided run_id may not be a numeric"));
    }
    let command = StartRun { flow_id: FlowId(flow), run_id, description };
    create(&app, &view.live, &context, Start { view: &view, command }).await
}

struct Start<'a> {
    view: &'a View,
    command: StartRun,
}

impl Creation for Start<'_> {
    type Event = Event;
    const KIND: &'static str = "RunStarted";
    const SEQUENCE: Option<Sequence> = Some(RUN_NUMBERS);

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let flow = self.command.flow_id.as_str();
        let flow_exists = self.view.facts.flow_exists(self.view, flow).await?;
        let name_taken = match &self.command.run_id {
            Some(name) if flow_exists => self.view.facts.run(self.view, flow, name).await?.is_some(),
            _ => false,
        };
        let takes_number = flow_exists && !name_taken;
        let run_number = RunNumber(if takes_number { app.sequencer.next(RUN_NUMBERS).await? } else { 0 });
        Ok(vec![decide(self.command.clone(), Facts { flow_exists, name_taken, run_number })?])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        let Some(Envelope { event: Event::RunStarted(event), occurred_at, .. }) = envelopes.first() else {
            return Err(ApiError::Internal("the start of a run recorded no RunStarted".to_owned()));
        };
        self.view.facts.add_run(event);
        Ok(json::respond_object(|out| write_started(event, *occurred_at, out)))
    }

    /// If its number has no row, another run of the same name came first.
    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let flow = self.command.flow_id.as_str();
        let number = recorded.first().map_or(0, |recorded| recorded.number);
        let duplicate = || errors::duplicate(format!("a run of this name exists already in flow {flow}"));
        let row = self.view.runs.load(vec![number.into(), flow.into()]).await?.ok_or_else(duplicate)?;
        let run = RunRow::read(&row)?;
        if !made_by(recorded, run.record_partition, run.record_offset) {
            return Ok(ReadBack::NumberTaken);
        }
        respond(&row, false).map(ReadBack::Answer)
    }
}

/// Writes the run that an event started.
fn write_started(event: &RunStarted, occurred_at: i64, out: &mut Vec<u8>) {
    let (tags, system_tags) = (json_array(&event.tags), json_array(&event.system_tags));
    let run = Run {
        flow_id: event.flow_id.as_str(),
        run_number: event.run_number.0,
        run_id: event.run_id.as_deref(),
        user_name: event.user_name.as_deref(),
        ts_epoch: occurred_at,
        tags: &tags,
        system_tags: &system_tags,
        heartbeat_at: event.heartbeat.then_some(occurred_at.div_euclid(1000)),
        beat_at: None,
        outcome: None,
    };
    objects::write_run(&run, false, None, out);
}
