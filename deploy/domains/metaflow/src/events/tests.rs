//! Tests of the released schemas and of the bytes that they are written in.

use apache_avro::{Schema as AvroSchema, from_avro_datum, to_avro_datum, types::Value};
use daybook_schemas::{
    Envelope,
    codec::{DecodeError, HEADER_BYTES, decode, encode},
    event::Encoded,
    generic::SchemaSets,
    registry,
};

use super::{samples::samples, *};

fn envelope(event: Event) -> Envelope<Event> {
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
fn released_schemas_never_change_and_read_what_was_written_before() {
    assert_eq!(registry::check_released(&SCHEMAS, &[(100, 1, "e99047cc55fc45ca")]), Ok(()));
}

#[test]
fn apache_avro_reads_and_writes_the_same_bytes() {
    let reference = AvroSchema::parse_str(&SCHEMAS.current().text).expect("the current schema parses");
    let sets = SchemaSets(vec![&SCHEMAS]);
    for (name, event) in samples() {
        let bytes = encode(&envelope(event.clone())).expect("encodes");
        let value = from_avro_datum(&reference, &mut &bytes[HEADER_BYTES..], None).expect("apache-avro decodes");
        assert_eq!(
            to_avro_datum(&reference, value.clone()).expect("apache-avro encodes"),
            bytes[HEADER_BYTES..],
            "{name}"
        );
        let Value::Record(fields) = value else { panic!("{name}: not a record") };
        let Some((_, Value::Union(_, union))) = fields.last() else { panic!("{name}: no union") };
        let judged = serde_json::Value::try_from((**union).clone()).expect("becomes JSON");
        let ours = serde_json::to_value(&event).expect("becomes JSON");
        assert_eq!(judged, ours[event.kind()], "{name}");
        let generic = sets.decode(&bytes).expect("decodes without the types");
        let fields: serde_json::Value = serde_json::from_str(&generic.event).expect("is JSON");
        assert_eq!((generic.kind.as_str(), fields), (event.kind(), judged), "{name}");
        assert_eq!(generic.envelope["actor"], "ann");
    }
}

#[test]
fn golden_bytes_of_every_event_decode_and_are_what_is_written() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/events/metaflow/v1");
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
        assert_eq!(decode::<Event>(&golden).expect("golden bytes decode"), envelope, "{name}");
        files.retain(|file| *file != path);
    }
    assert!(update || files.is_empty(), "golden files that no event refers to: {files:?}");
}

#[test]
fn bytes_that_are_no_event_are_refused() {
    let good = encode(&envelope(samples().remove(0).1)).expect("encodes");
    let decode = decode::<Event>;
    assert!(matches!(decode(b""), Err(DecodeError::WireFormat)));
    assert!(matches!(decode(b"{\"json\": true}"), Err(DecodeError::WireFormat)));
    assert!(matches!(decode(&[0, 0, 0, 0, 77, 1]), Err(DecodeError::UnknownSchema(77))));
    assert!(matches!(decode(&[0, 0, 0, 0, 177, 1]), Err(DecodeError::Newer { id: 177, .. })));
    assert!(matches!(decode(&[&good[..], b"x"].concat()), Err(DecodeError::Trailing(1))));
    for cut in HEADER_BYTES..good.len() {
        assert!(matches!(decode(&good[..cut]), Err(DecodeError::Avro { .. })), "cut at {cut} was accepted");
    }
}

#[test]
fn no_single_flipped_byte_panics() {
    let sets = SchemaSets(vec![&SCHEMAS]);
    for (_, event) in samples() {
        let good = encode(&envelope(event)).expect("encodes");
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                let _outcome = decode::<Event>(&bad);
                let _outcome = sets.decode(&bad);
            }
        }
    }
}
