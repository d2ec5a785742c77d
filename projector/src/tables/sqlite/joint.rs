//! A transaction over several files: one transaction in each, which begins with the first statement there. They commit in
//! that order.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{error, file, read, run};
use crate::tables::{JointTransaction, Params, Row, Statement, TablesError};

/// How long it waits for a file that another transaction writes.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// An open transaction.
pub(super) struct Joint {
    folder: PathBuf,
    /// Schemas that take part, in order.
    parts: Vec<Part>,
}

/// The transaction in one file. It is rolled back by closing its connection.
struct Part {
    schema: String,
    connection: Connection,
}

impl Joint {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), parts: Vec::new() }
    }

    fn part(&mut self, schema: &str) -> Result<&Connection, TablesError> {
        let index = match self.parts.iter().position(|part| part.schema == schema) {
            Some(index) => index,
            None => {
                let begun = begin(&file(&self.folder, schema)).map_err(|e| error("begin", &e))?;
                self.parts.push(Part { schema: schema.to_owned(), connection: begun });
                self.parts.len() - 1
            }
        };
        Ok(&self.parts[index].connection)
    }
}

fn begin(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WAIT_MAX)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}

impl JointTransaction for Joint {
    fn execute(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<u64, TablesError> {
        let mut changed = 0;
        run(self.part(schema)?, statement, params, &mut |statement| {
            changed += statement.raw_execute()?;
            Ok(())
        })?;
        Ok(changed as u64)
    }

    fn read(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        read(self.part(schema)?, statement, params)
    }

    fn notify(&mut self, _schema: &str, _payload: &str) -> Result<(), TablesError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), TablesError> {
        self.parts.iter().try_for_each(|part| part.connection.execute_batch("COMMIT").map_err(|e| error("commit", &e)))
    }
}
