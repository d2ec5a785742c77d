//! Starting a run.

use crate::{
    decisions::{Description, Rejection, checked},
    events::{
        Event, RunStarted,
        ids::{FlowId, RunNumber},
    },
};

/// Starts a run of a flow.
#[derive(Debug, Clone)]
pub(crate) struct StartRun {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The run's name, if the client gives one.
    pub(crate) run_id: Option<String>,
    /// Its user and tags.
    pub(crate) description: Description,
}

/// The facts of the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Whether the flow is there.
    pub(crate) flow_exists: bool,
    /// Whether a run of this name is there.
    pub(crate) name_taken: bool,
    /// The number that the run gets.
    pub(crate) run_number: RunNumber,
}

/// Decides.
pub(crate) fn decide(command: StartRun, facts: Facts) -> Result<Event, Rejection> {
    if !facts.flow_exists {
        return Err(Rejection::UnknownFlow(command.flow_id.0));
    }
    if facts.name_taken {
        return Err(Rejection::Duplicate(format!("run {}/{}", command.flow_id, command.run_id.unwrap_or_default())));
    }
    let Description { user_name, tags, system_tags, heartbeat } = command.description;
    let (flow_id, run_id, run_number) = (command.flow_id, command.run_id, facts.run_number);
    checked(Event::RunStarted(RunStarted { flow_id, run_number, run_id, user_name, tags, system_tags, heartbeat }))
}
