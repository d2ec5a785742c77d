//! Tasks: list with filters, show, register, and the tasks whose metadata matches a pattern.

mod pattern;

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::sequence::Sequence;
use daybook_projector::{
    statements,
    tables::{Cell, Cursor, FromRow, Next, Row},
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
    errors,
    filters::{Filter, TaskField, Value},
    objects,
    python_json::PythonJson,
    rows::{ListedTaskRow, Task, TaskMetadataRow, TaskRow},
    shared_columns::SharedColumns,
    view::View,
};
use crate::{
    decisions::task::{Facts, RegisterTask, decide},
    events::{
        Event,
        ids::{FlowId, StepName, TaskId, is_numeric},
    },
    sequences::TASK_IDS,
};

statements! {
    pub(super) STATEMENTS;
    LIST = "list", split, ListedTaskRow;
    FILTERED = "filtered", TaskMetadataRow;
}

type StepPath = (String, String, String);
type TaskPath = (String, String, String, String);

pub(super) async fn list(
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let filter = Filter::<TaskField>::parse(&query, false)?;
    let filtered = !filter.is_empty();
    let page = Page::of(&query, "tasks", view.live.generation.number, filtered)?;
    let Some(run) = view.facts.run(&view, &flow, &run).await? else { return Ok(lists::respond_empty(page)) };
    let tags = view.run_tags(&flow, run.run_number.0).await?;
    let shared = SharedColumns::new(&flow, &run, Some(&step), tags);
    let write = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let task = shared.task(&ListedTaskRow::read(row)?);
        if filtered && !matches(&filter, &task) {
            return Ok(Shown::No);
        }
        objects::write_task(&task, out);
        Ok(Shown::Yes)
    };
    let list = List {
        name: "tasks",
        statement: &LIST,
        params: vec![flow.as_str().into(), run.run_number.0.into(), step.as_str().into()],
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| {
            let task = ListedTaskRow::read(row)?;
            Ok(Key { t: task.ts_epoch, n: task.task_id, s: String::new() })
        },
        write: Box::new(write),
        filtered,
    };
    lists::respond(&view.live, list, page).await
}

fn matches(filter: &Filter<TaskField>, task: &Task<'_>) -> bool {
    let value_of = |field| match field {
        TaskField::TaskId => Value::Int(task.task_id),
        TaskField::TaskName => task.task_name.into(),
        TaskField::UserName => task.user_name.into(),
        TaskField::TsEpoch => Value::Int(task.ts_epoch),
        TaskField::LastHeartbeatTs => task.heartbeat().into(),
    };
    filter.matches(value_of, &[])
}

pub(super) async fn show(view: View, Path((flow, run, step, task)): Path<TaskPath>) -> Result<Response, ApiError> {
    let found = view.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let (run, task) = found.ok_or_else(errors::not_found)?;
    let key = vec![task.task_id.0.into(), flow.as_str().into(), run.run_number.0.into(), step.as_str().into()];
    respond(&view.tasks.load(key).await?.ok_or_else(errors::not_found)?)
}

fn respond(row: &Row) -> Result<Response, ApiError> {
    let task = TaskRow::read(row)?.task;
    Ok(json::respond_object(|out| objects::write_task(&task, out)))
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let description = description(&object)?;
    let task_name = object.name("task_id")?;
    if task_name.as_deref().is_some_and(is_numeric) {
        return Err(ApiError::invalid("task_id", "provided task_name may not be a numeric"));
    }
    let command = RegisterTask { flow_id: FlowId(flow), run, step_name: StepName(step), task_name, description };
    create(&app, &view.live, &context, Registration { view: &view, command }).await
}

struct Registration<'a> {
    view: &'a View,
    command: RegisterTask,
}

impl Creation for Registration<'_> {
    type Event = Event;
    const KIND: &'static str = "TaskRegistered";
    const SEQUENCE: Option<Sequence> = Some(TASK_IDS);

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let (flow, step) = (self.command.flow_id.as_str(), self.command.step_name.as_str());
        let facts = &self.view.facts;
        let run = facts.run(self.view, flow, &self.command.run).await?;
        let step_exists = match &run {
            Some(run) => facts.step_exists(self.view, flow, run.run_number, step).await?,
            None => false,
        };
        let name_taken = match (&run, &self.command.task_name) {
            (Some(run), Some(name)) => facts.task(self.view, flow, run.run_number, step, name).await?.is_some(),
            _ => false,
        };
        let takes_id = step_exists && !name_taken;
        let task_id = TaskId(if takes_id { app.sequencer.next(TASK_IDS).await? } else { 0 });
        let facts = Facts { run: run.as_deref(), step_exists, name_taken, task_id };
        Ok(vec![decide(self.command.clone(), facts)?])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        let Some(Envelope { event: Event::TaskRegistered(event), occurred_at, .. }) = envelopes.first() else {
            return Err(ApiError::Internal("a registration recorded no task".to_owned()));
        };
        let flow = event.flow_id.as_str();
        self.view.facts.add_task(event);
        let run = self.view.facts.run(self.view, flow, &self.command.run).await?;
        let tags = self.view.run_tags(flow, event.run_number.0).await?;
        let task = Task {
            flow_id: flow,
            run_number: event.run_number.0,
            run_id: run.as_ref().and_then(|run| run.run_id.as_deref()),
            step_name: event.step_name.as_str(),
            task_id: event.task_id.0,
            task_name: event.task_name.as_deref(),
            user_name: event.user_name.as_deref(),
            ts_epoch: *occurred_at,
            tags: &tags.tags,
            system_tags: &tags.system_tags,
            heartbeat_at: event.heartbeat.then_some(occurred_at.div_euclid(1000)),
            beat_at: None,
        };
        Ok(json::respond_object(|out| objects::write_task(&task, out)))
    }

    /// If its id has no row, another task of the same name came first.
    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let RegisterTask { flow_id, run, step_name, .. } = &self.command;
        let (flow, step) = (flow_id.as_str(), step_name.as_str());
        let id = recorded.first().map_or(0, |recorded| recorded.number);
        let facts = self.view.facts.run(self.view, flow, run).await?;
        let number = facts.map_or(0, |run| run.run_number.0);
        let row = self.view.tasks.load(vec![id.into(), flow.into(), number.into(), step.into()]).await?;
        match row {
            Some(row) => {
                let task = TaskRow::read(&row)?;
                if !made_by(recorded, task.record_partition, task.record_offset) {
                    return Ok(ReadBack::NumberTaken);
                }
                respond(&row).map(ReadBack::Answer)
            }
            // A task of another step may hold the id.
            None if self.command.task_name.is_none() => Ok(ReadBack::NumberTaken),
            None => {
                let path = format!("{flow}/{run}/{step}");
                Err(errors::duplicate(format!("a task of this name exists already in step {path}")))
            }
        }
    }
}

/// Paths of the tasks that have metadata of a field whose value matches a pattern, each once, in order of their
/// numbers.
pub(super) async fn filtered(
    view: View,
    Path((flow, run, step)): Path<StepPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let given = |name| query.get(name).filter(|value| !value.is_empty());
    let pattern = given("pattern").map(pattern::compile).transpose()?;
    let Some(facts) = view.facts.run(&view, &flow, &run).await? else {
        return Ok(json::respond_bytes(StatusCode::OK, b"[]".to_vec()));
    };
    let field = given("metadata_field_name").map(str::to_owned);
    let mut params: Vec<Cell> = vec![flow.as_str().into(), facts.run_number.0.into(), step.as_str().into()];
    params.push(Cell::Text(field));
    let shown_run = facts.run_id.clone().unwrap_or_else(|| facts.run_number.to_string());
    let (mut last, mut paths) = (None, vec![b'[']);
    let render = move |row: &dyn Cursor, out: &mut Vec<u8>| {
        let TaskMetadataRow { task_id, task_name, value } = TaskMetadataRow::read(row)?;
        if last == Some(task_id) || pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)) {
            return Ok(Next::More);
        }
        if last.replace(task_id).is_some() {
            out.push(b',');
        }
        let name = task_name.map_or_else(|| task_id.to_string(), str::to_owned);
        let path = serde_json::Value::String(format!("{flow}/{shown_run}/{step}/{name}"));
        out.extend_from_slice(path.to_string().as_bytes());
        Ok(Next::More)
    };
    let mut chunks = view.live.stream(&FILTERED, params, Box::new(render));
    while let Some(chunk) = chunks.recv().await {
        paths.extend_from_slice(&chunk?);
    }
    paths.push(b']');
    Ok(json::respond_bytes(StatusCode::OK, paths))
}
