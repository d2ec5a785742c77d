//! The file of control storage.

use rusqlite::Connection;

use super::{SqliteStore, added_columns, error};
use crate::tables::TablesError;

const CONTROL: &str = include_str!("control.sql");
/// The name of control storage.
pub(super) const CONTROL_SCHEMA: &str = "control";

impl SqliteStore {
    /// Makes control storage, if it is not there.
    pub(super) fn make_control(&self) -> Result<(), TablesError> {
        self.run_script(CONTROL_SCHEMA, CONTROL)?;
        let add = || added_columns::add(&Connection::open(self.path(CONTROL_SCHEMA))?);
        add().map_err(|e| error("create schema", &e))
    }
}
