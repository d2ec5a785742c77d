//! Appends in rounds: all that wait go to the broker together, and few rounds are on their way at once.
//!
//! A lone append leaves at once. Under load, appends gather while the rounds before them are on their way, so that batches grow
//! with the load and nobody waits for one to fill, as with a fixed linger. One task hands records to librdkafka, so that
//! records of one key leave in the order in which they were appended. The broker's word on each record comes on
//! librdkafka's thread, which passes it on without waking any other.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use daybook_schemas::{
    position::{Offset, PartitionId, Position},
    topics::Topic,
};
use rdkafka::{
    ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{condition::Condition, own::OwnRecords};
use crate::{
    gather::gather,
    log::{AppendError, Done, NewRecord, Record, Waiting, enqueue},
};

/// Appends that may wait for a round; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Appends of one round, at most.
const ROUND_APPENDS_MAX: usize = 2048;
/// Rounds on their way at once, at most.
const ROUNDS_MAX: usize = 1;
/// After this, the records of a round are published as they are acknowledged rather than all together.
const ROUND_MAX: Duration = Duration::from_millis(20);

pub(super) type Producer = ThreadedProducer<Settler>;

/// What a round tells of what became of it.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) condition: Arc<Condition>,
    pub(super) own: Arc<OwnRecords>,
}

/// The queue of appends.
pub(super) struct Rounds {
    queue: mpsc::Sender<Waiting>,
    condition: Arc<Condition>,
}

impl Rounds {
    /// Starts the task that forms rounds; it ends when this is dropped.
    pub(super) fn start(producer: Producer, prefix: &str, told: Told) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE_APPENDS_MAX);
        let names = Topic::ALL.map(|topic| (topic, topic.full_name(prefix)));
        let condition = Arc::clone(&told.condition);
        tokio::spawn(form(producer, names, appends, told));
        Self { queue, condition }
    }

    pub(super) fn append(&self, records: Vec<NewRecord>, done: Done) {
        if let Some(reason) = self.condition.refusal() {
            return done(Err(AppendError::Unavailable(reason)));
        }
        if records.is_empty() {
            return done(Ok(Vec::new()));
        }
        enqueue(&self.queue, records, done);
    }
}

async fn form(producer: Producer, names: [(Topic, String); 2], mut appends: mpsc::Receiver<Waiting>, told: Told) {
    let on_their_way = Arc::new(Semaphore::new(ROUNDS_MAX));
    let mut gathered = Vec::new();
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&on_their_way).acquire_owned().await {
        if gather(&mut appends, &mut gathered, ROUND_APPENDS_MAX).await == 0 {
            return;
        }
        let open = gathered.len();
        let appends = gathered.drain(..).map(|(records, done)| Append::new(records, done)).collect();
        let state = State { appends, open, acknowledged: Vec::new() };
        let round = Round { state: Mutex::new(state), began: Instant::now(), told: told.clone(), _permit: permit };
        Arc::new(round).send(&producer, &names);
    }
}

/// Appends that are on their way together.
struct Round {
    state: Mutex<State>,
    began: Instant,
    told: Told,
    /// Given back with the last record's acknowledgement.
    _permit: OwnedSemaphorePermit,
}

struct State {
    appends: Vec<Append>,
    /// Appends that have not ended.
    open: usize,
    /// Records whose append is acknowledged, not yet published.
    acknowledged: Vec<Record>,
}

struct Append {
    records: Vec<NewRecord>,
    positions: Vec<Option<Position>>,
    failure: Option<AppendError>,
    /// Records without the broker's word.
    left: usize,
    /// Taken when it is called.
    done: Option<Done>,
}

impl Append {
    fn new(records: Vec<NewRecord>, done: Done) -> Self {
        let left = records.len();
        Self { positions: vec![None; left], records, failure: None, left, done: Some(done) }
    }

    /// Ends the append: its outcome and whom to tell; adds its records to those acknowledged.
    fn end(&mut self, acknowledged: &mut Vec<Record>) -> Option<Outcome> {
        let done = self.done.take()?;
        if let Some(failure) = self.failure.take() {
            return Some((done, Err(failure)));
        }
        let positions: Vec<Position> = self.positions.iter().copied().flatten().collect();
        debug_assert_eq!(positions.len(), self.records.len(), "an append that did not fail has all its positions");
        acknowledged.extend(self.records.drain(..).zip(&positions).map(|(record, position)| record.at(*position)));
        Some((done, Ok(positions)))
    }
}

type Outcome = (Done, Result<Vec<Position>, AppendError>);

impl Round {
    /// Hands the records to librdkafka. The state is held for as long, so that no word of the broker comes in between.
    fn send(self: Arc<Self>, producer: &Producer, names: &[(Topic, String)]) {
        let mut outcomes = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { appends, open, acknowledged } = &mut *state;
        let records = appends.iter().flat_map(|append| &append.records);
        // All headers are made ready before the first record wakes librdkafka's thread.
        let mut ready: VecDeque<OwnedHeaders> = records.map(headers).collect();
        for (of_round, append) in appends.iter_mut().enumerate() {
            let headers = ready.drain(..append.records.len());
            for (of_append, (record, headers)) in append.records.iter().zip(headers).enumerate() {
                let delivery = Box::new(Delivery { round: Arc::clone(&self), of_round, of_append });
                let name = names.iter().find(|(topic, _)| *topic == record.topic).map_or("", |(_, name)| name);
                let message = BaseRecord::with_opaque_to(name, delivery).partition(record.partition).headers(headers);
                if let Err((error, _)) = producer.send(message.key(&record.key).payload(&record.value)) {
                    // With a part of the append on its way, whether it arrives is not known.
                    let whole = if of_append == 0 { append_error(&error) } else { unavailable(&error) };
                    append.failure = Some(whole);
                    append.left = of_append;
                    break;
                }
            }
            if append.left == 0 {
                *open -= 1;
                outcomes.extend(append.end(acknowledged));
            }
        }
        drop(state);
        for (done, outcome) in outcomes {
            done(outcome);
        }
    }

    /// Notes the broker's word on one record. With the last one of an append, its writer is told.
    fn settle(&self, of_round: usize, of_append: usize, word: Result<(PartitionId, Offset), KafkaError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { appends, open, acknowledged } = &mut *state;
        let Some(append) = appends.get_mut(of_round) else { return };
        match self.position(append.records.get(of_append).map(|record| record.topic), word) {
            Ok(position) => append.positions[of_append] = Some(position),
            Err(failure) => append.failure = Some(failure),
        }
        append.left -= 1;
        if append.left > 0 {
            return;
        }
        *open -= 1;
        let outcome = append.end(acknowledged);
        let publishes = *open == 0 || self.began.elapsed() > ROUND_MAX;
        let published = if publishes { mem::take(acknowledged) } else { Vec::new() };
        drop(state);
        self.told.own.publish(published);
        if let Some((done, outcome)) = outcome {
            done(outcome);
        }
    }

    fn position(
        &self,
        topic: Option<Topic>,
        word: Result<(PartitionId, Offset), KafkaError>,
    ) -> Result<Position, AppendError> {
        let condition = &self.told.condition;
        let (partition, offset) = word.map_err(|error| {
            if unreachable(&error) {
                condition.note_failure(&format!("the broker took no records: {error}"));
            }
            append_error(&error)
        })?;
        let topic = topic.ok_or_else(|| AppendError::Unavailable("the broker's word is on no record".to_owned()))?;
        let position = Position::new(topic, partition, offset);
        if !condition.note_append(position) {
            return Err(AppendError::Unavailable("the log was made anew".to_owned()));
        }
        Ok(position)
    }
}

/// Which record the broker's word is on.
pub(super) struct Delivery {
    round: Arc<Round>,
    of_round: usize,
    of_append: usize,
}

/// Passes the broker's word on to the record's round.
pub(super) struct Settler;

impl ClientContext for Settler {}

impl ProducerContext for Settler {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Self::DeliveryOpaque) {
        let word = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        delivery.round.settle(delivery.of_round, delivery.of_append, word);
    }
}

fn headers(record: &NewRecord) -> OwnedHeaders {
    let Some(known) = &record.headers else { return OwnedHeaders::new() };
    let (kind, time) = (format!("io.daybook.{}", known.kind), known.time.to_string());
    let always = [("ce_id", known.id.as_str()), ("ce_type", &kind), ("ce_time", &time), ("ce_source", "daybook")];
    let parent = known.trace_parent.as_deref().map(|parent| ("traceparent", parent));
    let none = OwnedHeaders::new_with_capacity(always.len() + 1);
    always
        .into_iter()
        .chain(parent)
        .fold(none, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// Whether no record would fare better: a broker's refusal of one record says nothing of the others.
fn unreachable(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
        )
    )
}

fn append_error(error: &KafkaError) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => AppendError::Full,
        _ => unavailable(error),
    }
}

fn unavailable(error: &KafkaError) -> AppendError {
    AppendError::Unavailable(error.to_string())
}
