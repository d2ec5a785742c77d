//! What the metadata of a run's `end` step record of how the run went.

use std::collections::{BTreeMap, HashSet};

use daybook_schemas::{events::MetadataRegistered, position::Position};

use super::{Fold, Item, READ_OUTCOMES, WRITE_OUTCOMES, run_keys};
use crate::{
    run_status::outcome_of,
    tables::{Column, TablesError},
};

/// The step whose metadata tell.
const STEP: &str = "end";
/// The fields that tell.
const FIELDS: [&str; 2] = ["attempt_ok", "attempt"];

/// Whether an event tells how its run went.
pub(in crate::projections::metaflow) fn tells(event: &MetadataRegistered) -> bool {
    event.step_name.as_str() == STEP && event.entries.iter().any(|entry| FIELDS.contains(&entry.field_name.as_str()))
}

impl Fold<'_> {
    /// Records the outcome of every run that the items tell of, as the metadata are by now.
    pub(super) fn outcomes(&mut self, items: &[Item<'_, MetadataRegistered>]) -> Result<(), TablesError> {
        let unapplied: HashSet<Position> = self.report.unapplied.iter().map(|unapplied| unapplied.position).collect();
        let mut runs: BTreeMap<(i64, &str), i64> = BTreeMap::new();
        for item in items.iter().filter(|item| tells(item.event) && !unapplied.contains(&item.position)) {
            *runs.entry((item.event.run_number.0, item.event.flow_id.as_str())).or_default() += 1;
        }
        if runs.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = runs.keys().copied().collect();
        let mut outcomes = vec![None; keys.len()];
        for (index, row) in self.read(&READ_OUTCOMES, run_keys(&keys))? {
            let ok = row.optional_text(1)?.zip(row.optional_int(2)?);
            outcomes[index] = outcome_of(ok, row.optional_int(3)?).map(|status| status.as_str().to_owned());
        }
        let mut columns = run_keys(&keys);
        columns.extend([Column::Texts(outcomes), Column::ints(runs.into_values())]);
        self.execute(&WRITE_OUTCOMES, columns).map(|_| ())
    }
}
