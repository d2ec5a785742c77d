//! Every kind of column goes in and comes out on both engines, alone and as one of many, and both refuse the same values.

use std::sync::Arc;

use daybook_projector::{
    row,
    tables::{
        Cell, Column, Cursor, Ddl, FromRow, Next, Params, PlanShape, RowColumns, SchemaDefinition, Statement, Tables,
        TablesError, Timestamp, columns_of, json_array,
    },
};

use crate::tables::{blocking, places};

row! {
    /// One column of each kind.
    #[derive(Debug, Clone, PartialEq)]
    struct Kinds {
        id: i64,
        text: Option<String>,
        number: Option<i64>,
        truth: Option<bool>,
        float: Option<f64>,
        bytes: Option<Vec<u8>>,
        at: Option<Timestamp>,
        json: Option<String>,
        texts: Option<Vec<String>>,
    }
}

const KINDS: RowColumns = columns_of::<Kinds>(false);

static INSERT_MANY: Statement = Statement {
    name: "insert many",
    postgres: "INSERT INTO kinds SELECT e.id, e.text, e.number, e.truth, e.float, e.bytes, e.at, e.json::JSON,
            CASE WHEN e.texts IS NOT NULL THEN ARRAY(SELECT JSON_ARRAY_ELEMENTS_TEXT(e.texts::JSON)) END
        FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[], $4::BOOLEAN[], $5::DOUBLE PRECISION[], $6::BYTEA[],
            $7::TIMESTAMPTZ[], $8::TEXT[], $9::TEXT[])
            AS e (id, text, number, truth, float, bytes, at, json, texts)",
    sqlite: "INSERT INTO kinds VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    columns: None,
};
static INSERT_ONE: Statement = Statement {
    name: "insert one",
    postgres: "INSERT INTO kinds SELECT $1, $2, $3, $4, $5, $6, $7, $8::JSON,
            CASE WHEN $9::TEXT IS NOT NULL THEN ARRAY(SELECT JSON_ARRAY_ELEMENTS_TEXT($9::JSON)) END",
    sqlite: "INSERT INTO kinds VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    columns: None,
};
const READ_TEXT: &str = "SELECT id, text, number, truth, float, bytes, at, json, texts FROM kinds ORDER BY id";
static READ: Statement = Statement { name: "read", postgres: READ_TEXT, sqlite: READ_TEXT, columns: Some(KINDS) };

/// DDL that is made at run time, as a collection's is.
fn definition(columns: &[[&str; 3]]) -> SchemaDefinition {
    let script = |engine: usize| {
        let columns: Vec<String> = columns.iter().map(|column| format!("{} {}", column[0], column[engine])).collect();
        format!("CREATE TABLE IF NOT EXISTS kinds ({});", columns.join(", "))
    };
    let ddl = vec![Ddl { postgres: script(1).into(), sqlite: script(2).into() }];
    SchemaDefinition { ddl, plans: PlanShape::new([]).unwrap_or_else(|error| panic!("{error}")) }
}

const COLUMNS: [[&str; 3]; 9] = [
    ["id", "BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY"],
    ["text", "TEXT", "TEXT"],
    ["number", "BIGINT", "INTEGER"],
    ["truth", "BOOLEAN", "INTEGER"],
    ["float", "DOUBLE PRECISION", "REAL"],
    ["bytes", "BYTEA", "BLOB"],
    ["at", "TIMESTAMPTZ", "INTEGER"],
    ["json", "JSON", "TEXT CHECK (JSON_VALID(json))"],
    ["texts", "TEXT[]", "TEXT"],
];

fn rows() -> Vec<Kinds> {
    let none = Kinds {
        id: 0,
        text: None,
        number: None,
        truth: None,
        float: None,
        bytes: None,
        at: None,
        json: None,
        texts: None,
    };
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let plain = Kinds {
        id: 1,
        text: Some("größer 東京 🦀 'quoted' \"twice\"".to_owned()),
        number: Some(i64::MIN),
        truth: Some(true),
        float: Some(0.1 + 0.2),
        bytes: Some(vec![0, 255, 1]),
        at: Some(Timestamp(-1)),
        json: Some(r#"{ "b":1.50, "a":["ü", null, "\u0001"]}"#.to_owned()),
        texts: texts(&["ä", "", "a,b", "{}", "\"", "NULL"]),
    };
    let empty = Kinds {
        id: 2,
        text: Some(String::new()),
        number: Some(i64::MAX),
        truth: Some(false),
        float: Some(f64::INFINITY),
        bytes: Some(Vec::new()),
        at: Some(Timestamp::MIN),
        json: Some("null".to_owned()),
        texts: texts(&[]),
    };
    let float = Some(f64::NEG_INFINITY);
    let last = Kinds { id: 3, float, at: Some(Timestamp::MAX), json: Some("[]".to_owned()), ..none.clone() };
    let tiny =
        Kinds { id: 4, float: Some(f64::MIN_POSITIVE / 4.0), at: Some(Timestamp(1_700_000_000_123)), ..none.clone() };
    let whole = Kinds { id: 5, float: Some(3.0), texts: texts(&["one"]), ..none.clone() };
    vec![none, plain, empty, last, tiny, whole]
}

fn many(rows: &[Kinds]) -> Params {
    Params::Many(vec![
        Column::ints(rows.iter().map(|row| row.id)),
        Column::Texts(rows.iter().map(|row| row.text.clone()).collect()),
        Column::Ints(rows.iter().map(|row| row.number).collect()),
        Column::Bools(rows.iter().map(|row| row.truth).collect()),
        Column::Floats(rows.iter().map(|row| row.float).collect()),
        Column::Bytes(rows.iter().map(|row| row.bytes.clone()).collect()),
        Column::Timestamps(rows.iter().map(|row| row.at).collect()),
        Column::Texts(rows.iter().map(|row| row.json.clone()).collect()),
        Column::text_arrays(rows.iter().map(|row| row.texts.as_deref())),
    ])
}

fn one(row: &Kinds) -> Params {
    Params::One(vec![
        row.id.into(),
        Cell::Text(row.text.clone()),
        Cell::Int(row.number),
        Cell::Bool(row.truth),
        Cell::Float(row.float),
        Cell::Bytes(row.bytes.clone()),
        Cell::Timestamp(row.at),
        Cell::Text(row.json.clone()),
        Cell::Text(row.texts.as_deref().map(json_array)),
    ])
}

fn write(tables: &dyn Tables, writes: &[(&'static Statement, Params)]) -> Result<(), TablesError> {
    let mut transaction = tables.begin()?;
    for (statement, params) in writes {
        transaction.execute(statement, params)?;
    }
    transaction.commit()
}

/// What a stream shows of each row.
async fn streamed(tables: &dyn Tables) -> String {
    let render = |cursor: &dyn Cursor, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{:?}\n", Kinds::read(cursor)?).as_bytes());
        Ok(Next::More)
    };
    let (mut chunks, mut text) = (tables.stream(&READ, Vec::new(), Box::new(render)), Vec::new());
    while let Some(chunk) = chunks.recv().await {
        text.extend(chunk.unwrap_or_else(|error| panic!("{error}")));
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_column_goes_in_and_comes_out_on_both_engines() {
    for place in places("columns") {
        for (number, by_one) in [(1, false), (2, true)] {
            let schema = place.store.schema("kinds", number);
            place.store.create(&schema, &definition(&COLUMNS)).await.unwrap_or_else(|error| panic!("{error}"));
            let tables = place.store.open(&schema).await.unwrap_or_else(|error| panic!("{error}"));
            let of_thread = Arc::clone(&tables);
            let written = blocking(move || {
                let writes = match by_one {
                    true => rows().iter().map(|row| (&INSERT_ONE, one(row))).collect(),
                    false => vec![(&INSERT_MANY, many(&rows()))],
                };
                write(of_thread.as_ref(), &writes)
            });
            written.await.unwrap_or_else(|error| panic!("{}: {error}", place.store.describe()));
            let found = tables.read(&READ, Params::One(Vec::new())).await.unwrap_or_else(|error| panic!("{error}"));
            let found: Vec<Kinds> =
                found.iter().map(|row| Kinds::read(row).unwrap_or_else(|error| panic!("{error}"))).collect();
            assert_eq!(found, rows(), "{}", place.store.describe());
            let expected: String = rows().iter().map(|row| format!("{row:?}\n")).collect();
            assert_eq!(streamed(tables.as_ref()).await, expected, "{}", place.store.describe());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_refuse_what_one_of_them_could_not_keep() {
    for place in places("refused") {
        let schema = place.store.schema("kinds", 1);
        place.store.create(&schema, &definition(&COLUMNS)).await.unwrap_or_else(|error| panic!("{error}"));
        let tables = place.store.open(&schema).await.unwrap_or_else(|error| panic!("{error}"));
        let none = rows().swap_remove(0);
        let bad = [
            Kinds { float: Some(f64::NAN), ..none.clone() },
            Kinds { at: Some(Timestamp(Timestamp::MAX.0 + 1)), ..none.clone() },
            Kinds { at: Some(Timestamp(i64::MIN)), ..none.clone() },
            Kinds { json: Some("{".to_owned()), ..none },
        ];
        let outcomes = blocking(move || {
            let ways = |row: &Kinds| [(&INSERT_MANY, many(std::slice::from_ref(row))), (&INSERT_ONE, one(row))];
            let outcome = |write_one| write(tables.as_ref(), &[write_one]);
            bad.iter().flat_map(ways).map(outcome).collect::<Vec<_>>()
        });
        for outcome in outcomes.await {
            assert!(matches!(outcome, Err(TablesError::Value { .. })), "{}: {outcome:?}", place.store.describe());
        }
    }
}
