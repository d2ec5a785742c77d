//! Artifacts: what was there already is skipped and counted; a later attempt becomes the task's latest.

use std::collections::{BTreeMap, HashSet};

use daybook_schemas::events::{Artifact, ArtifactsRegistered};

use super::{
    COUNT_ARTIFACTS, Fold, INSERT_ARTIFACTS, INSERT_SKIPS, MISSING_TASKS, RAISE_ATTEMPTS, entries_count, task_parents,
};
use crate::{
    projections::metaflow::items::{Item, Sorted, ints, positions, repeats, texts},
    tables::{Column, TablesError},
};

impl Fold<'_> {
    pub(super) fn artifacts(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let items = &sorted.artifacts;
        let again = repeats(items, |event| {
            let key =
                |entry: &'_ Artifact| (event.flow_id.0.clone(), event.task_id, entry.attempt_id, entry.name.clone());
            event.entries.iter().map(key).collect()
        });
        for part in items.chunks(if again { 1 } else { items.len().max(1) }) {
            self.artifacts_of(part)?;
        }
        Ok(())
    }

    fn artifacts_of(&mut self, items: &[Item<'_, ArtifactsRegistered>]) -> Result<(), TablesError> {
        let entries: Vec<_> =
            items.iter().flat_map(|item| item.event.entries.iter().map(move |entry| (item, entry))).collect();
        let text = |of: &dyn Fn(&'_ Artifact) -> Option<String>| {
            Column::Texts(entries.iter().map(|(_, entry)| of(entry)).collect())
        };
        let columns = vec![
            Column::texts(entries.iter().map(|(item, _)| item.event.flow_id.as_str())),
            Column::ints(entries.iter().map(|(item, _)| item.event.run_number.0)),
            Column::texts(entries.iter().map(|(item, _)| item.event.step_name.as_str())),
            Column::ints(entries.iter().map(|(item, _)| item.event.task_id.0)),
            text(&|entry| Some(entry.name.clone())),
            text(&|entry| Some(entry.location.clone())),
            text(&|entry| Some(entry.ds_type.clone())),
            text(&|entry| entry.sha.clone()),
            text(&|entry| entry.r#type.clone()),
            text(&|entry| entry.content_type.clone()),
            text(&|entry| entry.user_name.clone()),
            Column::ints(entries.iter().map(|(_, entry)| i64::from(entry.attempt_id))),
            Column::ints(entries.iter().map(|(item, _)| item.at)),
            Column::ints(entries.iter().map(|(item, _)| i64::from(item.position.partition.id))),
            Column::ints(entries.iter().map(|(item, _)| item.position.offset)),
        ];
        let inserted = self.execute(&INSERT_ARTIFACTS, columns)?;
        let mut missing = HashSet::new();
        if inserted < entries.len() as u64 {
            let parents =
                task_parents(items, |event| (&event.flow_id, event.run_number, &event.step_name, event.task_id));
            missing = self.note_missing(items, &MISSING_TASKS, parents, "task")?;
            self.skips(items, &missing)?;
        }
        let applied = items.iter().enumerate().filter(|(index, _)| !missing.contains(index)).map(|(_, item)| item);
        self.attempts(applied)
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

    /// Raises the latest attempt of tasks that got artifacts of a later one.
    fn attempts<'a>(
        &mut self,
        items: impl Iterator<Item = &'a Item<'a, ArtifactsRegistered>>,
    ) -> Result<(), TablesError> {
        let mut latest: BTreeMap<(i64, &str), i64> = BTreeMap::new();
        for item in items {
            let attempt = item.event.entries.iter().map(|entry| i64::from(entry.attempt_id)).max().unwrap_or(0);
            if attempt > 0 {
                let highest = latest.entry((item.event.task_id.0, item.event.flow_id.as_str())).or_default();
                *highest = attempt.max(*highest);
            }
        }
        let tasks = Column::ints(latest.keys().map(|(task, _)| *task));
        let flows = Column::texts(latest.keys().map(|(_, flow)| *flow));
        self.execute(&RAISE_ATTEMPTS, vec![tasks, flows, Column::ints(latest.values().copied())]).map(|_| ())
    }
}
