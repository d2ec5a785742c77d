//! Reads topics by position: partitions are assigned by hand, no consumer group and no committed offsets.

use std::time::{Duration, Instant};

use daybook_schemas::{
    Topic,
    position::{Partition, PartitionId, Position, Vector},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{Address, CALL_MAX, configuration, name};
use crate::log::{LogError, ReadLimits, Reader, Record};

pub(super) struct TopicReader {
    consumer: BaseConsumer,
    prefix: String,
    /// Full names of the topics, to find the topic of a message.
    names: Vec<(String, Topic)>,
    next: Vector,
}

impl TopicReader {
    pub(super) fn open(config: &ClientConfig, address: &Address, from: &Vector) -> Result<Self, LogError> {
        let consumer: BaseConsumer = config.create().map_err(configuration)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, next) in &from.0 {
            let (topic, id) = name(address, *partition);
            let added = assignment.add_partition_offset(&topic, id, Offset::Offset(*next));
            added.map_err(|e| LogError::Unusable(format!("cannot read {partition} from offset {next}: {e}")))?;
        }
        consumer.assign(&assignment).map_err(|e| LogError::Unavailable(e.to_string()))?;
        let mut topics: Vec<Topic> = from.0.keys().map(|partition| partition.topic).collect();
        topics.dedup();
        let names = topics.into_iter().map(|topic| (topic.full_name(&address.prefix), topic)).collect();
        Ok(Self { consumer, prefix: address.prefix.clone(), names, next: from.clone() })
    }

    /// A partition by its topic's full name and its number.
    fn partition(&self, name: &str, id: PartitionId) -> Option<Partition> {
        let topic = self.names.iter().find(|(known, _)| known == name).map(|(_, topic)| *topic)?;
        Some(Partition { topic, id })
    }

    /// Which offset is not in the log any more. librdkafka does not say: the one that is outside of what its partition
    /// holds now.
    fn gone(&self, error: &KafkaError) -> LogError {
        let began = Instant::now();
        for (partition, offset) in &self.next.0 {
            let name = partition.topic.full_name(&self.prefix);
            let left = CALL_MAX.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            match self.consumer.fetch_watermarks(&name, partition.id, left) {
                Ok((low, high)) if (low..=high).contains(offset) => {}
                Ok(_) => return LogError::OffsetGone(Position { partition: *partition, offset: *offset }),
                Err(failure) => return LogError::Unavailable(format!("no end of {partition}: {failure}")),
            }
        }
        LogError::Unavailable(error.to_string())
    }

    fn error(&self, error: &KafkaError) -> Option<LogError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Some(self.gone(error)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Some(LogError::Unusable(format!("a topic is gone: {error}")))
            }
            Some(
                RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve,
            ) => None,
            _ => Some(LogError::Unavailable(error.to_string())),
        }
    }
}

/// Milliseconds until a time, rounded up. The consumer waits for whole ones, and asks without a pause for the rest of one:
/// many idle readers would keep a processor busy.
fn until(time: Instant) -> Duration {
    let left = time.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))
}

impl Reader for TopicReader {
    fn read(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + limits.wait;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < limits.records_max && bytes < limits.bytes_max {
            let wait = if records.is_empty() { until(deadline) } else { Duration::ZERO };
            let polled = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => self.partition(message.topic(), message.partition()).map(|partition| Record {
                    position: Position { partition, offset: message.offset() },
                    key: message.key().map(Into::into),
                    value: message.payload().unwrap_or_default().into(),
                }),
                Some(Err(error)) => match self.error(&error) {
                    Some(error) => return Err(error),
                    None => continue,
                },
            };
            if let Some(record) = polled {
                bytes += record.value.len();
                self.next.0.insert(record.position.partition, record.position.offset + 1);
                records.push(record);
            }
        }
        Ok(records)
    }

    fn reached(&self) -> Vector {
        let mut reached = self.next.clone();
        // librdkafka's position is past markers, too; it knows none before the first message or marker.
        let Ok(positions) = self.consumer.position() else { return reached };
        for element in positions.elements() {
            if let (Some(partition), Offset::Offset(next)) =
                (self.partition(element.topic(), element.partition()), element.offset())
            {
                reached.0.entry(partition).and_modify(|known| *known = (*known).max(next));
            }
        }
        reached
    }
}
