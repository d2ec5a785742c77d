//! Heartbeats of runs and tasks: the newest of each, regardless of their order. They need no parent, because their
//! topic has no order against the events. The registration of a task also counts as a heartbeat of its run.

use std::collections::BTreeMap;

use daybook_schemas::metaflow::events::{HeartbeatRecorded, TaskRegistered};

use super::{fold::Fold, items::Item};
use crate::{
    statements,
    tables::{Column, PlanStatement, Step, TablesError},
};

statements! {
    pub(super) STATEMENTS;
    BEAT_RUNS = "sql/heartbeats/beat_runs", split;
    BEAT_TASKS = "sql/heartbeats/beat_tasks", split;
}

pub(super) const PLANNED: [PlanStatement; 2] = [PlanStatement::any(&BEAT_RUNS), PlanStatement::any(&BEAT_TASKS)];

pub(super) fn apply(
    fold: &mut Fold<'_>,
    tasks: &[Item<'_, TaskRegistered>],
    items: &[Item<'_, HeartbeatRecorded>],
) -> Result<(), TablesError> {
    let rejected = fold.rejected();
    let tasks = tasks.iter().filter(|item| !rejected.contains(&item.position));
    for step in steps(tasks, items) {
        fold.run(step)?;
    }
    Ok(())
}

/// The newest heartbeat of each run and of each task.
pub(super) fn steps<'a>(
    tasks: impl Iterator<Item = &'a Item<'a, TaskRegistered>>,
    items: &'a [Item<'a, HeartbeatRecorded>],
) -> [Step; 2] {
    let (mut of_runs, mut of_tasks) = (BTreeMap::new(), BTreeMap::new());
    for item in tasks.filter(|item| item.event.heartbeat) {
        beat(&mut of_runs, (item.event.run_number.0, item.event.flow_id.as_str()), item.at);
    }
    for item in items {
        match item.event.task_id {
            Some(task) => beat(&mut of_tasks, (task.0, item.event.flow_id.as_str()), item.at),
            None => beat(&mut of_runs, (item.event.run_number.0, item.event.flow_id.as_str()), item.at),
        }
    }
    [
        Step { statement: &BEAT_RUNS, columns: by_number_and_flow(of_runs) },
        Step { statement: &BEAT_TASKS, columns: by_number_and_flow(of_tasks) },
    ]
}

/// Records a heartbeat, if it is newer than the newest one of its key.
fn beat<'a>(newest: &mut BTreeMap<(i64, &'a str), i64>, key: (i64, &'a str), at_ms: i64) {
    let seconds = at_ms.div_euclid(1000);
    newest.entry(key).and_modify(|newest| *newest = seconds.max(*newest)).or_insert(seconds);
}

/// Values by number and flow, as columns: numbers, flows, values.
pub(super) fn by_number_and_flow(values: BTreeMap<(i64, &str), i64>) -> Vec<Column> {
    let numbers = Column::ints(values.keys().map(|(number, _)| *number));
    let flows = Column::texts(values.keys().map(|(_, flow)| *flow));
    vec![numbers, flows, Column::ints(values.into_values())]
}
