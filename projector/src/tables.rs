//! The tables port: statements, transactions and streams over one generation's tables, on PostgreSQL or SQLite.
//!
//! It abstracts the life cycle and transactions, not the queries: a statement has a text for each engine and is declared
//! beside its caller. Guarantees of every adapter:
//!
//! - **Snapshot.** One `read`, or one `stream`, sees one committed state.
//! - **Atomicity.** All changes of a transaction become visible together at `commit`. Dropping it discards them.
//! - **Many.** A statement run with [`Params::Many`] of n rows has the effect of n runs, in order, in one round trip.
//! - **Empty.** `Params::Many` of no rows does nothing.
//! - **Values.** Both engines return the values that were stored. [`Cell`] lists the values that neither accepts.
//! - **Plans.** A plan is committed as a whole or changes nothing. All adapters decline the same plans.
//! - **Bounds.** A stream buffers a fixed number of chunks; it ends when its receiver is dropped.
//! - **Whole.** A stream that ends early ends with an error.

mod cell;
mod chunks;
mod plan;
pub mod postgres;
mod row;
pub mod sqlite;
mod sqlite_readers;
mod statement;

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::BoxFuture;
use tokio::sync::mpsc;

use self::chunks::ChunkSender;
pub use self::{
    cell::{Cell, Column, Params, Timestamp, json_array},
    chunks::Chunks,
    plan::{Plan, PlanOutcome, PlanShape, PlanStatement, Rows, Step},
    row::{Columns, Cursor, FromColumn, FromRow, NoColumns, Row, column_name, columns_of, joined},
    statement::{Ddl, ORDINAL, RowColumns, Statement},
};
use crate::space::Space;

/// How long a process's lease lasts after its last renewal. A writer that hangs in a transaction is cut off after as long.
pub const LEASE: Duration = Duration::from_secs(5);

/// Whether a stream goes on after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Read on.
    More,
    /// Stop after this row.
    Stop,
}

/// Writes one row of a stream into the current chunk.
pub type Render = Box<dyn FnMut(&dyn Cursor, &mut Vec<u8>) -> Result<Next, TablesError> + Send>;

/// Why an operation on the tables failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TablesError {
    /// The store does not answer, or is overloaded. Retryable.
    #[error("tables are unavailable: {0}")]
    Unavailable(String),
    /// There is no room for what is to be written. Retryable: somebody may make room.
    #[error("there is no room for tables: {0}")]
    Full(String),
    /// Another writer was faster, or the engine asks for a retry of the transaction. Retryable.
    #[error("tables were changed by another writer: {0}")]
    Conflict(String),
    /// The connection leads to a server that takes no writes or ends. Retryable: the store connects anew.
    #[error("tables are unavailable: {0}")]
    Moved(String),
    /// The store cannot be used as it is, or not with these settings. Only a person can change that; the text says how.
    #[error("{0}")]
    Unusable(String),
    /// The store cannot hold a value, such as a key that is too long for an index, or a value that violates a check
    /// constraint. Terminal for the record that contains it.
    #[error("statement {statement} cannot store a value: {reason}")]
    Value {
        /// Name of the statement.
        statement: String,
        /// The engine's message.
        reason: String,
    },
    /// The store refuses the statement. Terminal: a bug, or a foreign schema.
    #[error("statement {statement} was refused: {reason}")]
    Refused {
        /// Name of the statement.
        statement: String,
        /// The engine's message; not for clients.
        reason: String,
    },
    /// A column is not of the type that the caller expects. Terminal: a bug.
    #[error("column {column} has another type than expected")]
    Shape {
        /// Name of the column.
        column: &'static str,
    },
}

impl TablesError {
    /// Whether another attempt can succeed although nobody changes anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Conflict(_) | Self::Moved(_))
    }
}

/// An open transaction. Dropping it without a commit rolls it back. Blocks its thread.
pub trait Transaction {
    /// Runs a statement and returns how many rows it changed.
    fn execute(&mut self, statement: &Statement, params: &Params) -> Result<u64, TablesError>;
    /// The names of the columns that a statement's rows have.
    fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, TablesError>;
    /// Runs a statement and returns its rows.
    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError>;
    /// Notifies all listening processes at the commit; does nothing if there is only one process.
    fn notify(&mut self, payload: &str) -> Result<(), TablesError>;
    /// Commits the transaction.
    fn commit(self: Box<Self>) -> Result<(), TablesError>;
}

/// A transaction over several schemas of a store. Dropping it without a commit rolls it back. Blocks its thread.
///
/// A schema takes part from its first statement on. If the engine cannot commit all of them in one step, they commit in
/// the order in which they took part.
pub trait JointTransaction {
    /// Runs a statement in a schema and returns how many rows it changed.
    fn execute(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<u64, TablesError>;
    /// Runs a statement in a schema and returns its rows.
    fn read(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError>;
    /// Notifies all listening processes of a schema at the commit; does nothing if there is only one process.
    fn notify(&mut self, schema: &str, payload: &str) -> Result<(), TablesError>;
    /// Commits the transaction.
    fn commit(self: Box<Self>) -> Result<(), TablesError>;
}

/// The tables of one schema: a generation's, or the control storage.
pub trait Tables: Send + Sync {
    /// Begins a transaction for writing. Blocks its thread; never called from an async worker.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError>;
    /// Commits a plan as one transaction, in one round trip if the engine is remote. Blocks its thread; never called from
    /// an async worker.
    fn commit_plan(&self, plan: &Plan<'_>) -> Result<PlanOutcome, TablesError>;
    /// Runs one statement as one transaction and returns its rows, for rare writes outside of a projection.
    fn write<'a>(
        &'a self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// Reads a few rows: a page, or a batch of keys.
    fn read<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// The same in the background: such reads take no connection from other reads and, if the engine supports it, yield to
    /// them.
    fn read_background<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>>;
    /// Reads any number of rows, rendered into chunks as they come, with bounded memory.
    fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks;
    /// Why they cannot be used until a restart, as far as it is seen without a read.
    fn failure(&self) -> Option<String> {
        None
    }
    /// How often another server has taken over: it may lack what the former one had committed.
    fn takeovers(&self) -> u64 {
        0
    }
    /// Payloads of `notify`, some of which may be lost; `None` if there is no other process.
    fn listen(&self) -> BoxFuture<'_, Result<Option<mpsc::Receiver<String>>, TablesError>>;
}

/// The definition of a schema.
#[derive(Debug)]
pub struct SchemaDefinition {
    /// Scripts, in order.
    pub ddl: Vec<Ddl>,
    /// The plans that its tables can commit.
    pub plans: PlanShape,
}

/// A store of schemas: one database server, or one folder.
pub trait Store: Send + Sync {
    /// Opens the control storage, and creates it if it is missing. Several processes may call this concurrently.
    fn control(&self) -> BoxFuture<'_, Result<Arc<dyn Tables>, TablesError>>;
    /// The name of the schema of control storage.
    fn control_schema(&self) -> String;
    /// The name of a generation's schema, which never changes.
    fn schema(&self, domain: &str, generation: i64) -> String;
    /// Creates a generation's schema, if it is missing.
    fn create<'a>(
        &'a self,
        schema: &'a str,
        definition: &'a SchemaDefinition,
    ) -> BoxFuture<'a, Result<(), TablesError>>;
    /// Opens a schema that was created.
    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Arc<dyn Tables>, TablesError>>;
    /// Removes a schema with all its tables; nothing if there is none. Nobody may use it any more.
    fn remove<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<(), TablesError>>;
    /// What a schema takes, and what is free beside it.
    fn space<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Space, TablesError>>;
    /// Begins a transaction over several schemas. It waits for locks for a short time only. Blocks its thread; never called
    /// from an async worker.
    fn begin_joint(&self) -> Result<Box<dyn JointTransaction>, TablesError>;
    /// Whether several processes can use this store concurrently.
    fn shared(&self) -> bool;
    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
    /// What a person removes to empty it: files or schemas, by their names.
    fn contents(&self) -> String;
}
