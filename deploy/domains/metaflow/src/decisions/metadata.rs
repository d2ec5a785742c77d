//! Registering metadata of a task.

use crate::{
    decisions::{Rejection, RunFacts, TaskFacts, checked, split},
    events::{
        Event, MetadataEntry, MetadataRegistered,
        ids::{FlowId, MetadataId, StepName},
    },
};

/// Registers metadata entries of one task; all of them or none.
#[derive(Debug, Clone)]
pub(crate) struct RegisterMetadata {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The step.
    pub(crate) step_name: StepName,
    /// The entries.
    pub(crate) entries: Vec<MetadataEntry>,
}

/// Decides. `task` holds the run and the task if both exist; `first_id` is the first of one id per entry. Returns
/// several events if one would be too large.
pub(crate) fn decide(
    command: RegisterMetadata,
    task: Option<(&RunFacts, &TaskFacts)>,
    first_id: MetadataId,
) -> Result<Vec<Event>, Rejection> {
    let RegisterMetadata { flow_id, step_name, entries } = command;
    let (run, task) = task.ok_or_else(|| Rejection::UnknownTask(format!("of step {step_name} of flow {flow_id}")))?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let (run_number, task_id) = (run.run_number, task.task_id);
    let whole = MetadataRegistered { flow_id, run_number, step_name, task_id, first_id, entries };
    let Event::MetadataRegistered(mut whole) = checked(Event::MetadataRegistered(whole))? else {
        return Ok(Vec::new());
    };
    let mut next = first_id.0;
    let parts = split(std::mem::take(&mut whole.entries), bytes_of).into_iter().map(|entries| {
        let first_id = MetadataId(next);
        next += i64::try_from(entries.len()).unwrap_or(0);
        Event::MetadataRegistered(MetadataRegistered { entries, first_id, ..whole.clone() })
    });
    Ok(parts.collect())
}

fn bytes_of(entry: &MetadataEntry) -> usize {
    let tags: usize = entry.tags.iter().chain(&entry.system_tags).map(|tag| tag.len() + 4).sum();
    entry.field_name.len() + entry.value.len() + tags + 256
}
