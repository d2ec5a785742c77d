//! Many records: one JSON object a line. Lines that are refused are listed; the others are recorded in batches.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::append::Context;
use daybook_query_api::{
    app::App,
    bodies::Bounded,
    context::WriteContext,
    error::ApiError,
    json,
    live::Live,
    query::Query,
    write::{Written, located},
};
use daybook_schemas::{EventSet, position::Position};
use serde_json::{Value, json};

use super::{
    View,
    one::{is_set, says_the_same, upserted},
    view,
};
use crate::{
    record::{self, Coverage, RecordInput, Source, content_hash, json_line},
    records::events::Event,
};

/// Records that are appended together, at most.
const BATCH_MAX: usize = 500;
/// Refused lines that an answer lists, at most.
const REJECTS_SHOWN_MAX: usize = 100;

/// What came of the lines so far.
#[derive(Default)]
struct Outcome {
    read: usize,
    upserted: usize,
    unchanged: usize,
    rejected: usize,
    rejects: Vec<Value>,
    positions: Vec<Position>,
}

/// Reads records, and records those that differ from what is known. `max_rejects` lines may be refused; the batch with
/// one more is not recorded, those before it are.
pub(super) async fn ingest(
    State(app): State<Arc<App>>,
    live: Live,
    query: Query,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let (view, merge) = (view(&live)?, is_set(&query, "merge")?);
    let rejects_max = query.get("max_rejects").map(str::parse::<usize>).transpose();
    let rejects_max = rejects_max.map_err(|_| ApiError::invalid("max_rejects", "max_rejects is not a number"))?;
    // A repeated request finds its records by what they hold, not by a key.
    let record = Context { idempotency_key: None, ..context.record };
    let context = WriteContext { record, respond_async: false };
    let mut outcome = Outcome::default();
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let lines: Vec<(&[u8], usize)> = lines.collect();
    for batch in lines.chunks(BATCH_MAX) {
        let inputs = read(&view, batch, merge, &mut outcome);
        if rejects_max.is_some_and(|max| outcome.rejected > max) {
            return Err(too_many_rejects(&outcome));
        }
        let events = changes(&view, inputs, merge, &mut outcome).await?;
        if events.is_empty() {
            continue;
        }
        if let Written::Applied(applied) = app.write(&live, &context, events).await? {
            outcome.positions.extend(applied.positions);
        }
    }
    Ok(located(json::respond(StatusCode::OK, &shown(&outcome)), &newest(&outcome.positions)))
}

/// The records of some lines.
fn read(view: &View, lines: &[(&[u8], usize)], merge: bool, outcome: &mut Outcome) -> Vec<RecordInput> {
    let coverage = if merge { Coverage::Partial } else { Coverage::Whole };
    let mut inputs = Vec::with_capacity(lines.len());
    for (line, number) in lines {
        outcome.read += 1;
        let refused = match json_line::parse(line) {
            Err(fault) => json!({"line": number, "record_id": null, "code": fault.code(), "detail": fault.to_string()}),
            Ok(given) => match record::read(&view.definition, given, Source::Json, coverage) {
                Ok(input) => {
                    inputs.push(input);
                    continue;
                }
                Err(fault) => json!({
                    "line": number,
                    "record_id": fault.record_id,
                    "field": fault.field,
                    "code": fault.code,
                    "detail": fault.detail,
                }),
            },
        };
        outcome.rejected += 1;
        if outcome.rejects.len() < REJECTS_SHOWN_MAX {
            outcome.rejects.push(refused);
        }
    }
    inputs
}

/// The events of the records that say something else than what is known, also from lines before them.
async fn changes(
    view: &View,
    inputs: Vec<RecordInput>,
    merge: bool,
    outcome: &mut Outcome,
) -> Result<Vec<Event>, ApiError> {
    let known = futures_util::future::join_all(inputs.iter().map(|input| view.state(&input.record_id))).await;
    let (mut events, mut said) = (Vec::with_capacity(inputs.len()), BTreeMap::new());
    for (input, known) in inputs.into_iter().zip(known) {
        let (known, hash) = (known?, content_hash(&input.fields, &view.definition));
        let is_same = match said.get(&input.record_id) {
            Some(before) => *before == hash,
            None => says_the_same(known.as_ref(), &hash),
        };
        if is_same && !merge {
            outcome.unchanged += 1;
            continue;
        }
        let event = upserted(view.definition.collection.as_str(), &input, &hash, merge);
        event.check()?;
        said.insert(input.record_id, hash);
        events.push(event);
        outcome.upserted += 1;
    }
    Ok(events)
}

fn shown(outcome: &Outcome) -> Value {
    let Outcome { read, upserted, unchanged, rejected, rejects, positions } = outcome;
    let positions: Vec<String> = newest(positions).iter().map(Position::to_string).collect();
    json!({
        "read": read,
        "upserted": upserted,
        "unchanged": unchanged,
        "rejected": rejected,
        "rejects": rejects,
        "positions": positions,
    })
}

/// The last position of each partition: whoever has seen it has seen the others.
fn newest(positions: &[Position]) -> Vec<Position> {
    let mut newest = BTreeMap::new();
    for position in positions {
        let known = newest.entry(position.partition).or_insert(*position);
        *known = (*position).max(*known);
    }
    newest.into_values().collect()
}

fn too_many_rejects(outcome: &Outcome) -> ApiError {
    let message = format!("{} lines are refused", outcome.rejected);
    let mut body = shown(outcome);
    body["code"] = "too-many-rejects".into();
    body["message"] = message.as_str().into();
    ApiError::Shaped { status: StatusCode::UNPROCESSABLE_ENTITY, message, body }
}
