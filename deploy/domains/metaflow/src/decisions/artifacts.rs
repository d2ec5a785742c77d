//! Registering artifacts of a task.

use crate::{
    decisions::{Rejection, RunFacts, TaskFacts, checked, split},
    events::{
        Artifact, ArtifactsRegistered, Event,
        ids::{FlowId, StepName},
    },
};

/// Registers artifacts of one task; all of them or none.
#[derive(Debug, Clone)]
pub(crate) struct RegisterArtifacts {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The step.
    pub(crate) step_name: StepName,
    /// The artifacts.
    pub(crate) entries: Vec<Artifact>,
}

/// Decides. `task` holds the run and the task if both exist. Returns several events if one would be too large.
pub(crate) fn decide(
    command: RegisterArtifacts,
    task: Option<(&RunFacts, &TaskFacts)>,
) -> Result<Vec<Event>, Rejection> {
    let RegisterArtifacts { flow_id, step_name, entries } = command;
    let (run, task) = task.ok_or_else(|| Rejection::UnknownTask(format!("of step {step_name} of flow {flow_id}")))?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let whole = ArtifactsRegistered { flow_id, run_number: run.run_number, step_name, task_id: task.task_id, entries };
    let Event::ArtifactsRegistered(mut whole) = checked(Event::ArtifactsRegistered(whole))? else {
        return Ok(Vec::new());
    };
    let parts = split(std::mem::take(&mut whole.entries), bytes_of);
    Ok(parts
        .into_iter()
        .map(|entries| Event::ArtifactsRegistered(ArtifactsRegistered { entries, ..whole.clone() }))
        .collect())
}

fn bytes_of(entry: &Artifact) -> usize {
    let tags: usize = entry.tags.iter().chain(&entry.system_tags).map(|tag| tag.len() + 4).sum();
    entry.name.len() + entry.location.len() + tags + 256
}
