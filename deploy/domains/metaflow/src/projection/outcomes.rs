//! Outcomes of runs: what the metadata of a run's `end` step record of how the run went.

use std::collections::BTreeMap;

use daybook_projector::{
    row, statements,
    tables::{Column, FromRow, TablesError},
};

use super::{fold::Fold, items::Item, run_status::outcome_of, runs};
use crate::events::MetadataRegistered;

statements! {
    pub(super) STATEMENTS;
    READ = "sql/outcomes/read", split, keyed OutcomeRow;
    WRITE = "sql/outcomes/write", split;
}

row! {
    /// The newest `attempt_ok` with its time, and the time of the newest `attempt`.
    struct OutcomeRow<'r> {
        ok: Option<&'r str>,
        ok_at: Option<i64>,
        attempt_at: Option<i64>,
    }
}

/// The step whose metadata decide a run's outcome.
const STEP: &str = "end";
/// The metadata fields that decide it.
const FIELDS: [&str; 2] = ["attempt_ok", "attempt"];

/// Whether an event may change its run's outcome.
pub(super) fn affects_outcome(event: &MetadataRegistered) -> bool {
    event.step_name.as_str() == STEP && event.entries.iter().any(|entry| FIELDS.contains(&entry.field_name.as_str()))
}

/// Records the outcome of every run that the items affect, from its current metadata.
pub(super) fn apply(fold: &mut Fold<'_>, items: &[Item<'_, MetadataRegistered>]) -> Result<(), TablesError> {
    let rejected = fold.rejected();
    let mut changes: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for item in items.iter().filter(|item| affects_outcome(item.event) && !rejected.contains(&item.position)) {
        *changes.entry((item.event.run_number.0, item.event.flow_id.as_str())).or_default() += 1;
    }
    if changes.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = changes.keys().copied().collect();
    let mut outcomes = vec![None; keys.len()];
    for row in &fold.read(&READ, runs::key_columns(&keys))? {
        let (index, OutcomeRow { ok, ok_at, attempt_at }) = OutcomeRow::read_keyed(row)?;
        outcomes[index] = outcome_of(ok.zip(ok_at), attempt_at).map(|status| status.as_str().to_owned());
    }
    let mut columns = runs::key_columns(&keys);
    columns.extend([Column::Texts(outcomes), Column::ints(changes.into_values())]);
    fold.report.changed.extend(keys.iter().map(|(run, flow)| runs::entity(flow, *run)));
    fold.execute(&WRITE, columns).map(|_| ())
}
