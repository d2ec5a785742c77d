//! Lists of artifacts.

use axum::response::Response;
use daybook_projector::{
    statements,
    tables::{FromRow, Statement},
};
use daybook_query_api::{error::ApiError, pagination::Key, path::Path, query::Query};

use super::parse_attempt;
use crate::routes::{
    lists_of_run::{self, Kind, TaskPath},
    objects,
    rows::ListedArtifactRow,
    view::View,
};

statements! {
    pub(super) STATEMENTS;
    LIST_OF_RUN = "list_of_run", ListedArtifactRow;
    LIST_OF_STEP = "list_of_step", ListedArtifactRow;
    LIST_OF_TASK = "list_of_task", ListedArtifactRow;
    LIST_OF_ATTEMPT = "list_of_attempt", ListedArtifactRow;
}

fn kind(name: &'static str, statement: &'static Statement) -> Kind {
    Kind {
        name,
        statement,
        after: |key| vec![key.t.into(), key.n.into(), key.s.as_str().into()],
        key: |row| {
            let artifact = ListedArtifactRow::read(row)?;
            Ok(Key { t: artifact.ts_epoch, n: artifact.task_id, s: artifact.name.to_owned() })
        },
        write: |shared, row, out| {
            objects::write_artifact(&shared.artifact(&ListedArtifactRow::read(row)?), out);
            Ok(())
        },
    }
}

pub(in crate::routes) async fn list_of_task(
    view: View,
    Path(path): Path<TaskPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = lists_of_run::task(&view, &path).await?;
    lists_of_run::respond(&view, &query, kind("artifacts-of-task", &LIST_OF_TASK), scope).await
}

pub(in crate::routes) async fn list_of_attempt(
    view: View,
    Path((flow, run, step, task, attempt)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let attempt = parse_attempt(&attempt)?;
    let mut scope = lists_of_run::task(&view, &(flow, run, step, task)).await?;
    if let Some(scope) = &mut scope {
        scope.params.push(attempt.into());
    }
    lists_of_run::respond(&view, &Query::default(), kind("artifacts-of-attempt", &LIST_OF_ATTEMPT), scope).await
}

pub(in crate::routes) async fn list_of_step(
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = lists_of_run::run(&view, &flow, &run, Some(&step)).await?;
    lists_of_run::respond(&view, &query, kind("artifacts-of-step", &LIST_OF_STEP), scope).await
}

pub(in crate::routes) async fn list_of_run(
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = lists_of_run::run(&view, &flow, &run, None).await?;
    lists_of_run::respond(&view, &query, kind("artifacts-of-run", &LIST_OF_RUN), scope).await
}
