//! Bulk ingestion: a stream of events as NDJSON, one a line, with a report of the lines that were refused.
//!
//! A line is `{"type": "TaskRegistered", "event": {…}, "occurred_at": ms?, "idempotency_key": "…"?}`. Numbers that are
//! left out are assigned. A line whose parent is neither in the tables nor in an earlier line is refused; the others
//! are recorded. Memory is bounded by the longest line and by the parents that the body itself registers.
//!
//! Guarantee: an accepted event is not lost because its assigned number is taken, as by an import with explicit numbers
//! in another process. Runs and tasks with assigned numbers are therefore checked in the tables before they count as
//! accepted, also if the client does not want to wait.

mod collisions;
mod parents;

use std::{collections::HashMap, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::{append::now_ms, sequence::Sequence};
use daybook_query_api::{
    app::App,
    bodies::Streamed,
    context::WriteContext,
    create::{APPENDS_MAX, skip_numbers},
    error::ApiError,
    json,
};
use daybook_schemas::{
    Envelope, EventSet,
    position::{Position, Vector},
    rules,
};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::parents::Parents;
use super::view::View;
use crate::{
    events::{
        Event,
        ids::{MetadataId, RunNumber, TaskId},
    },
    sequences::{METADATA_IDS, RUN_NUMBERS, TASK_IDS},
};

/// Longest line, in bytes, inclusive.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines that are recorded together, at most.
const BATCH_LINES_MAX: usize = 500;
/// Bytes of lines after which no more are added to a batch.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Refused lines that the report names; more are only counted.
const REJECTS_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    r#type: String,
    event: Map<String, Value>,
    occurred_at: Option<i64>,
    idempotency_key: Option<String>,
}

/// A number that a line leaves out.
struct Missing {
    sequence: Sequence,
    /// Numbers that its event needs.
    entries: usize,
}

/// An event of the batch whose number is missing.
struct Unnumbered {
    index: usize,
    sequence: Sequence,
    entries: usize,
}

/// One body in progress.
struct Load<'a> {
    app: &'a App,
    view: &'a View,
    context: WriteContext,
    parents: Parents,
    batch: Vec<Envelope<Event>>,
    /// Events of the batch whose lines left their numbers out.
    unnumbered: Vec<Unnumbered>,
    /// The highest explicit number of each sequence that the body holds so far.
    explicit: HashMap<&'static str, i64>,
    batch_bytes: usize,
    line: u64,
    accepted: u64,
    rejected: u64,
    rejects: Vec<Value>,
    /// The last position in each partition.
    reached: Vector,
}

pub(super) async fn ingest(
    State(app): State<Arc<App>>,
    view: View,
    context: WriteContext,
    mut body: Streamed,
) -> Result<Response, ApiError> {
    if context.record.idempotency_key.is_some() {
        return Err(ApiError::invalid("Idempotency-Key", "in bulk, each line carries its own idempotency_key"));
    }
    let respond_async = context.respond_async;
    let mut load = Load {
        app: &app,
        view: &view,
        context,
        parents: Parents::default(),
        batch: Vec::new(),
        unnumbered: Vec::new(),
        explicit: HashMap::new(),
        batch_bytes: 0,
        line: 0,
        accepted: 0,
        rejected: 0,
        rejects: Vec::new(),
        reached: Vector::default(),
    };
    let mut pending = Vec::new();
    loop {
        let part = body.next(pending.len() + load.batch_bytes).await;
        let Some(part) = part.map_err(|error| load.cut_off(error))? else { break };
        pending.extend_from_slice(&part);
        load.take_lines(&mut pending).await?;
        if pending.len() > LINE_BYTES_MAX {
            let message = format!("line {} is over the limit of {LINE_BYTES_MAX} bytes", load.line + 1);
            return Err(ApiError::TooLarge { message, field: None });
        }
    }
    pending.push(b'\n');
    load.take_lines(&mut pending).await?;
    load.record().await?;
    let status = if respond_async { StatusCode::ACCEPTED } else { StatusCode::OK };
    if !respond_async {
        let next = load.reached.0.iter().map(|(partition, last)| (*partition, last + 1)).collect();
        app.reached(&view.live, &Vector(next)).await?;
    }
    let Load { accepted, rejected, rejects, reached, .. } = load;
    let positions = reached.to_string();
    let report = json!({"accepted": accepted, "rejected": rejected, "rejects": rejects, "positions": positions});
    Ok(json::respond(status, &report))
}

impl Load<'_> {
    /// Processes the complete lines that have arrived.
    async fn take_lines(&mut self, pending: &mut Vec<u8>) -> Result<(), ApiError> {
        let mut taken = 0;
        while let Some(length) = pending[taken..].iter().position(|byte| *byte == b'\n') {
            let line = &pending[taken..taken + length];
            taken += length + 1;
            self.line += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.decide(line).await {
                Ok((envelope, missing)) => {
                    match missing {
                        Some(Missing { sequence, entries }) => {
                            self.unnumbered.push(Unnumbered { index: self.batch.len(), sequence, entries });
                        }
                        None => self.add(&envelope.event),
                    }
                    self.batch.push(envelope);
                    self.batch_bytes += line.len();
                    if self.batch.len() >= BATCH_LINES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
                        self.record().await?;
                    }
                }
                Err(error @ (ApiError::Unavailable(_) | ApiError::Internal(_))) => return Err(self.interrupted(&error)),
                Err(error) => self.reject(&error),
            }
        }
        pending.drain(..taken);
        Ok(())
    }

    /// Notes what an accepted event registers, for the lines after it.
    fn add(&mut self, event: &Event) {
        self.parents.add(event);
        if let Some(numbers) = event.numbers() {
            let highest = self.explicit.entry(numbers.sequence).or_default();
            *highest = numbers.last.max(*highest);
        }
    }

    /// Why no more of the body comes.
    fn cut_off(&self, error: ApiError) -> ApiError {
        let after = |message: String| format!("{message}; it was read up to line {}", self.line);
        match error {
            ApiError::Invalid { message, field } => ApiError::Invalid { message: after(message), field },
            ApiError::Slow(message) => ApiError::Slow(after(message)),
            error @ ApiError::Unavailable(_) => self.interrupted(&error),
            error => error,
        }
    }

    fn interrupted(&self, error: &ApiError) -> ApiError {
        let recorded = self.accepted;
        ApiError::Unavailable(format!(
            "{error}; {recorded} lines before line {} are recorded, no later ones",
            self.line
        ))
    }

    fn reject(&mut self, error: &ApiError) {
        self.rejected += 1;
        if self.rejects.len() < REJECTS_MAX {
            let field = match error {
                ApiError::Invalid { field, .. } | ApiError::TooLarge { field, .. } => field.clone(),
                _ => None,
            };
            self.rejects.push(json!({"line": self.line, "message": error.to_string(), "field": field}));
        }
    }

    async fn decide(&self, line: &[u8]) -> Result<(Envelope<Event>, Option<Missing>), ApiError> {
        let text =
            std::str::from_utf8(line).map_err(|e| ApiError::invalid("line", format!("the line is not UTF-8: {e}")))?;
        // Deserializing would take an array for an object without the names of its fields.
        if !text.trim_start().starts_with('{') {
            return Err(ApiError::invalid("line", "the line is not a JSON object"));
        }
        let mut line: Line = serde_json::from_str(text).map_err(|e| ApiError::invalid("line", e.to_string()))?;
        remove_nulls(&mut line.event)?;
        let numbered = numbered(&line.r#type);
        let missing = numbered.and_then(|(sequence, field)| missing_number(sequence, field, &mut line.event));
        let mut tagged = Map::new();
        tagged.insert(line.r#type, Value::Object(line.event));
        let event: Event =
            serde_json::from_value(Value::Object(tagged)).map_err(|e| ApiError::invalid("event", e.to_string()))?;
        event.check()?;
        if let (None, Some((_, field)), Some(numbers)) = (&missing, numbered, event.numbers()) {
            let first_max = numbers.explicit_max - (numbers.last - numbers.first);
            rules::number(field, numbers.first, 1, first_max)?;
        }
        self.parents.check(self.view, &event).await?;
        let now = now_ms();
        let envelope = self.envelope(line.occurred_at.unwrap_or(now), line.idempotency_key, event);
        if !(0..=now + 86_400_000).contains(&envelope.occurred_at) {
            return Err(ApiError::invalid(
                "occurred_at",
                "occurred_at is not a time in milliseconds between 1970 and a day from now",
            ));
        }
        rules::check_envelope(&envelope)?;
        Ok((envelope, missing))
    }

    /// The envelope of an event of this body, with a new event id.
    fn envelope(&self, occurred_at: i64, idempotency_key: Option<String>, event: Event) -> Envelope<Event> {
        Envelope {
            actor: self.context.record.actor.clone(),
            request_id: self.context.record.request_id.clone(),
            trace_parent: self.context.record.trace_parent.clone(),
            idempotency_key,
            ..Envelope::new(occurred_at, event)
        }
    }

    /// Fills in the numbers that lines left out, in the order of the lines, above the explicit ones of the body.
    async fn number(&self, batch: &mut [Envelope<Event>], unnumbered: &[Unnumbered]) -> Result<(), ApiError> {
        for Unnumbered { index, sequence, entries } in unnumbered {
            self.app.sequencer.skip_past(*sequence, self.explicit.get(sequence.name).copied().unwrap_or(0))?;
            let number = self.app.sequencer.take(*sequence, *entries).await?;
            match &mut batch[*index].event {
                Event::RunStarted(event) => event.run_number = RunNumber(number),
                Event::TaskRegistered(event) => event.task_id = TaskId(number),
                Event::MetadataRegistered(event) => event.first_id = MetadataId(number),
                _ => {}
            }
        }
        Ok(())
    }

    /// Records the batch. Events whose assigned numbers are taken get others and are appended again.
    async fn record(&mut self) -> Result<(), ApiError> {
        let (mut batch, mut unnumbered) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.unnumbered));
        self.batch_bytes = 0;
        for _ in 0..APPENDS_MAX {
            self.number(&mut batch, &unnumbered).await.map_err(|error| self.interrupted(&error))?;
            let appended = self.app.append(&self.view.live, &batch).await;
            let positions = appended.map_err(|error| self.interrupted(&error.into()))?;
            for Position { partition, offset } in &positions {
                let last = self.reached.0.entry(*partition).or_insert(*offset);
                *last = (*offset).max(*last);
            }
            unnumbered = self.lost(&batch, unnumbered, &positions).await.map_err(|error| self.interrupted(&error))?;
            self.accepted += (batch.len() - unnumbered.len()) as u64;
            if unnumbered.is_empty() {
                return Ok(());
            }
            let mut again = Vec::with_capacity(unnumbered.len());
            for lost in &mut unnumbered {
                let Envelope { occurred_at, idempotency_key, event, .. } = batch[lost.index].clone();
                lost.index = again.len();
                again.push(self.envelope(occurred_at, idempotency_key, event));
            }
            batch = again;
            for sequence in [RUN_NUMBERS, TASK_IDS] {
                let skipped = skip_numbers(self.app, &self.view.live, sequence).await;
                skipped.map_err(|error| self.interrupted(&error))?;
            }
        }
        Err(self.interrupted(&ApiError::Unavailable("numbers are taken by an import; try again".to_owned())))
    }

    /// The events that lost their assigned numbers to other records. Waits until the tables have applied them.
    async fn lost(
        &self,
        batch: &[Envelope<Event>],
        mut unnumbered: Vec<Unnumbered>,
        positions: &[Position],
    ) -> Result<Vec<Unnumbered>, ApiError> {
        // The tables keep metadata entries under any id.
        unnumbered.retain(|it| it.sequence != METADATA_IDS);
        let mut next = Vector::default();
        for Unnumbered { index, .. } in &unnumbered {
            let Position { partition, offset } = positions[*index];
            let of_partition = next.0.entry(partition).or_default();
            *of_partition = (offset + 1).max(*of_partition);
        }
        self.app.reached(&self.view.live, &next).await.map_err(|_| ApiError::not_applied())?;
        let is_lost = |it: &Unnumbered| collisions::is_lost(self.view, positions[it.index], &batch[it.index]);
        let mut lost = try_join_all(unnumbered.iter().map(is_lost)).await?.into_iter();
        unnumbered.retain(|_| lost.next().unwrap_or(false));
        Ok(unnumbered)
    }
}

/// The sequence that numbers the events of a kind, and the field with the number.
fn numbered(kind: &str) -> Option<(Sequence, &'static str)> {
    match kind {
        "RunStarted" => Some((RUN_NUMBERS, "run_number")),
        "TaskRegistered" => Some((TASK_IDS, "task_id")),
        "MetadataRegistered" => Some((METADATA_IDS, "first_id")),
        _ => None,
    }
}

/// Removes the fields of an event and of its entries that are null: null counts as absent, as in the other routes.
fn remove_nulls(event: &mut Map<String, Value>) -> Result<(), ApiError> {
    event.retain(|_, value| !value.is_null());
    let entries = event.get_mut("entries").and_then(Value::as_array_mut);
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let entry = entry.as_object_mut();
        let entry = entry.ok_or_else(|| ApiError::invalid("event", format!("entry {index} is not an object")))?;
        entry.retain(|_, value| !value.is_null());
    }
    Ok(())
}

/// The number that a line leaves out, if it does. The event has a placeholder until the batch is recorded.
fn missing_number(sequence: Sequence, field: &str, event: &mut Map<String, Value>) -> Option<Missing> {
    if event.contains_key(field) {
        return None;
    }
    let of_metadata = event.get("entries").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    event.insert(field.to_owned(), 1.into());
    Some(Missing { sequence, entries: if sequence == METADATA_IDS { of_metadata } else { 1 } })
}
