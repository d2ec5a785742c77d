//! The log's identity: a `LogCreated` event as the first record of the first partition.
//!
//! Two processes that create a log at once may both write one; the record at offset 0 counts and later ones mean nothing.

use daybook_schemas::{
    Envelope, Event, codec,
    events::LogCreated,
    position::{Partition, Vector},
    topics::Topic,
};
use uuid::Uuid;

use crate::log::{LogError, NewRecord, ReadLimits, Reader};

/// The partition whose first record holds the id.
pub const PARTITION: Partition = Partition { topic: Topic::Events, id: 0 };

/// The vector from which a reader finds the id.
pub fn start() -> Vector {
    Vector([(PARTITION, 0)].into())
}

/// The record that gives a log its identity.
pub fn first_record(occurred_at: i64) -> Result<NewRecord, LogError> {
    let event = Event::LogCreated(LogCreated { log_id: Uuid::new_v4().to_string() });
    let key = event.key();
    let value = codec::encode(&Envelope::new(occurred_at, event)).map_err(|e| LogError::Unusable(e.to_string()))?;
    Ok(NewRecord { topic: PARTITION.topic, partition: PARTITION.id, key, value, headers: None })
}

/// Reads the id with a reader that stands at [`start`].
pub fn read(reader: &mut dyn Reader, limits: ReadLimits) -> Result<String, LogError> {
    let records = reader.read(limits)?;
    let first =
        records.first().ok_or_else(|| LogError::Unavailable("the first record did not come in time".to_owned()))?;
    if first.position.offset != 0 {
        return Err(LogError::Unusable(format!(
            "the first record is {}, not offset 0: history was cut off",
            first.position
        )));
    }
    match codec::decode(&first.value).map(|envelope| envelope.event) {
        Ok(Event::LogCreated(created)) => Ok(created.log_id),
        Ok(event) => Err(LogError::Unusable(format!("the first record is a {}, not a LogCreated", event.kind()))),
        Err(error) => Err(LogError::Unusable(format!("the first record is not Daybook's: {error}"))),
    }
}
