//! The fold of a collection's records: how they are grouped into batches must not show in the tables (I5), and both
//! engines give the same rows.

use std::sync::Arc;

use daybook_catalogue::{
    definition::Definition,
    record::content_hash,
    records::{
        self,
        events::{
            Event, RecordFieldsSet, RecordFlagged, RecordReinstated, RecordRemoved, RecordTakenDown, RecordUpserted,
            topic,
        },
    },
    values::canonical::canonical_json,
};
use daybook_projector::{
    generation,
    projection::{Decoded, Projection},
    tables::{Cell, Column, Params, Row, Statement, Store, Tables},
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
views = { type = "int", owner = "api", default = 0 }
[clean]
rules = [{ id = "titles", kind = "sanitize-text", fields = ["title"] }]
[[tables]]
name = "sets"
from = "tags"
key = ["a"]
"#;

static STATES: Statement = Statement {
    name: "states",
    postgres: "SELECT record_id, revision, raw, api, flags, takedown, removed, content_hash, changed_at, record_offset \
        FROM record_state ORDER BY record_id",
    sqlite: "SELECT record_id, revision, raw, api, flags, takedown, removed, content_hash, changed_at, record_offset \
        FROM record_state ORDER BY record_id",
    columns: None,
};
static ROWS: Statement = Statement {
    name: "rows",
    postgres: "SELECT record_id, revision, flags, source, title, width::BIGINT, ratio, tags::TEXT, \
        TO_JSON(words)::TEXT, CASE WHEN is_open THEN 1::BIGINT WHEN NOT is_open THEN 0::BIGINT END, views::BIGINT, \
        record_offset \
        FROM records ORDER BY record_id",
    sqlite: "SELECT record_id, revision, flags, source, title, width, ratio, tags, words, is_open, views, \
        record_offset \
        FROM records ORDER BY record_id",
    columns: None,
};

static FURTHER: Statement = Statement {
    name: "further",
    postgres: "SELECT table_name, record_id, row_key, content FROM further_rows ORDER BY table_name, record_id",
    sqlite: "SELECT table_name, record_id, row_key, content FROM further_rows ORDER BY table_name, record_id",
    columns: None,
};

/// The definition of the collection of these tests.
pub(crate) fn definition() -> Arc<Definition> {
    Arc::new(Definition::parse(DEFINITION).unwrap_or_else(|faults| panic!("{faults:?}")))
}

/// Some fields of a record, with values that differ from time to time.
fn fields(random: &mut Random, record_id: &str) -> Map<String, Value> {
    let mut fields = Map::from_iter([("id".to_owned(), json!(record_id))]);
    let values = [
        ("source", json!(["eol", "flickr"][random.below(2)])),
        ("title", [Value::Null, json!("one"), json!("l'eau  \"quoted\"  \u{1f980}")][random.below(3)].clone()),
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
        let event = match random.below(11) {
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
            4 | 5 => Event::RecordFieldsSet(RecordFieldsSet {
                collection,
                record_id,
                // The last one is not as the type of the field has it.
                fields: json!({"views": ([json!(1), json!(2), json!("many")][random.below(3)])}).to_string(),
            }),
            6 => Event::RecordUpserted(RecordUpserted {
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
                    merge: kind == 7,
                    import_id,
                    source,
                    cursor,
                })
            }
        };
        let position = Position::new(topic("folded"), 0, offset);
        Decoded { position, envelope: Envelope::new(1_700_000_000_000 + offset, event) }
    };
    let mut log: Vec<_> = (0..400).map(&mut decoded).collect();
    // One that is shown and has a row of the further table, whatever became of the others.
    let last = json!({"id": "shown", "tags": {"a": 1}});
    let (position, shown) = (Position::new(topic("folded"), 0, 400), upserted(definition, &last));
    log.push(Decoded { position, envelope: Envelope::new(1_700_000_000_400, shown) });
    log
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
        for dump in [&STATES, &ROWS, &FURTHER] {
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
    let parts = records::parts(1, Arc::clone(&definition)).unwrap_or_else(|error| panic!("{error}"));
    let mut random = Random::seeded("records");
    for log in (0..3).map(|_| random_log(&definition, &mut random)).collect::<Vec<_>>() {
        let mut expected: Option<Vec<String>> = None;
        for place in places("records") {
            for size in [1, 7, 500] {
                let schema = place.store.schema("folded", i64::try_from(size).unwrap_or(0));
                let tables = make(place.store.as_ref(), &schema, parts.projection.as_ref()).await;
                let lines = fold(tables, Arc::clone(&parts.projection), log.clone(), size).await;
                for kind in ["rows ", "further "] {
                    assert!(lines.iter().any(|line| line.starts_with(kind)), "there are no {kind}: {lines:?}");
                }
                assert!(lines.iter().any(|line| line.starts_with("rejected ")), "nothing is refused: {lines:?}");
                let is_raw = |line: &&String| line.starts_with("rows ") && line.contains("  ");
                assert_eq!(
                    lines.iter().find(is_raw),
                    None,
                    "{}, batches of {size}: a rule left it out",
                    place.store.describe()
                );
                let expected = expected.get_or_insert_with(|| lines.clone());
                assert_eq!(*expected, lines, "{}, batches of {size}", place.store.describe());
            }
        }
    }
}

/// An upsert of a whole record.
pub(crate) fn upserted(definition: &Definition, given: &Value) -> Event {
    let Value::Object(fields) = given else { panic!("{given} is no object") };
    Event::RecordUpserted(RecordUpserted {
        collection: "folded".to_owned(),
        record_id: given["id"].as_str().unwrap_or_default().to_owned(),
        content_hash: content_hash(fields, definition),
        fields: canonical_json(given),
        merge: false,
        import_id: None,
        source: None,
        cursor: None,
    })
}

fn log_of(events: Vec<Event>) -> Vec<Decoded<Event>> {
    let decoded = |(offset, event)| {
        let position = Position::new(topic("folded"), 0, offset);
        Decoded { position, envelope: Envelope::new(1_700_000_000_000, event) }
    };
    (0..).zip(events).map(decoded).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_that_changes_nothing_is_the_last_one_all_the_same() {
    topics::declare(&[topic("folded")]);
    let definition = definition();
    let parts = records::parts(1, Arc::clone(&definition)).unwrap_or_else(|error| panic!("{error}"));
    // The title is kept, so the second changes nothing.
    let (first, second) = (json!({"id": "r", "title": "one"}), json!({"id": "r", "title": null}));
    let log = log_of(vec![upserted(&definition, &first), upserted(&definition, &second)]);
    let Value::Object(fields) = &second else { panic!("no object") };
    let hash = content_hash(fields, &definition);
    for place in places("repeated") {
        for size in [1, 2] {
            let schema = place.store.schema("folded", i64::try_from(size).unwrap_or(0));
            let tables = make(place.store.as_ref(), &schema, parts.projection.as_ref()).await;
            let lines = fold(tables, Arc::clone(&parts.projection), log.clone(), size).await;
            assert!(lines.contains(&format!("lost {}", log[1].position)), "{lines:?}");
            let state = lines.iter().find(|line| line.starts_with("states ")).map(String::as_str).unwrap_or_default();
            assert!(state.contains(&hash), "{}, batches of {size}: {state}", place.store.describe());
            assert!(state.contains("\"r\")) 1 "), "the revision grew: {state}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_agree_on_a_long_source_whether_it_has_an_index_or_not() {
    topics::declare(&[topic("folded")]);
    let mut random = Random::seeded("long sources");
    let long: String =
        (0..4096).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[random.below(36)])).collect();
    for (source, is_stored) in [("\"text\"", true), ("{ type = \"text\", max_length = 80 }", false)] {
        let text = DEFINITION.replace("source = \"text\"", &format!("source = {source}"));
        let definition = Definition::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let definition = Arc::new(definition);
        let parts = records::parts(1, Arc::clone(&definition)).unwrap_or_else(|error| panic!("{error}"));
        let events = [json!({"id": "a", "source": long}), json!({"id": "b", "source": "eol"})];
        let log = log_of(events.iter().map(|given| upserted(&definition, given)).collect());
        let mut found = Vec::new();
        for place in places("sources") {
            let schema = place.store.schema("folded", 1);
            let tables = make(place.store.as_ref(), &schema, parts.projection.as_ref()).await;
            found.push(fold(Arc::clone(&tables), Arc::clone(&parts.projection), log.clone(), 10).await);
            assert_eq!(found[0], found[found.len() - 1], "{}", place.store.describe());
            let rows = read_typed(tables, &definition, parts.api.statements.clone()).await;
            assert_eq!(rows, if is_stored { [1, 1, 2, 2] } else { [0, 0, 1, 1] }, "{}", place.store.describe());
        }
        assert_eq!(found[0].iter().any(|line| line.starts_with("rejected ")), !is_stored, "{:?}", found[0]);
    }
}

/// How many rows each statement gives that reads the typed table: record `a` and its document, a page, and the counts.
async fn read_typed(
    tables: Arc<dyn Tables>,
    definition: &Definition,
    statements: Vec<&'static Statement>,
) -> [usize; 4] {
    let [read, list, documents, _] = records::typed_statements(definition);
    let counts = statements.into_iter().find(|statement| statement.name.ends_with("count_by_source"));
    let counts = counts.unwrap_or_else(|| panic!("counts are not among the statements"));
    blocking(move || {
        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
        let a = || Params::Many(vec![Column::texts(["a"])]);
        let page = Params::One(vec!["".into(), 10.into()]);
        [(read, a()), (documents, a()), (list, page), (counts, Params::One(Vec::new()))].map(|(statement, params)| {
            let rows = transaction.read(statement, &params);
            rows.unwrap_or_else(|error| panic!("{}: {error}", statement.name)).len()
        })
    })
    .await
}
