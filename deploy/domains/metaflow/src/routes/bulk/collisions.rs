//! Whether an event of a bulk body lost its assigned number to another record.

use daybook_projector::{
    progress::Outcome,
    tables::{FromRow, TablesError},
};
use daybook_query_api::{create::is_refused, error::ApiError};
use daybook_schemas::{Envelope, position::Position};

use crate::{
    events::{Event, RunStarted, TaskRegistered},
    routes::{
        rows::{RunRow, TaskRow},
        view::View,
    },
};

/// Whether an applied event changed nothing because another record has its number. Not lost is an event that changed
/// nothing for another reason, as a new number would not help: its idempotency key or its name was used before, or it
/// is in quarantine.
pub(super) async fn is_lost(view: &View, position: Position, envelope: &Envelope<Event>) -> Result<bool, ApiError> {
    if view.live.generation.progress.outcome(position) == Outcome::AsWritten {
        return Ok(false);
    }
    let has_row_or_name = match &envelope.event {
        Event::RunStarted(run) => run_has_row(view, position, run).await? || run_has_name(view, run).await?,
        Event::TaskRegistered(task) => task_has_row(view, position, task).await? || task_has_name(view, task).await?,
        _ => return Ok(false),
    };
    Ok(!has_row_or_name && !is_refused(&view.live, position, envelope).await?)
}

/// Whether a run's row was created by the record at a position.
async fn run_has_row(view: &View, position: Position, run: &RunStarted) -> Result<bool, TablesError> {
    let Some(row) = view.runs.load(vec![run.run_number.0.into(), run.flow_id.as_str().into()]).await? else {
        return Ok(false);
    };
    let row = RunRow::read(&row)?;
    Ok(is_at(position, row.record_partition, row.record_offset))
}

/// Whether there is a run of the same name.
async fn run_has_name(view: &View, run: &RunStarted) -> Result<bool, TablesError> {
    let Some(name) = &run.run_id else { return Ok(false) };
    Ok(view.facts.run(view, run.flow_id.as_str(), name).await?.is_some())
}

/// Whether a task's row was created by the record at a position.
async fn task_has_row(view: &View, position: Position, task: &TaskRegistered) -> Result<bool, TablesError> {
    let (flow, step) = (task.flow_id.as_str(), task.step_name.as_str());
    let key = vec![task.task_id.0.into(), flow.into(), task.run_number.0.into(), step.into()];
    let Some(row) = view.tasks.load(key).await? else { return Ok(false) };
    let row = TaskRow::read(&row)?;
    Ok(is_at(position, row.record_partition, row.record_offset))
}

/// Whether the step has a task of the same name.
async fn task_has_name(view: &View, task: &TaskRegistered) -> Result<bool, TablesError> {
    let Some(name) = &task.task_name else { return Ok(false) };
    let (flow, step) = (task.flow_id.as_str(), task.step_name.as_str());
    Ok(view.facts.task(view, flow, task.run_number, step, name).await?.is_some())
}

fn is_at(position: Position, record_partition: i64, record_offset: i64) -> bool {
    (i64::from(position.partition.id), position.offset) == (record_partition, record_offset)
}
