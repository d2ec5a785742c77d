//! Starting a run.

use daybook_schemas::metaflow::{
    Event,
    events::RunStarted,
    ids::{FlowId, RunNumber},
};

use crate::metaflow::{Description, Rejection, checked};

/// Starts a run of a flow.
#[derive(Debug, Clone)]
pub struct StartRun {
    /// The flow.
    pub flow_id: FlowId,
    /// The run's name, if the client gives one.
    pub run_id: Option<String>,
    /// Its user and tags.
    pub description: Description,
}

/// The facts of the decision.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whether the flow is there.
    pub flow_exists: bool,
    /// Whether a run of this name is there.
    pub name_taken: bool,
    /// The number that the run gets.
    pub run_number: RunNumber,
}

/// Decides.
pub fn decide(command: StartRun, facts: Facts) -> Result<Event, Rejection> {
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
