//! Registering a flow.

use crate::{
    decisions::{Description, Rejection, checked},
    events::{Event, FlowRegistered, ids::FlowId},
};

/// Registers a flow.
#[derive(Debug, Clone)]
pub(crate) struct RegisterFlow {
    /// Its name.
    pub(crate) flow_id: FlowId,
    /// Its user and tags.
    pub(crate) description: Description,
}

/// Decides; `exists` says whether the flow exists.
pub(crate) fn decide(command: RegisterFlow, exists: bool) -> Result<Event, Rejection> {
    if exists {
        return Err(Rejection::Duplicate(format!("flow {}", command.flow_id)));
    }
    let Description { user_name, tags, system_tags, .. } = command.description;
    checked(Event::FlowRegistered(FlowRegistered { flow_id: command.flow_id, user_name, tags, system_tags }))
}
