//! From decided events to an answer: append, wait until the live tables have applied them or are sure to, and say where they stand.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use daybook_ingest::{accept::Acceptor, log::AppendError, sequence::Spell};
use daybook_projector::{progress::Told, run_tags::Tags, tables::Row};
use daybook_schemas::{
    Envelope, Event,
    position::{Position, Vector},
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{app::App, context::WriteContext, error::ApiError, json, metrics::metrics, view::View};

/// Where the events of a write stand.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("daybook-position");

/// What became of a write.
pub(crate) enum Written {
    /// The live tables have applied the events, or are sure to before anybody reads them.
    Applied(Applied),
    /// The events are durable; the client did not want to wait. The answer is ready.
    Accepted(Response),
}

/// Events that the live tables have applied, or are sure to.
pub(crate) struct Applied {
    /// Where they stand.
    pub(crate) positions: Vec<Position>,
    /// The events and their circumstances.
    envelopes: Vec<Envelope>,
    /// Whether the tables take each as it is, so that the rows are what the events say.
    pub(crate) taken: bool,
}

/// Events on their way.
struct Appended {
    /// Where they stand, and whether they are promised.
    outcome: oneshot::Receiver<Result<(Vec<Position>, bool), AppendError>>,
    /// Whether the log has them.
    recorded: Arc<AtomicBool>,
}

impl Applied {
    /// The event of a request that records one, if the tables took it as it is: the answer can be made from it.
    pub(crate) fn taken_event(&self) -> Option<&Envelope> {
        self.envelopes.first().filter(|_| self.taken)
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
        self.write_in(|| (None, ()), view, context, events).await
    }

    /// The same for events of which `sure` may know that the tables take them as they are, if the spell that it names goes on: then
    /// that they are in the log is enough. What it returns beside is dropped once they are on their way.
    pub(crate) async fn write_in<G>(
        &self,
        sure: impl FnOnce() -> (Option<Spell>, G),
        view: &View,
        context: &WriteContext,
        events: Vec<Event>,
    ) -> Result<Written, ApiError> {
        let envelopes = Acceptor::envelopes(&context.record, events);
        if context.respond_async {
            drop(sure());
            let positions = self.acceptor.append(&envelopes).await?;
            let positions_text: Vec<_> = positions.iter().map(Position::to_string).collect();
            let mut response = json::respond(StatusCode::ACCEPTED, &json!({"positions": positions_text}));
            response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
            return Ok(Written::Accepted(located(response, &positions)));
        }
        let appended = {
            let (spell, _until_sent) = sure();
            // Of several events with one key, the first decides.
            self.append(view, &envelopes, spell.filter(|_| context.record.idempotency_key.is_none()))?
        };
        let (positions, promised) = self.settled(appended).await?;
        let progress = &view.generation.progress;
        let taken = promised || positions.iter().all(|position| progress.told(*position) == Told::First);
        Ok(Written::Applied(Applied { positions, envelopes, taken }))
    }

    /// Sends events to the log, and has the writer woken once the view's tables have applied them: one wait, although for two
    /// things, as waking a request costs about as much as either. In a spell that goes on they are promised instead.
    fn append(&self, view: &View, envelopes: &[Envelope], spell: Option<Spell>) -> Result<Appended, ApiError> {
        let (sender, outcome) = oneshot::channel();
        let recorded = Arc::new(AtomicBool::new(false));
        let (generation, of_call) = (Arc::clone(&view.generation), Arc::clone(&recorded));
        let standing = Arc::clone(&self.standing);
        let rows = envelopes.iter().map(|envelope| rows_of(&envelope.event)).sum();
        let done = move |outcome: Result<Vec<Position>, AppendError>| match outcome {
            Ok(positions) => {
                of_call.store(true, Ordering::Release);
                // Now that the events are in the log: what another process does from here on comes after them.
                let goes_on = spell.is_some() && standing.spell() == spell;
                if goes_on
                    && let [position] = positions[..]
                    && generation.progress.promise(position, rows)
                {
                    metrics().promises.inc();
                    return drop(sender.send(Ok((positions, true))));
                }
                let applied = Box::new(|positions| drop(sender.send(Ok((positions, false)))));
                generation.progress.call_when_applied(positions, applied);
            }
            Err(error) => drop(sender.send(Err(error))),
        };
        self.acceptor.append_then(envelopes, Box::new(done))?;
        Ok(Appended { outcome, recorded })
    }

    /// Waits until events are applied, or promised, and says which.
    async fn settled(&self, appended: Appended) -> Result<(Vec<Position>, bool), ApiError> {
        let Appended { mut outcome, recorded } = appended;
        loop {
            match tokio::time::timeout(self.config.wait_max, &mut outcome).await {
                Ok(outcome) => return Ok(outcome.unwrap_or_else(|_| Err(AppendError::closed()))?),
                Err(_) if recorded.load(Ordering::Acquire) => return Err(ApiError::not_applied()),
                // How long an append may take is up to the log.
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

/// About how many rows an event makes.
fn rows_of(event: &Event) -> usize {
    match event {
        Event::ArtifactsRegistered(event) => event.entries.len(),
        Event::MetadataRegistered(event) => event.entries.len(),
        _ => 1,
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
