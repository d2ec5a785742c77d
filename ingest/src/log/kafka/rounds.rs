//! Appends in rounds: all that wait go to the broker together, and few rounds are on their way at once.
//!
//! A lone append leaves at once. Under load, appends gather while the rounds before them are on their way, so that batches grow
//! with the load and nobody waits for one to fill, as with a fixed linger. One task hands records to librdkafka, so that
//! records of one key leave in the order in which they were appended.

use std::sync::Arc;

use daybook_schemas::{position::Position, topics::Topic};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::condition::Condition;
use crate::log::{AppendError, NewRecord};

/// Appends that may wait for a round; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Appends of one round, at most.
const ROUND_APPENDS_MAX: usize = 2048;
/// Rounds on their way at once, at most.
const ROUNDS_MAX: usize = 1;

type Done = oneshot::Sender<Result<Vec<Position>, AppendError>>;
type Append = (Vec<NewRecord>, Done);

/// Records of one append that were handed over, or why they could not be.
type Sent = Result<Vec<(Topic, DeliveryFuture)>, AppendError>;

/// The queue of appends.
pub(super) struct Rounds {
    queue: mpsc::Sender<Append>,
    condition: Arc<Condition>,
}

impl Rounds {
    /// Starts the task that forms rounds; it ends when this is dropped.
    pub(super) fn start(producers: Producers, prefix: &str, condition: Arc<Condition>) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE_APPENDS_MAX);
        let names = Topic::ALL.map(|topic| (topic, topic.full_name(prefix)));
        tokio::spawn(form(producers, names, appends, Arc::clone(&condition)));
        Self { queue, condition }
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, AppendError> {
        if let Some(reason) = self.condition.refusal() {
            return Err(AppendError::Unavailable(reason));
        }
        let (done, outcome) = oneshot::channel();
        self.queue.try_send((records, done)).map_err(|_| AppendError::Full)?;
        outcome.await.unwrap_or_else(|_| Err(AppendError::Unavailable("the producer ended".to_owned())))
    }
}

/// librdkafka sends the first record that it is handed at once, and the rest of the round in a request of its own, unless
/// it lingers. So a lone append goes through a producer that does not, and a round of several through one that does.
#[derive(Clone)]
pub(super) struct Producers {
    pub(super) prompt: FutureProducer,
    pub(super) lingering: FutureProducer,
}

async fn form(
    producers: Producers,
    names: [(Topic, String); 2],
    mut appends: mpsc::Receiver<Append>,
    condition: Arc<Condition>,
) {
    let on_their_way = Arc::new(Semaphore::new(ROUNDS_MAX));
    let mut round = Vec::new();
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&on_their_way).acquire_owned().await {
        if appends.recv_many(&mut round, ROUND_APPENDS_MAX).await == 0 {
            return;
        }
        let producer = if round.len() == 1 { &producers.prompt } else { &producers.lingering };
        let sent = round.drain(..).map(|(records, done)| (send(producer, &names, &records), done)).collect();
        tokio::spawn(settle(sent, Arc::clone(&condition), permit));
    }
}

/// Hands the records of one append to librdkafka.
fn send(producer: &FutureProducer, names: &[(Topic, String)], records: &[NewRecord]) -> Sent {
    let mut sent = Vec::with_capacity(records.len());
    for record in records {
        let name = names.iter().find(|(topic, _)| *topic == record.topic).map_or("", |(_, name)| name);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value.as_str()) });
        }
        let message = FutureRecord::to(name).partition(record.partition).key(&record.key).payload(&record.value);
        match producer.send_result(message.headers(headers)) {
            Ok(delivery) => sent.push((record.topic, delivery)),
            Err((error, _)) if sent.is_empty() => return Err(append_error(&error)),
            // A part of the append is on its way: whether it arrives is not known.
            Err((error, _)) => return Err(AppendError::Unavailable(error.to_string())),
        }
    }
    Ok(sent)
}

/// Waits for the broker's word on each append of a round, and passes it on.
async fn settle(sent: Vec<(Sent, Done)>, condition: Arc<Condition>, permit: OwnedSemaphorePermit) {
    for (sent, done) in sent {
        let outcome = match sent {
            Ok(deliveries) => positions(deliveries, &condition).await,
            Err(error) => Err(error),
        };
        // A writer that has gone away does not want to know.
        let _gone = done.send(outcome);
    }
    drop(permit);
}

async fn positions(
    deliveries: Vec<(Topic, DeliveryFuture)>,
    condition: &Condition,
) -> Result<Vec<Position>, AppendError> {
    let mut positions = Vec::with_capacity(deliveries.len());
    for (topic, delivery) in deliveries {
        let outcome = delivery.await.map_err(|_| AppendError::Unavailable("the producer ended".to_owned()))?;
        let delivery = outcome.map_err(|(error, _)| {
            if unreachable(&error) {
                condition.note_failure(&format!("the broker took no records: {error}"));
            }
            append_error(&error)
        })?;
        let position = Position::new(topic, delivery.partition, delivery.offset);
        if !condition.note_append(position) {
            return Err(AppendError::Unavailable("the log was made anew".to_owned()));
        }
        positions.push(position);
    }
    Ok(positions)
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
        _ => AppendError::Unavailable(error.to_string()),
    }
}
