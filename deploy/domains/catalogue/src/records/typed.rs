//! The typed table of a collection: its DDL and statements, made of templates and the fields of the definition. Names are
//! parsed identifiers, and quoted, because a field may be called like a word of SQL.
//!
//! Each text is made once for a definition and kept for as long as the process lives; definitions are few.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use daybook_projector::tables::{Cell, Ddl, Row, RowColumns, Statement, TablesError};
use serde_json::{Value, json};

use crate::{
    Fields,
    definition::{
        Definition,
        fields::{Field, SOURCE},
    },
    values::{FieldType, canonical::sha256_hex},
};

/// Parameters of the statement that writes rows, before those of the fields.
const FIRST_FIELD: usize = 6;
/// Columns of a row that is read, before those of the fields.
const READ_COLUMNS: [&str; 3] = ["record_id", "revision", "flags"];
/// The same of a row that a document is made of.
const DOCUMENT_COLUMNS: [&str; 5] = ["record_id", "revision", "flags", "changed_at", "shown_id"];

/// The typed table of a definition.
pub(super) struct Typed {
    /// The field of each column, in order.
    columns: Vec<(String, FieldType)>,
    ddl: Vec<Ddl>,
    /// Writes rows: record id, revision, flags, partition and offset, and the fields.
    pub(super) put: Statement,
    /// Reads rows by record id; keyed.
    pub(super) read: Statement,
    /// Reads rows after a record id.
    pub(super) list: Statement,
    /// Finds the ids of records with some values: how many at most, and a value for each field of `conditions`, or null
    /// for any.
    pub(super) find: Statement,
    /// Reads what the documents of some records are made of.
    pub(super) documents: Statement,
    /// Whether records can be counted by source.
    pub(super) has_source: bool,
    /// Longest source, in code points, if the sources have an index.
    pub(super) source_max: Option<usize>,
}

/// A row as readers see it.
pub(super) struct Shown {
    pub(super) record_id: String,
    pub(super) revision: i64,
    pub(super) flags: String,
    pub(super) fields: Fields,
}

/// What the document of a record is made of.
pub(super) struct DocumentRow {
    pub(super) record_id: String,
    pub(super) revision: i64,
    pub(super) flags: String,
    pub(super) changed_at: i64,
    /// The fields that readers see; `None` of a record that is hidden.
    pub(super) fields: Option<Fields>,
}

/// A column in a text for each engine.
struct Texts {
    postgres: String,
    sqlite: String,
}

impl Typed {
    /// The table of a definition.
    pub(super) fn of(definition: &Definition) -> &'static Self {
        static MADE: Mutex<Option<HashMap<String, &'static Typed>>> = Mutex::new(None);
        let shape = shape(definition);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default();
        if let Some(typed) = made.get(&shape) {
            return typed;
        }
        let typed: &'static Self = Box::leak(Box::new(Self::make(definition, &shape)));
        made.insert(shape, typed);
        typed
    }

    fn make(definition: &Definition, shape: &str) -> Self {
        let fields = definition.fields.iter().map(|(name, field)| (name.to_string(), field.kind));
        let columns: Vec<(String, FieldType)> = fields.collect();
        let has_source = columns.iter().any(|(name, kind)| name == SOURCE && *kind == FieldType::Text);
        let mut ddl = vec![Ddl::shared(include_str!("sql/tables.sql")), ddl_of(&columns, shape)];
        // Without the index, sources are counted by a scan, on both engines.
        let source_max = definition.field(SOURCE).and_then(Field::indexed_max);
        if source_max.is_some() {
            ddl.push(Ddl::shared(include_str!("sql/index.sql")));
        }
        if !definition.tables.is_empty() {
            ddl.push(Ddl::shared(include_str!("sql/further_tables.sql")));
        }
        let of_fields: Vec<&'static str> = columns.iter().map(|(name, _)| &*name.clone().leak()).collect();
        let names = |first: &[&'static str]| -> &'static [&'static str] { [first, &of_fields].concat().leak() };
        let read_columns = |keyed| Some(RowColumns { keyed, names: names(&READ_COLUMNS) });
        let put = put_of(&columns);
        let read = filled(
            Texts {
                postgres: include_str!("sql/read.postgres.sql").into(),
                sqlite: include_str!("sql/read.sqlite.sql").into(),
            },
            &columns,
        );
        let list = include_str!("sql/list.sql");
        let list = filled(Texts { postgres: list.into(), sqlite: list.into() }, &columns);
        let documents = filled(
            Texts {
                postgres: include_str!("sql/documents.postgres.sql").into(),
                sqlite: include_str!("sql/documents.sqlite.sql").into(),
            },
            &columns,
        );
        let find =
            statement("records/find", find_of(&columns), Some(RowColumns { keyed: false, names: &["record_id"] }));
        let of_documents = Some(RowColumns { keyed: false, names: names(&DOCUMENT_COLUMNS) });
        Self {
            columns,
            ddl,
            find,
            documents: statement("records/documents", documents, of_documents),
            put: statement("records/put", put, None),
            read: statement("records/read", read, read_columns(true)),
            list: statement("records/list", list, read_columns(false)),
            has_source,
            source_max,
        }
    }

    /// The DDL of all tables.
    pub(super) fn ddl(&self) -> Vec<Ddl> {
        self.ddl.clone()
    }

    /// The cells of a record's fields.
    pub(super) fn cells<'a>(&'a self, fields: &'a Fields) -> impl Iterator<Item = Cell> + 'a {
        self.columns.iter().map(|(name, kind)| cell(*kind, fields.get(name).unwrap_or(&Value::Null)))
    }

    /// The parameters that find records whose fields have these values; or why there are none.
    pub(super) fn found_by(&self, count_max: i64, wanted: &Fields) -> Result<Vec<Cell>, String> {
        let known = |name: &String| conditions(&self.columns).any(|(column, _)| column == name);
        if let Some(name) = wanted.keys().find(|name| !known(name)) {
            let names: Vec<&str> = conditions(&self.columns).map(|(name, _)| name).collect();
            return Err(format!("{name} is not one of {}", names.join(", ")));
        }
        let mut cells = vec![Cell::from(count_max)];
        for (name, kind) in conditions(&self.columns) {
            let value = match wanted.get(name) {
                None => Value::Null,
                Some(Value::Null) => return Err(format!("{name} is null")),
                Some(given) => kind.from_json(given).map_err(|fault| format!("{name}: {fault}"))?,
            };
            cells.push(cell(kind, &value));
        }
        Ok(cells)
    }

    /// Reads a row, which may begin with an ordinal.
    pub(super) fn show(&self, row: &Row) -> Result<Shown, TablesError> {
        let [Cell::Text(Some(record_id)), Cell::Int(Some(revision)), Cell::Text(Some(flags)), cells @ ..] =
            row.0.as_slice()
        else {
            return Err(TablesError::Shape { column: "record_id" });
        };
        let fields = self.fields(cells)?;
        Ok(Shown { record_id: record_id.clone(), revision: *revision, flags: flags.clone(), fields })
    }

    /// Reads a row that a document is made of.
    pub(super) fn document_row(&self, row: &Row) -> Result<DocumentRow, TablesError> {
        let [
            Cell::Text(Some(record_id)),
            Cell::Int(Some(revision)),
            Cell::Text(Some(flags)),
            Cell::Int(Some(changed_at)),
            shown_id,
            cells @ ..,
        ] = row.0.as_slice()
        else {
            return Err(TablesError::Shape { column: "record_id" });
        };
        let fields = (!shown_id.is_null()).then(|| self.fields(cells)).transpose()?;
        let (revision, changed_at) = (*revision, *changed_at);
        Ok(DocumentRow { record_id: record_id.clone(), revision, flags: flags.clone(), changed_at, fields })
    }

    /// The fields of a record, from the cells of its columns.
    fn fields(&self, cells: &[Cell]) -> Result<Fields, TablesError> {
        if cells.len() != self.columns.len() {
            return Err(TablesError::Shape { column: "fields" });
        }
        let values = self.columns.iter().zip(cells).map(|((name, kind), cell)| Ok((name.clone(), value(*kind, cell)?)));
        values.collect()
    }
}

/// A hash of what decides which rows the events of a collection make.
fn shape(definition: &Definition) -> String {
    let Definition { collection, key, fields, tables, clean, .. } = definition;
    sha256_hex(&json!([collection, key, fields, tables, clean.rules]).to_string())
}

fn statement(name: &'static str, texts: Texts, columns: Option<RowColumns>) -> Statement {
    Statement { name, postgres: texts.postgres.leak(), sqlite: texts.sqlite.leak(), columns }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A list of items, each after a comma.
fn list(columns: &[(String, FieldType)], item: impl Fn(usize, &str, FieldType) -> String) -> String {
    let mut text = String::new();
    for (index, (name, kind)) in columns.iter().enumerate() {
        // Writing to a text cannot fail.
        let _written = write!(text, ",\n    {}", item(index, &quoted(name), *kind));
    }
    text
}

fn ddl_of(columns: &[(String, FieldType)], shape: &str) -> Ddl {
    let fill = |template: &str, kind: fn(FieldType) -> &'static str| -> Cow<'static, str> {
        let columns = list(columns, |_, name, of| format!("{name} {}", kind(of)));
        template.replace("{definition}", shape).replace("{columns}", &columns).into()
    };
    Ddl {
        postgres: fill(include_str!("sql/typed.postgres.sql"), postgres_type),
        sqlite: fill(include_str!("sql/typed.sqlite.sql"), sqlite_type),
    }
}

fn put_of(columns: &[(String, FieldType)]) -> Texts {
    let names = list(columns, |_, name, _| name.to_owned());
    let assignments = list(columns, |_, name, _| format!("{name} = EXCLUDED.{name}"));
    let arrays = list(columns, |index, _, kind| format!("${}::{}", index + FIRST_FIELD, array_type(kind)));
    let parameters = list(columns, |index, _, _| format!("${}", index + FIRST_FIELD));
    let values = list(columns, |_, name, kind| stored(&format!("e.{name}"), kind));
    let fill = |template: &str, parameters: &str| {
        let text = template.replace("{columns}", &names).replace("{assignments}", &assignments);
        text.replace("{values}", &values).replace("{parameters}", parameters)
    };
    Texts {
        postgres: fill(include_str!("sql/put.postgres.sql"), &arrays),
        sqlite: fill(include_str!("sql/put.sqlite.sql"), &parameters),
    }
}

/// The columns that records are found by: those whose values can be compared as they are.
fn conditions(columns: &[(String, FieldType)]) -> impl Iterator<Item = (&str, FieldType)> {
    let is_compared = |kind| !matches!(kind, FieldType::Double | FieldType::Json | FieldType::TextArray);
    columns.iter().filter(move |(_, kind)| is_compared(*kind)).map(|(name, kind)| (name.as_str(), *kind))
}

fn find_of(columns: &[(String, FieldType)]) -> Texts {
    let fill = |condition: fn(&str, &str, FieldType) -> String| {
        let mut text = String::new();
        for ((name, kind), place) in conditions(columns).zip(2..) {
            text.push_str("\n    AND ");
            text.push_str(&condition(&format!("r.{}", quoted(name)), &format!("${place}"), kind));
        }
        include_str!("sql/find.sql").replace("{conditions}", &text)
    };
    Texts {
        postgres: fill(|column, parameter, kind| {
            let given = format!("{parameter}::{}", array_type(kind).trim_end_matches("[]"));
            format!("({given} IS NULL OR {column} = {})", stored(&given, kind))
        }),
        sqlite: fill(|column, parameter, _| format!("({parameter} IS NULL OR {column} = {parameter})")),
    }
}

/// A statement that reads all columns.
fn filled(template: Texts, columns: &[(String, FieldType)]) -> Texts {
    let postgres = list(columns, |_, name, kind| format!("{} AS {name}", read_back(&format!("r.{name}"), kind)));
    let sqlite = list(columns, |_, name, _| format!("r.{name}"));
    Texts {
        postgres: template.postgres.replace("{values}", &postgres),
        sqlite: template.sqlite.replace("{values}", &sqlite),
    }
}

const fn postgres_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "TEXT",
        FieldType::Bool => "BOOLEAN",
        FieldType::Int => "INTEGER",
        FieldType::Long => "BIGINT",
        FieldType::Double => "DOUBLE PRECISION",
        FieldType::Timestamp => "TIMESTAMPTZ",
        FieldType::Uuid => "UUID",
        FieldType::Json => "JSON",
        FieldType::TextArray => "TEXT[]",
    }
}

const fn sqlite_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Bool | FieldType::Int | FieldType::Long => "INTEGER",
        FieldType::Double => "REAL",
        FieldType::Text | FieldType::Timestamp | FieldType::Uuid | FieldType::Json | FieldType::TextArray => "TEXT",
    }
}

/// The type of a parameter that holds a column of many rows.
const fn array_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Bool => "BOOLEAN[]",
        FieldType::Int | FieldType::Long => "BIGINT[]",
        FieldType::Double => "DOUBLE PRECISION[]",
        FieldType::Text | FieldType::Timestamp | FieldType::Uuid | FieldType::Json | FieldType::TextArray => "TEXT[]",
    }
}

/// A parameter as PostgreSQL stores it.
fn stored(column: &str, kind: FieldType) -> String {
    match kind {
        FieldType::Text | FieldType::Bool | FieldType::Long | FieldType::Double => column.to_owned(),
        FieldType::Int | FieldType::Timestamp | FieldType::Uuid | FieldType::Json => {
            format!("{column}::{}", postgres_type(kind))
        }
        FieldType::TextArray => include_str!("sql/text_array.postgres.sql").trim_end().replace("{column}", column),
    }
}

/// A column of PostgreSQL as the text or number that is read.
fn read_back(column: &str, kind: FieldType) -> String {
    match kind {
        FieldType::Text | FieldType::Bool | FieldType::Long | FieldType::Double => column.to_owned(),
        FieldType::Int => format!("{column}::BIGINT"),
        FieldType::Timestamp => format!("TO_CHAR({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
        FieldType::Uuid | FieldType::Json => format!("{column}::TEXT"),
        FieldType::TextArray => format!("TO_JSON({column})::TEXT"),
    }
}

/// The cell of a value in the normal form of its type.
fn cell(kind: FieldType, value: &Value) -> Cell {
    match kind {
        FieldType::Text | FieldType::Timestamp | FieldType::Uuid => Cell::Text(value.as_str().map(str::to_owned)),
        FieldType::Bool => Cell::Bool(value.as_bool()),
        FieldType::Int | FieldType::Long => Cell::Int(value.as_i64()),
        FieldType::Double => Cell::Float(value.as_f64()),
        FieldType::Json | FieldType::TextArray => Cell::Text((!value.is_null()).then(|| value.to_string())),
    }
}

/// The value of a cell; SQLite has booleans as numbers, and a missing value of any type as a missing number.
fn value(kind: FieldType, cell: &Cell) -> Result<Value, TablesError> {
    if cell.is_null() {
        return Ok(Value::Null);
    }
    let wrong = || TablesError::Shape { column: "fields" };
    match (kind, cell) {
        (FieldType::Text | FieldType::Timestamp | FieldType::Uuid, Cell::Text(Some(text))) => Ok(text.as_str().into()),
        (FieldType::Bool, Cell::Bool(Some(value))) => Ok((*value).into()),
        (FieldType::Bool, Cell::Int(Some(value))) => Ok((*value != 0).into()),
        (FieldType::Int | FieldType::Long, Cell::Int(Some(value))) => Ok((*value).into()),
        (FieldType::Double, Cell::Float(Some(value))) => Ok((*value).into()),
        (FieldType::Json | FieldType::TextArray, Cell::Text(Some(text))) => {
            serde_json::from_str(text).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(fields: &str) -> Definition {
        let text = format!("collection = \"image\"\nkey = \"id\"\n[fields]\nid = \"text\"\n{fields}");
        Definition::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn a_definition_has_one_table_and_another_definition_another() {
        let (one, again) = (Typed::of(&definition("n = \"int\"")), Typed::of(&definition("n = \"int\"")));
        assert!(std::ptr::eq(one, again));
        let other = Typed::of(&definition("n = \"long\""));
        assert_ne!(one.ddl[1].postgres, other.ddl[1].postgres);
        // The fold differs although the columns do not.
        let merged = Typed::of(&definition("n = { type = \"int\", merge = \"newest-non-null\" }"));
        assert_ne!(one.ddl[1].postgres, merged.ddl[1].postgres);
    }

    #[test]
    fn sources_have_an_index_only_if_the_definition_bounds_them() {
        let made = |source: &str| Typed::of(&definition(&format!("source = {source}")));
        for (source, source_max) in [
            ("\"text\"", None),
            ("{ type = \"text\", max_length = 201 }", None),
            ("{ type = \"text\", max_length = 200 }", Some(200)),
            ("\"int\"", None),
        ] {
            let typed = made(source);
            assert_eq!(typed.source_max, source_max, "{source}");
            let has_index = typed.ddl.iter().any(|ddl| ddl.postgres.contains("records_by_source"));
            assert_eq!(has_index, source_max.is_some(), "{source}");
        }
    }

    #[test]
    fn columns_are_quoted_and_have_the_types_of_the_fields() {
        let typed = Typed::of(&definition("order = \"double\"\nsource = \"text\"\ntags = \"text[]\""));
        assert!(typed.has_source);
        let ddl = &typed.ddl[1];
        assert!(ddl.postgres.contains("\"order\" DOUBLE PRECISION"), "{}", ddl.postgres);
        assert!(ddl.sqlite.contains("\"order\" REAL") && !ddl.sqlite.contains('{'), "{}", ddl.sqlite);
        for text in [typed.put.postgres, typed.put.sqlite, typed.read.postgres, typed.list.sqlite] {
            assert!(!text.contains('{') && text.contains("\"order\""), "{text}");
        }
    }

    #[test]
    fn values_of_every_type_are_read_back_from_their_cells() {
        for (kind, given) in [
            (FieldType::Text, json!("a")),
            (FieldType::Bool, json!(true)),
            (FieldType::Int, json!(-7)),
            (FieldType::Long, json!(i64::MAX)),
            (FieldType::Double, json!(0.25)),
            (FieldType::Timestamp, json!("2018-11-09T10:31:06.910000Z")),
            (FieldType::Json, json!({"a": [1, null]})),
            (FieldType::TextArray, json!(["a", "b"])),
        ] {
            assert_eq!(value(kind, &cell(kind, &given)).ok(), Some(given), "{kind:?}");
            assert_eq!(value(kind, &cell(kind, &Value::Null)).ok(), Some(Value::Null), "{kind:?}");
        }
    }
}
