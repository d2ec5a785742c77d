//! Compares the rows of two generations of a domain: what a projection declares as comparable, and the reads that find
//! differences without moving the rows: digests of key ranges, and the rows of small ranges.
//!
//! Two versions of a table are compared by the columns that both have. Which these are is known at run time, so the
//! statements are made from templates beside this file: names of tables and columns, from the declaration, are filled in.
//! Digests and hashes of rows are comparable on one server, or in one process; they are not stored.

mod template;

use serde_json::{Map, Value};

use self::template::Template;
use crate::{
    row, statements,
    tables::{Cell, FromRow, Params, Row, Statement, Tables, TablesError, columns_of},
};

/// A name that is either fixed in the program or made at run time.
pub use crate::search::shape::Name;

statements! {
    /// The statements that do not depend on a declaration, so that a test can run each on every engine.
    pub STATEMENTS;
    COLUMNS = "comparison/columns", split, ColumnRow;
    CONSTRAINTS = "comparison/constraints", split, Constraint;
}

row! {
    /// A column of a table.
    struct ColumnRow {
        name: String,
    }
}

row! {
    /// An index or a constraint of a table.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Constraint {
        /// The table.
        pub table_name: String,
        /// Its name.
        pub name: String,
        /// What the engine has for it, without the name of a schema.
        pub definition: String,
        /// Whether it is in use: an index that could not be built is there, but is not.
        pub is_valid: bool,
    }
}

row! {
    struct CountRow {
        row_count: i64,
    }
}

row! {
    /// What the rows of a range come to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Digest {
        /// How many they are.
        pub row_count: i64,
        /// The sum of their hashes.
        pub digest: String,
    }
}

row! {
    /// A row without its values.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hashed {
        /// The values of its key, as a JSON array.
        pub row_key: String,
        /// A hash of the compared values.
        pub row_hash: i64,
    }
}

row! {
    struct ContentRow<'r> {
        content: &'r str,
    }
}

/// The kind of a column that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// An integer.
    Integer,
    /// A text.
    Text,
}

/// A table that verification compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparable {
    /// Its name.
    pub table: Name,
    /// The columns that its rows are read in the order of: the first columns of an index, all ascending, never null.
    pub order: Vec<(Name, OrderKind)>,
    /// The columns that identify a row, never null. They begin with those of the order.
    pub key: Vec<Name>,
    /// All compared columns, the key's among them.
    pub columns: Vec<Name>,
    /// The compared columns of kind JSON, which are compared as texts.
    pub json: Vec<Name>,
    /// Columns that are shown with a difference, but not compared.
    pub shown: Vec<Name>,
    /// Those of the compared columns that follow from the fold: generations of two versions fill them differently.
    pub of_fold: Vec<Name>,
}

impl Comparable {
    /// A table. The calls that follow add its columns: those of the order first.
    pub fn of(table: impl Into<Name>) -> Self {
        let (order, key, columns) = (Vec::new(), Vec::new(), Vec::new());
        let (json, shown, of_fold) = (Vec::new(), Vec::new(), Vec::new());
        Self { table: table.into(), order, key, columns, json, shown, of_fold }
    }

    fn by(mut self, column: Name, kind: OrderKind) -> Self {
        self.order.push((column.clone(), kind));
        self.key.push(column.clone());
        self.columns.push(column);
        self
    }

    /// Adds an integer to the order.
    pub fn by_integer(self, column: impl Into<Name>) -> Self {
        self.by(column.into(), OrderKind::Integer)
    }

    /// Adds a text to the order.
    pub fn by_text(self, column: impl Into<Name>) -> Self {
        self.by(column.into(), OrderKind::Text)
    }

    /// Adds columns to the key that no index has in this order. Rows that agree in the order are read together.
    pub fn and_by(mut self, columns: impl IntoIterator<Item = &'static str>) -> Self {
        for column in columns {
            self.key.push(column.into());
            self.columns.push(column.into());
        }
        self
    }

    /// Adds compared columns.
    pub fn columns(mut self, columns: impl IntoIterator<Item = &'static str>) -> Self {
        self.columns.extend(columns.into_iter().map(Name::from));
        self
    }

    /// Adds columns that are compared between generations of one fingerprint.
    pub fn columns_of_fold(mut self, columns: impl IntoIterator<Item = &'static str> + Clone) -> Self {
        self.of_fold.extend(columns.clone().into_iter().map(Name::from));
        self.columns(columns)
    }

    /// Says that the fold decides which rows there are: the table is compared between generations of one fingerprint.
    pub fn rows_of_fold(mut self) -> Self {
        self.of_fold.clone_from(&self.columns);
        self
    }

    /// Adds compared columns of kind JSON.
    pub fn json(mut self, columns: impl IntoIterator<Item = &'static str>) -> Self {
        for column in columns {
            self.json.push(column.into());
            self.columns.push(column.into());
        }
        self
    }

    /// Adds columns that are only shown.
    pub fn shown(mut self, columns: impl IntoIterator<Item = &'static str>) -> Self {
        self.shown.extend(columns.into_iter().map(Name::from));
        self
    }
}

/// The names of a table's columns, from the engine's own tables; none if there is no such table.
pub async fn columns(tables: &dyn Tables, table: &str) -> Result<Vec<String>, TablesError> {
    let rows = tables.read_background(&COLUMNS, Params::One(vec![table.into()])).await?;
    rows.iter().map(|row| Ok(ColumnRow::read(row)?.name)).collect()
}

/// The indexes and constraints of all tables, from the engine's own tables. SQLite lists no checks and no foreign keys.
pub async fn constraints(tables: &dyn Tables) -> Result<Vec<Constraint>, TablesError> {
    let rows = tables.read_background(&CONSTRAINTS, Params::One(Vec::new())).await?;
    rows.iter().map(|row| Constraint::read(row)).collect()
}

/// Values of the columns of the order.
pub type Bound = Vec<Cell>;

/// Rows from a bound on, inclusive, up to another, exclusive; to the end without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Where it begins.
    pub from: Bound,
    /// Where it ends.
    pub to: Option<Bound>,
}

impl Range {
    fn params(&self) -> Vec<Cell> {
        self.from.iter().chain(self.to.iter().flatten()).cloned().collect()
    }
}

/// Reads one table of either generation, by the columns that both have.
#[derive(Debug, Clone)]
pub struct Reader {
    comparable: Comparable,
    count: &'static Statement,
    bound: &'static Statement,
    bound_within: &'static Statement,
    digest: &'static Statement,
    digest_rest: &'static Statement,
    rows: &'static Statement,
    rows_rest: &'static Statement,
    content: &'static Statement,
}

impl Reader {
    /// A reader of a table. It reads exactly the columns of `comparable`: leave out those that one of the generations does
    /// not have.
    pub fn new(comparable: Comparable) -> Result<Self, TablesError> {
        let template = |template: &Template| template.fill(&comparable);
        Ok(Self {
            count: template(&Template::COUNT.with(columns_of::<CountRow>(false)))?,
            bound: template(&Template::BOUND)?,
            bound_within: template(&Template::BOUND_WITHIN)?,
            digest: template(&Template::DIGEST.with(columns_of::<Digest>(false)))?,
            digest_rest: template(&Template::DIGEST_REST.with(columns_of::<Digest>(false)))?,
            rows: template(&Template::ROWS.with(columns_of::<Hashed>(false)))?,
            rows_rest: template(&Template::ROWS_REST.with(columns_of::<Hashed>(false)))?,
            content: template(&Template::CONTENT.with(columns_of::<ContentRow<'static>>(false)))?,
            comparable,
        })
    }

    /// What it reads.
    pub const fn comparable(&self) -> &Comparable {
        &self.comparable
    }

    /// Its statements, so that a test can prepare each on every engine.
    pub const fn statements(&self) -> [&'static Statement; 8] {
        [
            self.count,
            self.bound,
            self.bound_within,
            self.digest,
            self.digest_rest,
            self.rows,
            self.rows_rest,
            self.content,
        ]
    }

    /// All rows.
    pub fn all(&self) -> Range {
        let lowest = |(_, kind): &(Name, OrderKind)| match kind {
            OrderKind::Integer => Cell::Int(Some(i64::MIN)),
            OrderKind::Text => Cell::from(""),
        };
        Range { from: self.comparable.order.iter().map(lowest).collect(), to: None }
    }

    /// How many rows the table has.
    pub async fn count(&self, tables: &dyn Tables) -> Result<i64, TablesError> {
        let rows = tables.read_background(self.count, Params::One(Vec::new())).await?;
        Ok(CountRow::read(first(&rows)?)?.row_count)
    }

    /// The bound that about `row_count` rows of a range lie before; `None` if it has no more.
    pub async fn bound(
        &self,
        tables: &dyn Tables,
        range: &Range,
        row_count: i64,
    ) -> Result<Option<Bound>, TablesError> {
        let statement = if range.to.is_some() { self.bound_within } else { self.bound };
        let mut params = range.params();
        params.push((row_count - 1).max(0).into());
        let rows = tables.read_background(statement, Params::One(params)).await?;
        Ok(rows.into_iter().next().map(|row| row.0))
    }

    /// What the rows of a range come to.
    pub async fn digest(&self, tables: &dyn Tables, range: &Range) -> Result<Digest, TablesError> {
        let statement = if range.to.is_some() { self.digest } else { self.digest_rest };
        let rows = tables.read_background(statement, Params::One(range.params())).await?;
        Digest::read(first(&rows)?)
    }

    /// The rows of a range, in no order. All of them at once: only for small ranges.
    pub async fn rows(&self, tables: &dyn Tables, range: &Range) -> Result<Vec<Hashed>, TablesError> {
        let statement = if range.to.is_some() { self.rows } else { self.rows_rest };
        let rows = tables.read_background(statement, Params::One(range.params())).await?;
        rows.iter().map(|row| Hashed::read(row)).collect()
    }

    /// The key of a row by the names of its columns.
    pub fn key(&self, hashed_key: &str) -> Value {
        named(self.comparable.key.iter(), hashed_key)
    }

    /// The row of a key, by the names of its columns: those that are compared and those that are shown. `None` if there
    /// is none.
    pub async fn content(&self, tables: &dyn Tables, hashed_key: &str) -> Result<Option<Value>, TablesError> {
        let values: Vec<Value> = serde_json::from_str(hashed_key).unwrap_or_default();
        let cell = |value: Value| match value {
            Value::String(text) => Ok(Cell::Text(Some(text))),
            value => Ok(Cell::Int(Some(value.as_i64().ok_or(TablesError::Shape { column: "of a key" })?))),
        };
        let params = values.into_iter().map(cell).collect::<Result<_, TablesError>>()?;
        let rows = tables.read_background(self.content, Params::One(params)).await?;
        let columns = || self.comparable.columns.iter().chain(&self.comparable.shown);
        rows.first().map(|row| Ok(named(columns(), ContentRow::read(row)?.content))).transpose()
    }
}

fn first(rows: &[Row]) -> Result<&Row, TablesError> {
    rows.first().ok_or(TablesError::Shape { column: "of a count" })
}

/// The values of a JSON array, by names.
fn named<'a>(names: impl Iterator<Item = &'a Name>, array: &str) -> Value {
    let values: Vec<Value> = serde_json::from_str(array).unwrap_or_default();
    Value::Object(names.map(ToString::to_string).zip(values).collect::<Map<_, _>>())
}
