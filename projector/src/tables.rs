//! The tables port: statements, transactions and streams over one generation's tables, on PostgreSQL or SQLite.
//!
//! It abstracts the life cycle and transactions, not the queries: a statement carries its text for each engine and stands
//! beside its caller. Promises of every adapter:
//!
//! - **Snapshot.** One `read`, or one `stream`, sees one committed state.
//! - **Atomicity.** What a transaction executed becomes visible at `commit` all at once; dropped, it never happened.
//! - **Many.** A statement run with [`Params::Many`] of n rows does what n runs would, in order, in one round trip.
//! - **Empty.** `Params::Many` of no rows does nothing.
//! - **Bounds.** A stream buffers a fixed number of chunks; it ends when its receiver is dropped.
//! - **Whole.** A stream that was cut short ends with an error.

mod chunks;
pub mod postgres;
pub mod sqlite;
mod sqlite_readers;

use std::sync::Arc;

use daybook_ingest::log::BoxFuture;
use tokio::sync::mpsc;

use self::chunks::ChunkSender;
pub use self::chunks::Chunks;

/// A static statement with its text for each engine. Parameters are `$1`, `$2`, … on both.
#[derive(Debug)]
pub struct Statement {
    /// Its name, for errors and tests.
    pub name: &'static str,
    /// The text for PostgreSQL.
    pub postgres: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
}

/// Declares a [`Statement`] from `.sql` files beside the caller: `statement!("name")` reads `name.sql` for both engines,
/// `statement!("name", split)` reads `name.postgres.sql` and `name.sqlite.sql`.
#[macro_export]
macro_rules! statement {
    ($name:literal) => {
        $crate::tables::Statement {
            name: $name,
            postgres: include_str!(concat!($name, ".sql")),
            sqlite: include_str!(concat!($name, ".sql")),
        }
    };
    ($name:literal, split) => {
        $crate::tables::Statement {
            name: $name,
            postgres: include_str!(concat!($name, ".postgres.sql")),
            sqlite: include_str!(concat!($name, ".sqlite.sql")),
        }
    };
}

/// One value of a row or a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A 64-bit integer.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
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

/// One column of many rows of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// 64-bit integers.
    Ints(Vec<Option<i64>>),
    /// Texts.
    Texts(Vec<Option<String>>),
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

    /// How many rows it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Parameters of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Params {
    /// One row: `$1` is the first cell.
    One(Vec<Cell>),
    /// Many rows, column by column, all of one length. PostgreSQL gets each column as an array, for `UNNEST`; SQLite runs
    /// the statement once a row, with the row's ordinal (from 1) as one parameter more.
    Many(Vec<Column>),
}

/// What came of running a statement at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtOnce {
    /// It ran and is committed.
    Done,
    /// It declined, or the engine runs no statements at once: nothing was changed.
    Declined,
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub Vec<Cell>);

impl Row {
    /// A text that the statement never leaves null.
    pub fn text(&self, column: usize) -> Result<&str, TablesError> {
        self.optional_text(column)?.ok_or(TablesError::Shape { column })
    }

    /// A text, or null.
    pub fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        match self.0.get(column) {
            Some(Cell::Text(value)) => Ok(value.as_deref()),
            Some(Cell::Int(None)) => Ok(None),
            _ => Err(TablesError::Shape { column }),
        }
    }

    /// An integer that the statement never leaves null.
    pub fn int(&self, column: usize) -> Result<i64, TablesError> {
        self.optional_int(column)?.ok_or(TablesError::Shape { column })
    }

    /// An integer, or null.
    pub fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        match self.0.get(column) {
            Some(Cell::Int(value)) => Ok(*value),
            Some(Cell::Text(None)) => Ok(None),
            _ => Err(TablesError::Shape { column }),
        }
    }
}

/// A row under the cursor of a stream: values are borrowed until the next row.
pub trait Cursor {
    /// A text that the statement never leaves null.
    fn text(&self, column: usize) -> Result<&str, TablesError> {
        self.optional_text(column)?.ok_or(TablesError::Shape { column })
    }
    /// A text, or null.
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError>;
    /// An integer that the statement never leaves null.
    fn int(&self, column: usize) -> Result<i64, TablesError> {
        self.optional_int(column)?.ok_or(TablesError::Shape { column })
    }
    /// An integer, or null.
    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError>;
}

impl Cursor for Row {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        Self::optional_text(self, column)
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        Self::optional_int(self, column)
    }
}

/// Whether a stream goes on after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    More,
    /// Stop here; the rows after this one are not wanted.
    Stop,
}

/// Writes one row of a stream into the chunk under way.
pub type Render = Box<dyn FnMut(&dyn Cursor, &mut Vec<u8>) -> Result<Next, TablesError> + Send>;

/// Why the tables did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TablesError {
    /// The store does not answer, or is overloaded. Retryable.
    #[error("tables are unavailable: {0}")]
    Unavailable(String),
    /// Another writer was faster, or the engine asks for a retry of the transaction. Retryable.
    #[error("tables were changed by another writer: {0}")]
    Conflict(String),
    /// The store cannot hold a value, such as a key that is too long for an index. Terminal for the record that brings it.
    #[error("statement {statement} cannot store a value: {reason}")]
    Value {
        /// Name of the statement.
        statement: String,
        /// What the engine says.
        reason: String,
    },
    /// The store refuses the statement. Terminal: a bug, or a store that is not ours.
    #[error("statement {statement} was refused: {reason}")]
    Refused {
        /// Name of the statement.
        statement: String,
        /// What the engine says; not for clients.
        reason: String,
    },
    /// A column is not of the type that the caller expects. Terminal: a bug.
    #[error("column {column} has another type than expected")]
    Shape {
        /// The column, from 0.
        column: usize,
    },
}

/// An open transaction; dropped without a commit, it never happened. Blocks its thread.
pub trait Transaction {
    /// Runs a statement and returns how many rows it changed.
    fn execute(&mut self, statement: &Statement, params: &Params) -> Result<u64, TablesError>;
    /// Runs a statement and returns its rows.
    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError>;
    /// Tells every process that listens, once committed; nothing where there is only one process.
    fn notify(&mut self, payload: &str) -> Result<(), TablesError>;
    /// Makes it all visible at once.
    fn commit(self: Box<Self>) -> Result<(), TablesError>;
}

/// The tables of one schema: a generation's, or the control storage.
pub trait Tables: Send + Sync {
    /// Begins a transaction for writing. Blocks its thread; never called from an async worker.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError>;
    /// Whether a statement can be run at once: on engines whose statements are round trips.
    fn runs_at_once(&self) -> bool;
    /// Runs a statement over arrays as a transaction of its own, in one round trip. A statement declines by the
    /// SQLSTATE `DB002` or by a row that is there already, and tells by `DB001` that another writer was faster. Blocks its thread; never called from an async worker.
    fn run_at_once(&self, statement: &Statement, arrays: &[Column]) -> Result<AtOnce, TablesError>;
    /// Runs one statement as a transaction of its own and returns its rows, for seldom writes outside of a projection.
    fn write<'a>(
        &'a self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// Reads few rows: those of a page or of a batch of keys.
    fn read<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// The same for what nobody waits for: such reads take no connection from others and give way to them, where the engine lets them.
    fn read_aside<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// Reads any number of rows, rendered into chunks as they come, with bounded memory.
    fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks;
    /// Payloads of `notify`, as far as they arrive; `None` where there is no other process to hear from.
    fn listen(&self) -> BoxFuture<'_, Result<Option<mpsc::Receiver<String>>, TablesError>>;
}

/// Where schemas live: one database server, or one folder.
pub trait Store: Send + Sync {
    /// Opens the control storage, making it if there is none. May be called by several processes at once.
    fn control(&self) -> BoxFuture<'_, Result<Arc<dyn Tables>, TablesError>>;
    /// The name of a generation's schema, which it keeps for life.
    fn schema(&self, domain: &str, generation: i64) -> String;
    /// Makes a generation's schema with these DDL scripts if it is not there.
    fn create<'a>(&'a self, schema: &'a str, ddl: &'a [&'static Statement]) -> BoxFuture<'a, Result<(), TablesError>>;
    /// Opens a schema that was created.
    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Arc<dyn Tables>, TablesError>>;
    /// Whether several processes can work on this store at once.
    fn shared(&self) -> bool;
    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
}
