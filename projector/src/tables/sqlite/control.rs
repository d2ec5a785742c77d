//! The file of control storage.

use rusqlite::Connection;

use super::{SqliteStore, error};
use crate::tables::TablesError;

const CONTROL: &str = include_str!("control.sql");
/// Columns of generations that earlier builds did not have.
const ADDED_COLUMNS: [&str; 2] = ["until", "index_name"];
/// The name of control storage.
pub(super) const CONTROL_SCHEMA: &str = "control";

impl SqliteStore {
    /// Makes control storage, if it is not there.
    pub(super) fn make_control(&self) -> Result<(), TablesError> {
        self.run_script(CONTROL_SCHEMA, CONTROL)?;
        self.add_columns()
    }

    /// Adds columns to control storage of earlier builds.
    fn add_columns(&self) -> Result<(), TablesError> {
        let add = || -> rusqlite::Result<()> {
            let connection = Connection::open(self.path(CONTROL_SCHEMA))?;
            for column in ADDED_COLUMNS {
                if !connection.column_exists(None::<&str>, "generations", column)? {
                    connection.execute_batch(&format!(include_str!("add_column.sql"), column = column))?;
                }
            }
            Ok(())
        };
        add().map_err(|e| error("create schema", &e))
    }
}
