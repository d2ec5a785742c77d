//! The fold of a collection's records: how they are grouped into batches must not show in the tables (I5), and both
//! engines give the same rows.

use std::sync::Arc;

use daybook_catalogue::{
    definition::Definition,
    record::content_hash,
    records::{
        self,
        events::{Event, RecordFlagged, RecordReinstated, RecordRemoved, RecordTakenDown, RecordUpserted, topic},
    },
    values::canonical::canonical_json,
};
use daybook_projector::{
    generation,
    projection::{Decoded, Projection},
    tables::{Cell, Params, Row, Statement, Store, Tables},
};
use daybook_schemas::{Envelope, position::Position, topics};
use daybook_tests::random::Random;
use serde_json::{Map, Value, json};

use crate::{
    fold::record,
    tables::{blocking, places},
};

const DEFINITION: &str = r#"
collection = "folded"
key = "id"
[fields]
id = "text"
source = "text"
title = { type = "text", merge = "newest-non-null" }
width = { type = "int", default = 7 }
ratio = "double"
made_at = "timestamp"
tags = { type = "json", merge = "merge-object" }
words = { type = "text[]", merge = "merge-array" }
is_open = "bool"
"#;

static STATES: Statement = Statement {
    name: "states",
    postgres: "SELECT record_id, revision, raw, flags, takedown, removed, content_hash, record_offset \
        FROM record_state ORDER BY record_id",
    sqlite: "SELECT record_id, revision, raw, flags, takedown, removed, content_hash, record_offset \
        FROM record_state ORDER BY record_id",
    columns: None,
};
static ROWS: Statement = Statement {
    name: "rows",
    postgres: "SELECT record_id, revision, flags, source, title, width::BIGINT, ratio, tags::TEXT, \
        TO_JSON(words)::TEXT, CASE WHEN is_open THEN 1::BIGINT WHEN NOT is_open THEN 0::BIGINT END, record_offset \
        FROM records ORDER BY record_id",
    sqlite: "SELECT record_id, revision, flags, source, title, width, ratio, tags, words, is_open, record_offset \
        FROM records ORDER BY record_id",
    columns: None,
};

fn definition() -> Arc<Definition> {
    Arc::new(Definition::parse_toml(DEFINITION).unwrap_or_else(|faults| panic!("{faults:?}")))
}

/// Some fields of a record, with values that differ from time to time.
fn fields(random: &mut Random, record_id: &str) -> Map<String, Value> {
    let mut fields = Map::from_iter([("id".to_owned(), json!(record_id))]);
    let values = [
        ("source", json!(["eol", "flickr"][random.below(2)])),
        ("title", [Value::Null, json!("one"), json!("two \"quoted\" \u{1f980}")][random.below(3)].clone()),
        ("width", json!(random.below(3))),
        ("ratio", json!([0.1, 3.0, -1.5e-7][random.below(3)])),
        ("made_at", json!("2018-11-09T10:31:06.910001Z")),
        ("tags", json!({"a": random.below(3), "b": [null, "x"]})),
        ("words", json!([["one"], ["two"], ["one"]][random.below(3)])),
        ("is_open", json!(random.below(2) == 0)),
    ];
    for (name, value) in values {
        if random.below(3) > 0 {
            fields.insert(name.to_owned(), value);
        }
    }
    fields
}

fn random_log(definition: &Definition, random: &mut Random) -> Vec<Decoded<Event>> {
    let mut decoded = |offset: i64| {
        let record_id = format!("r{}", random.below(6));
        let collection = "folded".to_owned();
        let (import_id, source, cursor) = (None, None, None);
        let event = match random.below(9) {
            0 => Event::RecordRemoved(RecordRemoved {
                collection,
                record_id,
                cause: "operator".to_owned(),
                import_id,
                source,
                cursor,
            }),
            1 => Event::RecordTakenDown(RecordTakenDown {
                collection,
                record_id,
                reason: ["licence", "privacy"][random.below(2)].to_owned(),
                reference: None,
            }),
            2 => Event::RecordReinstated(RecordReinstated { collection, record_id, reason: None, reference: None }),
            3 => Event::RecordFlagged(RecordFlagged {
                collection,
                record_id,
                flag: "mature".to_owned(),
                value: random.below(2) == 0,
                reason: None,
            }),
            4 => Event::RecordUpserted(RecordUpserted {
                collection,
                record_id,
                // Not as the type of the field has it.
                fields: json!({"width": "wide"}).to_string(),
                content_hash: "x".to_owned(),
                merge: false,
                import_id,
                source,
                cursor,
            }),
            kind => {
                let fields = fields(random, &record_id);
                Event::RecordUpserted(RecordUpserted {
                    collection,
                    record_id,
                    content_hash: content_hash(&fields, definition),
                    fields: canonical_json(&Value::Object(fields)),
                    merge: kind == 5,
                    import_id,
                    source,
                    cursor,
                })
            }
        };
        let position = Position::new(topic("folded"), 0, offset);
        Decoded { position, envelope: Envelope::new(1_700_000_000_000, event) }
    };
    (0..400).map(&mut decoded).collect()
}

async fn make(store: &dyn Store, schema: &str, projection: &dyn Projection) -> Arc<dyn Tables> {
    let definition = generation::definition(projection).unwrap_or_else(|error| panic!("{error}"));
    store.create(schema, &definition).await.unwrap_or_else(|error| panic!("{error}"));
    store.open(schema).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Folds a log in batches of a size; returns what was rejected, and all rows.
async fn fold(
    tables: Arc<dyn Tables>,
    projection: Arc<dyn Projection>,
    log: Vec<Decoded<Event>>,
    size: usize,
) -> Vec<String> {
    blocking(move || {
        let mut lines = Vec::new();
        for batch in log.chunks(size) {
            let records: Vec<_> = batch.iter().map(record).collect();
            let batch = projection.batch(&records, &|_| 1).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(batch.rejected(), []);
            let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
            let report = batch.apply(transaction.as_mut()).unwrap_or_else(|error| panic!("{error}"));
            transaction.commit().unwrap_or_else(|error| panic!("{error}"));
            lines.extend(report.rejected.iter().map(|it| format!("rejected {}: {}", it.position, it.reason)));
            let mut lost: Vec<String> = report.lost.iter().map(|position| format!("lost {position}")).collect();
            lost.sort();
            lines.extend(lost);
        }
        lines.sort();
        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
        for dump in [&STATES, &ROWS] {
            let rows = transaction.read(dump, &Params::One(Vec::new())).unwrap_or_else(|error| panic!("{error}"));
            let cell = |cell: &Cell| match cell {
                cell if cell.is_null() => "null".to_owned(),
                Cell::Int(Some(value)) => value.to_string(),
                other => format!("{other:?}"),
            };
            let line = |row: &Row| row.0.iter().map(cell).collect::<Vec<_>>().join(" ");
            lines.extend(rows.iter().map(|row| format!("{} {}", dump.name, line(row))));
        }
        lines
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_do_not_show_in_records_and_engines_agree() {
    topics::declare(&[topic("folded")]);
    let definition = definition();
    let parts = records::parts(Arc::clone(&definition)).unwrap_or_else(|error| panic!("{error}"));
    let mut random = Random::seeded("records");
    for log in (0..3).map(|_| random_log(&definition, &mut random)).collect::<Vec<_>>() {
        let mut expected: Option<Vec<String>> = None;
        for place in places("records") {
            for size in [1, 7, 400] {
                let schema = place.store.schema("folded", i64::try_from(size).unwrap_or(0));
                let tables = make(place.store.as_ref(), &schema, parts.projection.as_ref()).await;
                let lines = fold(tables, Arc::clone(&parts.projection), log.clone(), size).await;
                assert!(lines.iter().any(|line| line.starts_with("rows ")), "no record is shown: {lines:?}");
                assert!(lines.iter().any(|line| line.starts_with("rejected ")), "nothing is refused: {lines:?}");
                let expected = expected.get_or_insert_with(|| lines.clone());
                assert_eq!(*expected, lines, "{}, batches of {size}", place.store.describe());
            }
        }
    }
}
