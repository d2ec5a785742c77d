//! How far a part of a generation may apply the log.

use super::{GenerationId, control::ControlRow};

/// The next offset that a generation's tables may reach in a partition: one that is not live never passes the live one.
///
/// The caller has locked its own checkpoint before it reads the control row and the live checkpoint, and keeps the lock
/// until it commits. A flip takes the same locks, so it comes before or after. An older live checkpoint is safe, an
/// older control row is not.
pub fn tables_limit(row: &ControlRow, generation: GenerationId, wanted: i64, live_tables: i64) -> i64 {
    if generation == row.live { wanted } else { wanted.min(live_tables) }
}

/// The next offset that a generation's index may reach in a partition: never more than its tables, and while instances
/// follow, the former index never passes the live one.
///
/// The caller reads the checkpoint of its tables first, or everything in one snapshot.
pub fn index_limit(row: &ControlRow, generation: GenerationId, tables: i64, live_index: i64) -> i64 {
    if row.former() == Some(generation) { tables.min(live_index) } else { tables }
}
