//! Lists of what belongs to a run, one of its steps, or one of its tasks. The list of one that does not exist is empty.

use axum::response::Response;
use daybook_projector::tables::{Cell, Cursor, Statement, TablesError};
use daybook_query_api::{
    error::ApiError,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    query::Query,
};

use super::{shared_columns::SharedColumns, view::View};

/// A flow, run, step and task of a path.
pub(super) type TaskPath = (String, String, String, String);

/// What a list is about: the statement's first parameters, and the columns that its rows share.
pub(super) struct Scope {
    pub(super) params: Vec<Cell>,
    shared: SharedColumns,
}

/// A list and how its rows are read.
pub(super) struct Kind {
    /// Its name in cursors.
    pub(super) name: &'static str,
    pub(super) statement: &'static Statement,
    /// Parameters of a key, in the statement's order.
    pub(super) after: fn(&Key) -> Vec<Cell>,
    pub(super) key: fn(&dyn Cursor) -> Result<Key, TablesError>,
    pub(super) write: fn(&SharedColumns, &dyn Cursor, &mut Vec<u8>) -> Result<(), TablesError>,
}

/// A task; `None` if it does not exist.
pub(super) async fn task(view: &View, path: &TaskPath) -> Result<Option<Scope>, ApiError> {
    let (flow, run, step, task) = path;
    let Some((run, task)) = view.facts.run_and_task(view, (flow, run, step, task)).await? else { return Ok(None) };
    let tags = view.run_tags(flow, run.run_number.0).await?;
    let shared = SharedColumns::new(flow, &run, None, tags);
    let params = vec![flow.as_str().into(), run.run_number.0.into(), step.as_str().into(), task.task_id.0.into()];
    Ok(Some(Scope { params, shared }))
}

/// A run, or one of its steps; `None` if the run does not exist.
pub(super) async fn run(view: &View, flow: &str, run: &str, step: Option<&str>) -> Result<Option<Scope>, ApiError> {
    let Some(run) = view.facts.run(view, flow, run).await? else { return Ok(None) };
    let tags = view.run_tags(flow, run.run_number.0).await?;
    let shared = SharedColumns::new(flow, &run, None, tags);
    let mut params = vec![flow.into(), run.run_number.0.into()];
    params.extend(step.map(Cell::from));
    Ok(Some(Scope { params, shared }))
}

/// Answers with a list.
pub(super) async fn respond(
    view: &View,
    query: &Query,
    kind: Kind,
    scope: Option<Scope>,
) -> Result<Response, ApiError> {
    let page = Page::of(query, kind.name, view.live.generation.number, false)?;
    let Some(Scope { params, shared }) = scope else { return Ok(lists::respond_empty(page)) };
    let write = kind.write;
    let list = List {
        name: kind.name,
        statement: kind.statement,
        params,
        after: kind.after,
        key: kind.key,
        write: Box::new(move |row, out| write(&shared, row, out).map(|()| Shown::Yes)),
        filtered: false,
    };
    lists::respond(&view.live, list, page).await
}
