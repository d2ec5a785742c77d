//! Takedowns: records are hidden, also against later upserts, until they are reinstated.

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
    response::Response,
};
use daybook_projector::tables::FromRow;
use daybook_query_api::{
    app::App, bodies::Bounded, context::WriteContext, create, error::ApiError, json, live::Live, path::Path,
    write::located,
};
use daybook_schemas::{EventSet, position::Position};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Map, json};

use super::{
    View, caught_up, id_of_path, read_id, view,
    write::{Kind, Write},
};
use crate::{
    Fields,
    records::{
        events::{Event, RecordReinstated, RecordTakenDown},
        states::{RecordIdRow, Stored},
    },
};

/// Records of one request, at most, by id and by their values.
const IDS_MAX: usize = 1000;
const FOUND_MAX: usize = 10_000;
/// Takedowns that wait for the log together, at most.
const TOGETHER_MAX: usize = 100;

/// Which records are taken down, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    ids: Vec<String>,
    /// The values that records must have, by field, in place of their ids.
    #[serde(default, rename = "where")]
    conditions: Fields,
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

struct Takedown;

impl Kind for Takedown {
    const NAME: &'static str = "RecordTakenDown";
}

/// Takes records down. An id that no record has yet is taken down before it comes.
///
/// Each is recorded, also if the tables say it already, and by its own record's idempotency key: so a repeated request
/// takes no record down that was reinstated since, and a key that was used for something else is refused.
pub(super) async fn take_down(
    State(app): State<Arc<App>>,
    live: Live,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let body: Body = serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid("body", error.to_string()))?;
    let Body { ids, conditions, reason, reference, dry_run, expect } = body;
    if reason.is_empty() {
        return Err(ApiError::detailed(
            StatusCode::BAD_REQUEST,
            "reason-required",
            "a takedown needs a reason".to_owned(),
        ));
    }
    if ids.is_empty() == conditions.is_empty() {
        return Err(ApiError::invalid("ids", "a takedown names ids, or where: the values that records must have"));
    }
    // What it changes is counted on tables that hold every write before it.
    caught_up(&app, &live, &view, None).await?;
    let ids = match conditions.is_empty() {
        true => ids.iter().map(|id| read_id(&view, "ids", id)).collect::<Result<BTreeSet<_>, _>>()?,
        false => found(&live, &view, &conditions).await?,
    };
    if !conditions.is_empty() && ids.len() > FOUND_MAX {
        let message = format!("more than {FOUND_MAX} records have these values; name more values");
        return Err(ApiError::detailed(StatusCode::CONFLICT, "too-many", message));
    }
    if conditions.is_empty() && ids.len() > IDS_MAX {
        return Err(ApiError::invalid("ids", format!("{} ids are more than {IDS_MAX}", ids.len())));
    }
    let event = |record_id: &String| {
        let (collection, record_id) = (view.definition.collection.to_string(), record_id.clone());
        let (reason, reference) = (reason.clone(), reference.clone());
        Event::RecordTakenDown(RecordTakenDown { collection, record_id, reason, reference })
    };
    let events: Vec<Event> = ids.iter().map(event).collect();
    events.iter().try_for_each(EventSet::check)?;
    let before = taken_down(&view, &ids, &reason).await?;
    let new: BTreeSet<&String> = ids.difference(&before).collect();
    if let Some(expected) = expect.filter(|expected| *expected != new.len()) {
        let message = format!("{} records would be taken down, not {expected}", new.len());
        return Err(ApiError::detailed(StatusCode::CONFLICT, "too-many", message));
    }
    if dry_run {
        return Ok(answer(&new, true));
    }
    let mut responses = Vec::with_capacity(events.len());
    for part in events.chunks(TOGETHER_MAX) {
        let writes = part.iter().map(|event| {
            let (record_id, kind) = (event.record_id().to_owned(), PhantomData::<Takedown>);
            let decide = move |_: Option<&Stored>| Ok(Some(event.clone()));
            let write = Write { live: &live, view: &view, record_id, kind, notes: Map::new(), decide };
            create::create(&app, &live, &context, write)
        });
        for response in join_all(writes).await {
            responses.push(response?);
        }
    }
    let positions: Vec<Position> = responses.iter().flat_map(positions).collect();
    if responses.iter().any(|response| response.status() == StatusCode::ACCEPTED) {
        let text: Vec<String> = positions.iter().map(Position::to_string).collect();
        let mut accepted = json::respond(StatusCode::ACCEPTED, &json!({"positions": text}));
        accepted.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
        return Ok(located(accepted, &positions));
    }
    let after = taken_down(&view, &ids, &reason).await?;
    Ok(located(answer(&new.into_iter().filter(|id| after.contains(*id)).collect(), false), &positions))
}

/// The ids of the records that readers see and that have some values.
async fn found(live: &Live, view: &View, conditions: &Fields) -> Result<BTreeSet<String>, ApiError> {
    let count_max = i64::try_from(FOUND_MAX + 1).unwrap_or(i64::MAX);
    let cells = view.typed.found_by(count_max, conditions).map_err(|fault| ApiError::invalid("where", fault))?;
    let rows = live.read(&view.typed.find, cells).await?;
    rows.iter().map(|row| Ok(RecordIdRow::read(row)?.into_id())).collect()
}

/// Those of some records that are taken down for a reason.
async fn taken_down(view: &View, ids: &BTreeSet<String>, reason: &str) -> Result<BTreeSet<String>, ApiError> {
    let states = join_all(ids.iter().map(async |id| (id, view.state(id).await))).await;
    let mut taken = BTreeSet::new();
    for (id, state) in states {
        if state?.is_some_and(|stored| stored.state.taken_down.as_deref() == Some(reason)) {
            taken.insert(id.clone());
        }
    }
    Ok(taken)
}

fn answer(ids: &BTreeSet<&String>, dry_run: bool) -> Response {
    json::respond(StatusCode::OK, &json!({"taken_down": ids.len(), "ids": ids, "dry_run": dry_run}))
}

/// The positions that an answer names.
fn positions(response: &Response) -> Vec<Position> {
    let text = response.headers().get("daybook-position").and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(',').filter_map(|position| position.parse().ok()).collect()
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
    let record_id = id_of_path(&view, &record_id)?;
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
    let (kind, notes) = (PhantomData::<Reinstatement>, Map::new());
    create::create(&app, &live, &context, Write { live: &live, view: &view, record_id, kind, notes, decide }).await
}
