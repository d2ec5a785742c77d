//! Tasks: by flow and number, or by flow, run, step and name. Their step precedes them.

use std::collections::HashSet;

use daybook_projector::{
    statements,
    tables::{Column, FromRow, NoColumns, PlanStatement, TablesError},
};

use super::{
    fold::{Fold, Kind, NotInsertedRow},
    items::{Item, first_beats, ints, offsets, optional_texts, positions, repeats, texts, times},
};
use crate::events::{
    TaskRegistered,
    ids::{FlowId, RunNumber, StepName, TaskId},
};

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/tasks/insert", split;
    NOT_INSERTED = "sql/tasks/not_inserted", split, keyed NotInsertedRow;
    MISSING = "sql/tasks/missing", split, keyed NoColumns;
}

pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

pub(super) static KIND: Kind<TaskRegistered> =
    Kind { insert: &INSERT, columns, repeat, not_inserted: &NOT_INSERTED, keys, parent: "step" };

fn columns(items: &[Item<'_, TaskRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        texts(items, |event| event.step_name.as_str()),
        ints(items, |event| event.task_id.0),
        optional_texts(items, |event| &event.task_name),
        optional_texts(items, |event| &event.user_name),
        times(items),
        first_beats(items, |event| event.heartbeat),
        partition,
        offset,
    ]
}

fn repeat(items: &[Item<'_, TaskRegistered>]) -> bool {
    repeats(items, |event| {
        let number = (event.flow_id.as_str(), event.task_id.0, None);
        let place = |name| (event.flow_id.as_str(), event.run_number.0, Some((event.step_name.as_str(), name)));
        std::iter::once(number).chain(event.task_name.as_deref().map(place))
    })
}

fn keys(items: &[Item<'_, TaskRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        texts(items, |event| event.step_name.as_str()),
        ints(items, |event| event.task_id.0),
        partition,
        offset,
    ]
}

/// Which task an event is of.
pub(super) struct TaskOf<'a> {
    pub(super) flow_id: &'a FlowId,
    pub(super) run_number: RunNumber,
    pub(super) step_name: &'a StepName,
    pub(super) task_id: TaskId,
}

/// Rejects the items whose task does not precede them, and returns their indexes.
pub(super) fn reject_orphans<'a, E>(
    fold: &mut Fold<'_>,
    items: &[Item<'a, E>],
    task: fn(&'a E) -> TaskOf<'a>,
) -> Result<HashSet<usize>, TablesError> {
    let columns = vec![
        texts(items, |event| task(event).flow_id.as_str()),
        ints(items, |event| task(event).run_number.0),
        texts(items, |event| task(event).step_name.as_str()),
        ints(items, |event| task(event).task_id.0),
        offsets(items),
    ];
    let mut orphans = HashSet::new();
    for row in &fold.read(&MISSING, columns)? {
        let (index, _) = NoColumns::read_keyed(row)?;
        let position = items.get(index).ok_or(TablesError::Shape { column: "ordinal" })?.position;
        fold.reject_orphan(position, "task");
        orphans.insert(index);
    }
    Ok(orphans)
}
