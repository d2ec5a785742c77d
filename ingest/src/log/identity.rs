//! A log's identity: a `LogCreated` event as the first record of each topic's first partition.
//!
//! All topics of a log hold the same id, so a topic that was recreated, or belongs to another log, is detected. Two
//! processes that create a log concurrently agree on the id: both read the record at offset 0 of the same topic.

use std::fmt;

use daybook_schemas::{
    Envelope, Topic, codec,
    core::{CoreEvent, LogCreated},
    position::{Partition, Vector},
};
use uuid::Uuid;

use crate::log::{LogError, NewRecord, ReadLimits, Reader};

/// A fresh id.
pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The partition whose first record holds the id.
pub(super) const fn partition(topic: Topic) -> Partition {
    Partition { topic, id: 0 }
}

/// The vector from which a reader finds a topic's id.
pub(super) fn start(topic: Topic) -> Vector {
    Vector([(partition(topic), 0)].into())
}

/// The first record of a topic. Its key is its own, so that compaction never removes it.
pub(super) fn first_record(topic: Topic, log_id: &str, occurred_at: i64) -> Result<NewRecord, LogError> {
    let event = CoreEvent::LogCreated(LogCreated { log_id: log_id.to_owned() });
    let envelope = Envelope::new(occurred_at, event);
    let key = format!("daybook/{}", envelope.event_id);
    let value = codec::encode(&envelope).map_err(|e| LogError::Unusable(e.to_string()))?;
    Ok(NewRecord { topic, partition: partition(topic).id, key, value, headers: None })
}

/// Reads the id with a reader that was opened at [`start`].
pub(super) fn read(topic: Topic, reader: &mut dyn Reader, limits: ReadLimits) -> Result<String, LogError> {
    let records = reader.read(limits)?;
    let late = || LogError::Unavailable(format!("timed out reading the first record of topic {topic}"));
    let first = records.first().ok_or_else(late)?;
    if first.position.offset != 0 {
        return Err(begins_otherwise(topic, &format_args!("its first record is {}", first.position)));
    }
    match codec::decode::<CoreEvent>(&first.value) {
        Ok(Envelope { event: CoreEvent::LogCreated(created), .. }) => Ok(created.log_id),
        Err(error) => Err(begins_otherwise(topic, &format_args!("its first record holds no id of a log: {error}"))),
    }
}

/// The error for a topic without Daybook's first record.
fn begins_otherwise(topic: Topic, found: &dyn fmt::Display) -> LogError {
    LogError::Unusable(format!(
        "the beginning of topic {topic} is gone ({found}): the topic was cut, or deleted and created again, or it is \
         not Daybook's; restore the complete log, or delete the topic and empty the tables: it is created anew, the \
         tables are filled from the log as it is, and what the topic held is lost"
    ))
}

/// The id that all topics with an id share.
pub(super) fn agree(ids: &[(Topic, String)]) -> Result<Option<String>, LogError> {
    let Some((first, id)) = ids.first() else { return Ok(None) };
    match ids.iter().find(|(_, other)| other != id) {
        None => Ok(Some(id.clone())),
        Some((topic, other)) => Err(LogError::Unusable(format!(
            "topic {topic} belongs to log {other}, but topic {first} to log {id}: one of them was recreated or copied"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daybook_schemas::{position::Position, topics::Declaration};

    use super::*;
    use crate::log::Record;

    const A: Topic = Topic::new(&Declaration { name: "a", compacted: false, partitions: 1 });
    const B: Topic = Topic::new(&Declaration { name: "b", compacted: true, partitions: 1 });

    /// Returns one record.
    struct One(Record);

    impl Reader for One {
        fn read(&mut self, _limits: ReadLimits) -> Result<Vec<Record>, LogError> {
            Ok(vec![self.0.clone()])
        }

        fn reached(&self) -> Vector {
            start(A)
        }
    }

    #[test]
    fn a_topic_without_its_beginning_is_refused_with_the_ways_out() {
        let limits = ReadLimits { records_max: 1, bytes_max: 1, wait: Duration::ZERO };
        for (offset, found) in [(0, "holds no id of a log"), (3, "its first record is a/0@3")] {
            let position = Position { partition: partition(A), offset };
            let record = Record { position, key: None, value: b"\0\0\0\0\x64{}".as_slice().into() };
            let refusal = read(A, &mut One(record), limits).map_err(|error| error.to_string());
            let has = |text: &str| refusal.as_ref().is_err_and(|refusal| refusal.contains(text));
            assert!(has("the beginning of topic a is gone") && has(found) && has("empty the tables"), "{refusal:?}");
        }
    }

    #[test]
    fn topics_of_one_log_have_one_id() {
        let ids = |a: &str, b: &str| [(A, a.to_owned()), (B, b.to_owned())];
        assert_eq!(agree(&[]).ok(), Some(None));
        assert_eq!(agree(&ids("x", "x")).ok(), Some(Some("x".to_owned())));
        assert!(agree(&ids("x", "y")).is_err_and(|error| error.to_string().contains("topic b belongs to log y")));
    }
}
