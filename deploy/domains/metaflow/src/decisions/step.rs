//! Registering a step.

use crate::{
    decisions::{Description, Rejection, RunFacts, checked},
    events::{
        Event, StepRegistered,
        ids::{FlowId, StepName},
    },
};

/// Registers a step of a run.
#[derive(Debug, Clone)]
pub(crate) struct RegisterStep {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The run as the client names it.
    pub(crate) run: String,
    /// Name of the step.
    pub(crate) step_name: StepName,
    /// Its user and tags.
    pub(crate) description: Description,
}

/// Decides; `run` is the run if it exists, `exists` says whether the step does.
pub(crate) fn decide(command: RegisterStep, run: Option<&RunFacts>, exists: bool) -> Result<Event, Rejection> {
    let RegisterStep { flow_id, step_name, description, .. } = command;
    let run = run.ok_or_else(|| Rejection::UnknownRun(format!("{flow_id}/{}", command.run)))?;
    if exists {
        return Err(Rejection::Duplicate(format!("step {flow_id}/{}/{step_name}", command.run)));
    }
    let Description { user_name, tags, system_tags, .. } = description;
    let run_number = run.run_number;
    checked(Event::StepRegistered(StepRegistered { flow_id, run_number, step_name, user_name, tags, system_tags }))
}
