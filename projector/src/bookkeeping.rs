//! Bookkeeping of a generation, in the schema of its tables: checkpoints, quarantine, idempotency keys, and the highest
//! number of each sequence. It commits together with the rows (I3), and is the same for every domain.

pub mod checkpoints;
pub mod idempotency;
pub mod numbers;
pub mod quarantine;

use crate::{
    comparison::Comparable,
    ddl,
    tables::{Ddl, PlanStatement, Statement},
};

/// The tables of bookkeeping.
pub(crate) fn tables() -> Ddl {
    ddl!("bookkeeping/tables")
}

/// Every statement of bookkeeping, so that a test can run each on every engine.
pub fn statements() -> Vec<&'static Statement> {
    [checkpoints::STATEMENTS, idempotency::STATEMENTS, numbers::STATEMENTS, quarantine::STATEMENTS].concat()
}

/// The statements that precede a projection's in every plan: checkpoints move first, so that one of two appliers waits
/// for the other before it writes anything.
pub(crate) const PLANNED_BEFORE: [PlanStatement; 1] = [checkpoints::PLANNED];
/// The statements that follow a projection's.
pub(crate) const PLANNED_AFTER: [PlanStatement; 2] = [idempotency::PLANNED, numbers::PLANNED];

/// The tables of bookkeeping that verification compares, but for the quarantine. Compacted topics leave nothing in them, so
/// they are the same in every replay.
pub fn comparable() -> Vec<Comparable> {
    vec![
        Comparable::of("idempotency_keys").by_text("record_key").by_text("idempotency_key").columns([
            "kind",
            "number",
            "entries",
            "topic",
            "partition_id",
            "record_offset",
        ]),
        Comparable::of("numbers").by_text("sequence").columns(["highest"]),
    ]
}

/// The quarantine, by positions. Reasons are shown: another version of the fold may word them differently.
pub fn comparable_quarantine() -> Comparable {
    Comparable::of("quarantine")
        .by_text("topic")
        .by_integer("partition_id")
        .by_integer("record_offset")
        .shown(["reason"])
}
