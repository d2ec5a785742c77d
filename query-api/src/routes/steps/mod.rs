//! Steps: list, show, register.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::step::{RegisterStep, decide};
use daybook_projector::{
    statement,
    tables::{Row, Statement, TablesError},
};
use daybook_schemas::{
    ids::{FlowId, StepName},
    position::Position,
};

use crate::{
    app::App,
    consistency::{Applied, Written, located},
    context::WriteContext,
    error::ApiError,
    json,
    lists::{self, List, Shown},
    pagination::{Key, Page},
    query::Query,
    routes::bodies::{Bounded, description},
    view::View,
};

const LIST: Statement = statement!("list");
pub(super) const STATEMENTS: &[&Statement] = &[&LIST];
/// Where a step's row has the run's tags.
const TAGS_AT: usize = 6;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let page = Page::of(&query, "steps", view.generation.number, false)?;
    let run = app.facts.run(&view, &flow, &run).await?;
    let list = List {
        name: "steps",
        statement: &LIST,
        params: vec![flow.as_str().into(), run.as_ref().map_or(0, |run| run.run_number.0).into()],
        after: |key| vec![key.t.into(), key.s.as_str().into()],
        key: |row| Ok(Key { t: row.int(5)?, n: 0, s: row.text(3)?.to_owned() }),
        write: Box::new(|row, out| json::write_step(row, out).map(|()| Shown::Yes)),
        graft: app.graft_with_tags(&view, (&flow, run.as_deref(), None), TAGS_AT).await?,
        filtered: false,
    };
    lists::respond(&view, list, page).await
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let run = app.facts.run(&view, &flow, &run).await?.ok_or(ApiError::NotFound)?;
    let key = vec![run.run_number.0.into(), step.as_str().into(), flow.as_str().into()];
    let row = view.steps.load(key).await?.ok_or(ApiError::NotFound)?;
    Ok(answer(&row)?)
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let mut object = json::object(&body)?;
    let mut description = description(&mut object)?;
    description.user_name.get_or_insert_default();
    let facts = app.facts.run(&view, &flow, &run).await?;
    let number = facts.as_ref().map_or(0, |run| run.run_number.0);
    if let Some(first) = app.first(&view, &context, &flow, "StepRegistered").await? {
        return registered(&app, &view, (&flow, number, &step), first.position).await;
    }
    let exists = match &facts {
        Some(run) => app.facts.step_exists(&view, &flow, run.run_number, &step).await?,
        None => false,
    };
    let command = RegisterStep { flow_id: FlowId(flow.clone()), run, step_name: StepName(step.clone()), description };
    let event = decide(command, facts.as_deref(), exists)?;
    match app.write(&view, &context, vec![event]).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(Applied { positions, .. }) => {
            let first = app.first(&view, &context, &flow, "StepRegistered").await?;
            let position = first.map_or(positions[0], |first| first.position);
            registered(&app, &view, (&flow, number, &step), position).await
        }
    }
}

/// The answer to the registration whose event stands at `position`.
async fn registered(app: &App, view: &View, path: (&str, i64, &str), position: Position) -> Result<Response, ApiError> {
    let (flow, run, step) = path;
    let row = view.steps.load(vec![run.into(), step.into(), flow.into()]).await?;
    let row = app.won(view, row, position).await?;
    let row = row.ok_or_else(|| ApiError::Duplicate(format!("step {flow}/{run}/{step} exists already")))?;
    Ok(located(answer(&row)?, &[position]))
}

fn answer(row: &Row) -> Result<Response, TablesError> {
    let mut body = Vec::with_capacity(json::OBJECT_BYTES);
    json::write_step(row, &mut body)?;
    Ok(json::respond_bytes(StatusCode::OK, body))
}
