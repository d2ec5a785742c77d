//! The log on Apache Kafka, or any broker that speaks its protocol, through librdkafka.
//!
//! Appends go out with `acks=all` and an idempotent producer (KIP-98), so that librdkafka's own retries neither lose,
//! repeat nor reorder. Options of the URL go to librdkafka unchanged (security, SASL, TLS, tuning). Options that
//! Daybook's guarantees depend on cannot be set.

mod condition;
mod options;
mod produce;
mod reader;
mod reports;
mod topics;
mod url;

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use daybook_schemas::{
    Topic,
    position::{Offset, Partition, PartitionId, Vector},
    topics::declare,
};
use rdkafka::{ClientConfig, consumer::Consumer, error::KafkaError, producer::Producer as _};

pub use self::url::{Address, InvalidUrl};
use crate::{
    append::now_ms,
    log::{
        BoxFuture, Done, EventLog, LogError, NewRecord, ReadLimits, Reader, identity,
        kafka::{
            condition::Condition,
            produce::{DeliveryReports, ProduceQueue, Producer},
            reader::TopicReader,
            reports::{Metadata, Reports},
            topics::Counts,
        },
    },
};

/// Largest value, inclusive; the topics are created with room for it.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records of a partition that a reader prefetches, at most, besides the limit of 32 MB: librdkafka needs several times
/// a record's size.
const AHEAD_RECORDS: &str = "10000";
/// How long one call for metadata or watermarks may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// How long brokers may take until they know topics that are added, and the pause between two attempts.
const ADDING_MAX: Duration = Duration::from_secs(10);
const ADDING_PAUSE: Duration = Duration::from_millis(50);

/// The log on Kafka.
pub struct KafkaLog {
    id: String,
    address: Address,
    producer: Producer,
    queue: ProduceQueue,
    /// Asks for watermarks.
    metadata: Arc<Metadata>,
    /// The topics, each with the number of its partitions.
    counts: RwLock<Counts>,
    /// Held while topics are added.
    adding: tokio::sync::Mutex<()>,
    condition: Arc<Condition>,
}

impl KafkaLog {
    /// Connects, checks the topics' settings, and reads the log's id. Missing topics are created if `creates`; else
    /// they are an error.
    pub async fn open(address: Address, declared: &[Topic], creates: bool) -> Result<Self, LogError> {
        Self::open_creating(address, declared, if creates { declared } else { &[] }).await
    }

    /// The same; only topics that are among `creatable` are created.
    pub async fn open_creating(address: Address, declared: &[Topic], creatable: &[Topic]) -> Result<Self, LogError> {
        declare(declared);
        let topics = in_order(declared.to_vec());
        let metadata: Metadata = address.consumer().create_with_context(Reports::default()).map_err(configuration)?;
        let metadata = Arc::new(metadata);
        let ensured = self::topics::ensure(&address, &topics, Arc::clone(&metadata), creatable).await;
        let counts = ensured.map_err(|error| match (metadata.context().denial(), error) {
            (Some(reason), LogError::Unavailable(_)) => LogError::Denied(reason),
            (_, error) => error,
        })?;
        let producer: Producer = address.producer().create_with_context(DeliveryReports).map_err(configuration)?;
        let condition: Arc<Condition> = Arc::default();
        let queue = ProduceQueue::start(producer.clone(), address.prefix.clone(), Arc::clone(&condition));
        let (id, counts, adding) = (String::new(), RwLock::new(counts), tokio::sync::Mutex::default());
        let mut log = Self { id, address, producer, queue, metadata, counts, adding, condition };
        log.id = log.identify(&topics, creatable, Vec::new()).await?;
        let log = tokio::task::spawn_blocking(move || log.end(&log.topics()).map(|end| (log, end))).await;
        let (log, end) = log.map_err(|e| LogError::Unavailable(format!("a call to Kafka ended: {e}")))??;
        log.condition.note_opened(&end);
        Ok(log)
    }

    /// Reads the id that these topics share with those whose ids are known, and writes it to new topics.
    async fn identify(
        &self,
        topics: &[Topic],
        creatable: &[Topic],
        known: Vec<(Topic, String)>,
    ) -> Result<String, LogError> {
        let (mut ids, mut new) = (known, Vec::new());
        for topic in topics {
            if self.is_empty(*topic).await? {
                new.push(*topic);
            } else {
                ids.push((*topic, self.read_id(*topic).await?));
            }
        }
        let mut known = identity::agree(&ids)?;
        for topic in new.into_iter().filter(|topic| creatable.contains(topic)) {
            let id = known.clone().unwrap_or_else(identity::new_id);
            let first = identity::first_record(topic, &id, now_ms())?;
            self.append(vec![first]).await.map_err(|e| LogError::Unavailable(e.to_string()))?;
            // Another process may have been faster: the first record counts.
            ids.push((topic, self.read_id(topic).await?));
            known = identity::agree(&ids)?;
        }
        known.ok_or_else(|| LogError::Absent(format!("all topics with the prefix {} are empty", self.address.prefix)))
    }

    /// Adds topics that the log does not have yet, and waits until the brokers know them.
    async fn add(&self, topics: &[Topic], creates: bool) -> Result<(), LogError> {
        let (_adding, began) = (self.adding.lock().await, Instant::now());
        loop {
            match self.try_add(topics, creates).await {
                Err(LogError::Unavailable(reason)) if began.elapsed() < ADDING_MAX => {
                    tracing::debug!(reason, "waiting for new topics: {reason}");
                    tokio::time::sleep(ADDING_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Adds topics. They are part of the log once they hold its id.
    async fn try_add(&self, topics: &[Topic], creates: bool) -> Result<(), LogError> {
        let known = self.counts().clone();
        let new = in_order(topics.iter().filter(|topic| !known.contains_key(topic)).copied().collect());
        let Some(first) = known.keys().next().filter(|_| !new.is_empty()) else { return Ok(()) };
        let creatable = if creates { new.as_slice() } else { &[] };
        let counts = self::topics::ensure(&self.address, &new, Arc::clone(&self.metadata), creatable).await?;
        self.identify(&new, creatable, vec![(*first, self.id.clone())]).await?;
        let mut ends = Vector::default();
        for (topic, count) in &counts {
            for partition in (0..*count).map(|id| Partition { topic: *topic, id }) {
                let (low, high) = self.watermarks(partition).await?;
                check_begin(partition, low)?;
                ends.0.insert(partition, high);
            }
        }
        declare(&new);
        self.condition.note_opened(&ends);
        self.counts.write().unwrap_or_else(PoisonError::into_inner).extend(counts);
        Ok(())
    }

    fn counts(&self) -> RwLockReadGuard<'_, Counts> {
        self.counts.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn is_empty(&self, topic: Topic) -> Result<bool, LogError> {
        let partition = identity::partition(topic);
        let (low, high) = self.watermarks(partition).await?;
        check_begin(partition, low)?;
        Ok(high == 0)
    }

    /// The first offset of a partition, and the one after its last record.
    async fn watermarks(&self, partition: Partition) -> Result<(Offset, Offset), LogError> {
        let (metadata, name) = (Arc::clone(&self.metadata), partition.topic.full_name(&self.address.prefix));
        let marks = blocking(move || metadata.fetch_watermarks(&name, partition.id, CALL_MAX)).await?;
        marks.map_err(|e| LogError::Unavailable(format!("{}: {e}", self.address.brokers)))
    }

    async fn read_id(&self, topic: Topic) -> Result<String, LogError> {
        let mut reader = self.reader(&identity::start(topic))?;
        let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: CALL_MAX };
        blocking(move || identity::read(topic, reader.as_mut(), limits)).await?
    }
}

impl KafkaLog {
    /// Queries the high watermark of every partition, all within one time-out. A partition whose history was cut off is an
    /// error.
    fn fetch_end(&self, topics: &[Topic]) -> Result<Vector, LogError> {
        let (mut ends, began) = (Vector::default(), Instant::now());
        for partition in super::partitions(self).into_iter().filter(|it| topics.contains(&it.topic)) {
            let topic = partition.topic.full_name(&self.address.prefix);
            let left = CALL_MAX.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            let marks = self.metadata.fetch_watermarks(&topic, partition.id, left);
            let (low, high) = marks.map_err(|e| LogError::Unavailable(format!("no end of {partition}: {e}")))?;
            check_begin(partition, low)?;
            ends.0.insert(partition, high);
        }
        Ok(ends)
    }
}

/// Fails if a partition does not begin with its first record. Only a compacted topic may, where the first record is not the
/// log's id.
fn check_begin(partition: Partition, low: Offset) -> Result<(), LogError> {
    if low == 0 || (partition.topic.compacted() && partition != identity::partition(partition.topic)) {
        return Ok(());
    }
    Err(LogError::Damaged(format!(
        "{partition} begins at offset {low}: its history was cut off by retention, or its records were deleted; restore \
         the complete topic, or begin a new log with another topic prefix and other tables, without what this one held"
    )))
}

/// Topics without compaction come first: the first of them decides the id of a new log.
fn in_order(mut topics: Vec<Topic>) -> Vec<Topic> {
    topics.sort_by_key(|topic| (topic.compacted(), *topic));
    topics
}

/// Runs a call that blocks on the network outside of the async workers.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(call).await.map_err(|e| LogError::Unavailable(format!("a call to Kafka ended: {e}")))
}

fn configuration(error: KafkaError) -> LogError {
    LogError::Settings(format!("librdkafka refuses the configuration: {error}"))
}

impl Address {
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "daybook").set("socket.keepalive.enable", "true");
        // Reconnects within a second. librdkafka checks message time-outs only between two attempts to connect, which
        // are up to 10 s apart by default.
        config.set("reconnect.backoff.max.ms", "1000");
        for (option, value) in &self.options {
            config.set(option, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("socket.nagle.disable", "true");
        config
    }

    fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", (RECORD_BYTES_MAX + 64 * 1024).to_string())
            .set("queue.buffering.max.messages", "50000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("message.timeout.ms", "15000");
        if !self.options.contains_key("linger.ms") {
            config.set("linger.ms", "0");
        }
        config
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", "daybook-unused")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            // Records of aborted transactions are not events. The end is where open transactions begin, too.
            .set("isolation.level", "read_committed")
            .set("fetch.message.max.bytes", (RECORD_BYTES_MAX + 64 * 1024).to_string())
            .set("queued.max.messages.kbytes", "32768")
            .set("queued.min.messages", AHEAD_RECORDS)
            .set("fetch.queue.backoff.ms", "20")
            .set("check.crcs", "true");
        config
    }
}

impl EventLog for KafkaLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn topics(&self) -> Vec<Topic> {
        self.counts().keys().copied().collect()
    }

    fn add_topics<'a>(&'a self, topics: &'a [Topic], creates: bool) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(self.add(topics, creates))
    }

    fn partition_count(&self, topic: Topic) -> PartitionId {
        self.counts().get(&topic).copied().unwrap_or(1)
    }

    fn append_then(&self, records: Vec<NewRecord>, done: Done) {
        match super::too_large(&records, RECORD_BYTES_MAX) {
            Some(error) => done(Err(error)),
            None => self.queue.append(records, done),
        }
    }

    fn end(&self, topics: &[Topic]) -> Result<Vector, LogError> {
        let end = self.fetch_end(topics);
        self.condition.note_end(topics, end.as_ref().map_err(LogError::to_string));
        end
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(TopicReader::open(&self.address.consumer(), &self.address, from)?))
    }

    fn flush(&self, limit: Duration) {
        if let Err(error) = self.producer.flush(limit) {
            tracing::warn!(error = %error, "records were still in flight to Kafka at shutdown: {error}");
        }
    }

    fn failure(&self) -> Option<String> {
        self.condition.failure()
    }

    fn describe(&self) -> String {
        self.address.describe()
    }
}

/// A partition as librdkafka names it: its topic's full name, and its number.
fn name(address: &Address, partition: Partition) -> (String, PartitionId) {
    (partition.topic.full_name(&address.prefix), partition.id)
}
