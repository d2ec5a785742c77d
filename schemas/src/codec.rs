//! Bytes of a record's value: Confluent wire format (0x00, schema id as four bytes big-endian, Avro binary).
//!
//! Written and read with serde_avro_fast; apache-avro judges the same bytes in the tests of this module. Reading
//! dispatches on the schema id, so that each released version is decoded by its own writer schema and then upcast.

use std::sync::LazyLock;

use serde_avro_fast::{
    Schema,
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::SerializerConfig,
};

use crate::{envelope::Envelope, registry};

const MAGIC: u8 = 0;
const HEADER_BYTES: usize = 5;
/// Longest array that is decoded: a bound against records that claim absurd lengths.
const ARRAY_ITEMS_MAX: usize = 1_000_000;

static SCHEMAS: LazyLock<Vec<(u32, Schema)>> = LazyLock::new(|| {
    let parse = |text: &str| text.parse().expect("a released schema parses: each is parsed by a test");
    registry::released().iter().map(|released| (released.id, parse(&released.text))).collect()
});

/// Why bytes are not an event. All variants are terminal: the same bytes fail again.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The value does not begin with the magic byte and a schema id.
    #[error("not in Confluent wire format")]
    WireFormat,
    /// No released schema has this id.
    #[error("unknown schema id {0}")]
    UnknownSchema(u32),
    /// The bytes do not follow the schema.
    #[error("bytes do not follow schema {id}: {reason}")]
    Avro {
        /// The schema id.
        id: u32,
        /// What the decoder says.
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

/// Encodes an event with the current schema.
pub fn encode(envelope: &Envelope) -> Result<Vec<u8>, EncodeError> {
    let (id, schema) = &SCHEMAS[SCHEMAS.len() - 1];
    let mut value = Vec::with_capacity(256);
    value.push(MAGIC);
    value.extend_from_slice(&id.to_be_bytes());
    serde_avro_fast::to_datum(envelope, value, &mut SerializerConfig::new(schema))
        .map_err(|e| EncodeError(e.to_string()))
}

/// Decodes an event written with any released schema.
pub fn decode(value: &[u8]) -> Result<Envelope, DecodeError> {
    let (header, datum) = value.split_at_checked(HEADER_BYTES).ok_or(DecodeError::WireFormat)?;
    let [MAGIC, id @ ..] = header else { return Err(DecodeError::WireFormat) };
    let id = u32::from_be_bytes(id.try_into().map_err(|_| DecodeError::WireFormat)?);
    let schema = SCHEMAS.iter().find(|(known, _)| *known == id).map(|(_, schema)| schema);
    let mut config = DeserializerConfig::new(schema.ok_or(DecodeError::UnknownSchema(id))?);
    config.max_seq_size = ARRAY_ITEMS_MAX;
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let envelope = serde::Deserialize::deserialize(state.deserializer());
    let envelope = envelope.map_err(|e| DecodeError::Avro { id, reason: e.to_string() })?;
    match std::io::copy(&mut state.into_reader(), &mut std::io::sink()) {
        Ok(0) => Ok(envelope),
        Ok(left) => Err(DecodeError::Trailing(left)),
        Err(error) => Err(DecodeError::Avro { id, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use apache_avro::{Schema as Judge, from_avro_datum, to_avro_datum, types::Value};

    use super::{samples::samples, *};
    use crate::events::Event;

    fn envelope(event: Event) -> Envelope {
        Envelope {
            event_id: "01890a5d-ac96-774b-bcce-b302099a8058".into(),
            occurred_at: 1_795_317_569_646,
            actor: Some("ann".into()),
            request_id: Some("r-1".into()),
            trace_parent: None,
            idempotency_key: Some("k".into()),
            event,
        }
    }

    #[test]
    fn apache_avro_reads_and_writes_the_same_bytes() {
        let judge = Judge::parse_str(&registry::current().text).expect("the current schema parses");
        for (name, event) in samples() {
            let bytes = encode(&envelope(event.clone())).expect("encodes");
            let value = from_avro_datum(&judge, &mut &bytes[HEADER_BYTES..], None).expect("apache-avro decodes");
            assert_eq!(
                to_avro_datum(&judge, value.clone()).expect("apache-avro encodes"),
                bytes[HEADER_BYTES..],
                "{name}"
            );
            let Value::Record(fields) = value else { panic!("{name}: not a record") };
            let Some((_, Value::Union(_, union))) = fields.last() else { panic!("{name}: no union") };
            let judged = serde_json::Value::try_from((**union).clone()).expect("becomes JSON");
            let ours = serde_json::to_value(&event).expect("becomes JSON");
            assert_eq!(judged, ours[event.kind()], "{name}");
        }
    }

    #[test]
    fn golden_bytes_of_every_event_decode_and_are_what_is_written() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/events/v1");
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).map_or_else(|_| vec![], |dir| dir.flatten().map(|it| it.path()).collect());
        for (name, event) in samples() {
            let (path, envelope) = (folder.join(format!("{name}.avro")), envelope(event));
            let bytes = encode(&envelope).expect("encodes");
            if update {
                std::fs::create_dir_all(&folder)
                    .and_then(|()| std::fs::write(&path, &bytes))
                    .expect("golden file is written");
            }
            let golden = std::fs::read(&path).expect("golden file exists (UPDATE_GOLDEN=1 writes it)");
            assert_eq!(golden, bytes, "{name}: written bytes changed");
            assert_eq!(decode(&golden).expect("golden bytes decode"), envelope, "{name}");
            files.retain(|file| *file != path);
        }
        assert!(update || files.is_empty(), "golden files that no event refers to: {files:?}");
    }

    #[test]
    fn bytes_that_are_no_event_are_refused() {
        let good = encode(&envelope(samples().remove(0).1)).expect("encodes");
        assert!(matches!(decode(b""), Err(DecodeError::WireFormat)));
        assert!(matches!(decode(b"{\"json\": true}"), Err(DecodeError::WireFormat)));
        assert!(matches!(decode(&[0, 0, 0, 0, 77, 1]), Err(DecodeError::UnknownSchema(77))));
        assert!(matches!(decode(&[&good[..], b"x"].concat()), Err(DecodeError::Trailing(1))));
        for cut in HEADER_BYTES..good.len() {
            assert!(matches!(decode(&good[..cut]), Err(DecodeError::Avro { .. })), "cut at {cut} was accepted");
        }
    }

    #[test]
    fn no_single_flipped_byte_panics() {
        for (_, event) in samples() {
            let good = encode(&envelope(event)).expect("encodes");
            for index in 0..good.len() {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[index] ^= 1 << bit;
                    let _outcome = decode(&bad);
                }
            }
        }
    }
}
