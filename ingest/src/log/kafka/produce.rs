//! Appends in produce batches: all queued appends are sent together, and one batch is in flight at a time.
//!
//! A single append is sent immediately. Under load, appends queue while a batch is in flight, so batches grow with the
//! load and no append waits for a fixed linger. One task produces all records, so records of one key keep the order of
//! their appends. Delivery reports arrive on librdkafka's thread, which calls the appends' callbacks directly.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use daybook_schemas::{
    Topic,
    position::{Offset, PartitionId, Position},
};
use rdkafka::{
    ClientContext, Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::condition::Condition;
use crate::log::{AppendError, Done, NewRecord, Waiting, enqueue};

/// Appends that may wait for a batch; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Appends of one batch, at most.
const BATCH_APPENDS_MAX: usize = 2048;
/// Batches in flight, at most.
const IN_FLIGHT_MAX: usize = 1;

pub(super) type Producer = ThreadedProducer<DeliveryReports>;

/// The names of topics on the broker, each made once.
struct FullNames {
    prefix: String,
    known: HashMap<Topic, String>,
}

impl FullNames {
    fn of(&mut self, topic: Topic) -> &str {
        self.known.entry(topic).or_insert_with(|| topic.full_name(&self.prefix))
    }
}

/// The queue of appends.
pub(super) struct ProduceQueue {
    queue: mpsc::Sender<Waiting>,
    condition: Arc<Condition>,
}

impl ProduceQueue {
    /// Starts the task that sends batches; it ends when this is dropped.
    pub(super) fn start(producer: Producer, prefix: String, condition: Arc<Condition>) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE_APPENDS_MAX);
        let names = FullNames { prefix, known: HashMap::new() };
        tokio::spawn(send_batches(producer, names, appends, Arc::clone(&condition)));
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

async fn send_batches(
    producer: Producer,
    mut names: FullNames,
    mut queue: mpsc::Receiver<Waiting>,
    condition: Arc<Condition>,
) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut waiting = Vec::new();
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await {
        if receive_batch(&mut queue, &mut waiting).await == 0 {
            return;
        }
        let appends = waiting.drain(..).map(|(records, done)| Append::new(records, done)).collect();
        let batch = Batch { appends: Mutex::new(appends), condition: Arc::clone(&condition), _permit: permit };
        Arc::new(batch).send(&producer, &mut names);
    }
}

/// Waits for an append, then yields to other tasks as long as these append more. Returns the number of appends: 0 if
/// the queue is closed and empty.
///
/// Under load, each append is followed by others. A single append costs one more yield.
async fn receive_batch(queue: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) -> usize {
    queue.recv_many(batch, BATCH_APPENDS_MAX).await;
    while !batch.is_empty() && batch.len() < BATCH_APPENDS_MAX {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH_APPENDS_MAX
            && let Ok(append) = queue.try_recv()
        {
            batch.push(append);
        }
        if batch.len() == before {
            break;
        }
    }
    batch.len()
}

/// Appends that are in flight together.
struct Batch {
    appends: Mutex<Vec<Append>>,
    condition: Arc<Condition>,
    /// Released with the last record's delivery report.
    _permit: OwnedSemaphorePermit,
}

struct Append {
    records: Vec<NewRecord>,
    positions: Vec<Option<Position>>,
    failure: Option<AppendError>,
    /// Records without a delivery report.
    pending: usize,
    /// Taken when it is called.
    done: Option<Done>,
}

/// A finished append: its callback and its outcome.
struct Finished {
    done: Done,
    outcome: Result<Vec<Position>, AppendError>,
}

impl Append {
    fn new(records: Vec<NewRecord>, done: Done) -> Self {
        let pending = records.len();
        Self { positions: vec![None; pending], records, failure: None, pending, done: Some(done) }
    }

    fn finish(&mut self) -> Option<Finished> {
        let done = self.done.take()?;
        let outcome = match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                let positions: Vec<Position> = self.positions.iter().copied().flatten().collect();
                debug_assert_eq!(positions.len(), self.records.len(), "a good append has all its positions");
                Ok(positions)
            }
        };
        Some(Finished { done, outcome })
    }
}

impl Batch {
    /// Passes the records to librdkafka. Holds the lock meanwhile, so that no delivery report is processed in between.
    fn send(self: Arc<Self>, producer: &Producer, names: &mut FullNames) {
        let mut finished = Vec::new();
        let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        let records = appends.iter().flat_map(|append| &append.records);
        // All headers are built before the first record wakes librdkafka's thread.
        let mut ready: VecDeque<OwnedHeaders> = records.map(headers).collect();
        for (append_index, append) in appends.iter_mut().enumerate() {
            let headers = ready.drain(..append.records.len());
            for (record_index, (record, headers)) in append.records.iter().zip(headers).enumerate() {
                let delivery = Box::new(Delivery { batch: Arc::clone(&self), append_index, record_index });
                let name = names.of(record.topic);
                let message = BaseRecord::with_opaque_to(name, delivery).partition(record.partition).headers(headers);
                if let Err((error, _)) = producer.send(message.key(&record.key).payload(&record.value)) {
                    // A part of the append was sent; whether it arrives is unknown.
                    let failure = if record_index == 0 { append_error(&error) } else { unavailable(&error) };
                    append.failure = Some(failure);
                    append.pending = record_index;
                    break;
                }
            }
            if append.pending == 0 {
                finished.extend(append.finish());
            }
        }
        drop(appends);
        for Finished { done, outcome } in finished {
            done(outcome);
        }
    }

    /// Processes a record's delivery report. After the last one of an append, the append is finished.
    fn note_delivery(
        &self,
        append_index: usize,
        record_index: usize,
        report: Result<(PartitionId, Offset), KafkaError>,
    ) {
        let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(append) = appends.get_mut(append_index) else { return };
        match self.position(append.records.get(record_index).map(|record| record.topic), report) {
            Ok(position) => append.positions[record_index] = Some(position),
            Err(failure) => append.failure = Some(failure),
        }
        append.pending -= 1;
        let finished = if append.pending == 0 { append.finish() } else { None };
        drop(appends);
        if let Some(Finished { done, outcome }) = finished {
            done(outcome);
        }
    }

    fn position(
        &self,
        topic: Option<Topic>,
        report: Result<(PartitionId, Offset), KafkaError>,
    ) -> Result<Position, AppendError> {
        let (partition, offset) = report.map_err(|error| {
            if let Some(topic) = topic.filter(|_| unreachable(&error)) {
                self.condition.note_failure(topic, &format!("the broker accepted no records: {error}"));
            }
            append_error(&error)
        })?;
        let topic = topic.ok_or_else(|| AppendError::Unavailable("a delivery report names no record".to_owned()))?;
        let position = Position::new(topic, partition, offset);
        if !self.condition.note_append(position) {
            return Err(AppendError::Unavailable("the log was recreated".to_owned()));
        }
        Ok(position)
    }
}

/// Which record a delivery report is about.
pub(super) struct Delivery {
    batch: Arc<Batch>,
    append_index: usize,
    record_index: usize,
}

/// Dispatches delivery reports to their appends.
pub(super) struct DeliveryReports;

impl ClientContext for DeliveryReports {}

impl ProducerContext for DeliveryReports {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        delivery.batch.note_delivery(delivery.append_index, delivery.record_index, report);
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

/// Whether the broker cannot be reached at all. Its refusal of one record says nothing about others.
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
