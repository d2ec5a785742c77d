//! Artifacts: what was there already is skipped and counted; a later attempt becomes the task's latest.

use std::collections::HashSet;

use daybook_schemas::events::ArtifactsRegistered;

use super::{
    COUNT_ARTIFACTS, Fold, INSERT_ARTIFACTS, INSERT_SKIPS, MISSING_TASKS, RAISE_ATTEMPTS, columns, entries_count,
    task_parents,
};
use crate::{
    projections::metaflow::items::{Item, Sorted, ints, positions, texts},
    tables::{Column, TablesError},
};

impl Fold<'_> {
    pub(super) fn artifacts(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let items = &sorted.artifacts;
        let again = columns::artifacts_repeat(items);
        for part in items.chunks(if again { 1 } else { items.len().max(1) }) {
            self.artifacts_of(part)?;
        }
        Ok(())
    }

    fn artifacts_of(&mut self, items: &[Item<'_, ArtifactsRegistered>]) -> Result<(), TablesError> {
        let entries = items.iter().map(|item| item.event.entries.len() as u64).sum();
        let mut missing = HashSet::new();
        if self.execute(&INSERT_ARTIFACTS, columns::artifacts(items))? < entries {
            self.report.doubtful.extend(items.iter().map(|item| item.position));
            let parents =
                task_parents(items, |event| (&event.flow_id, event.run_number, &event.step_name, event.task_id));
            missing = self.note_missing(items, &MISSING_TASKS, parents, "task")?;
            self.skips(items, &missing)?;
        }
        let applied = items.iter().enumerate().filter(|(index, _)| !missing.contains(index)).map(|(_, item)| item);
        self.execute(&RAISE_ATTEMPTS, columns::attempts(applied)).map(|_| ())
    }

    /// Notes how many artifacts of each record were there already.
    fn skips(&mut self, items: &[Item<'_, ArtifactsRegistered>], missing: &HashSet<usize>) -> Result<(), TablesError> {
        let [partition, offset] = positions(items);
        let columns =
            vec![texts(items, |event| event.flow_id.as_str()), ints(items, |event| event.task_id.0), partition, offset];
        let mut skips = Vec::new();
        for (index, row) in self.read(&COUNT_ARTIFACTS, columns)? {
            let skipped = entries_count(items[index].event.entries.len()) - row.int(1)?;
            if skipped > 0 && !missing.contains(&index) {
                skips.push((items[index].position, skipped));
            }
        }
        let partitions = Column::ints(skips.iter().map(|(position, _)| i64::from(position.partition.id)));
        let offsets = Column::ints(skips.iter().map(|(position, _)| position.offset));
        let counts = Column::ints(skips.iter().map(|(_, skipped)| *skipped));
        self.execute(&INSERT_SKIPS, vec![partitions, offsets, counts]).map(|_| ())
    }
}
