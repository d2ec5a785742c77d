//! Maps errors of PostgreSQL to [`TablesError`].

use crate::tables::TablesError;

/// SQLSTATE of the generated functions: another writer was faster.
pub(super) const FASTER: &str = "DB001";

/// Sorts an error by how the caller can react. SQLSTATE classes: PostgreSQL documentation, appendix A.
pub(super) fn error(statement: &str, error: &sqlx::Error) -> TablesError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Configuration(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::TypeNotFound { .. } => {
                TablesError::Refused { statement: statement.to_owned(), reason: error.to_string() }
            }
            // Of a pool with one connection, for a listener: it was never open.
            sqlx::Error::PoolTimedOut => TablesError::Unavailable("the server could not be reached in time".to_owned()),
            _ => TablesError::Unavailable(error.to_string()),
        };
    };
    match database.code().as_deref() {
        Some("40001" | "40P01" | "55P03" | FASTER) => TablesError::Conflict(database.message().to_owned()),
        Some(code) if ["08", "53", "57", "58", "25", "28"].iter().any(|class| code.starts_with(class)) => {
            TablesError::Unavailable(database.message().to_owned())
        }
        // Data exceptions, program limits, and check_violation.
        Some(code) if code.starts_with("22") || code.starts_with("54") || code == "23514" => {
            TablesError::Value { statement: statement.to_owned(), reason: database.message().to_owned() }
        }
        _ => TablesError::Refused { statement: statement.to_owned(), reason: database.message().to_owned() },
    }
}
