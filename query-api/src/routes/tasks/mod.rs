//! Tasks: list with filters, show, register, and the tasks whose metadata matches a pattern.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::{
    sequences::TASK_IDS,
    task::{Facts, RegisterTask, decide},
};
use daybook_projector::{
    run_tags::Tags,
    statement,
    tables::{Cell, Cursor, Next, Row, Statement, TablesError},
};
use daybook_schemas::{
    Envelope, Event,
    events::TaskRegistered,
    ids::{FlowId, StepName, TaskId, is_numeric},
    position::Position,
};
use regex::RegexBuilder;

use crate::{
    app::App,
    consistency::{Written, located},
    context::WriteContext,
    error::ApiError,
    filters::{Filter, TASK_FIELDS, Value},
    json,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    query::Query,
    routes::bodies::{Bounded, description},
    view::View,
};

const LIST: Statement = statement!("list", split);
const FILTERED: Statement = statement!("filtered");
pub(super) const STATEMENTS: &[&Statement] = &[&LIST, &FILTERED];
/// Where a task's row has the run's tags.
const TAGS_AT: usize = 8;
/// Bytes of a compiled pattern, at most.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

type StepPath = (String, String, String);
type TaskPath = (String, String, String, String);

pub(super) async fn list(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = Filter::parse(&query, &TASK_FIELDS, false)?;
    let filtered = !filter.is_empty();
    let page = Page::of(&query, "tasks", view.generation.number, filtered)?;
    let run = app.facts.run(&view, &flow, &run).await?;
    let write = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        if filtered && !matches(&filter, row)? {
            return Ok(Shown::No);
        }
        json::write_task(row, out).map(|()| Shown::Yes)
    };
    let list = List {
        name: "tasks",
        statement: &LIST,
        params: vec![flow.as_str().into(), run.as_ref().map_or(0, |run| run.run_number.0).into(), step.as_str().into()],
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| Ok(Key { t: row.int(7)?, n: row.int(4)?, s: String::new() }),
        write: Box::new(write),
        graft: app.graft_with_tags(&view, (&flow, run.as_deref(), Some(&step)), TAGS_AT).await?,
        filtered,
    };
    lists::respond(&view, list, page).await
}

fn matches(filter: &Filter, row: &dyn Cursor) -> Result<bool, TablesError> {
    let beat = row.optional_int(10)?.max(row.optional_int(11)?);
    let (id, at) = (Value::Int(row.int(4)?), Value::Int(row.int(7)?));
    let values = [id, row.optional_text(5)?.into(), row.optional_text(6)?.into(), at, beat.into()];
    Ok(filter.matches(&values, &[]))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
) -> Result<Response, ApiError> {
    let found = app.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let (run, task) = found.ok_or(ApiError::NotFound)?;
    let key = vec![task.task_id.0.into(), flow.as_str().into(), run.run_number.0.into(), step.as_str().into()];
    let row = view.tasks.load(key).await?.ok_or(ApiError::NotFound)?;
    Ok(answer(&row)?)
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let mut object = json::object(&body)?;
    let description = description(&mut object)?;
    let task_name = object.text("task_id")?;
    if task_name.as_deref().is_some_and(is_numeric) {
        return Err(ApiError::invalid("task_id", "provided task_name may not be a numeric"));
    }
    let run_facts = app.facts.run(&view, &flow, &run).await?;
    let number = run_facts.as_ref().map_or(0, |run| run.run_number.0);
    if let Some(first) = app.first(&view, &context, &flow, "TaskRegistered").await? {
        return registered(&app, &view, (&flow, number, &step), first.number, first.position).await;
    }
    let step_exists = match &run_facts {
        Some(run) => app.facts.step_exists(&view, &flow, run.run_number, &step).await?,
        None => false,
    };
    let name_taken = match (&run_facts, &task_name) {
        (Some(run), Some(name)) => app.facts.task(&view, &flow, run.run_number, &step, name).await?.is_some(),
        _ => false,
    };
    let task_id = if step_exists { app.sequencer.next(TASK_IDS).await? } else { 0 };
    let facts = Facts { run: run_facts.as_deref(), step_exists, name_taken, task_id: TaskId(task_id) };
    let (flow_id, step_name) = (FlowId(flow.clone()), StepName(step.clone()));
    let event = decide(RegisterTask { flow_id, run, step_name, task_name, description }, facts)?;
    match app.write(&view, &context, vec![event]).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(applied) => match (applied.event_as_written(), run_facts) {
            (Some(Envelope { event: Event::TaskRegistered(event), occurred_at, .. }), Some(run)) => {
                let tags = app.run_tags(&view, &flow, number).await?;
                app.facts.learn_task(event);
                let row = row_of(event, *occurred_at, run.run_id.clone(), &tags);
                Ok(located(answer(&row)?, &applied.positions))
            }
            _ => match app.first(&view, &context, &flow, "TaskRegistered").await? {
                Some(first) => registered(&app, &view, (&flow, number, &step), first.number, first.position).await,
                None => registered(&app, &view, (&flow, number, &step), task_id, applied.positions[0]).await,
            },
        },
    }
}

/// The row that a registration makes, with the columns of `view/task`.
fn row_of(event: &TaskRegistered, occurred_at: i64, run_id: Option<String>, tags: &Tags) -> Row {
    Row(vec![
        event.flow_id.as_str().into(),
        event.run_number.0.into(),
        Cell::Text(run_id),
        event.step_name.as_str().into(),
        event.task_id.0.into(),
        Cell::Text(event.task_name.clone()),
        Cell::Text(event.user_name.clone()),
        occurred_at.into(),
        tags.tags.as_str().into(),
        tags.system_tags.as_str().into(),
        Cell::Int(event.heartbeat.then_some(occurred_at.div_euclid(1000))),
        Cell::Int(None),
    ])
}

/// The answer to the registration whose event stands at `position`. Without a row of its number, another task of its name
/// won.
async fn registered(
    app: &App,
    view: &View,
    path: (&str, i64, &str),
    task: i64,
    position: Position,
) -> Result<Response, ApiError> {
    let (flow, run, step) = path;
    let duplicate = || ApiError::Duplicate(format!("a task of this name exists already in step {flow}/{run}/{step}"));
    let row = view.tasks.load(vec![task.into(), flow.into(), run.into(), step.into()]).await?;
    if row.is_none() {
        app.skipped(view, position).await?;
        return Err(duplicate());
    }
    let row = app.won(view, row, position).await?.ok_or_else(ApiError::number_taken)?;
    Ok(located(answer(&row)?, &[position]))
}

fn answer(row: &Row) -> Result<Response, TablesError> {
    let mut body = Vec::with_capacity(json::OBJECT_BYTES);
    json::write_task(row, &mut body)?;
    Ok(json::respond_bytes(StatusCode::OK, body))
}

/// Paths of the tasks that have metadata of a field whose value matches a pattern, each once, in order of their numbers.
pub(super) async fn filtered(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let pattern = query.get("pattern").map(|pattern| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build());
    let pattern = pattern.transpose().map_err(|e| ApiError::invalid("pattern", format!("broken pattern: {e}")))?;
    let Some(facts) = app.facts.run(&view, &flow, &run).await? else {
        return Ok(json::respond_bytes(StatusCode::OK, b"[]".to_vec()));
    };
    let field = query.get("metadata_field_name").map(str::to_owned);
    let mut params: Vec<Cell> = vec![flow.as_str().into(), facts.run_number.0.into(), step.as_str().into()];
    params.push(Cell::Text(field));
    let shown_run = facts.run_id.clone().unwrap_or_else(|| facts.run_number.to_string());
    let (mut last, mut paths) = (None, vec![b'[']);
    let render = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let task = row.int(0)?;
        if last == Some(task)
            || pattern.as_ref().is_some_and(|pattern| !row.text(2).is_ok_and(|value| pattern.is_match(value)))
        {
            return Ok(Next::More);
        }
        if last.replace(task).is_some() {
            out.push(b',');
        }
        let name = row.optional_text(1)?.map_or_else(|| task.to_string(), str::to_owned);
        let path = serde_json::Value::String(format!("{flow}/{shown_run}/{step}/{name}"));
        out.extend_from_slice(path.to_string().as_bytes());
        Ok(Next::More)
    };
    let mut chunks = view.stream(&FILTERED, params, Box::new(render));
    while let Some(chunk) = chunks.recv().await {
        paths.extend_from_slice(&chunk?);
    }
    paths.push(b']');
    Ok(json::respond_bytes(StatusCode::OK, paths))
}
