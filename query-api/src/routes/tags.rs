//! Changing the user tags of a run. Concurrent changes are put in order by the log and never conflict.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use daybook_ingest::metaflow::run_tags::{MutateRunTags, decide};
use daybook_schemas::{ids::FlowId, position::Position};
use serde_json::{Value, json};

use crate::{
    app::App,
    consistency::{Applied, Written, located},
    context::WriteContext,
    error::ApiError,
    facts,
    json::{self, Object},
    routes::bodies::Bounded,
    view::View,
};

pub(super) async fn mutate(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run)): Path<(String, String)>,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    const KIND: &str = "RunTagsMutated";
    let mut object = json::object(&body)?;
    let (add, remove) = (tags(&mut object, "tags_to_add")?, tags(&mut object, "tags_to_remove")?);
    let facts = app.facts.run(&view, &flow, &run).await?.ok_or(ApiError::NotFound)?;
    let number = facts.run_number.0;
    if let Some(first) = app.first(&view, &context, &flow, KIND).await? {
        return answer(&app, &view, &flow, number, &[first.position]).await;
    }
    let row = view.runs.load(vec![number.into(), flow.as_str().into()]).await?.ok_or(ApiError::NotFound)?;
    let current = facts::tags(row.text(5)?)?;
    let command = MutateRunTags { flow_id: FlowId(flow.clone()), run, add, remove };
    match decide(command, Some(&facts), &current)? {
        None => answer(&app, &view, &flow, number, &[]).await,
        Some(event) => match app.write(&view, &context, vec![event]).await? {
            Written::Accepted(response) => Ok(response),
            Written::Applied(Applied { positions, .. }) => answer(&app, &view, &flow, number, &positions).await,
        },
    }
}

/// A list of tags of the body. The words of its errors are those that clients show.
fn tags(object: &mut Object, field: &str) -> Result<Vec<String>, ApiError> {
    let mistake = |text: String| ApiError::Text(StatusCode::BAD_REQUEST, text);
    let items = match object.value(field) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(mistake(format!("{field} must be a list"))),
    };
    let item = |item| match item {
        Value::String(tag) => Ok(tag),
        _ => Err(mistake("All tag values must be strings".to_owned())),
    };
    items.into_iter().map(item).collect()
}

/// The run's tags as they are now, after the event at `positions` if there is one.
async fn answer(app: &App, view: &View, flow: &str, number: i64, positions: &[Position]) -> Result<Response, ApiError> {
    for position in positions {
        app.skipped(view, *position).await?;
    }
    let row = view.runs.load(vec![number.into(), flow.into()]).await?.ok_or(ApiError::NotFound)?;
    let tags = facts::tags(row.text(5)?)?;
    Ok(located(json::respond(StatusCode::OK, &json!({"tags": tags})), positions))
}
