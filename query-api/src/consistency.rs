//! From decided events to an answer: append, wait until the live tables have applied them, and say where they stand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use daybook_ingest::{append::Appender, log::AppendError};
use daybook_projector::{progress::Outcome, run_tags::Tags, tables::Row};
use daybook_schemas::{
    Envelope, Event,
    position::{Position, Vector},
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{app::App, context::WriteContext, error::ApiError, json, view::View};

/// Where the events of a write stand.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("daybook-position");

/// What became of a write.
pub(crate) enum Written {
    /// The live tables have applied the events.
    Applied(Applied),
    /// The events are durable; the client did not want to wait. The answer is ready.
    Accepted(Response),
}

/// Events that the live tables have applied.
pub(crate) struct Applied {
    /// Where they stand.
    pub(crate) positions: Vec<Position>,
    /// The events and their circumstances.
    envelopes: Vec<Envelope>,
    /// Whether the rows are what the events say, so that none has to be read back.
    pub(crate) as_written: bool,
}

impl Applied {
    /// The event of a request that records one, if its rows are what it says: the answer can be made from it.
    pub(crate) fn event_as_written(&self) -> Option<&Envelope> {
        self.envelopes.first().filter(|_| self.as_written)
    }
}

impl App {
    /// Records events and, unless the client does not want to, waits until the view's tables have applied them.
    pub(crate) async fn write(
        &self,
        view: &View,
        context: &WriteContext,
        events: Vec<Event>,
    ) -> Result<Written, ApiError> {
        let envelopes = Appender::envelopes(&context.record, events);
        if context.respond_async {
            let positions = self.appender.append(&envelopes).await?;
            let positions_text: Vec<_> = positions.iter().map(Position::to_string).collect();
            let mut response = json::respond(StatusCode::ACCEPTED, &json!({"positions": positions_text}));
            response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
            return Ok(Written::Accepted(located(response, &positions)));
        }
        let positions = self.append_and_wait(view, &envelopes).await?;
        let progress = &view.generation.progress;
        let as_written = positions.iter().all(|position| progress.outcome(*position) == Outcome::AsWritten);
        Ok(Written::Applied(Applied { positions, envelopes, as_written }))
    }

    /// Appends events and waits until the view's tables have applied them. The log's callback registers the writer with the
    /// tables' progress, so it wakes once: when its last event is applied.
    async fn append_and_wait(&self, view: &View, envelopes: &[Envelope]) -> Result<Vec<Position>, ApiError> {
        let (sender, mut applied) = oneshot::channel();
        let recorded = Arc::new(AtomicBool::new(false));
        let (generation, of_callback) = (Arc::clone(&view.generation), Arc::clone(&recorded));
        let done = move |outcome: Result<Vec<Position>, AppendError>| match outcome {
            Ok(positions) => {
                of_callback.store(true, Ordering::Release);
                // A writer that has gone away needs no answer.
                let wake = Box::new(|positions| drop(sender.send(Ok(positions))));
                generation.progress.call_when_applied(positions, wake);
            }
            Err(error) => drop(sender.send(Err(error))),
        };
        self.appender.append_then(envelopes, Box::new(done))?;
        loop {
            match tokio::time::timeout(self.config.wait_max, &mut applied).await {
                Ok(outcome) => return Ok(outcome.unwrap_or_else(|_| Err(AppendError::closed()))?),
                Err(_) if recorded.load(Ordering::Acquire) => return Err(ApiError::not_applied()),
                // The log bounds how long an append takes.
                Err(_) => {}
            }
        }
    }

    /// The tags of a run that is there, as of what the view's tables have applied.
    pub(crate) async fn run_tags(&self, view: &View, flow: &str, run_number: i64) -> Result<Arc<Tags>, ApiError> {
        let run_tags = &view.generation.run_tags;
        if let Some(tags) = run_tags.get(run_number, flow) {
            return Ok(tags);
        }
        let epoch = run_tags.epoch();
        let row = view.runs.load(vec![run_number.into(), flow.into()]).await?;
        let row = row.ok_or_else(|| ApiError::Internal(format!("run {flow}/{run_number} has no row")))?;
        let text = |column| row.text(column).map(str::to_owned);
        let tags = Arc::new(Tags { tags: text(5)?, system_tags: text(6)? });
        run_tags.remember(epoch, run_number, flow, Arc::clone(&tags));
        Ok(tags)
    }

    /// Waits until the view's tables have reached a vector that a client has seen.
    pub(crate) async fn reached(&self, view: &View, vector: &Vector) -> Result<(), ApiError> {
        let reached = view.generation.progress.wait_for(vector);
        let late = |_| ApiError::Unavailable("the tables have not reached Daybook-Min-Position in time".to_owned());
        tokio::time::timeout(self.config.wait_max, reached).await.map_err(late)
    }

    /// How many artifacts of a record were there already; an error if the record was quarantined.
    pub(crate) async fn skipped(&self, view: &View, position: Position) -> Result<i64, ApiError> {
        let Position { partition, offset } = position;
        let key = vec![partition.topic.as_str().into(), i64::from(partition.id).into(), offset.into()];
        let Some(row) = view.outcomes.load(key).await? else { return Ok(0) };
        match row.optional_text(1)? {
            Some(reason) => Err(quarantined(position, reason)),
            None => Ok(row.optional_int(0)?.unwrap_or(0)),
        }
    }

    /// Whether the row at hand was made by the event at `position`. The last two columns of the row say which made it.
    /// Without a row the event was quarantined, and the writer gets the reason.
    pub(crate) async fn won(&self, view: &View, row: Option<Row>, position: Position) -> Result<Option<Row>, ApiError> {
        let Some(row) = row else {
            self.skipped(view, position).await?;
            return Err(ApiError::Internal(format!("no row after {position} was applied")));
        };
        let columns = row.0.len();
        let made_by = (row.int(columns - 2)?, row.int(columns - 1)?);
        Ok((made_by == (i64::from(position.partition.id), position.offset)).then_some(row))
    }
}

fn quarantined(position: Position, reason: &str) -> ApiError {
    ApiError::Invalid { message: format!("record {position} was not applied: {reason}"), field: None }
}

/// Says in a header where the events of a write stand.
pub(crate) fn located(mut response: Response, positions: &[Position]) -> Response {
    let text = positions.iter().map(Position::to_string).collect::<Vec<_>>().join(",");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(POSITION, value);
    }
    response
}
