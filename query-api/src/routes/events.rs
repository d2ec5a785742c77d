//! Bulk ingestion: a stream of events as NDJSON, one a line, with a report of the lines that were refused.
//!
//! A line is `{"type": "TaskRegistered", "event": {…}, "occurred_at": ms?, "idempotency_key": "…"?}`. Numbers that are left
//! out are given out. A line whose parent is neither there nor in an earlier line is refused; the others are recorded.
//! Memory is bounded by the longest line and by the parents that the body itself brings.

mod parents;

use std::sync::Arc;

use axum::{body::Body, extract::State, http::StatusCode, response::Response};
use daybook_ingest::{
    append::now_ms,
    metaflow::sequences::{METADATA_IDS, RUN_NUMBERS, TASK_IDS},
    sequence::Sequence,
};
use daybook_schemas::{
    Envelope, Event,
    ids::{MetadataId, RunNumber, TaskId},
    position::{Position, Vector},
    rules,
};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::parents::Parents;
use crate::{app::App, context::WriteContext, error::ApiError, json, view::View};

/// Longest line, in bytes, inclusive.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines that are recorded together, at most, and the bytes after which no more are added.
const BATCH: (usize, usize) = (500, 2 * 1024 * 1024);
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

/// One body under way.
struct Load<'a> {
    app: &'a App,
    view: &'a View,
    context: WriteContext,
    parents: Parents,
    batch: Vec<Envelope>,
    /// Events of the batch whose lines left their numbers out.
    unnumbered: Vec<Unnumbered>,
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
    body: Body,
) -> Result<Response, ApiError> {
    if context.record.idempotency_key.is_some() {
        return Err(ApiError::invalid("Idempotency-Key", "in bulk, each line carries its own idempotency_key"));
    }
    let (parents, batch, rejects) = (Parents::default(), Vec::new(), Vec::new());
    let (reached, respond_async) = (Vector::default(), context.respond_async);
    let (line, accepted, rejected, batch_bytes) = (0, 0, 0, 0);
    let mut load = Load {
        app: &app,
        view: &view,
        context,
        parents,
        batch,
        unnumbered: Vec::new(),
        batch_bytes,
        line,
        accepted,
        rejected,
        rejects,
        reached,
    };
    let (mut frames, mut pending) = (body.into_data_stream(), Vec::new());
    while let Some(frame) = frames.next().await {
        let frame =
            frame.map_err(|_| ApiError::invalid("body", format!("the body broke off after line {}", load.line)))?;
        pending.extend_from_slice(&frame);
        load.take_lines(&mut pending).await?;
        if pending.len() > LINE_BYTES_MAX {
            let message = format!("line {} is over the limit of {LINE_BYTES_MAX} bytes", load.line + 1);
            return Err(ApiError::TooLarge { message, field: None });
        }
    }
    pending.push(b'\n');
    load.take_lines(&mut pending).await?;
    load.record().await?;
    let (accepted, rejected, rejects) = (load.accepted, load.rejected, std::mem::take(&mut load.rejects));
    let last = load.reached.to_string();
    let status = if respond_async { StatusCode::ACCEPTED } else { StatusCode::OK };
    if !respond_async {
        let next = load.reached.0.iter().map(|(partition, last)| (*partition, last + 1)).collect();
        app.reached(&view, &Vector(next)).await?;
    }
    Ok(json::respond(
        status,
        &json!({"accepted": accepted, "rejected": rejected, "rejects": rejects, "positions": last}),
    ))
}

impl Load<'_> {
    /// Takes the whole lines out of what has arrived.
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
                        None => self.parents.add(&envelope.event),
                    }
                    self.batch.push(envelope);
                    self.batch_bytes += line.len();
                    if self.batch.len() >= BATCH.0 || self.batch_bytes >= BATCH.1 {
                        self.record().await?;
                    }
                }
                Err(error @ (ApiError::Unavailable(_) | ApiError::Internal(_))) => return Err(self.broken_off(&error)),
                Err(error) => self.reject(&error),
            }
        }
        pending.drain(..taken);
        Ok(())
    }

    fn broken_off(&self, error: &ApiError) -> ApiError {
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

    async fn decide(&self, line: &[u8]) -> Result<(Envelope, Option<Missing>), ApiError> {
        let text =
            std::str::from_utf8(line).map_err(|e| ApiError::invalid("line", format!("the line is not UTF-8: {e}")))?;
        let mut line: Line = serde_json::from_str(text).map_err(|e| ApiError::invalid("line", e.to_string()))?;
        let missing = Self::missing_number(&line.r#type, &mut line.event)?;
        let mut tagged = Map::new();
        tagged.insert(line.r#type, Value::Object(line.event));
        let event: Event =
            serde_json::from_value(Value::Object(tagged)).map_err(|e| ApiError::invalid("event", e.to_string()))?;
        rules::check(&event)?;
        self.parents.check(self.app, self.view, &event).await?;
        let now = now_ms();
        let envelope = Envelope {
            actor: self.context.record.actor.clone(),
            request_id: self.context.record.request_id.clone(),
            trace_parent: self.context.record.trace_parent.clone(),
            idempotency_key: line.idempotency_key,
            ..Envelope::new(line.occurred_at.unwrap_or(now), event)
        };
        if !(0..=now + 86_400_000).contains(&envelope.occurred_at) {
            return Err(ApiError::invalid(
                "occurred_at",
                "occurred_at is not a time in milliseconds between 1970 and now",
            ));
        }
        rules::check_envelope(&envelope)?;
        Ok((envelope, missing))
    }

    /// Where a line leaves its number out: of which sequence, and for how many entries. The event gets any number until the batch
    /// is recorded.
    fn missing_number(kind: &str, event: &mut Map<String, Value>) -> Result<Option<Missing>, ApiError> {
        let (sequence, field) = match kind {
            "RunStarted" => (RUN_NUMBERS, "run_number"),
            "TaskRegistered" => (TASK_IDS, "task_id"),
            "MetadataRegistered" => (METADATA_IDS, "first_id"),
            "LogCreated" => return Err(ApiError::invalid("type", "a log records its creation itself")),
            _ => return Ok(None),
        };
        if event.contains_key(field) {
            return Ok(None);
        }
        let of_metadata = event.get("entries").and_then(Value::as_array).map_or(1, Vec::len).max(1);
        event.insert(field.to_owned(), 1.into());
        Ok(Some(Missing { sequence, entries: if sequence == METADATA_IDS { of_metadata } else { 1 } }))
    }

    /// Fills in the numbers that lines left out, in the order of the lines.
    async fn number(&mut self) -> Result<(), ApiError> {
        for Unnumbered { index, sequence, entries } in std::mem::take(&mut self.unnumbered) {
            let number = self.app.sequencer.take(sequence, entries).await?;
            let event = &mut self.batch[index].event;
            match event {
                Event::RunStarted(event) => event.run_number = RunNumber(number),
                Event::TaskRegistered(event) => event.task_id = TaskId(number),
                Event::MetadataRegistered(event) => event.first_id = MetadataId(number),
                _ => {}
            }
            self.parents.add(event);
        }
        Ok(())
    }

    async fn record(&mut self) -> Result<(), ApiError> {
        self.number().await.map_err(|error| self.broken_off(&error))?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let count = batch.len() as u64;
        let positions = self.app.appender.append(&batch).await.map_err(|error| self.broken_off(&error.into()))?;
        for Position { partition, offset } in positions {
            let last = self.reached.0.entry(partition).or_insert(offset);
            *last = offset.max(*last);
        }
        self.accepted += count;
        Ok(())
    }
}
