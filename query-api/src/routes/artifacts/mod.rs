//! Artifacts: show one, list those of a task, an attempt, a step or a run, register.
//!
//! "Latest attempt" means two things, both kept from Metaflow's service: for one artifact, the greatest attempt of the
//! artifact that is literally called `name` in its task; for lists, the greatest attempt of any artifact of the task.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::artifacts::{RegisterArtifacts, decide};
use daybook_projector::{
    statement,
    tables::{Cell, Row, Statement},
};
use daybook_schemas::{
    events::Artifact,
    ids::{FlowId, StepName},
    position::Position,
};
use serde_json::json;

use crate::{
    app::App,
    consistency::{Applied, Written, located},
    context::WriteContext,
    error::ApiError,
    graft::Graft,
    json::{self, Object},
    lists::{self, List, Shown},
    pagination::{Key, Page},
    query::Query,
    routes::bodies::Bounded,
    view::View,
};

const SHOW: Statement = statement!("show");
const SHOW_OF_ATTEMPT: Statement = statement!("show_of_attempt");
const LIST_OF_RUN: Statement = statement!("list_of_run");
const LIST_OF_STEP: Statement = statement!("list_of_step");
const LIST_OF_TASK: Statement = statement!("list_of_task");
const LIST_OF_ATTEMPT: Statement = statement!("list_of_attempt");
pub(super) const STATEMENTS: &[&Statement] =
    &[&SHOW, &SHOW_OF_ATTEMPT, &LIST_OF_RUN, &LIST_OF_STEP, &LIST_OF_TASK, &LIST_OF_ATTEMPT];

type TaskPath = (String, String, String, String);

/// Where an artifact's row has the run's tags.
const TAGS_AT: usize = 15;

/// The parameters that name a task, or `None` where it is not there.
async fn task_params(app: &App, view: &View, path: &TaskPath) -> Result<Option<Vec<Cell>>, ApiError> {
    let (flow, run, step, task) = path;
    let found = app.facts.run_and_task(view, (flow, run, step, task)).await?;
    Ok(found.map(|(run, task)| {
        vec![flow.as_str().into(), run.run_number.0.into(), step.as_str().into(), task.task_id.0.into()]
    }))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task, name)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let mut params = task_params(&app, &view, &(flow, run, step, task)).await?.ok_or(ApiError::NotFound)?;
    params.push(name.as_str().into());
    let rows = view.read(&SHOW, params).await?;
    answer(rows.first())
}

pub(super) async fn show_of_attempt(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task, name, attempt)): Path<(String, String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let attempt = parse_attempt(&attempt)?;
    let mut params = task_params(&app, &view, &(flow, run, step, task)).await?.ok_or(ApiError::NotFound)?;
    params.extend([name.as_str().into(), attempt.into()]);
    let rows = view.read(&SHOW_OF_ATTEMPT, params).await?;
    answer(rows.first())
}

fn parse_attempt(text: &str) -> Result<i64, ApiError> {
    let wrong = |_| ApiError::invalid("attempt_id", format!("attempt {text:?} is not an integer"));
    text.parse::<i64>().map_err(wrong)
}

fn answer(row: Option<&Row>) -> Result<Response, ApiError> {
    let mut body = Vec::with_capacity(json::OBJECT_BYTES);
    json::write_artifact(row.ok_or(ApiError::NotFound)?, &mut body)?;
    Ok(json::respond_bytes(StatusCode::OK, body))
}

/// What a list is of: the statement's first parameters, and the columns of the run.
type Of = (Vec<Cell>, Option<Graft>);

/// A list of a task's artifacts; empty for a task that is not there.
async fn of_task(app: &App, view: &View, path: &TaskPath) -> Result<Of, ApiError> {
    let (flow, run, step, task) = path;
    let found = app.facts.run_and_task(view, (flow, run, step, task)).await?;
    let run = found.as_ref().map(|(run, _)| run.as_ref());
    let graft = app.graft_with_tags(view, (flow, run, Some(step)), TAGS_AT).await?;
    let (run, task) = found.map_or((0, 0), |(run, task)| (run.run_number.0, task.task_id.0));
    Ok((vec![flow.as_str().into(), run.into(), step.as_str().into(), task.into()], graft))
}

/// A list of the artifacts of a run, or of one of its steps; empty for a run that is not there.
async fn of_run(app: &App, view: &View, flow: &str, run: &str, step: Option<&str>) -> Result<Of, ApiError> {
    let run = app.facts.run(view, flow, run).await?;
    let graft = app.graft_with_tags(view, (flow, run.as_deref(), step), TAGS_AT).await?;
    let mut params = vec![flow.into(), run.map_or(0, |run| run.run_number.0).into()];
    params.extend(step.map(Cell::from));
    Ok((params, graft))
}

async fn respond(
    view: &View,
    query: &Query,
    name: &'static str,
    statement: &'static Statement,
    (params, graft): Of,
) -> Result<Response, ApiError> {
    let page = Page::of(query, name, view.generation.number, false)?;
    let list = List {
        name,
        statement,
        params,
        after: |key| vec![key.t.into(), key.n.into(), key.s.as_str().into()],
        key: |row| Ok(Key { t: row.int(14)?, n: row.int(4)?, s: row.text(6)?.to_owned() }),
        write: Box::new(|row, out| json::write_artifact(row, out).map(|()| Shown::Yes)),
        graft,
        filtered: false,
    };
    lists::respond(view, list, page).await
}

pub(super) async fn list_of_task(
    State(app): State<Arc<App>>,
    view: View,
    Path(path): Path<TaskPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let of = of_task(&app, &view, &path).await?;
    respond(&view, &query, "artifacts-of-task", &LIST_OF_TASK, of).await
}

pub(super) async fn list_of_attempt(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task, attempt)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let attempt = parse_attempt(&attempt)?;
    let mut of = of_task(&app, &view, &(flow, run, step, task)).await?;
    of.0.push(attempt.into());
    respond(&view, &Query::default(), "artifacts-of-attempt", &LIST_OF_ATTEMPT, of).await
}

pub(super) async fn list_of_step(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let of = of_run(&app, &view, &flow, &run, Some(&step)).await?;
    respond(&view, &query, "artifacts-of-step", &LIST_OF_STEP, of).await
}

pub(super) async fn list_of_run(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let of = of_run(&app, &view, &flow, &run, None).await?;
    respond(&view, &query, "artifacts-of-run", &LIST_OF_RUN, of).await
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    const KIND: &str = "ArtifactsRegistered";
    let entries = json::array(&body)?.iter_mut().map(entry).collect::<Result<Vec<_>, _>>()?;
    let found = app.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let firsts = app.firsts(&view, &context, &flow, KIND).await?;
    if !firsts.is_empty() {
        return registered(&app, &view, firsts.iter().map(|first| (first.position, first.entries)).collect()).await;
    }
    let command = RegisterArtifacts { flow_id: FlowId(flow.clone()), step_name: StepName(step), entries };
    let events = decide(command, found.as_ref().map(|(run, task)| (run.as_ref(), task.as_ref())))?;
    let counts: Vec<i64> = events.iter().map(entries_of).collect();
    match app.write(&view, &context, events).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(applied) if applied.as_written => Ok(created(counts.iter().sum(), &applied.positions)),
        Written::Applied(Applied { positions, .. }) => {
            let firsts = app.firsts(&view, &context, &flow, KIND).await?;
            let events = if firsts.is_empty() {
                positions.into_iter().zip(counts).collect()
            } else {
                firsts.iter().map(|first| (first.position, first.entries)).collect()
            };
            registered(&app, &view, events).await
        }
    }
}

fn entries_of(event: &daybook_schemas::Event) -> i64 {
    match event {
        daybook_schemas::Event::ArtifactsRegistered(event) => i64::try_from(event.entries.len()).unwrap_or(i64::MAX),
        _ => 0,
    }
}

/// The answer to a registration whose events stand at these positions and have so many entries.
async fn registered(app: &App, view: &View, events: Vec<(Position, i64)>) -> Result<Response, ApiError> {
    let mut count = 0;
    for (position, entries) in &events {
        count += entries - app.skipped(view, *position).await?;
    }
    let positions: Vec<_> = events.iter().map(|(position, _)| *position).collect();
    Ok(created(count, &positions))
}

fn created(count: i64, positions: &[Position]) -> Response {
    located(json::respond(StatusCode::OK, &json!({"artifacts_created": count})), positions)
}

fn entry(object: &mut Object) -> Result<Artifact, ApiError> {
    Ok(Artifact {
        name: object.required_text("name", " ")?,
        location: object.required_text("location", " ")?,
        ds_type: object.required_text("ds_type", " ")?,
        sha: object.text_or("sha", " ")?,
        r#type: object.text_or("type", " ")?,
        content_type: object.text_or("content_type", " ")?,
        user_name: object.text_or("user_name", " ")?,
        attempt_id: object.small_int("attempt_id")?,
        tags: object.texts("tags")?.unwrap_or_default(),
        system_tags: object.texts("system_tags")?.unwrap_or_default(),
    })
}
