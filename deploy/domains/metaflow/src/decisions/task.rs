//! Registering a task.

use crate::{
    decisions::{Description, Rejection, RunFacts, checked},
    events::{
        Event, TaskRegistered,
        ids::{FlowId, StepName, TaskId},
    },
};

/// Registers a task of a step.
#[derive(Debug, Clone)]
pub(crate) struct RegisterTask {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The run as the client names it.
    pub(crate) run: String,
    /// The step.
    pub(crate) step_name: StepName,
    /// The task's name, if the client gives one.
    pub(crate) task_name: Option<String>,
    /// Its user and tags.
    pub(crate) description: Description,
}

/// The facts of the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The run, if it is there.
    pub(crate) run: Option<&'a RunFacts>,
    /// Whether the step is there.
    pub(crate) step_exists: bool,
    /// Whether a task of this name is there.
    pub(crate) name_taken: bool,
    /// The number that the task gets.
    pub(crate) task_id: TaskId,
}

/// Decides.
pub(crate) fn decide(command: RegisterTask, facts: Facts<'_>) -> Result<Event, Rejection> {
    let RegisterTask { flow_id, run: named, step_name, task_name, description } = command;
    let run = facts.run.ok_or_else(|| Rejection::UnknownRun(format!("{flow_id}/{named}")))?;
    if !facts.step_exists {
        return Err(Rejection::UnknownStep(format!("{flow_id}/{named}/{step_name}")));
    }
    if facts.name_taken {
        let name = task_name.unwrap_or_default();
        return Err(Rejection::Duplicate(format!("task {flow_id}/{named}/{step_name}/{name}")));
    }
    checked(Event::TaskRegistered(TaskRegistered {
        flow_id,
        run_number: run.run_number,
        step_name,
        task_id: facts.task_id,
        task_name,
        heartbeat: description.heartbeat,
        system_tags: description.system_tags,
        user_name: description.user_name,
        tags: description.tags,
    }))
}
