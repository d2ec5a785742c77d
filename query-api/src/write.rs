//! From decided events to an answer: append, wait until the live tables have applied them, and report their positions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use daybook_ingest::log::AppendError;
use daybook_projector::progress::Outcome;
use daybook_schemas::{
    Envelope, EventSet,
    position::{Position, Vector},
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{app::App, context::WriteContext, error::ApiError, json, live::Live};

/// The positions of a write's events.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("daybook-position");

/// The outcome of a write.
pub enum Written<E> {
    /// The live tables have applied the events.
    Applied(Applied<E>),
    /// The events are durable; the client did not want to wait. The answer is ready.
    Accepted(Response),
}

/// Events that the live tables have applied.
pub struct Applied<E> {
    /// Their positions.
    pub positions: Vec<Position>,
    /// The events in their envelopes.
    pub envelopes: Vec<Envelope<E>>,
    /// Whether the rows are as the events say, so that none has to be read back.
    pub as_written: bool,
}

impl App {
    /// Records events and, unless the client does not want to, waits until the live tables have applied them.
    pub async fn write<E: EventSet>(
        &self,
        live: &Live,
        context: &WriteContext,
        events: Vec<E>,
    ) -> Result<Written<E>, ApiError> {
        let envelopes = context.record.envelopes(events);
        if context.respond_async {
            let positions = self.append(live, &envelopes).await?;
            let positions_text: Vec<_> = positions.iter().map(Position::to_string).collect();
            let mut response = json::respond(StatusCode::ACCEPTED, &json!({"positions": positions_text}));
            response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
            return Ok(Written::Accepted(located(response, &positions)));
        }
        let positions = self.append_and_wait(live, &envelopes).await?;
        let progress = &live.generation.progress;
        let as_written = positions.iter().all(|position| progress.outcome(*position) == Outcome::AsWritten);
        Ok(Written::Applied(Applied { positions, envelopes, as_written }))
    }

    /// Appends events and returns their positions once all are durable. The tables may not have applied them yet.
    pub async fn append<E: EventSet>(
        &self,
        live: &Live,
        envelopes: &[Envelope<E>],
    ) -> Result<Vec<Position>, AppendError> {
        let before = live.generation.progress.applied();
        let positions = self.appender.append(envelopes).await?;
        if live.generation.check_appended(&before, &positions) { Ok(positions) } else { Err(not_recorded()) }
    }

    /// Appends events and waits until the live tables have applied them. The log's callback registers the writer with
    /// the tables' progress, so the writer wakes once: when its last event is applied.
    async fn append_and_wait<E: EventSet>(
        &self,
        live: &Live,
        envelopes: &[Envelope<E>],
    ) -> Result<Vec<Position>, ApiError> {
        let (sender, mut applied) = oneshot::channel();
        let recorded = Arc::new(AtomicBool::new(false));
        let (generation, of_callback) = (Arc::clone(&live.generation), Arc::clone(&recorded));
        let before = generation.progress.applied();
        let done = move |outcome: Result<Vec<Position>, AppendError>| match outcome {
            Ok(positions) if !generation.check_appended(&before, &positions) => drop(sender.send(Err(not_recorded()))),
            Ok(positions) => {
                of_callback.store(true, Ordering::Release);
                // The receiver is dropped if the request was cancelled.
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

    /// Waits until the live tables have reached a vector that a client has seen.
    pub async fn reached(&self, live: &Live, vector: &Vector) -> Result<(), ApiError> {
        let reached = live.generation.progress.wait_for(vector);
        let late = |_| ApiError::Unavailable("the tables have not reached Daybook-Min-Position in time".to_owned());
        tokio::time::timeout(self.config.wait_max, reached).await.map_err(late)
    }
}

/// The error for records at positions that were applied before.
fn not_recorded() -> AppendError {
    AppendError::Unavailable("the log was restored from an older state, or recreated".to_owned())
}

/// Adds the header with the positions of a write's events.
pub fn located(mut response: Response, positions: &[Position]) -> Response {
    let text = positions.iter().map(Position::to_string).collect::<Vec<_>>().join(",");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(POSITION, value);
    }
    response
}
