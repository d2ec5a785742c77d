//! Many records: one JSON object a line, or CSV. Lines that are refused are listed; the others are recorded in batches.

mod body;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use daybook_ingest::append::Context;
use daybook_query_api::{
    app::App,
    bodies::Bounded,
    context::WriteContext,
    create::is_refused,
    error::ApiError,
    json,
    live::Live,
    query::Query,
    write::{Applied, Written, located},
};
use daybook_schemas::{EventSet, position::Position};
use futures_util::future::join_all;
use serde_json::{Value, json};

use self::body::{Encoding, Given};
use super::{
    View, after, caught_up, definition_of_writes,
    one::{is_set, merge_of, says_the_same, upserted},
    view,
};
use crate::{
    definition::{Definition, fields::Owner},
    record::{self, Coverage, RecordInput, Source, content_hash},
    records::events::Event,
};

/// Records that are appended together, at most.
const BATCH_MAX: usize = 500;
/// Refused lines that an answer lists, at most.
const REJECTS_SHOWN_MAX: usize = 500;
/// Fields that an answer counts, at most, of each kind.
const FIELDS_COUNTED_MAX: usize = 200;

/// What came of the lines so far.
#[derive(Default)]
struct Outcome {
    read: usize,
    upserted: usize,
    unchanged: usize,
    rejected: usize,
    rejects: Vec<Value>,
    /// How many lines have a field that is not kept, by its name.
    ignored_fields: BTreeMap<String, usize>,
    /// How many lines do not have a field that becomes null by that, by its name.
    absent_fields: BTreeMap<String, usize>,
    /// In how many lines the text of a field was too long, and was cut or became null.
    truncated: BTreeMap<String, usize>,
    positions: Vec<Position>,
}

/// A record of a line.
struct Line {
    number: u64,
    input: RecordInput,
}

impl Outcome {
    fn reject(&mut self, line: Value) {
        self.rejected += 1;
        if self.rejects.len() < REJECTS_SHOWN_MAX {
            self.rejects.push(line);
        }
    }

    /// Counts the fields of a line that are not kept as they are, and those that it does not have.
    fn note(&mut self, definition: &Definition, input: &RecordInput, coverage: Coverage) {
        let ignored = input.unknown.iter().chain(&input.ignored);
        count_each(&mut self.ignored_fields, ignored.map(String::as_str));
        count_each(&mut self.truncated, input.shortened.iter().map(String::as_str));
        if coverage == Coverage::Whole {
            let is_absent = |name: &&str| !input.fields.contains_key(*name);
            let of_upstream = definition.fields.iter().filter(|(_, field)| field.owner == Owner::Upstream);
            count_each(&mut self.absent_fields, of_upstream.map(|(name, _)| name.as_str()).filter(is_absent));
        }
    }
}

fn count_each<'a>(counts: &mut BTreeMap<String, usize>, names: impl Iterator<Item = &'a str>) {
    for name in names {
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        } else if counts.len() < FIELDS_COUNTED_MAX {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// Reads records, and records those that differ from what is known. `max_rejects` lines may be refused; the batch with
/// one more is not recorded, unless only the tables refused it, and those before it are.
pub(super) async fn ingest(
    State(app): State<Arc<App>>,
    live: Live,
    query: Query,
    headers: HeaderMap,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let (view, merge) = (view(&live)?, is_set(&query, "merge")?);
    let rejects_max = query.get("max_rejects").map(str::parse::<usize>).transpose();
    let rejects_max = rejects_max.map_err(|_| ApiError::invalid("max_rejects", "max_rejects is not a number"))?;
    // A repeated request finds its records by what they hold, not by a key.
    let record = Context { idempotency_key: None, ..context.record };
    let context = WriteContext { record, respond_async: false };
    let definition = definition_of_writes(&app, &view);
    let (mut outcome, mut is_caught_up) = (Outcome::default(), false);
    let encoding = Encoding::of(&headers);
    let mut given = encoding.lines(&bytes)?.peekable();
    while given.peek().is_some() {
        let batch: Vec<Given> = given.by_ref().take(BATCH_MAX).collect();
        let lines = read(&definition, batch, encoding.source(), merge, &mut outcome);
        let mut changes = changes(&view, &definition, &lines, merge).await?;
        if changes.len() < lines.len() && !is_caught_up {
            // That a record is unchanged counts only on tables that hold every write before this request.
            caught_up(&app, &live, &view, None).await?;
            is_caught_up = true;
            changes = self::changes(&view, &definition, &lines, merge).await?;
        }
        outcome.unchanged += lines.len() - changes.len();
        let (events, numbers) = checked(changes, &mut outcome);
        within(rejects_max, &outcome)?;
        if events.is_empty() {
            continue;
        }
        if let Written::Applied(applied) = app.write(&live, &context, events).await? {
            count(&live, &applied, &numbers, &mut outcome).await?;
            outcome.positions.extend(applied.positions);
            within(rejects_max, &outcome)?;
        }
    }
    Ok(located(json::respond(StatusCode::OK, &shown(&outcome)), &newest(&outcome.positions)))
}

/// The records of some lines.
fn read(definition: &Definition, lines: Vec<Given>, source: Source, merge: bool, outcome: &mut Outcome) -> Vec<Line> {
    let coverage = if merge { Coverage::Partial } else { Coverage::Whole };
    let mut records = Vec::with_capacity(lines.len());
    for Given { number, fields } in lines {
        outcome.read += 1;
        let refused = match fields {
            Err(refused) => refused,
            Ok(fields) => match record::read(definition, fields, source, coverage) {
                Ok(input) => {
                    outcome.note(definition, &input, coverage);
                    records.push(Line { number, input });
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
        outcome.reject(refused);
    }
    records
}

/// The events of the records that say something else than what is known, also from lines before them, each with the
/// number of its line.
async fn changes(
    view: &View,
    definition: &Definition,
    lines: &[Line],
    merge: bool,
) -> Result<Vec<(Event, u64)>, ApiError> {
    let known = join_all(lines.iter().map(|line| view.state(&line.input.record_id))).await;
    let is_live = std::ptr::eq(definition, Arc::as_ptr(&view.definition));
    let (mut events, mut said, mut states) = (Vec::with_capacity(lines.len()), BTreeMap::new(), BTreeMap::new());
    for (Line { number, input }, known) in lines.iter().zip(known) {
        let (known, hash) = (known?, content_hash(&input.fields, definition));
        if merge {
            let before = states.get(&input.record_id).or(known.as_ref().map(|stored| &stored.state));
            match after(definition, before, merge_of(input)) {
                Some(state) => drop(states.insert(&input.record_id, state)),
                // What the live generation does not keep may be new to another one.
                None if is_live => continue,
                None => {}
            }
        } else {
            let is_same = match said.get(&input.record_id) {
                Some(before) => *before == hash,
                None => says_the_same(known.as_ref(), &hash),
            };
            if is_same {
                continue;
            }
            said.insert(&input.record_id, hash.clone());
        }
        events.push((upserted(definition.collection.as_str(), input, &hash, merge), *number));
    }
    Ok(events)
}

/// The events that can be recorded, with the numbers of their lines; the lines of the others are refused.
fn checked(changes: Vec<(Event, u64)>, outcome: &mut Outcome) -> (Vec<Event>, Vec<u64>) {
    let (mut events, mut numbers) = (Vec::with_capacity(changes.len()), Vec::with_capacity(changes.len()));
    for (event, number) in changes {
        match event.check() {
            Ok(()) => {
                events.push(event);
                numbers.push(number);
            }
            Err(violation) => outcome.reject(json!({
                "line": number,
                "record_id": event.record_id(),
                "field": violation.field(),
                "code": "not-recordable",
                "detail": violation.to_string(),
            })),
        }
    }
    (events, numbers)
}

/// Counts what was applied, and refuses the lines of what is in quarantine.
async fn count(live: &Live, applied: &Applied<Event>, numbers: &[u64], outcome: &mut Outcome) -> Result<(), ApiError> {
    let Applied { positions, envelopes, as_written } = applied;
    if *as_written {
        outcome.upserted += positions.len();
        return Ok(());
    }
    let refused = positions.iter().zip(envelopes).map(|(position, envelope)| is_refused(live, *position, envelope));
    let refused = join_all(refused).await;
    for ((is_refused, number), (position, envelope)) in
        refused.into_iter().zip(numbers).zip(positions.iter().zip(envelopes))
    {
        if !is_refused? {
            outcome.upserted += 1;
            continue;
        }
        outcome.reject(json!({
            "line": number,
            "record_id": envelope.event.record_id(),
            "code": "not-applied",
            "detail": format!("record {position} of the log is in quarantine"),
        }));
    }
    Ok(())
}

fn shown(outcome: &Outcome) -> Value {
    let Outcome { read, upserted, unchanged, rejected, rejects, ignored_fields, absent_fields, truncated, positions } =
        outcome;
    let positions: Vec<String> = newest(positions).iter().map(Position::to_string).collect();
    json!({
        "read": read,
        "upserted": upserted,
        "unchanged": unchanged,
        "rejected": rejected,
        "rejects": rejects,
        "ignored_fields": ignored_fields,
        "absent_fields": absent_fields,
        "truncated": truncated,
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

/// Ends the request if more lines are refused than it allows.
fn within(rejects_max: Option<usize>, outcome: &Outcome) -> Result<(), ApiError> {
    if rejects_max.is_none_or(|max| outcome.rejected <= max) {
        return Ok(());
    }
    let message = format!("{} lines are refused", outcome.rejected);
    let refused = ApiError::detailed(StatusCode::UNPROCESSABLE_ENTITY, "too-many-rejects", message);
    let counts = shown(outcome);
    let counts = counts.as_object().into_iter().flatten();
    Err(counts.fold(refused, |refused, (name, count)| refused.with(name, count.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LINE_BYTES_MAX;

    fn definition() -> Definition {
        let text = "collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\ntags = 'json'\n\
            title = { type = 'text', max_length = 3, on_long = 'truncate' }\nviews = { type = 'int', owner = 'api' }";
        Definition::parse(text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn line(given: Value) -> RecordInput {
        let Value::Object(given) = given else { panic!("{given} is no object") };
        record::read(&definition(), given, Source::Json, Coverage::Whole).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn a_line_that_cannot_be_recorded_is_refused_and_the_others_are_not() {
        let large = json!({"id": "large", "tags": "x".repeat(LINE_BYTES_MAX)});
        let changes =
            [json!({"id": "a"}), large, json!({"id": "b"})].map(|given| upserted("c", &line(given), "h", false));
        let mut outcome = Outcome::default();
        let (events, numbers) = checked(changes.into_iter().zip(1..).collect(), &mut outcome);
        let ids: Vec<&str> = events.iter().map(Event::record_id).collect();
        assert_eq!((ids, numbers, outcome.rejected), (vec!["a", "b"], vec![1, 3], 1));
        assert_eq!(outcome.rejects[0]["line"], 2);
        assert_eq!(
            (&outcome.rejects[0]["record_id"], &outcome.rejects[0]["field"]),
            (&json!("large"), &json!("fields"))
        );
    }

    #[test]
    fn fields_that_are_not_kept_as_they_are_are_counted_by_name() {
        let mut outcome = Outcome::default();
        let mut note = |given: Value, coverage| outcome.note(&definition(), &line(given), coverage);
        note(json!({"id": "a", "title": "long title", "height": 3, "views": 1}), Coverage::Whole);
        note(json!({"id": "b", "title": "no", "height": 4, "tags": null}), Coverage::Whole);
        note(json!({"id": "c", "title": "no"}), Coverage::Partial);
        let body = shown(&outcome);
        assert_eq!(body["ignored_fields"], json!({"height": 2, "views": 1}));
        assert_eq!((&body["truncated"], &body["absent_fields"]), (&json!({"title": 1}), &json!({"tags": 1})));
        for number in 0..2 * FIELDS_COUNTED_MAX {
            outcome.note(&definition(), &line(json!({"id": "a", format!("field_{number}"): 1})), Coverage::Whole);
        }
        assert_eq!(outcome.ignored_fields.len(), FIELDS_COUNTED_MAX);
    }
}
