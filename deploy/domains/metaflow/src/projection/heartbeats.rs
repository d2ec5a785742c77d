//! Heartbeats of runs and tasks: the last of each in its topic, whatever its time, so that one from a clock that was ahead
//! does not outlive the next. They need no parent, because their topic has no order against the events.
//!
//! The registration of a task also counts as a heartbeat of its run. It comes from the topic of events, so it is kept on
//! the run's own row: what the tables hold must not depend on how the two topics were interleaved.

use std::collections::BTreeMap;

use daybook_projector::{
    statements,
    tables::{Column, PlanStatement, Step, TablesError},
};

use super::{fold::Fold, items::Item};
use crate::events::{HeartbeatRecorded, TaskRegistered};

statements! {
    pub(super) STATEMENTS;
    REGISTER_TASKS = "sql/heartbeats/register_tasks", split;
    BEAT_RUNS = "sql/heartbeats/beat_runs", split;
    BEAT_TASKS = "sql/heartbeats/beat_tasks", split;
}

pub(super) const PLANNED: [PlanStatement; 3] =
    [PlanStatement::any(&REGISTER_TASKS), PlanStatement::any(&BEAT_RUNS), PlanStatement::any(&BEAT_TASKS)];

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

/// The last heartbeat of each run and of each task.
pub(super) fn steps<'a>(
    tasks: impl Iterator<Item = &'a Item<'a, TaskRegistered>>,
    items: &'a [Item<'a, HeartbeatRecorded>],
) -> [Step; 3] {
    let (mut registered, mut of_runs, mut of_tasks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for item in tasks.filter(|item| item.event.heartbeat) {
        registered.insert((item.event.run_number.0, item.event.flow_id.as_str()), seconds(item.at));
    }
    for item in items {
        match item.event.task_id {
            Some(task) => of_tasks.insert((task.0, item.event.flow_id.as_str()), seconds(item.at)),
            None => of_runs.insert((item.event.run_number.0, item.event.flow_id.as_str()), seconds(item.at)),
        };
    }
    [
        Step { statement: &REGISTER_TASKS, columns: by_number_and_flow(registered) },
        Step { statement: &BEAT_RUNS, columns: by_number_and_flow(of_runs) },
        Step { statement: &BEAT_TASKS, columns: by_number_and_flow(of_tasks) },
    ]
}

fn seconds(at_ms: i64) -> i64 {
    at_ms.div_euclid(1000)
}

/// Values by number and flow, as columns: numbers, flows, values.
pub(super) fn by_number_and_flow(values: BTreeMap<(i64, &str), i64>) -> Vec<Column> {
    let numbers = Column::ints(values.keys().map(|(number, _)| *number));
    let flows = Column::texts(values.keys().map(|(_, flow)| *flow));
    vec![numbers, flows, Column::ints(values.into_values())]
}
