//! Artifacts: by flow, task, attempt and name. Their task precedes them. An event has several: existing ones
//! are skipped and counted, and a later attempt becomes the task's latest.

use std::collections::{BTreeMap, HashSet};

use daybook_projector::{
    row, statements,
    tables::{Column, FromRow, PlanStatement, Step, TablesError},
};
use daybook_schemas::position::Position;

use super::{
    fold::Fold,
    heartbeats::by_number_and_flow,
    items::{Item, entries_count, ints, positions, repeats, texts},
    tasks::{TaskOf, reject_orphans},
};
use crate::events::{Artifact, ArtifactsRegistered};

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/artifacts/insert", split;
    COUNT = "sql/artifacts/count", split, keyed MadeRow;
    INSERT_SKIPS = "sql/artifacts/insert_skips", split;
    RAISE_ATTEMPTS = "sql/artifacts/raise_attempts", split;
}

pub(super) const PLANNED: [PlanStatement; 2] = [PlanStatement::all(&INSERT), PlanStatement::any(&RAISE_ATTEMPTS)];

row! {
    /// How many artifacts a record made.
    struct MadeRow {
        artifacts: i64,
    }
}

pub(super) fn apply(fold: &mut Fold<'_>, items: &[Item<'_, ArtifactsRegistered>]) -> Result<(), TablesError> {
    let chunk = if repeat(items) { 1 } else { items.len().max(1) };
    items.chunks(chunk).try_for_each(|part| insert(fold, part))
}

/// The insert of all items as a step of a plan; `None` where two of them have a key in common.
pub(super) fn step(items: &[Item<'_, ArtifactsRegistered>]) -> Option<Step> {
    (!repeat(items)).then(|| Step { statement: &INSERT, columns: columns(items) })
}

fn insert(fold: &mut Fold<'_>, items: &[Item<'_, ArtifactsRegistered>]) -> Result<(), TablesError> {
    let entries = items.iter().map(|item| item.event.entries.len() as u64).sum();
    let mut orphans = HashSet::new();
    if fold.execute(&INSERT, columns(items))? < entries {
        orphans = reject_orphans(fold, items, |event| TaskOf {
            flow_id: &event.flow_id,
            run_number: event.run_number,
            step_name: &event.step_name,
            task_id: event.task_id,
        })?;
        skip(fold, items, &orphans)?;
    }
    let applied = items.iter().enumerate().filter(|(index, _)| !orphans.contains(index)).map(|(_, item)| item);
    fold.run(attempts(applied)).map(|_| ())
}

/// Records how many artifacts of each record existed already. A record that inserted none has lost.
fn skip(
    fold: &mut Fold<'_>,
    items: &[Item<'_, ArtifactsRegistered>],
    orphans: &HashSet<usize>,
) -> Result<(), TablesError> {
    let [partition, offset] = positions(items);
    let keys =
        vec![texts(items, |event| event.flow_id.as_str()), ints(items, |event| event.task_id.0), partition, offset];
    let mut skipped: Vec<(Position, i64)> = Vec::new();
    for row in &fold.read(&COUNT, keys)? {
        let (index, MadeRow { artifacts }) = MadeRow::read_keyed(row)?;
        let item = items.get(index).ok_or(TablesError::Shape { column: "ordinal" })?;
        let left_out = entries_count(item.event.entries.len()) - artifacts;
        if left_out == 0 || orphans.contains(&index) {
            continue;
        }
        skipped.push((item.position, left_out));
        match artifacts {
            0 => fold.report.lose(item.position),
            _ => drop(fold.report.read_back.insert(item.position)),
        }
    }
    let partitions = Column::ints(skipped.iter().map(|(position, _)| i64::from(position.partition.id)));
    let offsets = Column::ints(skipped.iter().map(|(position, _)| position.offset));
    let counts = Column::ints(skipped.iter().map(|(_, count)| *count));
    fold.execute(&INSERT_SKIPS, vec![partitions, offsets, counts]).map(|_| ())
}

fn columns(items: &[Item<'_, ArtifactsRegistered>]) -> Vec<Column> {
    let entries: Vec<_> =
        items.iter().flat_map(|item| item.event.entries.iter().map(move |entry| (item, entry))).collect();
    let text =
        |of: fn(&Artifact) -> &str| Column::Texts(entries.iter().map(|(_, it)| Some(of(it).to_owned())).collect());
    let optional =
        |of: fn(&Artifact) -> &Option<String>| Column::Texts(entries.iter().map(|(_, it)| of(it).clone()).collect());
    vec![
        Column::texts(entries.iter().map(|(item, _)| item.event.flow_id.as_str())),
        Column::ints(entries.iter().map(|(item, _)| item.event.run_number.0)),
        Column::texts(entries.iter().map(|(item, _)| item.event.step_name.as_str())),
        Column::ints(entries.iter().map(|(item, _)| item.event.task_id.0)),
        text(|entry| &entry.name),
        text(|entry| &entry.location),
        text(|entry| &entry.ds_type),
        optional(|entry| &entry.sha),
        optional(|entry| &entry.r#type),
        optional(|entry| &entry.content_type),
        optional(|entry| &entry.user_name),
        Column::ints(entries.iter().map(|(_, entry)| i64::from(entry.attempt_id))),
        Column::ints(entries.iter().map(|(item, _)| item.at)),
        Column::ints(entries.iter().map(|(item, _)| i64::from(item.position.partition.id))),
        Column::ints(entries.iter().map(|(item, _)| item.position.offset)),
    ]
}

fn repeat(items: &[Item<'_, ArtifactsRegistered>]) -> bool {
    repeats(items, |event| {
        let key = |entry: &'_ Artifact| (event.flow_id.as_str(), event.task_id, entry.attempt_id, entry.name.clone());
        event.entries.iter().map(key)
    })
}

/// The latest attempts that artifacts raise: tasks, flows, attempts.
pub(super) fn attempts<'a>(items: impl Iterator<Item = &'a Item<'a, ArtifactsRegistered>>) -> Step {
    let mut latest: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for item in items {
        let attempt = item.event.entries.iter().map(|entry| i64::from(entry.attempt_id)).max().unwrap_or(0);
        if attempt > 0 {
            let highest = latest.entry((item.event.task_id.0, item.event.flow_id.as_str())).or_default();
            *highest = attempt.max(*highest);
        }
    }
    Step { statement: &RAISE_ATTEMPTS, columns: by_number_and_flow(latest) }
}
