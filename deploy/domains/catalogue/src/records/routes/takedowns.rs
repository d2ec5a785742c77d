//! Takedowns: records are hidden, also against later upserts, until they are reinstated.

use std::{marker::PhantomData, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_query_api::{
    app::App,
    bodies::Bounded,
    context::WriteContext,
    create,
    error::ApiError,
    json,
    live::Live,
    path::Path,
    write::{Written, located},
};
use daybook_schemas::EventSet;
use serde::Deserialize;
use serde_json::json;

use super::{
    view,
    write::{Kind, Write},
};
use crate::records::{
    events::{Event, RecordReinstated, RecordTakenDown},
    states::Stored,
};

/// Records of one request, at most.
const IDS_MAX: usize = 1000;

/// Which records are taken down, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    ids: Vec<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    dry_run: bool,
    /// How many records this takes down; others are refused.
    #[serde(default)]
    expect: Option<usize>,
}

/// Takes records down. An id that no record has yet is taken down before it comes.
pub(super) async fn take_down(
    State(app): State<Arc<App>>,
    live: Live,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let Body { mut ids, reason, reference, dry_run, expect } =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid("body", error.to_string()))?;
    if reason.is_empty() {
        return Err(refused(StatusCode::BAD_REQUEST, "reason-required", "a takedown needs a reason".to_owned()));
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > IDS_MAX {
        return Err(ApiError::invalid("ids", format!("{} ids are more than {IDS_MAX}", ids.len())));
    }
    let mut events = Vec::new();
    for record_id in ids {
        let state = view.state(&record_id).await?;
        if state.is_some_and(|stored| stored.state.taken_down.as_ref() == Some(&reason)) {
            continue;
        }
        let (collection, reason) = (view.definition.collection.to_string(), reason.clone());
        let event =
            Event::RecordTakenDown(RecordTakenDown { collection, record_id, reason, reference: reference.clone() });
        event.check()?;
        events.push(event);
    }
    if let Some(expected) = expect.filter(|expected| *expected != events.len()) {
        let message = format!("{} records would be taken down, not {expected}", events.len());
        return Err(refused(StatusCode::CONFLICT, "too-many", message));
    }
    let taken: Vec<String> = events.iter().map(|event| event.record_id().to_owned()).collect();
    let answer = json::respond(StatusCode::OK, &json!({"taken_down": taken.len(), "ids": taken, "dry_run": dry_run}));
    if dry_run || events.is_empty() {
        return Ok(answer);
    }
    match app.write(&live, &context, events).await? {
        Written::Accepted(response) => Ok(response),
        Written::Applied(applied) => Ok(located(answer, &applied.positions)),
    }
}

fn refused(status: StatusCode, code: &str, message: String) -> ApiError {
    let body = json!({"code": code, "message": message});
    ApiError::Shaped { status, message, body }
}

struct Reinstatement;

impl Kind for Reinstatement {
    const NAME: &'static str = "RecordReinstated";
}

/// Shows a record again.
pub(super) async fn reinstate(
    State(app): State<Arc<App>>,
    live: Live,
    Path(record_id): Path<String>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let (collection, id) = (view.definition.collection.to_string(), record_id.clone());
    let decide = move |state: Option<&Stored>| match state.filter(|stored| stored.state.taken_down.is_some()) {
        None => Err(ApiError::NotFound(format!("record {id} is not taken down"))),
        Some(_) => Ok(Some(Event::RecordReinstated(RecordReinstated {
            collection: collection.clone(),
            record_id: id.clone(),
            reason: None,
            reference: None,
        }))),
    };
    let kind = PhantomData::<Reinstatement>;
    create::create(&app, &live, &context, Write { view: &view, record_id, kind, decide }).await
}
