//! The one pipeline of every creation: idempotency, facts, number, decide, append, wait, answer. A route supplies only
//! what differs.

use axum::response::Response;
use daybook_ingest::sequence::Sequence;
use daybook_projector::bookkeeping::numbers;
use daybook_schemas::{Envelope, EventSet, position::Position};

use crate::{
    app::App,
    context::WriteContext,
    error::ApiError,
    idempotency::Recorded,
    live::Live,
    write::{Applied, Written},
};

/// How often a creation is appended, at most, if its numbers are taken.
pub const APPENDS_MAX: usize = 5;

/// The outcome of a creation, by its rows.
pub enum ReadBack {
    /// The answer, without its positions.
    Answer(Response),
    /// Another record holds its number.
    NumberTaken,
}

/// What one kind of creation supplies to the pipeline.
pub trait Creation: Send + Sync {
    /// The domain's events.
    type Event: EventSet;
    /// The kind of event that it records.
    const KIND: &'static str;
    /// The sequence that its numbers are of, if it has any.
    const SEQUENCE: Option<Sequence> = None;

    /// The record key of its events, under which idempotency keys count.
    fn record_key(&self) -> &str;

    /// How many entries the request has, if it is split into several events when it is large.
    fn entries(&self) -> usize {
        0
    }

    /// Looks facts up, takes a number, and decides: the events to record, or why not. No events: nothing changes.
    fn decide(&self, app: &App) -> impl Future<Output = Result<Vec<Self::Event>, ApiError>> + Send;

    /// The answer from the events; the rows are as the events say.
    fn answer(&self, envelopes: &[Envelope<Self::Event>]) -> impl Future<Output = Result<Response, ApiError>> + Send;

    /// The answer from the rows, if only they show the outcome. It is not called for quarantined events.
    fn read_back(&self, recorded: &[Recorded]) -> impl Future<Output = Result<ReadBack, ApiError>> + Send;
}

/// Creates something, or repeats the answer to the first request with the same idempotency key.
pub async fn create<C: Creation>(
    app: &App,
    live: &Live,
    context: &WriteContext,
    creation: C,
) -> Result<Response, ApiError> {
    let key = context.record.idempotency_key.as_deref();
    let firsts = async || live.idempotency_keys.firsts(creation.record_key(), key, C::KIND).await;
    let first = firsts().await?;
    let entries: usize = first.iter().map(|recorded| recorded.entries).sum();
    if !first.is_empty() && entries >= creation.entries() {
        return repeat(live, &creation, &first).await;
    }
    for _ in 0..APPENDS_MAX {
        let events = match creation.decide(app).await {
            Ok(events) => events,
            Err(error) => {
                // Perhaps another request with the same key was applied meanwhile, and is why this one is refused.
                let first = firsts().await?;
                return if first.is_empty() { Err(error) } else { repeat(live, &creation, &first).await };
            }
        };
        if events.is_empty() {
            return creation.answer(&[]).await;
        }
        // If fewer events are recorded, the first request was interrupted: all are appended, and those that were
        // recorded change nothing.
        if events.len() <= first.len() {
            return repeat(live, &creation, &first).await;
        }
        let Applied { positions, envelopes, as_written } = match app.write(live, context, events).await? {
            Written::Accepted(response) => return Ok(response),
            Written::Applied(applied) => applied,
        };
        if as_written {
            return Ok(crate::write::located(creation.answer(&envelopes).await?, &positions));
        }
        // Another request with the same key may have been applied first.
        let mut recorded = firsts().await?;
        if recorded.is_empty() {
            recorded = positions.iter().zip(&envelopes).map(|(position, it)| of_event(*position, &it.event)).collect();
        } else if recorded.len() < positions.len() {
            live.outcomes.check(&positions).await?;
        }
        match read_back(live, &creation, &recorded).await? {
            ReadBack::Answer(response) => return Ok(located(response, &recorded)),
            ReadBack::NumberTaken => {
                if let Some(sequence) = C::SEQUENCE {
                    skip_numbers(app, live, sequence).await?;
                }
            }
        }
    }
    Err(ApiError::Unavailable("numbers are taken by an import; try again".to_owned()))
}

/// The answer to the first request with the same idempotency key.
async fn repeat<C: Creation>(live: &Live, creation: &C, first: &[Recorded]) -> Result<Response, ApiError> {
    match read_back(live, creation, first).await? {
        ReadBack::Answer(response) => Ok(located(response, first)),
        ReadBack::NumberTaken => Err(ApiError::Internal("the number of an applied event is taken".to_owned())),
    }
}

async fn read_back<C: Creation>(live: &Live, creation: &C, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
    let positions: Vec<Position> = recorded.iter().map(|recorded| recorded.position).collect();
    live.outcomes.check(&positions).await?;
    creation.read_back(recorded).await
}

/// Skips all numbers up to the highest one in the log.
pub async fn skip_numbers(app: &App, live: &Live, sequence: Sequence) -> Result<(), ApiError> {
    let highest = numbers::highest(live.generation.tables.as_ref()).await?;
    app.sequencer.skip_past(sequence, highest.get(sequence.name).copied().unwrap_or(0))?;
    Ok(())
}

/// Whether an event that changed nothing was refused whatever its number is: it is in quarantine, or its idempotency key
/// was used before.
pub async fn is_refused<E: EventSet>(
    live: &Live,
    position: Position,
    envelope: &Envelope<E>,
) -> Result<bool, ApiError> {
    match live.outcomes.check(&[position]).await {
        Ok(()) => {}
        Err(ApiError::Invalid { .. }) => return Ok(true),
        Err(error) => return Err(error),
    }
    let (event, key) = (&envelope.event, envelope.idempotency_key.as_deref());
    match live.idempotency_keys.firsts(&event.key(), key, event.kind()).await {
        Ok(firsts) => Ok(!firsts.is_empty()),
        Err(ApiError::KeyReused(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn of_event<E: EventSet>(position: Position, event: &E) -> Recorded {
    let number = event.numbers().map_or(0, |numbers| numbers.first);
    Recorded { position, number, entries: event.entries() }
}

fn located(response: Response, recorded: &[Recorded]) -> Response {
    let positions: Vec<Position> = recorded.iter().map(|recorded| recorded.position).collect();
    crate::write::located(response, &positions)
}
