//! Values of parameters and rows, and the type of each kind on each engine.
//!
//! | kind | PostgreSQL | SQLite |
//! | --- | --- | --- |
//! | text | `TEXT` | `TEXT` |
//! | integer | `BIGINT` | `INTEGER` |
//! | boolean | `BOOLEAN` | `INTEGER`, 0 or 1 |
//! | float | `DOUBLE PRECISION` | `REAL` |
//! | bytes | `BYTEA` | `BLOB` |
//! | timestamp | `TIMESTAMPTZ` | `INTEGER`, milliseconds since 1970 in UTC |
//! | JSON | `JSON` | `TEXT` with `CHECK (JSON_VALID(column))` |
//! | text array | `TEXT[]` | `TEXT`, a JSON array of strings |
//!
//! JSON and text arrays are *parameters of kind text*: JSON texts, which the statement for PostgreSQL casts
//! (`e.document::JSON`) or unpacks (`ARRAY(SELECT JSON_ARRAY_ELEMENTS_TEXT(e.names::JSON))`). Arrays of arrays would not work,
//! because those of PostgreSQL are rectangular. As columns of rows, both are read with their own type.
//!
//! Any value may be null. Values that one engine cannot store are refused by both: NaN, and timestamps outside of the
//! years 1 to 9999, are errors of kind [`TablesError::Value`]. Infinite floats are stored.

use super::{Statement, TablesError};

/// A point in time, in milliseconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest value: the beginning of the year 1.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The latest value: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);
}

/// One value of a row or a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A 64-bit integer.
    Int(Option<i64>),
    /// A text; as a parameter also JSON and a text array.
    Text(Option<String>),
    /// A boolean.
    Bool(Option<bool>),
    /// A float.
    Float(Option<f64>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
    /// A point in time.
    Timestamp(Option<Timestamp>),
    /// A text array; of rows alone.
    Texts(Option<Vec<String>>),
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Cell {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl Cell {
    /// Whether it holds no value.
    pub const fn is_null(&self) -> bool {
        match self {
            Self::Int(value) => value.is_none(),
            Self::Text(value) => value.is_none(),
            Self::Bool(value) => value.is_none(),
            Self::Float(value) => value.is_none(),
            Self::Bytes(value) => value.is_none(),
            Self::Timestamp(value) => value.is_none(),
            Self::Texts(value) => value.is_none(),
        }
    }
}

/// One column of many rows of parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// 64-bit integers.
    Ints(Vec<Option<i64>>),
    /// Texts, JSON, text arrays.
    Texts(Vec<Option<String>>),
    /// Booleans.
    Bools(Vec<Option<bool>>),
    /// Floats.
    Floats(Vec<Option<f64>>),
    /// Bytes.
    Bytes(Vec<Option<Vec<u8>>>),
    /// Points in time.
    Timestamps(Vec<Option<Timestamp>>),
}

impl Column {
    /// A column of integers, none missing.
    pub fn ints(values: impl IntoIterator<Item = i64>) -> Self {
        Self::Ints(values.into_iter().map(Some).collect())
    }

    /// A column of texts, none missing.
    pub fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(values.into_iter().map(|value| Some(value.into())).collect())
    }

    /// A column of text arrays, as their parameters are: JSON arrays.
    pub fn text_arrays<'a>(values: impl IntoIterator<Item = Option<&'a [String]>>) -> Self {
        Self::Texts(values.into_iter().map(|value| value.map(json_array)).collect())
    }

    /// Rows as columns. All rows have cells of the same kinds.
    pub fn of_rows(rows: impl IntoIterator<Item = Vec<Cell>>) -> Vec<Self> {
        let mut columns: Vec<Self> = Vec::new();
        for row in rows {
            for (index, cell) in row.into_iter().enumerate() {
                match columns.get_mut(index) {
                    Some(column) => column.push(cell),
                    None => columns.push(Self::of_cell(cell)),
                }
            }
        }
        columns
    }

    /// A column of one row.
    fn of_cell(cell: Cell) -> Self {
        match cell {
            Cell::Int(value) => Self::Ints(vec![value]),
            Cell::Text(value) => Self::Texts(vec![value]),
            Cell::Bool(value) => Self::Bools(vec![value]),
            Cell::Float(value) => Self::Floats(vec![value]),
            Cell::Bytes(value) => Self::Bytes(vec![value]),
            Cell::Timestamp(value) => Self::Timestamps(vec![value]),
            Cell::Texts(value) => Self::Texts(vec![value.as_deref().map(json_array)]),
        }
    }

    /// Adds a row.
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Ints(values), Cell::Int(value)) => values.push(value),
            (Self::Texts(values), Cell::Text(value)) => values.push(value),
            (Self::Texts(values), Cell::Texts(value)) => values.push(value.as_deref().map(json_array)),
            (Self::Bools(values), Cell::Bool(value)) => values.push(value),
            (Self::Floats(values), Cell::Float(value)) => values.push(value),
            (Self::Bytes(values), Cell::Bytes(value)) => values.push(value),
            (Self::Timestamps(values), Cell::Timestamp(value)) => values.push(value),
            _ => debug_assert!(false, "rows of one statement have cells of the same kinds"),
        }
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Bools(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::Timestamps(values) => values.len(),
        }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A list as a JSON array without spaces.
pub fn json_array(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

/// Parameters of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// One row: `$1` is the first cell.
    One(Vec<Cell>),
    /// Many rows, column by column, all of one length. PostgreSQL gets each column as an array, for `UNNEST`. SQLite runs
    /// the statement once per row, with the row's ordinal (from 1) as an additional parameter.
    Many(Vec<Column>),
}

/// Refuses columns with values that not every engine can store.
pub(super) fn check_columns(statement: &Statement, columns: &[Column]) -> Result<(), TablesError> {
    let refused = columns.iter().find_map(|column| match column {
        Column::Floats(values) => values.iter().find_map(|value| refuse_float(*value)),
        Column::Timestamps(values) => values.iter().find_map(|value| refuse_timestamp(*value)),
        _ => None,
    });
    refused.map_or(Ok(()), |reason| Err(value_error(statement, reason)))
}

/// Refuses cells with values that not every engine can store.
pub(super) fn check_cells(statement: &Statement, cells: &[Cell]) -> Result<(), TablesError> {
    let refused = cells.iter().find_map(|cell| match cell {
        Cell::Float(value) => refuse_float(*value),
        Cell::Timestamp(value) => refuse_timestamp(*value),
        Cell::Texts(_) => Some("a text array is a parameter of kind text"),
        _ => None,
    });
    refused.map_or(Ok(()), |reason| Err(value_error(statement, reason)))
}

fn refuse_float(value: Option<f64>) -> Option<&'static str> {
    value.is_some_and(f64::is_nan).then_some("a float is not a number")
}

fn refuse_timestamp(value: Option<Timestamp>) -> Option<&'static str> {
    let outside = |value| !(Timestamp::MIN..=Timestamp::MAX).contains(&value);
    value.is_some_and(outside).then_some("a timestamp is outside of the years 1 to 9999")
}

fn value_error(statement: &Statement, reason: &str) -> TablesError {
    TablesError::Value { statement: statement.name.to_owned(), reason: reason.to_owned() }
}
