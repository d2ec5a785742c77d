//! Bytes of a record's value: Confluent wire format (0x00, schema id as four bytes big-endian, Avro binary).
//!
//! The current version of a domain's schema is written and read with serde_avro_fast; tests check that apache-avro writes
//! and reads the same bytes. A former version is resolved against the current one by apache-avro (see [`crate::generic`]).

use serde_avro_fast::{
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::SerializerConfig,
};

use crate::{envelope::Envelope, event::Encoded, generic, registry::SchemaSet};

const MAGIC: u8 = 0;
/// Bytes of the magic byte and the schema id, before the Avro binary.
pub const HEADER_BYTES: usize = 5;
/// Longest array that is decoded: a bound against records that claim absurd lengths.
const ARRAY_ITEMS_MAX: usize = 1_000_000;

/// Why bytes cannot be decoded. Terminal, except for [`DecodeError::Newer`], which an upgrade fixes.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The value does not begin with the magic byte and a schema id.
    #[error("not in Confluent wire format")]
    WireFormat,
    /// The schema id belongs to the domain, but this program does not know it: a newer program wrote the record.
    #[error("schema id {id} of domain {domain} is newer than this program")]
    Newer {
        /// The schema id.
        id: u32,
        /// The domain that it belongs to.
        domain: &'static str,
    },
    /// No released schema has this id.
    #[error("unknown schema id {0}")]
    UnknownSchema(u32),
    /// The bytes do not follow the schema.
    #[error("bytes do not follow schema {id}: {reason}")]
    Avro {
        /// The schema id.
        id: u32,
        /// The decoder's reason.
        reason: String,
    },
    /// Bytes are left over after the event.
    #[error("{0} bytes after the end of the event")]
    Trailing(u64),
}

/// An event that cannot be written: a bug, as every event type has a released schema.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode event: {0}")]
pub struct EncodeError(String);

/// Encodes an event with its domain's current schema.
pub fn encode<E: Encoded>(envelope: &Envelope<E>) -> Result<Vec<u8>, EncodeError> {
    let current = E::schemas().current();
    let schema = current.fast().map_err(EncodeError)?;
    let mut value = Vec::with_capacity(256);
    value.push(MAGIC);
    value.extend_from_slice(&current.id.to_be_bytes());
    serde_avro_fast::to_datum(envelope, value, &mut SerializerConfig::new(schema))
        .map_err(|e| EncodeError(e.to_string()))
}

/// Decodes an event written with any released schema of its domain.
pub fn decode<E: Encoded>(value: &[u8]) -> Result<Envelope<E>, DecodeError> {
    decode_with(E::schemas(), value)
}

fn decode_with<E: Encoded>(set: &SchemaSet, value: &[u8]) -> Result<Envelope<E>, DecodeError> {
    let (id, datum) = split(value)?;
    let current = set.current();
    if id != current.id {
        let resolved = generic::resolve(set, id, datum)?;
        return serde_json::from_value(resolved).map_err(|e| DecodeError::Avro { id, reason: e.to_string() });
    }
    let avro = |reason: String| DecodeError::Avro { id, reason };
    let mut config = DeserializerConfig::new(current.fast().map_err(avro)?);
    config.max_seq_size = ARRAY_ITEMS_MAX;
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let envelope = serde::Deserialize::deserialize(state.deserializer());
    let envelope = envelope.map_err(|e| avro(e.to_string()))?;
    match std::io::copy(&mut state.into_reader(), &mut std::io::sink()) {
        Ok(0) => Ok(envelope),
        Ok(left) => Err(DecodeError::Trailing(left)),
        Err(error) => Err(avro(error.to_string())),
    }
}

/// The schema id of a value.
pub fn schema_id(value: &[u8]) -> Result<u32, DecodeError> {
    split(value).map(|(id, _)| id)
}

/// The schema id of a value, and the Avro binary after it.
pub(crate) fn split(value: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let (header, datum) = value.split_at_checked(HEADER_BYTES).ok_or(DecodeError::WireFormat)?;
    let [MAGIC, id @ ..] = header else { return Err(DecodeError::WireFormat) };
    let id = u32::from_be_bytes(id.try_into().map_err(|_| DecodeError::WireFormat)?);
    Ok((id, datum))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde::{Deserialize, Serialize};

    use super::*;

    const V1: &str = r#"{"type": "record", "name": "Happened", "namespace": "io.daybook.made_up", "fields": [
        {"name": "what", "type": "string"}, {"name": "count", "type": "int"}]}"#;
    /// `count` is wider, and `where` is new.
    const V2: &str = r#"{"type": "record", "name": "Happened", "namespace": "io.daybook.made_up", "fields": [
        {"name": "where", "type": "string", "default": "here"}, {"name": "what", "type": "string"},
        {"name": "count", "type": "long"}]}"#;
    /// Differs from the first event only in its name, by which branches of a union are matched.
    const OTHER: &str = r#"{"type": "record", "name": "Repeated", "namespace": "io.daybook.made_up", "fields": [
        {"name": "what", "type": "string"}, {"name": "count", "type": "int"}]}"#;

    static OLD_SET: LazyLock<SchemaSet> = LazyLock::new(|| SchemaSet::new("made_up", 900..910, &[&[OTHER, V1]]));
    static NEW_SET: LazyLock<SchemaSet> =
        LazyLock::new(|| SchemaSet::new("made_up", 900..910, &[&[OTHER, V1], &[OTHER, V2]]));

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct OldHappened {
        what: String,
        count: i32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Old {
        #[serde(alias = "io.daybook.made_up.Happened")]
        Happened(OldHappened),
        #[serde(alias = "io.daybook.made_up.Repeated")]
        Repeated(OldHappened),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NewHappened {
        r#where: String,
        what: String,
        count: i64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum New {
        #[serde(alias = "io.daybook.made_up.Happened")]
        Happened(NewHappened),
        #[serde(alias = "io.daybook.made_up.Repeated")]
        Repeated(OldHappened),
    }

    impl Encoded for Old {
        fn schemas() -> &'static SchemaSet {
            &OLD_SET
        }
        fn kind(&self) -> &'static str {
            "made up"
        }
    }

    impl Encoded for New {
        fn schemas() -> &'static SchemaSet {
            &NEW_SET
        }
        fn kind(&self) -> &'static str {
            "made up"
        }
    }

    #[test]
    fn a_second_version_reads_both_and_the_first_says_that_it_is_too_old() {
        let old = OldHappened { what: "ä".to_owned(), count: -7 };
        let written = Envelope::new(5, Old::Happened(old.clone()));
        let bytes = encode(&written).expect("encodes");
        let read: Envelope<New> = decode(&bytes).expect("the second version reads the first");
        let expected = NewHappened { r#where: "here".to_owned(), what: "ä".to_owned(), count: -7 };
        assert_eq!((read.event, read.event_id), (New::Happened(expected), written.event_id));
        let repeated = encode(&Envelope::new(5, Old::Repeated(old.clone()))).expect("encodes");
        let read: Envelope<New> = decode(&repeated).expect("decodes");
        assert_eq!(read.event, New::Repeated(old));
        let new = NewHappened { r#where: "there".to_owned(), what: "b".to_owned(), count: 1 << 40 };
        let bytes = encode(&Envelope::new(5, New::Happened(new.clone()))).expect("encodes");
        assert_eq!(decode::<New>(&bytes).map(|it| it.event).ok(), Some(New::Happened(new)));
        assert!(matches!(decode::<Old>(&bytes), Err(DecodeError::Newer { id: 901, domain: "made_up" })));
    }
}
