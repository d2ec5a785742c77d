//! Flows: list, show, register.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::flow::{RegisterFlow, decide};
use daybook_projector::{
    statement,
    tables::{Row, Statement, TablesError},
};
use daybook_schemas::{ids::FlowId, position::Position};

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

pub(super) async fn list(view: View, query: Query) -> Result<Response, ApiError> {
    let page = Page::of(&query, "flows", view.generation.number, false)?;
    let list = List {
        name: "flows",
        statement: &LIST,
        params: Vec::new(),
        after: |key| vec![key.t.into(), key.s.as_str().into()],
        key: |row| Ok(Key { t: row.int(2)?, n: 0, s: row.text(0)?.to_owned() }),
        write: Box::new(|row, out| json::write_flow(row, out).map(|()| Shown::Yes)),
        graft: None,
        filtered: false,
    };
    lists::respond(&view, list, page).await
}

pub(super) async fn show(view: View, Path(flow): Path<String>) -> Result<Response, ApiError> {
    let row = view.flows.load(vec![flow.as_str().into()]).await?.ok_or(ApiError::NotFound)?;
    Ok(answer(&row)?)
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path(flow): Path<String>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let description = description(&mut json::object(&body)?)?;
    if let Some(first) = app.first(&view, &context, &flow, "FlowRegistered").await? {
        return registered(&app, &view, &flow, first.position).await;
    }
    let exists = app.facts.flow_exists(&view, &flow).await?;
    let event = decide(RegisterFlow { flow_id: FlowId(flow.clone()), description }, exists)?;
    match app.write(&view, &context, vec![event]).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(Applied { positions, .. }) => {
            let first = app.first(&view, &context, &flow, "FlowRegistered").await?;
            registered(&app, &view, &flow, first.map_or(positions[0], |first| first.position)).await
        }
    }
}

/// The answer to the registration whose event stands at `position`.
async fn registered(app: &App, view: &View, flow: &str, position: Position) -> Result<Response, ApiError> {
    let row = view.flows.load(vec![flow.into()]).await?;
    let row = app.won(view, row, position).await?;
    let row = row.ok_or_else(|| ApiError::Duplicate(format!("flow {flow} exists already")))?;
    Ok(located(answer(&row)?, &[position]))
}

fn answer(row: &Row) -> Result<Response, TablesError> {
    let mut body = Vec::with_capacity(json::OBJECT_BYTES);
    json::write_flow(row, &mut body)?;
    Ok(json::respond_bytes(StatusCode::OK, body))
}
