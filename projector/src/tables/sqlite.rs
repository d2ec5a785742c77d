//! Tables on SQLite: a file for control, one for each generation, WAL with `synchronous=NORMAL`.
//!
//! Commits that a power cut loses are applied again from the log. One writer at a time, on the caller's thread. Reads run
//! on their own threads (`sqlite_readers`), with separate ones for short reads, long lists and background reads.

mod added_columns;
mod control;
mod cursor;
mod joint;
pub(super) mod row_functions;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use daybook_ingest::{
    log::BoxFuture,
    sqlite::{opened_files::OpenedFiles, wal},
};
use rusqlite::{Connection, ErrorCode, ffi, types::ValueRef};
use tokio::sync::mpsc;

use self::{control::CONTROL_SCHEMA, cursor::SqliteCursor};
use crate::space::{self, Space};
use crate::tables::{
    Cell, Chunks, Column, Cursor, JointTransaction, Params, Plan, PlanOutcome, Render, Row, Rows, SchemaDefinition,
    Statement, Store, Tables, TablesError, Transaction,
    cell::{check_cells, check_columns},
    sqlite_readers::{Readers, ReadingThreads},
};

const OPEN: &str = include_str!("sqlite/open.sql");
/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 128;

/// The store in a folder.
pub struct SqliteStore {
    folder: PathBuf,
    /// Read all files; started with the first one.
    threads: OnceLock<Arc<ReadingThreads>>,
}

struct SqliteTables {
    writer: Arc<Mutex<Connection>>,
    files: Arc<OpenedFiles>,
    readers: Readers,
}

struct SqliteTransaction<'a> {
    connection: MutexGuard<'a, Connection>,
    files: &'a OpenedFiles,
    done: bool,
}

/// The file of a schema.
fn file(folder: &Path, schema: &str) -> PathBuf {
    folder.join(format!("{schema}.db"))
}

impl SqliteStore {
    /// A store in a folder, which is created with the control storage if it is missing.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), threads: OnceLock::new() }
    }

    /// Whether there is control storage in a folder.
    pub fn is_in(folder: &Path) -> bool {
        Self::new(folder).path(CONTROL_SCHEMA).exists()
    }

    fn threads(&self) -> Result<Arc<ReadingThreads>, TablesError> {
        if let Some(threads) = self.threads.get() {
            return Ok(Arc::clone(threads));
        }
        let started = Arc::new(ReadingThreads::start()?);
        Ok(Arc::clone(self.threads.get_or_init(|| started)))
    }

    fn path(&self, schema: &str) -> PathBuf {
        file(&self.folder, schema)
    }

    fn run_script(&self, schema: &str, script: &str) -> Result<(), TablesError> {
        let run = || -> rusqlite::Result<()> {
            let mut connection = Connection::open(self.path(schema))?;
            connection.execute_batch(OPEN)?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(script)?;
            transaction.commit()
        };
        run().map_err(|e| error("create schema", &e))
    }

    fn open_file(&self, schema: &str) -> Result<Arc<dyn Tables>, TablesError> {
        let path = self.path(schema);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.execute_batch(OPEN)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            row_functions::register(&connection)?;
            Ok(connection)
        };
        let mut writer = open().map_err(|e| error("open", &e))?;
        let write_ahead = wal::checkpoint_in_background(&mut writer, &path).map_err(|e| error("open", &e))?;
        let files = OpenedFiles::at(&path);
        let files =
            files.map_err(|e| TablesError::Unavailable(format!("cannot find the files of {schema}.db: {e}")))?;
        let readers = Readers::new(self.threads()?, path, STATEMENTS_MAX, write_ahead);
        Ok(Arc::new(SqliteTables { writer: Arc::new(Mutex::new(writer)), files: Arc::new(files), readers }))
    }
}

impl Store for SqliteStore {
    fn control(&self) -> BoxFuture<'_, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move {
            let made = fs::create_dir_all(&self.folder);
            made.map_err(|e| TablesError::Unavailable(format!("cannot create {}: {e}", self.folder.display())))?;
            self.make_control()?;
            self.open_file(CONTROL_SCHEMA)
        })
    }

    fn control_schema(&self) -> String {
        CONTROL_SCHEMA.to_owned()
    }

    fn schema(&self, domain: &str, generation: i64) -> String {
        format!("{domain}_g{generation:04}")
    }

    fn create<'a>(
        &'a self,
        schema: &'a str,
        definition: &'a SchemaDefinition,
    ) -> BoxFuture<'a, Result<(), TablesError>> {
        let script = definition.ddl.iter().map(|ddl| ddl.sqlite.as_ref()).collect::<Vec<_>>().join("\n");
        Box::pin(async move { self.run_script(schema, &script) })
    }

    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move { self.open_file(schema) })
    }

    fn remove<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<(), TablesError>> {
        Box::pin(async move {
            let path = self.path(schema);
            // The file itself goes last: without it, nobody would look for the others.
            for end in ["-shm", "-wal", "-journal", ""] {
                let file = PathBuf::from(format!("{}{end}", path.display()));
                match fs::remove_file(&file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let reason = format!("cannot remove {}: {error}", file.display());
                        return Err(TablesError::Unavailable(reason));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    fn space<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Space, TablesError>> {
        let file = format!("{schema}.db");
        let files = ["", "-wal", "-shm"].map(|end| format!("{file}{end}"));
        let used = space::of_files(&self.folder, &|name| files.iter().any(|file| file == name));
        let free = space::free(&self.folder);
        Box::pin(async move { Ok(Space { used, free }) })
    }

    fn begin_joint(&self) -> Result<Box<dyn JointTransaction>, TablesError> {
        Ok(Box::new(joint::Joint::new(&self.folder)))
    }

    fn shared(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        format!("sqlite, {}", self.folder.display())
    }

    fn contents(&self) -> String {
        let control = self.folder.join("control.db*");
        format!("{}, all other files *.db* there but log.db*, and the folder search there", control.display())
    }
}

/// Fails if others have removed or replaced the files. A restart fills new ones from the log.
fn check(files: &OpenedFiles) -> Result<(), TablesError> {
    files.check().map_err(TablesError::Unavailable)
}

impl SqliteTables {
    fn start(&self) -> Result<SqliteTransaction<'_>, TablesError> {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        check(&self.files)?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| error("begin", &e))?;
        Ok(SqliteTransaction { connection, files: &self.files, done: false })
    }
}

impl Tables for SqliteTables {
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError> {
        Ok(Box::new(self.start()?))
    }

    fn commit_plan(&self, plan: &Plan<'_>) -> Result<PlanOutcome, TablesError> {
        let transaction = self.start()?;
        for (shaped, columns) in plan.steps() {
            let changed = transaction.execute_many(shaped.statement, columns)?;
            let fewer = columns.first().is_some_and(|column| changed < column.len() as u64);
            match shaped.rows {
                Rows::All if fewer => return Ok(PlanOutcome::Declined),
                Rows::Guard if fewer => {
                    let reason = format!("{} changed fewer rows than it must", shaped.statement.name);
                    return Err(TablesError::Conflict(reason));
                }
                Rows::All | Rows::Guard | Rows::Any => {}
            }
        }
        Box::new(transaction).commit()?;
        Ok(PlanOutcome::Committed)
    }

    fn write<'a>(
        &'a self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        let (writer, files) = (Arc::clone(&self.writer), Arc::clone(&self.files));
        let write = move || {
            let connection = writer.lock().unwrap_or_else(PoisonError::into_inner);
            check(&files)?;
            let rows = read(&connection, statement, &Params::One(params))?;
            check(&files).map(|()| rows)
        };
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(write).await;
            written.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a write ended: {e}"))))
        })
    }

    fn read<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        self.readers.read(statement, params)
    }

    fn read_background<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        self.readers.read_background(statement, params)
    }

    fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks {
        self.readers.stream(statement, params, render)
    }

    fn failure(&self) -> Option<String> {
        self.files.check().err()
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<mpsc::Receiver<String>>, TablesError>> {
        Box::pin(async { Ok(None) })
    }
}

impl SqliteTransaction<'_> {
    fn execute_many(&self, statement: &Statement, columns: &[Column]) -> Result<u64, TablesError> {
        let mut changed = 0;
        run_many(&self.connection, statement, columns, &mut |statement| {
            changed += statement.raw_execute()?;
            Ok(())
        })?;
        Ok(changed as u64)
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn execute(&mut self, statement: &Statement, params: &Params) -> Result<u64, TablesError> {
        let mut changed = 0;
        run(&self.connection, statement, params, &mut |statement| {
            changed += statement.raw_execute()?;
            Ok(())
        })?;
        Ok(changed as u64)
    }

    fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, TablesError> {
        let prepared = self.connection.prepare_cached(statement.sqlite).map_err(|e| error(statement.name, &e))?;
        Ok(prepared.column_names().map(str::to_owned).collect())
    }

    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        read(&self.connection, statement, params)
    }

    fn notify(&mut self, _payload: &str) -> Result<(), TablesError> {
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), TablesError> {
        self.connection.execute_batch("COMMIT").map_err(|e| error("commit", &e))?;
        self.done = true;
        // Nothing counts as applied that went to a file that is not there any more.
        check(self.files)
    }
}

impl Drop for SqliteTransaction<'_> {
    fn drop(&mut self) {
        if !self.done
            && !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "cannot roll back: {error}");
        }
    }
}

/// Runs a statement for each row of parameters; `step` executes or reads it once.
fn run(
    connection: &Connection,
    statement: &Statement,
    params: &Params,
    step: &mut dyn FnMut(&mut rusqlite::Statement<'_>) -> rusqlite::Result<()>,
) -> Result<(), TablesError> {
    match params {
        Params::One(cells) => run_one(connection, statement, cells, step),
        Params::Many(columns) => run_many(connection, statement, columns, step),
    }
}

fn run_one(
    connection: &Connection,
    statement: &Statement,
    cells: &[Cell],
    step: &mut dyn FnMut(&mut rusqlite::Statement<'_>) -> rusqlite::Result<()>,
) -> Result<(), TablesError> {
    check_cells(statement, cells)?;
    let mut inner = || -> rusqlite::Result<()> {
        let mut prepared = connection.prepare_cached(statement.sqlite)?;
        for (index, cell) in cells.iter().enumerate() {
            let Some(slot) = prepared.parameter_index(&format!("${}", index + 1))? else { continue };
            match cell {
                Cell::Int(value) => prepared.raw_bind_parameter(slot, *value)?,
                Cell::Text(value) => prepared.raw_bind_parameter(slot, value.as_deref())?,
                Cell::Bool(value) => prepared.raw_bind_parameter(slot, *value)?,
                Cell::Float(value) => prepared.raw_bind_parameter(slot, *value)?,
                Cell::Bytes(value) => prepared.raw_bind_parameter(slot, value.as_deref())?,
                Cell::Timestamp(value) => prepared.raw_bind_parameter(slot, value.map(|it| it.0))?,
                // Such a parameter was refused.
                Cell::Texts(_) => {}
            }
        }
        step(&mut prepared)
    };
    inner().map_err(|e| error(statement.name, &e))
}

fn run_many(
    connection: &Connection,
    statement: &Statement,
    columns: &[Column],
    step: &mut dyn FnMut(&mut rusqlite::Statement<'_>) -> rusqlite::Result<()>,
) -> Result<(), TablesError> {
    check_columns(statement, columns)?;
    let mut inner = || -> rusqlite::Result<()> {
        let mut prepared = connection.prepare_cached(statement.sqlite)?;
        let slot = |index: usize| prepared.parameter_index(&format!("${}", index + 1));
        let slots = (0..=columns.len()).map(slot).collect::<rusqlite::Result<Vec<_>>>()?;
        for row in 0..columns.first().map_or(0, Column::len) {
            for (column, slot) in columns.iter().zip(&slots) {
                let Some(slot) = *slot else { continue };
                match column {
                    Column::Ints(values) => prepared.raw_bind_parameter(slot, values[row])?,
                    Column::Texts(values) => prepared.raw_bind_parameter(slot, values[row].as_deref())?,
                    Column::Bools(values) => prepared.raw_bind_parameter(slot, values[row])?,
                    Column::Floats(values) => prepared.raw_bind_parameter(slot, values[row])?,
                    Column::Bytes(values) => prepared.raw_bind_parameter(slot, values[row].as_deref())?,
                    Column::Timestamps(values) => prepared.raw_bind_parameter(slot, values[row].map(|it| it.0))?,
                }
            }
            if let Some(ordinal) = slots[columns.len()] {
                prepared.raw_bind_parameter(ordinal, i64::try_from(row + 1).unwrap_or(i64::MAX))?;
            }
            step(&mut prepared)?;
        }
        Ok(())
    };
    inner().map_err(|e| error(statement.name, &e))
}

/// Reads all rows of a statement.
pub(super) fn read(connection: &Connection, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
    // One snapshot for all of it, as on PostgreSQL. Each run alone would lock the file, too.
    let is_repeated = matches!(params, Params::Many(columns) if columns.first().is_some_and(|column| column.len() > 1));
    let snapshot = match is_repeated && connection.is_autocommit() {
        true => Some(connection.unchecked_transaction().map_err(|e| error(statement.name, &e))?),
        false => None,
    };
    let mut found = Vec::new();
    run(connection, statement, params, &mut |prepared| {
        let width = prepared.column_count();
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next()? {
            let cell = |index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => Cell::Int(None),
                    ValueRef::Integer(value) => Cell::Int(Some(value)),
                    ValueRef::Real(value) => Cell::Float(Some(value)),
                    ValueRef::Blob(value) => Cell::Bytes(Some(value.to_owned())),
                    value => Cell::Text(Some(value.as_str()?.to_owned())),
                })
            };
            found.push(Row((0..width).map(cell).collect::<rusqlite::Result<_>>()?));
        }
        Ok(())
    })?;
    drop(snapshot);
    Ok(found)
}

/// Runs a statement once and calls `visit` with each row, until that returns stop.
pub(super) fn visit(
    connection: &Connection,
    statement: &Statement,
    params: Vec<Cell>,
    visit: &mut dyn FnMut(&dyn Cursor) -> Result<bool, TablesError>,
) -> Result<(), TablesError> {
    let mut failed = None;
    run_one(connection, statement, &params, &mut |prepared| {
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next()? {
            match visit(&SqliteCursor(row)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), Err)
}

/// Sorts an error by how the caller can react.
pub(super) fn error(statement: &str, error: &rusqlite::Error) -> TablesError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => TablesError::Conflict(error.to_string()),
        Some(ErrorCode::DiskFull) => TablesError::Full(error.to_string()),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => TablesError::Unavailable(error.to_string()),
        // A check is the only constraint that depends on the value alone.
        Some(ErrorCode::ConstraintViolation)
            if error.sqlite_error().is_some_and(|it| it.extended_code == ffi::SQLITE_CONSTRAINT_CHECK) =>
        {
            TablesError::Value { statement: statement.to_owned(), reason: error.to_string() }
        }
        Some(ErrorCode::TooBig) => TablesError::Value { statement: statement.to_owned(), reason: error.to_string() },
        _ => TablesError::Refused { statement: statement.to_owned(), reason: error.to_string() },
    }
}
