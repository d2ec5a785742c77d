//! Bulk ingestion: a stream of events as NDJSON, one a line, with a report of the lines that were refused.
//!
//! A line is `{"type": "TaskRegistered", "event": {…}, "occurred_at": ms?, "idempotency_key": "…"?}`. Numbers that are left
//! out are given out. A line whose parent is neither there nor in an earlier line is refused; the others are recorded.
//! Memory is bounded by the longest line and by the parents that the body itself brings.

mod parents;

use std::sync::Arc;

use axum::{body::Body, extract::State, http::StatusCode, response::Response};
use daybook_ingest::{accept::now_ms, sequence::Sequence};
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

/// A number that a line leaves out: of which sequence, and for how many entries.
type Lacking = (Sequence, usize);

/// One body under way.
struct Load<'a> {
    app: &'a App,
    view: &'a View,
    context: WriteContext,
    parents: Parents,
    batch: Vec<Envelope>,
    /// Events of the batch whose lines left their numbers out, and how many entries each has.
    unnumbered: Vec<(usize, Lacking)>,
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
                Ok((envelope, lacking)) => {
                    match lacking {
                        Some(lacking) => self.unnumbered.push((self.batch.len(), lacking)),
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

    async fn decide(&self, line: &[u8]) -> Result<(Envelope, Option<Lacking>), ApiError> {
        let text =
            std::str::from_utf8(line).map_err(|e| ApiError::invalid("line", format!("the line is not UTF-8: {e}")))?;
        let mut line: Line = serde_json::from_str(text).map_err(|e| ApiError::invalid("line", e.to_string()))?;
        let lacking = self.lacking(&line.r#type, &mut line.event).await?;
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
        Ok((envelope, lacking))
    }

    /// The number that an event lacks, with any in its place until the batch is recorded; sequences go on after one that it
    /// brings.
    async fn lacking(&self, kind: &str, event: &mut Map<String, Value>) -> Result<Option<Lacking>, ApiError> {
        let (sequence, field) = match kind {
            "RunStarted" => (Sequence::Run, "run_number"),
            "TaskRegistered" => (Sequence::Task, "task_id"),
            "MetadataRegistered" => (Sequence::Metadata, "first_id"),
            "LogCreated" => return Err(ApiError::invalid("type", "a log records its creation itself")),
            _ => return Ok(None),
        };
        let entries = event.get("entries").and_then(Value::as_array).map_or(1, Vec::len).max(1);
        if let Some(brought) = event.get(field) {
            let Some(number) = brought.as_i64().filter(|number| *number > 0) else { return Ok(None) };
            let last = number.saturating_add(i64::try_from(entries).unwrap_or(i64::MAX) - 1);
            let highest = if sequence == Sequence::Metadata { last } else { number };
            self.bring(sequence, highest).await?;
            return Ok(None);
        }
        event.insert(field.to_owned(), 1.into());
        Ok(Some((sequence, entries)))
    }

    /// Makes a sequence go on after a number that a line brings. Nobody may count on a number that he was given before.
    async fn bring(&self, sequence: Sequence, highest: i64) -> Result<(), ApiError> {
        let app = self.app;
        let known = tokio::time::timeout(app.config.wait_max, app.standing.known()).await;
        known.map_err(|_| ApiError::Unavailable("other processes do not know of this one yet".to_owned()))?;
        if app.sequencer.raise(sequence, highest).await? {
            app.standing.end_spell();
        }
        Ok(())
    }

    /// Gives out the numbers that the batch lacks, in the order of its lines and with one call for each kind.
    async fn number(&mut self) -> Result<(), ApiError> {
        let unnumbered = std::mem::take(&mut self.unnumbered);
        let count = |of| unnumbered.iter().filter(|(_, (sequence, _))| *sequence == of).count();
        let sequencer = &self.app.sequencer;
        let mut runs = sequencer.take_runs(count(Sequence::Run)).await?.into_iter();
        let mut tasks = sequencer.take_tasks(count(Sequence::Task)).await?.into_iter();
        for (index, (sequence, entries)) in unnumbered {
            let number = match sequence {
                Sequence::Run => runs.next(),
                Sequence::Task => tasks.next(),
                Sequence::Metadata => Some(sequencer.metadata_ids(entries).await?),
            };
            let number = number.ok_or_else(|| ApiError::Internal("the sequence gave too few numbers".to_owned()))?;
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
        for envelope in &batch {
            if let Event::ArtifactsRegistered(event) = &envelope.event {
                self.app.artifact_names.forget(event.flow_id.as_str(), event.task_id.0);
            }
        }
        self.batch_bytes = 0;
        let count = batch.len() as u64;
        let positions = self.app.acceptor.append(&batch).await.map_err(|error| self.broken_off(&error.into()))?;
        for Position { partition, offset } in positions {
            let last = self.reached.0.entry(partition).or_insert(offset);
            *last = offset.max(*last);
        }
        self.accepted += count;
        Ok(())
    }
}
