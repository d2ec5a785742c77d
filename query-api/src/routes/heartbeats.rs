//! Heartbeats of runs and tasks. A beat within ten seconds of the last one is answered and not recorded.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::{
    append::now_ms,
    metaflow::heartbeat::{INTERVAL_SECONDS, decide_run, decide_task},
};
use daybook_projector::tables::{Row, TablesError};
use daybook_schemas::{
    Event,
    ids::{FlowId, RunNumber, StepName},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    consistency::{Applied, Written, located},
    context::WriteContext,
    error::ApiError,
    json,
    view::View,
};

pub(super) async fn run(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let run = app.facts.run(&view, &flow, &run).await?.ok_or(ApiError::NotFound)?;
    let events = beat_of_run(&view, &flow, run.run_number).await?;
    respond(&app, &view, &context, events.into_iter().collect()).await
}

pub(super) async fn task(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<(String, String, String, String)>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let found = app.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let (run, task) = found.ok_or(ApiError::NotFound)?;
    let key = vec![task.task_id.0.into(), flow.as_str().into(), run.run_number.0.into(), step.as_str().into()];
    let row = view.tasks.load(key).await?.ok_or(ApiError::NotFound)?;
    let last = newest(&row, 10)?;
    // A task's heart beats its run's too.
    let of_run = beat_of_run(&view, &flow, run.run_number).await?;
    let (flow, step) = (FlowId(flow), StepName(step));
    let of_task = decide_task(&flow, run.run_number, &step, task.task_id, last, now_ms());
    respond(&app, &view, &context, of_run.into_iter().chain(of_task).collect()).await
}

async fn beat_of_run(view: &View, flow: &str, run: RunNumber) -> Result<Option<Event>, ApiError> {
    let row = view.runs.load(vec![run.0.into(), flow.into()]).await?.ok_or(ApiError::NotFound)?;
    Ok(decide_run(&FlowId(flow.to_owned()), run, newest(&row, 7)?, now_ms()))
}

/// The newer of the two heartbeats that a row holds from `column` on.
fn newest(row: &Row, column: usize) -> Result<Option<i64>, TablesError> {
    Ok(row.optional_int(column)?.max(row.optional_int(column + 1)?))
}

async fn respond(app: &App, view: &View, context: &WriteContext, events: Vec<Event>) -> Result<Response, ApiError> {
    let text = json!({"wait_time_in_seconds": INTERVAL_SECONDS}).to_string();
    // Clients decode this answer twice: it is a JSON string that holds JSON.
    let answer = json::respond(StatusCode::OK, &Value::String(text));
    if events.is_empty() {
        return Ok(answer);
    }
    match app.write(view, context, events).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(Applied { positions, .. }) => Ok(located(answer, &positions)),
    }
}
