//! Columns of control storage that earlier builds did not have.

use rusqlite::Connection;

/// Columns of generations.
const COLUMNS: [(&str, &str); 4] = [
    ("until", "TEXT NOT NULL DEFAULT ''"),
    ("index_name", "TEXT NOT NULL DEFAULT ''"),
    ("stopped", "TEXT NOT NULL DEFAULT ''"),
    ("began_at", "INTEGER NOT NULL DEFAULT 0"),
];

/// Adds those that are missing.
pub(super) fn add(connection: &Connection) -> rusqlite::Result<()> {
    for (column, definition) in COLUMNS {
        if !connection.column_exists(None::<&str>, "generations", column)? {
            let add = format!(include_str!("add_column.sql"), column = column, definition = definition);
            connection.execute_batch(&add)?;
        }
    }
    Ok(())
}
