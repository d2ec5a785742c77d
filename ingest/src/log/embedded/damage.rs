//! Damage of the file: distinguished from transient faults, and named with the ways out.

use std::{fmt, path::Path};

use daybook_schemas::position::{Offset, Partition};
use rusqlite::ErrorCode;

use crate::log::LogError;

/// A failure of SQLite that is no damage can only be the configuration's or the machine's.
pub(super) fn sort(path: &Path, what: &str, error: &rusqlite::Error) -> LogError {
    match is_damage(error) {
        true => damaged(path, error),
        false => LogError::Unusable(format!("cannot {what} {}: {error}", path.display())),
    }
}

/// The same for an open file, whose other failures may pass. It had its table when it was opened.
pub(super) fn of_reading(path: &Path, error: &rusqlite::Error) -> LogError {
    match is_damage(error) || is_without_table(error) {
        true => damaged(path, error),
        false => LogError::Unavailable(error.to_string()),
    }
}

/// Records that are not there, although later ones or the tables know of them.
pub(super) fn lost(path: &Path, partition: Partition, from: Offset, to: Offset) -> LogError {
    damaged(path, &format_args!("the log lost records: {partition} has none from {from} to {to}"))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let damaged = |code| matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
    // A column that cannot have that type was not written by Daybook.
    error.sqlite_error_code().map_or_else(|| matches!(error, rusqlite::Error::InvalidColumnType(..)), damaged)
}

/// SQLite has no code of its own for that.
fn is_without_table(error: &rusqlite::Error) -> bool {
    error.to_string().contains("no such table")
}

fn damaged(path: &Path, reason: &dyn fmt::Display) -> LogError {
    let file = path.display();
    LogError::Damaged(format!(
        "the log {file} is damaged: {reason}; restore {file} from a backup and start again, or give --data-dir an empty \
         directory, where a new log begins"
    ))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_table_that_is_missing_from_an_open_file_is_damage() -> rusqlite::Result<()> {
        let connection = Connection::open_in_memory()?;
        let failure = |sql| connection.prepare(sql).map(drop).map_err(|error| of_reading(Path::new("x.db"), &error));
        let missing = failure("SELECT value FROM records").map_err(|error| error.to_string());
        assert!(
            missing.as_ref().is_err_and(|text| text.contains("x.db is damaged: no such table: records")),
            "{missing:?}"
        );
        assert!(matches!(failure("SELECT value FROM"), Err(LogError::Unavailable(_))));
        Ok(())
    }
}
