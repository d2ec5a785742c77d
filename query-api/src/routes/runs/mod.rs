//! Runs: list with filters, show, start.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::{
    append::now_ms,
    metaflow::{
        run::{Facts, StartRun, decide},
        sequences::RUN_NUMBERS,
    },
};
use daybook_projector::{
    run_status::{Status, status_of},
    run_tags::json_array,
    statement,
    tables::{Cell, Cursor, Row, Statement, TablesError},
};
use daybook_schemas::{
    Envelope, Event,
    events::RunStarted,
    ids::{FlowId, NumberOrName, RUN_NUMBER_MAX, RunNumber, is_numeric},
    position::Position,
};

use crate::{
    app::App,
    consistency::{Written, located},
    context::WriteContext,
    error::ApiError,
    filters::{Filter, RUN_FIELDS, Value},
    json,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    query::Query,
    routes::bodies::{Bounded, description},
    view::View,
};

const LIST: Statement = statement!("list", split);
pub(super) const STATEMENTS: &[&Statement] = &[&LIST];

pub(super) async fn list(
    State(app): State<Arc<App>>,
    view: View,
    Path(flow): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = Filter::parse(&query, &RUN_FIELDS, true)?;
    let filtered = !filter.is_empty();
    let page = Page::of(&query, "runs", view.generation.number, filtered)?;
    let (now_seconds, cutoff) = (now_ms() / 1000, app.config.run_inactive_cutoff_seconds);
    let uses_status = filter.uses_status();
    let write = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let status = if uses_status { Some(status(row, now_seconds, cutoff)?) } else { None };
        if filtered && !matches(&filter, row, status)? {
            return Ok(Shown::No);
        }
        json::write_run(row, true, status.map(Status::as_str), out).map(|()| Shown::Yes)
    };
    let list = List {
        name: "runs",
        statement: &LIST,
        params: vec![flow.as_str().into()],
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| Ok(Key { t: row.int(4)?, n: row.int(1)?, s: String::new() }),
        write: Box::new(write),
        graft: None,
        filtered,
    };
    lists::respond(&view, list, page).await
}

/// The newest heartbeat, in seconds.
fn beat(row: &dyn Cursor) -> Result<Option<i64>, TablesError> {
    Ok(row.optional_int(7)?.max(row.optional_int(8)?))
}

fn status(row: &dyn Cursor, now_seconds: i64, cutoff_seconds: i64) -> Result<Status, TablesError> {
    let outcome = row.optional_text(9)?.and_then(Status::parse);
    Ok(status_of(outcome, beat(row)?, now_seconds, cutoff_seconds))
}

fn matches(filter: &Filter, row: &dyn Cursor, status: Option<Status>) -> Result<bool, TablesError> {
    let (user_name, tags, system_tags) = (row.optional_text(3)?, row.text(5)?, row.text(6)?);
    let values: [Value<'_>; 10] = [
        Value::Text(row.text(0)?),
        Value::Int(row.int(1)?),
        row.optional_text(2)?.into(),
        user_name.into(),
        Value::Int(row.int(4)?),
        beat(row)?.into(),
        Value::Text(tags),
        Value::Text(system_tags),
        json::owner(user_name, system_tags).into(),
        status.map(Status::as_str).into(),
    ];
    Ok(filter.matches(&values, &[tags, system_tags]))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let number = match NumberOrName::parse(&run, RUN_NUMBER_MAX) {
        NumberOrName::Number(number) => number,
        NumberOrName::OutOfRange => return Err(ApiError::NotFound),
        NumberOrName::Name(_) => {
            let facts = app.facts.run(&view, &flow, &run).await?;
            facts.ok_or(ApiError::NotFound)?.run_number.0
        }
    };
    let row = view.runs.load(vec![number.into(), flow.as_str().into()]).await?.ok_or(ApiError::NotFound)?;
    Ok(answer(&row, true)?)
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    view: View,
    Path(flow): Path<String>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let mut object = json::object(&body)?;
    let description = description(&mut object)?;
    let run_id = object.text("run_number")?;
    if run_id.as_deref().is_some_and(is_numeric) {
        return Err(ApiError::invalid("run_number", "provided run_id may not be a numeric"));
    }
    if let Some(first) = app.first(&view, &context, &flow, "RunStarted").await? {
        return started(&app, &view, &flow, first.number, first.position).await;
    }
    let flow_exists = app.facts.flow_exists(&view, &flow).await?;
    let name_taken = match &run_id {
        Some(name) if flow_exists => app.facts.run(&view, &flow, name).await?.is_some(),
        _ => false,
    };
    let run_number = if flow_exists { app.sequencer.next(RUN_NUMBERS).await? } else { 0 };
    let facts = Facts { flow_exists, name_taken, run_number: RunNumber(run_number) };
    let event = decide(StartRun { flow_id: FlowId(flow.clone()), run_id, description }, facts)?;
    debug_assert!(matches!(event, Event::RunStarted(_)));
    match app.write(&view, &context, vec![event]).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(applied) => match applied.event_as_written() {
            Some(Envelope { event: Event::RunStarted(event), occurred_at, .. }) => {
                app.facts.learn_run(event);
                Ok(located(answer(&row_of(event, *occurred_at), false)?, &applied.positions))
            }
            _ => match app.first(&view, &context, &flow, "RunStarted").await? {
                Some(first) => started(&app, &view, &flow, first.number, first.position).await,
                None => started(&app, &view, &flow, run_number, applied.positions[0]).await,
            },
        },
    }
}

/// The row that a start makes, with the columns of `view/run`.
fn row_of(event: &RunStarted, occurred_at: i64) -> Row {
    Row(vec![
        event.flow_id.as_str().into(),
        event.run_number.0.into(),
        Cell::Text(event.run_id.clone()),
        Cell::Text(event.user_name.clone()),
        occurred_at.into(),
        Cell::Text(Some(json_array(&event.tags))),
        Cell::Text(Some(json_array(&event.system_tags))),
        Cell::Int(event.heartbeat.then_some(occurred_at.div_euclid(1000))),
        Cell::Int(None),
    ])
}

/// The answer to the start whose event stands at `position`. Without a row of its number, another run of its name won.
async fn started(app: &App, view: &View, flow: &str, number: i64, position: Position) -> Result<Response, ApiError> {
    let duplicate = || ApiError::Duplicate(format!("a run of this name exists already in flow {flow}"));
    let row = view.runs.load(vec![number.into(), flow.into()]).await?;
    if row.is_none() {
        app.skipped(view, position).await?;
        return Err(duplicate());
    }
    let row = app.won(view, row, position).await?.ok_or_else(ApiError::number_taken)?;
    Ok(located(answer(&row, false)?, &[position]))
}

fn answer(row: &Row, shows_owner: bool) -> Result<Response, TablesError> {
    let mut body = Vec::with_capacity(json::OBJECT_BYTES);
    json::write_run(row, shows_owner, None, &mut body)?;
    Ok(json::respond_bytes(StatusCode::OK, body))
}
