//! Lists of artifacts. The list of a run, step or task that does not exist is empty.

use axum::response::Response;
use daybook_projector::{
    statements,
    tables::{Cell, Cursor, FromRow, Statement, TablesError},
};

use super::{TaskPath, parse_attempt};
use crate::{
    error::ApiError,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    path::Path,
    query::Query,
    routes::metaflow::{
        objects,
        rows::{ArtifactOfRunRow, ArtifactOfStepRow},
        shared_columns::SharedColumns,
        view::View,
    },
};

statements! {
    pub(super) STATEMENTS;
    LIST_OF_RUN = "list_of_run", ArtifactOfRunRow;
    LIST_OF_STEP = "list_of_step", ArtifactOfStepRow;
    LIST_OF_TASK = "list_of_task", ArtifactOfStepRow;
    LIST_OF_ATTEMPT = "list_of_attempt", ArtifactOfStepRow;
}

/// The scope of a list: the statement's first parameters, and the columns that its rows share.
struct Scope {
    params: Vec<Cell>,
    shared: SharedColumns,
}

/// The artifacts of a task; `None` if it does not exist.
async fn of_task(view: &View, path: &TaskPath) -> Result<Option<Scope>, ApiError> {
    let (flow, run, step, task) = path;
    let Some((run, task)) = view.facts.run_and_task(view, (flow, run, step, task)).await? else { return Ok(None) };
    let tags = view.run_tags(flow, run.run_number.0).await?;
    let shared = SharedColumns::new(flow, &run, Some(step), tags);
    let params = vec![flow.as_str().into(), run.run_number.0.into(), step.as_str().into(), task.task_id.0.into()];
    Ok(Some(Scope { params, shared }))
}

/// The artifacts of a run, or of one of its steps; `None` if the run does not exist.
async fn of_run(view: &View, flow: &str, run: &str, step: Option<&str>) -> Result<Option<Scope>, ApiError> {
    let Some(run) = view.facts.run(view, flow, run).await? else { return Ok(None) };
    let tags = view.run_tags(flow, run.run_number.0).await?;
    let shared = SharedColumns::new(flow, &run, step, tags);
    let mut params = vec![flow.into(), run.run_number.0.into()];
    params.extend(step.map(Cell::from));
    Ok(Some(Scope { params, shared }))
}

/// A list and how its rows are read.
struct Kind {
    name: &'static str,
    statement: &'static Statement,
    write: fn(&SharedColumns, &dyn Cursor, &mut Vec<u8>) -> Result<(), TablesError>,
    key: fn(&dyn Cursor) -> Result<Key, TablesError>,
}

impl Kind {
    const fn of_step(name: &'static str, statement: &'static Statement) -> Self {
        Self { name, statement, write: write_of_step, key: key_of_step }
    }
}

fn write_of_step(shared: &SharedColumns, row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    objects::write_artifact(&shared.artifact_of_step(&ArtifactOfStepRow::read(row)?), out);
    Ok(())
}

fn key_of_step(row: &dyn Cursor) -> Result<Key, TablesError> {
    let artifact = ArtifactOfStepRow::read(row)?;
    Ok(Key { t: artifact.ts_epoch, n: artifact.task_id, s: artifact.name.to_owned() })
}

fn write_of_run(shared: &SharedColumns, row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    objects::write_artifact(&shared.artifact_of_run(&ArtifactOfRunRow::read(row)?), out);
    Ok(())
}

fn key_of_run(row: &dyn Cursor) -> Result<Key, TablesError> {
    let artifact = ArtifactOfRunRow::read(row)?;
    Ok(Key { t: artifact.ts_epoch, n: artifact.task_id, s: artifact.name.to_owned() })
}

async fn respond(view: &View, query: &Query, kind: Kind, scope: Option<Scope>) -> Result<Response, ApiError> {
    let page = Page::of(query, kind.name, view.live.generation.number, false)?;
    let Some(Scope { params, shared }) = scope else { return Ok(lists::respond_empty(page)) };
    let write = kind.write;
    let list = List {
        name: kind.name,
        statement: kind.statement,
        params,
        after: |key| vec![key.t.into(), key.n.into(), key.s.as_str().into()],
        key: kind.key,
        write: Box::new(move |row, out| write(&shared, row, out).map(|()| Shown::Yes)),
        filtered: false,
    };
    lists::respond(&view.live, list, page).await
}

pub(in crate::routes::metaflow) async fn list_of_task(
    view: View,
    Path(path): Path<TaskPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = of_task(&view, &path).await?;
    respond(&view, &query, Kind::of_step("artifacts-of-task", &LIST_OF_TASK), scope).await
}

pub(in crate::routes::metaflow) async fn list_of_attempt(
    view: View,
    Path((flow, run, step, task, attempt)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let attempt = parse_attempt(&attempt)?;
    let mut scope = of_task(&view, &(flow, run, step, task)).await?;
    if let Some(scope) = &mut scope {
        scope.params.push(attempt.into());
    }
    respond(&view, &Query::default(), Kind::of_step("artifacts-of-attempt", &LIST_OF_ATTEMPT), scope).await
}

pub(in crate::routes::metaflow) async fn list_of_step(
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = of_run(&view, &flow, &run, Some(&step)).await?;
    respond(&view, &query, Kind::of_step("artifacts-of-step", &LIST_OF_STEP), scope).await
}

pub(in crate::routes::metaflow) async fn list_of_run(
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = of_run(&view, &flow, &run, None).await?;
    let kind = Kind { name: "artifacts-of-run", statement: &LIST_OF_RUN, write: write_of_run, key: key_of_run };
    respond(&view, &query, kind, scope).await
}
