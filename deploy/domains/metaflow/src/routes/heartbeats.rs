//! Heartbeats of runs and tasks. A heartbeat within ten seconds of the last one is answered and not recorded; one after
//! a last one in the future is recorded immediately.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::append::now_ms;
use daybook_projector::tables::FromRow;
use daybook_query_api::{
    app::App,
    context::WriteContext,
    error::ApiError,
    json,
    path::Path,
    write::{Applied, Written, located},
};
use serde_json::{Value, json};

use super::{
    rows::{RunRow, TaskRow},
    view::View,
};
use crate::{
    decisions::heartbeat::{INTERVAL_SECONDS, decide_run, decide_task},
    events::{
        Event,
        ids::{FlowId, RunNumber, StepName},
    },
};

pub(super) async fn run(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let run = view.facts.run(&view, &flow, &run).await?.ok_or_else(unknown)?;
    let events = heartbeat_of_run(&view, &flow, run.run_number).await?;
    respond(&app, &view, &context, events.into_iter().collect()).await
}

pub(super) async fn task(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<(String, String, String, String)>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let found = view.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let (run, task) = found.ok_or_else(unknown)?;
    let key = vec![task.task_id.0.into(), flow.as_str().into(), run.run_number.0.into(), step.as_str().into()];
    let row = view.tasks.load(key).await?.ok_or_else(unknown)?;
    let last = TaskRow::read(&row)?.task.heartbeat();
    // A task's heartbeat also counts for its run.
    let of_run = heartbeat_of_run(&view, &flow, run.run_number).await?;
    let (flow, step) = (FlowId(flow), StepName(step));
    let of_task = decide_task(&flow, run.run_number, &step, task.task_id, last, now_ms());
    respond(&app, &view, &context, of_run.into_iter().chain(of_task).collect()).await
}

async fn heartbeat_of_run(view: &View, flow: &str, run: RunNumber) -> Result<Option<Event>, ApiError> {
    let row = view.runs.load(vec![run.0.into(), flow.into()]).await?.ok_or_else(unknown)?;
    Ok(decide_run(&FlowId(flow.to_owned()), run, RunRow::read(&row)?.run.heartbeat(), now_ms()))
}

/// The body of every answer: clients decode it twice, as it is a JSON string that holds JSON.
fn body() -> Value {
    Value::String(json!({"wait_time_in_seconds": INTERVAL_SECONDS}).to_string())
}

/// There is no such run or task. The body is that of a heartbeat, as in Metaflow's service.
fn unknown() -> ApiError {
    ApiError::Shaped { status: StatusCode::NOT_FOUND, message: "not found".to_owned(), body: body() }
}

async fn respond(app: &App, view: &View, context: &WriteContext, events: Vec<Event>) -> Result<Response, ApiError> {
    let answer = json::respond(StatusCode::OK, &body());
    if events.is_empty() {
        return Ok(answer);
    }
    match app.write(&view.live, context, events).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(Applied { positions, .. }) => Ok(located(answer, &positions)),
    }
}
