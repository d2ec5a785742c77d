//! The log port: what Daybook asks of a log, and what each adapter promises.
//!
//! - **Order.** Records of one key are read in the order in which their appends returned; one call appends in its order.
//! - **Durability.** When `append` returns, every record of the call survives the loss of the process and, as far as the
//!   log is configured for it, of a machine. An error means *not acknowledged*: the record may still be there.
//! - **Retry.** Appending again after an error appends again; the adapters never append one call twice by themselves.
//! - **Empty.** `end` of an empty partition is 0. Reading from the end waits, then returns nothing.
//! - **Gaps.** Offsets of one partition grow, but need not be dense: compaction takes old records of a key away. The
//!   newest record of a partition is always there.
//! - **Identity.** A log made anew has another id, even under the same name. One that is made anew under an open log takes
//!   no more appends through it.

pub mod embedded;
pub mod identity;
pub mod kafka;

use std::{pin::Pin, sync::Arc, time::Duration};

use daybook_schemas::{
    position::{Partition, PartitionId, Position, Vector},
    topics::Topic,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

/// A boxed future, for ports that are chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A record to be appended.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: PartitionId,
    /// What is ordered, or compacted, together.
    pub key: String,
    /// The encoded event.
    pub value: Vec<u8>,
    /// For readers that do not decode the value; kept by logs that have headers.
    pub headers: Option<Headers>,
}

/// What a record says of its event beside the value: attributes of a CloudEvent, and the request's trace.
#[derive(Debug, Clone)]
pub struct Headers {
    /// The event's id.
    pub id: String,
    /// The kind of event.
    pub kind: &'static str,
    /// When it occurred, in milliseconds since 1970.
    pub time: i64,
    /// W3C `traceparent`.
    pub trace_parent: Option<String>,
}

impl NewRecord {
    /// The record as it is read once it stands at `position`.
    fn at(&self, position: Position) -> Record {
        Record { position, key: Some(self.key.as_bytes().into()), value: self.value.as_slice().into() }
    }
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// Its key; `None` for a foreign record without one.
    pub key: Option<Arc<[u8]>>,
    /// Its value; empty for a tombstone.
    pub value: Arc<[u8]>,
}

/// Bounds of one read. The first record is returned whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Most records, inclusive.
    pub records_max: usize,
    /// Bytes of values after which no further record is added.
    pub bytes_max: usize,
    /// How long to wait for the first record.
    pub wait: Duration,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The log cannot take records now. Retryable; the record may or may not have been appended.
    #[error("log is unavailable: {0}")]
    Unavailable(String),
    /// More appends wait than the queue holds. Retryable; nothing was appended.
    #[error("log queue is full")]
    Full,
    /// The record is over the log's limit. Terminal; nothing was appended.
    #[error("record of {bytes} bytes is over the log's limit of {bytes_max}")]
    TooLarge {
        /// Size of the value.
        bytes: usize,
        /// The limit, inclusive.
        bytes_max: usize,
    },
}

impl AppendError {
    /// The log was closed before it could tell what became of an append.
    pub fn closed() -> Self {
        Self::Unavailable("the log is being closed".to_owned())
    }
}

/// An append that waits, and whom to tell.
type Waiting = (Vec<NewRecord>, Done);

/// Puts an append into the queue of those that wait; one that finds no room is told so.
fn enqueue(queue: &mpsc::Sender<Waiting>, records: Vec<NewRecord>, done: Done) {
    match queue.try_send((records, done)) {
        Ok(()) => {}
        Err(TrySendError::Full((_, done))) => done(Err(AppendError::Full)),
        Err(TrySendError::Closed((_, done))) => done(Err(AppendError::closed())),
    }
}

/// The error for records of which one is over the log's limit.
fn too_large(records: &[NewRecord], bytes_max: usize) -> Option<AppendError> {
    let bytes = records.iter().map(|record| record.value.len()).find(|bytes| *bytes > bytes_max)?;
    Some(AppendError::TooLarge { bytes, bytes_max })
}

/// Why reading or opening failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The log does not answer now. Retryable.
    #[error("log is unavailable: {0}")]
    Unavailable(String),
    /// The log is not what it must be. Terminal until a person mends it.
    #[error("log is unusable: {0}")]
    Unusable(String),
    /// The offset is not in the log: it was cut off or made anew. Terminal.
    #[error("{0} is not in the log any more: the topic was truncated or made anew")]
    OffsetGone(Position),
}

/// Called once with what came of an append, on a thread of the log's: it must not block.
pub type Done = Box<dyn FnOnce(Result<Vec<Position>, AppendError>) + Send>;

/// A log of records, by topic and partition.
pub trait EventLog: Send + Sync {
    /// The id in the log's first record.
    fn id(&self) -> &str;

    /// How many partitions a topic has; fixed when the log is created.
    fn partition_count(&self, topic: Topic) -> PartitionId;

    /// Appends records, and calls `done` with their positions, in the order given, once all are durable. A log that is
    /// closed on the way drops `done` uncalled.
    fn append_then(&self, records: Vec<NewRecord>, done: Done);

    /// Appends records and returns their positions, in the order given, once all are durable.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<Position>, AppendError>> {
        let (sender, outcome) = oneshot::channel();
        // A writer that has gone away does not want to know.
        self.append_then(records, Box::new(|outcome| drop(sender.send(outcome))));
        Box::pin(async { outcome.await.unwrap_or_else(|_| Err(AppendError::closed())) })
    }

    /// For each partition, the offset that the next record will get. May block on the network.
    fn end(&self) -> Result<Vector, LogError>;

    /// Opens a reader that starts at `from`; partitions that `from` does not name are not read.
    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError>;

    /// Waits until what was accepted is durable, as far as `limit` allows; called once, at shutdown.
    fn flush(&self, limit: Duration);

    /// Why the log does not take records now, as far as this process knows; `None` once it took some again.
    fn failure(&self) -> Option<String>;

    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
}

/// Reads records forward from a vector. Blocks its thread while it waits.
pub trait Reader: Send {
    /// The next records, each partition's in order; empty when none came within the wait.
    fn read(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError>;
}

/// All partitions of all topics of a log.
pub fn partitions(log: &dyn EventLog) -> Vec<Partition> {
    let ids = |topic| (0..log.partition_count(topic)).map(move |id| Partition { topic, id });
    Topic::ALL.into_iter().flat_map(ids).collect()
}
