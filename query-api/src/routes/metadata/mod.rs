//! Metadata of tasks: list those of a task or a run, register.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::{
    metadata::{RegisterMetadata, decide},
    sequences::METADATA_IDS,
};
use daybook_projector::{
    statement,
    tables::{Cell, Statement},
};
use daybook_schemas::{
    events::MetadataEntry,
    ids::{FlowId, MetadataId, StepName},
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

const LIST_OF_TASK: Statement = statement!("list_of_task");
const LIST_OF_RUN: Statement = statement!("list_of_run");
pub(super) const STATEMENTS: &[&Statement] = &[&LIST_OF_TASK, &LIST_OF_RUN];

type TaskPath = (String, String, String, String);

async fn respond(
    view: &View,
    query: &Query,
    name: &'static str,
    statement: &'static Statement,
    (params, graft): (Vec<Cell>, Option<Graft>),
) -> Result<Response, ApiError> {
    let page = Page::of(query, name, view.generation.number, false)?;
    let list = List {
        name,
        statement,
        params,
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| Ok(Key { t: row.int(11)?, n: row.int(6)?, s: String::new() }),
        write: Box::new(|row, out| json::write_metadata(row, out).map(|()| Shown::Yes)),
        graft,
        filtered: false,
    };
    lists::respond(view, list, page).await
}

pub(super) async fn list_of_task(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
    query: Query,
) -> Result<Response, ApiError> {
    let found = app.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let graft = found.as_ref().map(|(run, _)| Graft::new(&flow, run, Some(&step)));
    let (run, task) = found.map_or((0, 0), |(run, task)| (run.run_number.0, task.task_id.0));
    let params = vec![flow.as_str().into(), run.into(), step.as_str().into(), task.into()];
    respond(&view, &query, "metadata-of-task", &LIST_OF_TASK, (params, graft)).await
}

pub(super) async fn list_of_run(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let run = app.facts.run(&view, &flow, &run).await?;
    let graft = run.as_ref().map(|run| Graft::new(&flow, run, None));
    let params = vec![flow.as_str().into(), run.map_or(0, |run| run.run_number.0).into()];
    respond(&view, &query, "metadata-of-run", &LIST_OF_RUN, (params, graft)).await
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    const KIND: &str = "MetadataRegistered";
    let entries = json::array(&body)?.iter_mut().map(entry).collect::<Result<Vec<_>, _>>()?;
    let found = app.facts.run_and_task(&view, (&flow, &run, &step, &task)).await?;
    let firsts = app.firsts(&view, &context, &flow, KIND).await?;
    if !firsts.is_empty() {
        let count = firsts.iter().map(|first| first.entries).sum();
        return registered(&app, &view, firsts.iter().map(|first| first.position).collect(), count).await;
    }
    let mut count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let first_id =
        if found.is_some() && count > 0 { app.sequencer.take(METADATA_IDS, entries.len()).await? } else { 1 };
    let command = RegisterMetadata { flow_id: FlowId(flow.clone()), step_name: StepName(step), entries };
    let task = found.as_ref().map(|(run, task)| (run.as_ref(), task.as_ref()));
    let events = decide(command, task, MetadataId(first_id))?;
    match app.write(&view, &context, events).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(applied) if applied.as_written => Ok(created(count, &applied.positions)),
        Written::Applied(Applied { mut positions, .. }) => {
            let firsts = app.firsts(&view, &context, &flow, KIND).await?;
            if !firsts.is_empty() {
                count = firsts.iter().map(|first| first.entries).sum();
                positions = firsts.iter().map(|first| first.position).collect();
            }
            registered(&app, &view, positions, count).await
        }
    }
}

/// The answer to a registration whose events stand at these positions.
async fn registered(app: &App, view: &View, positions: Vec<Position>, count: i64) -> Result<Response, ApiError> {
    for position in &positions {
        app.skipped(view, *position).await?;
    }
    Ok(created(count, &positions))
}

fn created(count: i64, positions: &[Position]) -> Response {
    located(json::respond(StatusCode::OK, &json!({"metadata_created": count})), positions)
}

fn entry(object: &mut Object) -> Result<MetadataEntry, ApiError> {
    Ok(MetadataEntry {
        field_name: object.required_text("field_name", " ")?,
        value: object.scalar("value", " ")?,
        r#type: object.required_text("type", " ")?,
        user_name: object.text("user_name")?,
        tags: object.texts("tags")?.unwrap_or_default(),
        system_tags: object.texts("system_tags")?.unwrap_or_default(),
    })
}
