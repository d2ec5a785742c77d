//! Bookkeeping of a generation, in the schema of its tables: checkpoints, quarantine, idempotency keys, and the highest
//! number of each sequence. It commits together with the rows (I3), and is the same for every domain.

pub mod checkpoints;
pub mod idempotency;
pub mod numbers;
pub mod quarantine;

use crate::{
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
