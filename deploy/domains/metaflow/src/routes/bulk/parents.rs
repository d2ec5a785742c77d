//! Whether the parent of a bulk event exists: in the tables, or in an earlier line of the same body.

use std::collections::HashSet;

use daybook_query_api::error::ApiError;

use crate::{
    decisions::Rejection,
    events::{
        Event,
        ids::{FlowId, RunNumber, StepName, TaskId},
    },
    routes::view::View,
};

/// The objects that earlier lines registered.
#[derive(Default)]
pub(super) struct Parents {
    flows: HashSet<FlowId>,
    runs: HashSet<(FlowId, RunNumber)>,
    steps: HashSet<(FlowId, RunNumber, StepName)>,
    tasks: HashSet<(FlowId, RunNumber, StepName, TaskId)>,
}

impl Parents {
    /// Adds what an accepted event registers.
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::FlowRegistered(event) => drop(self.flows.insert(event.flow_id.clone())),
            Event::RunStarted(event) => drop(self.runs.insert((event.flow_id.clone(), event.run_number))),
            Event::StepRegistered(event) => {
                self.steps.insert((event.flow_id.clone(), event.run_number, event.step_name.clone()));
            }
            Event::TaskRegistered(event) => {
                let (flow, step) = (event.flow_id.clone(), event.step_name.clone());
                self.tasks.insert((flow, event.run_number, step, event.task_id));
            }
            _ => {}
        }
    }

    /// An error if the event's parent does not exist.
    pub(super) async fn check(&self, view: &View, event: &Event) -> Result<(), ApiError> {
        match event {
            Event::FlowRegistered(_) => Ok(()),
            Event::RunStarted(event) => self.flow(view, &event.flow_id).await,
            Event::StepRegistered(event) => self.run(view, &event.flow_id, event.run_number).await,
            Event::RunTagsMutated(event) => self.run(view, &event.flow_id, event.run_number).await,
            Event::HeartbeatRecorded(event) => match (&event.step_name, event.task_id) {
                (Some(step), Some(task)) => self.task(view, (&event.flow_id, event.run_number, step, task)).await,
                (None, None) => self.run(view, &event.flow_id, event.run_number).await,
                _ => Err(ApiError::invalid("task_id", "give both step_name and task_id, or neither")),
            },
            Event::TaskRegistered(event) => self.step(view, &event.flow_id, event.run_number, &event.step_name).await,
            Event::ArtifactsRegistered(event) => {
                self.task(view, (&event.flow_id, event.run_number, &event.step_name, event.task_id)).await
            }
            Event::MetadataRegistered(event) => {
                self.task(view, (&event.flow_id, event.run_number, &event.step_name, event.task_id)).await
            }
        }
    }

    async fn flow(&self, view: &View, flow: &FlowId) -> Result<(), ApiError> {
        let known = self.flows.contains(flow) || view.facts.flow_exists(view, flow.as_str()).await?;
        if known { Ok(()) } else { Err(Rejection::UnknownFlow(flow.0.clone()).into()) }
    }

    async fn run(&self, view: &View, flow: &FlowId, run: RunNumber) -> Result<(), ApiError> {
        let known = self.runs.contains(&(flow.clone(), run))
            || view.facts.run(view, flow.as_str(), &run.to_string()).await?.is_some();
        if known { Ok(()) } else { Err(Rejection::UnknownRun(format!("{flow}/{run}")).into()) }
    }

    async fn step(&self, view: &View, flow: &FlowId, run: RunNumber, step: &StepName) -> Result<(), ApiError> {
        let known = self.steps.contains(&(flow.clone(), run, step.clone()))
            || view.facts.step_exists(view, flow.as_str(), run, step.as_str()).await?;
        if known { Ok(()) } else { Err(Rejection::UnknownStep(format!("{flow}/{run}/{step}")).into()) }
    }

    async fn task(&self, view: &View, path: (&FlowId, RunNumber, &StepName, TaskId)) -> Result<(), ApiError> {
        let (flow, run, step, task) = path;
        let known = self.tasks.contains(&(flow.clone(), run, step.clone(), task))
            || view.facts.task(view, flow.as_str(), run, step.as_str(), &task.to_string()).await?.is_some();
        if known {
            Ok(())
        } else {
            Err(ApiError::invalid("task_id", format!("task {flow}/{run}/{step}/{task} is unknown")))
        }
    }
}
