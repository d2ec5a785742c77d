//! Registering a flow.

use daybook_schemas::metaflow::{Event, events::FlowRegistered, ids::FlowId};

use crate::metaflow::{Description, Rejection, checked};

/// Registers a flow.
#[derive(Debug, Clone)]
pub struct RegisterFlow {
    /// Its name.
    pub flow_id: FlowId,
    /// Its user and tags.
    pub description: Description,
}

/// Decides; `exists` says whether the flow exists.
pub fn decide(command: RegisterFlow, exists: bool) -> Result<Event, Rejection> {
    if exists {
        return Err(Rejection::Duplicate(format!("flow {}", command.flow_id)));
    }
    let Description { user_name, tags, system_tags, .. } = command.description;
    checked(Event::FlowRegistered(FlowRegistered { flow_id: command.flow_id, user_name, tags, system_tags }))
}
