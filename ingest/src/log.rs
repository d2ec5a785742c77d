//! The log port, and the guarantees of every adapter.
//!
//! - **Order.** Records of one key are read in the order in which their appends returned. One call keeps its order.
//! - **Durability.** When `append` returns, every record of the call survives the loss of the process and, as far as
//!   the log is configured for it, of a machine. An error means *not acknowledged*: the record may still be in the log.
//! - **Retry.** A repeated call appends again. Adapters never append the records of one call twice.
//! - **Empty.** `end` of an empty partition is 0. Reading from the end waits, then returns nothing.
//! - **Gaps.** Offsets of a partition grow but may have gaps: compaction removes old records of a key, and transactions
//!   of other producers leave markers and aborted records, also at the end. No reader returns those; `reached` is past
//!   them, so that it comes to `end` in every case.
//! - **Begin.** Nothing is removed except by compaction: a partition without its first record is damaged.
//! - **Topics.** Opening a log creates the topics that are missing. The first record of each topic holds the log's id.
//!   Topics that are added later are treated alike; a topic that cannot be added leaves the log as it was.
//! - **Identity.** A recreated log has a new id, even under the same name. If it is recreated while open, the open
//!   handle refuses appends.

pub mod embedded;
mod identity;
pub mod kafka;

use std::{pin::Pin, sync::Arc, time::Duration};

use daybook_schemas::{
    Topic,
    position::{Partition, PartitionId, Position, Vector},
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
    /// Records of one key are ordered, or compacted, together.
    pub key: String,
    /// The encoded event.
    pub value: Vec<u8>,
    /// For readers that do not decode the value; kept by logs that have headers.
    pub headers: Option<Headers>,
}

/// Headers of a record: attributes of a CloudEvent, and the request's trace.
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
    /// The record as readers get it, at `position`.
    fn at(&self, position: Position) -> Record {
        Record { position, key: Some(self.key.as_bytes().into()), value: self.value.as_slice().into() }
    }
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its position.
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
    /// The log was closed before the outcome of an append was known.
    pub fn closed() -> Self {
        Self::Unavailable("the log is being closed".to_owned())
    }
}

/// An append in the queue, with its callback.
type Waiting = (Vec<NewRecord>, Done);

/// Queues an append. If the queue is full, the callback gets [`AppendError::Full`].
fn enqueue(queue: &mpsc::Sender<Waiting>, records: Vec<NewRecord>, done: Done) {
    match queue.try_send((records, done)) {
        Ok(()) => {}
        Err(TrySendError::Full((_, done))) => done(Err(AppendError::Full)),
        Err(TrySendError::Closed((_, done))) => done(Err(AppendError::closed())),
    }
}

/// The error if one of the records is over the log's limit.
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
    /// The log cannot be used as it is. Terminal until an operator fixes it.
    #[error("log is unusable: {0}")]
    Unusable(String),
    /// The settings of the log or of its topics do not allow to use it. Terminal until an operator changes them.
    #[error("log is unusable: {0}")]
    Settings(String),
    /// The log refuses the credentials at the start. Terminal until an operator changes them.
    #[error("the log refuses the credentials: {0}")]
    Denied(String),
    /// A topic, or all that the log held, is not there, and must not be created. Terminal.
    #[error("{0}")]
    Absent(String),
    /// The log is damaged: what it held cannot be read, or is not there any more. Terminal; the text names the ways out.
    #[error("{0}")]
    Damaged(String),
    /// The offset is not in the log: the topic was truncated or recreated. Terminal.
    #[error("{0} is not in the log any more: the topic was truncated or recreated")]
    OffsetGone(Position),
}

/// What an operator can do about a log that lacks records that the tables have applied.
pub const WAYS_OUT: &str = "restore the complete log, or empty the tables: they are then filled from the log as it is, \
     and what it lacks is lost";

/// Called once with the outcome of an append, on a thread of the log. Must not block.
pub type Done = Box<dyn FnOnce(Result<Vec<Position>, AppendError>) + Send>;

/// A log of records, by topic and partition.
pub trait EventLog: Send + Sync {
    /// The id in the first record of each topic.
    fn id(&self) -> &str;

    /// The topics, in order of name.
    fn topics(&self) -> Vec<Topic>;

    /// Adds topics; those that the log has already are left as they are. Missing ones are created if `creates`; else they
    /// are an error. Readers that are open do not read them.
    fn add_topics<'a>(&'a self, topics: &'a [Topic], creates: bool) -> BoxFuture<'a, Result<(), LogError>>;

    /// How many partitions a topic has; fixed when the log is created.
    fn partition_count(&self, topic: Topic) -> PartitionId;

    /// Appends records, and calls `done` with their positions, in the order given, once all are durable. If the
    /// log is closed before that, `done` is dropped without a call.
    fn append_then(&self, records: Vec<NewRecord>, done: Done);

    /// Appends records and returns their positions, in the order given, once all are durable.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<Position>, AppendError>> {
        let (sender, outcome) = oneshot::channel();
        // Fails only if the receiver was dropped.
        self.append_then(records, Box::new(|outcome| drop(sender.send(outcome))));
        Box::pin(async { outcome.await.unwrap_or_else(|_| Err(AppendError::closed())) })
    }

    /// For each partition of some topics, the offset that the next record will get. May block on the network.
    fn end(&self, topics: &[Topic]) -> Result<Vector, LogError>;

    /// Opens a reader that starts at `from`; partitions that `from` does not name are not read.
    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError>;

    /// Waits until all accepted appends are durable, for `limit` at most. Called once, at shutdown.
    fn flush(&self, limit: Duration);

    /// Why the log refuses appends now, or what was appended cannot be read, as far as this process knows; `None` after the
    /// next success.
    fn failure(&self) -> Option<String>;

    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
}

/// Reads records forward from a vector. Blocks its thread while it waits.
pub trait Reader: Send {
    /// The next records, each partition's in order; empty when none came within the wait.
    fn read(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError>;

    /// Where it goes on: for each of its partitions, the offset after everything that it has returned, and after the
    /// gap that follows, as far as it was read.
    fn reached(&self) -> Vector;
}

/// All partitions of all topics of a log.
pub fn partitions(log: &dyn EventLog) -> Vec<Partition> {
    let ids = |topic| (0..log.partition_count(topic)).map(move |id| Partition { topic, id });
    log.topics().into_iter().flat_map(ids).collect()
}
