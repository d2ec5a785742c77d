//! The log on Apache Kafka, or any broker that speaks its protocol, through librdkafka.
//!
//! Appends go out with `acks=all` and an idempotent producer (KIP-98), so that librdkafka's own retries neither lose,
//! repeat nor reorder. Options of the URL are handed to librdkafka as they are (security, SASL, TLS, tuning); those that
//! Daybook's promises rest on cannot be changed.

mod condition;
mod produce;
mod reader;
mod topics;
mod url;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daybook_schemas::{
    position::{Partition, PartitionId, Vector},
    topics::Topic,
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::Producer as _,
};

pub use self::url::{Address, InvalidUrl};
use crate::{
    append::now_ms,
    log::{
        Done, EventLog, LogError, NewRecord, ReadLimits, Reader, identity,
        kafka::{
            condition::Condition,
            produce::{DeliveryReports, ProduceQueue, Producer},
            reader::TopicReader,
            topics::Counts,
        },
    },
};

/// Largest value, inclusive; the topics are created with room for it.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Partitions of a topic that Daybook creates: two instances share them, and each costs the broker a request a round.
pub const PARTITIONS_DEFAULT: PartitionId = 2;
/// Records of a partition that a reader gets ahead, at most, beside 32 MB: what librdkafka keeps of each is several times its bytes.
const AHEAD_RECORDS: &str = "10000";
/// How long one call for metadata or watermarks may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// The log on Kafka.
pub struct KafkaLog {
    id: String,
    address: Address,
    producer: Producer,
    queue: ProduceQueue,
    /// Asks for watermarks.
    metadata: Arc<BaseConsumer>,
    counts: Counts,
    condition: Arc<Condition>,
}

impl KafkaLog {
    /// Connects, checks the topics' settings, and reads the log's id. Topics that are missing are made if `creates`, else
    /// that is an error.
    pub async fn open(address: Address, creates: bool) -> Result<Self, LogError> {
        let unavailable = |e: KafkaError| LogError::Unavailable(format!("{}: {e}", address.brokers));
        let metadata: Arc<BaseConsumer> = Arc::new(address.consumer().create().map_err(configuration)?);
        let counts = topics::ensure(&address, Arc::clone(&metadata), creates).await?;
        let producer: Producer = address.producer().create_with_context(DeliveryReports).map_err(configuration)?;
        let condition: Arc<Condition> = Arc::default();
        let queue = ProduceQueue::start(producer.clone(), &address.prefix, Arc::clone(&condition));
        let mut log =
            Self { id: String::new(), address: address.clone(), producer, queue, metadata, counts, condition };
        let end = blocking({
            let metadata = Arc::clone(&log.metadata);
            let topic = identity::PARTITION.topic.full_name(&address.prefix);
            move || metadata.fetch_watermarks(&topic, identity::PARTITION.id, CALL_MAX)
        });
        let (low, high) = end.await?.map_err(unavailable)?;
        if low > 0 {
            let text = format!("{} begins at offset {low}: history was cut off by retention", identity::PARTITION);
            return Err(LogError::Unusable(text));
        }
        if high == 0 && creates {
            let first = identity::first_record(now_ms())?;
            log.append(vec![first]).await.map_err(|e| LogError::Unavailable(e.to_string()))?;
        }
        let mut reader = log.reader(&identity::start())?;
        let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: CALL_MAX };
        log.id = blocking(move || identity::read(reader.as_mut(), limits)).await??;
        let log = tokio::task::spawn_blocking(move || log.end().map(|end| (log, end))).await;
        let (log, end) = log.map_err(|e| LogError::Unavailable(format!("a call to Kafka ended: {e}")))??;
        log.condition.note_opened(&end);
        Ok(log)
    }
}

impl KafkaLog {
    /// Asks every partition's leader where it ends, all within one time-out.
    fn fetch_end(&self) -> Result<Vector, LogError> {
        let (mut ends, began) = (Vector::default(), Instant::now());
        for partition in super::partitions(self) {
            let topic = partition.topic.full_name(&self.address.prefix);
            let left = CALL_MAX.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            let marks = self.metadata.fetch_watermarks(&topic, partition.id, left);
            let (_, high) = marks.map_err(|e| LogError::Unavailable(format!("no end of {partition}: {e}")))?;
            ends.0.insert(partition, high);
        }
        Ok(ends)
    }
}

/// Runs what blocks on the network away from the async workers.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(call).await.map_err(|e| LogError::Unavailable(format!("a call to Kafka ended: {e}")))
}

fn configuration(error: KafkaError) -> LogError {
    LogError::Unusable(format!("librdkafka refuses the configuration: {error}"))
}

impl Address {
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "daybook").set("socket.keepalive.enable", "true");
        // A broker that comes back is found within a second. What waits for one is given up no later either: librdkafka
        // looks at message time-outs between two attempts to connect, up to 10 s apart by default.
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

    fn partition_count(&self, topic: Topic) -> PartitionId {
        self.counts.of(topic)
    }

    fn append_then(&self, records: Vec<NewRecord>, done: Done) {
        match super::too_large(&records, RECORD_BYTES_MAX) {
            Some(error) => done(Err(error)),
            None => self.queue.append(records, done),
        }
    }

    fn end(&self) -> Result<Vector, LogError> {
        let end = self.fetch_end();
        self.condition.note_end(end.as_ref().map(|_| ()).map_err(LogError::to_string));
        end
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(TopicReader::open(&self.address.consumer(), &self.address, from)?))
    }

    fn flush(&self, limit: Duration) {
        if let Err(error) = self.producer.flush(limit) {
            tracing::warn!(error = %error, "records were still on their way to Kafka at shutdown: {error}");
        }
    }

    fn failure(&self) -> Option<String> {
        self.condition.failure()
    }

    fn describe(&self) -> String {
        format!("kafka, {}, topics {}.*", self.address.brokers, self.address.prefix)
    }
}

/// Where a partition's records are read from: its topic's full name and number.
fn name(address: &Address, partition: Partition) -> (String, PartitionId) {
    (partition.topic.full_name(&address.prefix), partition.id)
}
