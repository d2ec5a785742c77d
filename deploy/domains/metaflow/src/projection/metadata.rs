//! Metadata of tasks: entries without a key, as many as an event has. Their task precedes them.

use daybook_projector::{
    statements,
    tables::{Column, PlanStatement, Step, TablesError, json_array},
};

use super::{
    fold::Fold,
    items::{Item, entries_count},
    tasks::{TaskOf, reject_orphans},
};
use crate::events::{MetadataEntry, MetadataRegistered};

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/metadata/insert", split;
}

pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

pub(super) fn apply(fold: &mut Fold<'_>, items: &[Item<'_, MetadataRegistered>]) -> Result<(), TablesError> {
    let entries = items.iter().map(|item| item.event.entries.len() as u64).sum();
    if fold.run(step(items))? < entries {
        reject_orphans(fold, items, |event| TaskOf {
            flow_id: &event.flow_id,
            run_number: event.run_number,
            step_name: &event.step_name,
            task_id: event.task_id,
        })?;
    }
    Ok(())
}

/// The insert of all items.
pub(super) fn step(items: &[Item<'_, MetadataRegistered>]) -> Step {
    let entries: Vec<_> = items.iter().flat_map(entries_of).collect();
    let text = |of: fn(&MetadataEntry) -> &str| {
        Column::Texts(entries.iter().map(|(.., it)| Some(of(it).to_owned())).collect())
    };
    let columns = vec![
        Column::texts(entries.iter().map(|(item, ..)| item.event.flow_id.as_str())),
        Column::ints(entries.iter().map(|(item, ..)| item.event.run_number.0)),
        Column::texts(entries.iter().map(|(item, ..)| item.event.step_name.as_str())),
        Column::ints(entries.iter().map(|(item, ..)| item.event.task_id.0)),
        Column::ints(entries.iter().map(|(_, id, _)| *id)),
        text(|entry| &entry.field_name),
        text(|entry| &entry.value),
        text(|entry| &entry.r#type),
        Column::Texts(entries.iter().map(|(.., entry)| entry.user_name.clone()).collect()),
        Column::ints(entries.iter().map(|(item, ..)| item.at)),
        Column::texts(entries.iter().map(|(.., entry)| json_array(&entry.tags))),
        Column::texts(entries.iter().map(|(.., entry)| json_array(&entry.system_tags))),
        Column::ints(entries.iter().map(|(item, ..)| i64::from(item.position.partition.id))),
        Column::ints(entries.iter().map(|(item, ..)| item.position.offset)),
    ];
    Step { statement: &INSERT, columns }
}

/// The entries of an event, each with its id.
fn entries_of<'a>(
    item: &Item<'a, MetadataRegistered>,
) -> impl Iterator<Item = (Item<'a, MetadataRegistered>, i64, &'a MetadataEntry)> {
    let item = *item;
    let entry = move |(index, entry)| (item, item.event.first_id.0 + entries_count(index), entry);
    item.event.entries.iter().enumerate().map(entry)
}
