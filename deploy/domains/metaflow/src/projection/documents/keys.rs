//! Keys of flows, runs, steps, tasks and artifacts, and which of them events touch.

use std::collections::BTreeSet;

use daybook_projector::{
    row,
    search::ranges::PagedKey,
    tables::{Cell, Column, FromRow, Row, TablesError},
};
use serde::{Deserialize, Serialize};

use crate::{events::Event, projection::outcomes};

row! {
    /// The key of a flow.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub(super) struct FlowKey {
        flow_id: String,
    }
}

row! {
    /// The key of a run.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub(super) struct RunKey {
        run_number: i64,
        flow_id: String,
    }
}

row! {
    /// The key of a step.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) struct StepKey {
        run_number: i64,
        step_name: String,
        flow_id: String,
    }
}

row! {
    /// The key of a task.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub(super) struct TaskKey {
        task_id: i64,
        flow_id: String,
    }
}

row! {
    /// The key of an artifact.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) struct ArtifactKey {
        task_id: i64,
        attempt_id: i64,
        name: String,
        flow_id: String,
    }
}

impl FlowKey {
    /// Keys as the parameters of a statement; so for the others.
    pub(super) fn columns(keys: &[&Self]) -> Vec<Column> {
        vec![Column::texts(keys.iter().map(|key| key.flow_id.as_str()))]
    }
}

impl RunKey {
    pub(super) fn columns(keys: &[&Self]) -> Vec<Column> {
        let run_number = Column::ints(keys.iter().map(|key| key.run_number));
        vec![run_number, Column::texts(keys.iter().map(|key| key.flow_id.as_str()))]
    }
}

impl StepKey {
    pub(super) fn columns(keys: &[&Self]) -> Vec<Column> {
        let run_number = Column::ints(keys.iter().map(|key| key.run_number));
        let step_name = Column::texts(keys.iter().map(|key| key.step_name.as_str()));
        vec![run_number, step_name, Column::texts(keys.iter().map(|key| key.flow_id.as_str()))]
    }
}

impl TaskKey {
    pub(super) fn columns(keys: &[&Self]) -> Vec<Column> {
        let task_id = Column::ints(keys.iter().map(|key| key.task_id));
        vec![task_id, Column::texts(keys.iter().map(|key| key.flow_id.as_str()))]
    }
}

impl ArtifactKey {
    pub(super) fn columns(keys: &[&Self]) -> Vec<Column> {
        let task_id = Column::ints(keys.iter().map(|key| key.task_id));
        let attempt_id = Column::ints(keys.iter().map(|key| key.attempt_id));
        let name = Column::texts(keys.iter().map(|key| key.name.as_str()));
        vec![task_id, attempt_id, name, Column::texts(keys.iter().map(|key| key.flow_id.as_str()))]
    }
}

impl PagedKey for FlowKey {
    fn lowest() -> Self {
        Self { flow_id: String::new() }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![self.flow_id.as_str().into()]
    }
}

impl PagedKey for RunKey {
    fn lowest() -> Self {
        Self { run_number: i64::MIN, flow_id: String::new() }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![self.run_number.into(), self.flow_id.as_str().into()]
    }
}

impl PagedKey for TaskKey {
    fn lowest() -> Self {
        Self { task_id: i64::MIN, flow_id: String::new() }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![self.task_id.into(), self.flow_id.as_str().into()]
    }
}

/// The keys that rows are.
pub(super) fn read<K: Ord + for<'r> FromRow<'r>>(rows: &[Row]) -> Result<BTreeSet<K>, TablesError> {
    rows.iter().map(|row| K::read(row)).collect()
}

/// Documents that are to be written.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) flows: BTreeSet<FlowKey>,
    pub(super) runs: BTreeSet<RunKey>,
    pub(super) steps: BTreeSet<StepKey>,
    pub(super) tasks: BTreeSet<TaskKey>,
    pub(super) artifacts: BTreeSet<ArtifactKey>,
}

impl Keys {
    /// Notes what an event touches.
    pub(super) fn touch(&mut self, event: &Event) {
        match event {
            Event::HeartbeatRecorded(_) => {}
            Event::FlowRegistered(event) => {
                self.flows.insert(FlowKey { flow_id: event.flow_id.as_str().to_owned() });
            }
            Event::RunStarted(event) => self.touch_run(event.run_number.0, event.flow_id.as_str()),
            Event::RunTagsMutated(event) => self.touch_run(event.run_number.0, event.flow_id.as_str()),
            Event::StepRegistered(event) => {
                self.steps.insert(StepKey {
                    run_number: event.run_number.0,
                    step_name: event.step_name.as_str().to_owned(),
                    flow_id: event.flow_id.as_str().to_owned(),
                });
            }
            Event::TaskRegistered(event) => self.touch_task(event.task_id.0, event.flow_id.as_str()),
            Event::ArtifactsRegistered(event) => {
                self.touch_task(event.task_id.0, event.flow_id.as_str());
                self.artifacts.extend(event.entries.iter().map(|entry| ArtifactKey {
                    task_id: event.task_id.0,
                    attempt_id: i64::from(entry.attempt_id),
                    name: entry.name.as_str().to_owned(),
                    flow_id: event.flow_id.as_str().to_owned(),
                }));
            }
            Event::MetadataRegistered(event) => {
                self.touch_task(event.task_id.0, event.flow_id.as_str());
                if outcomes::affects_outcome(event) {
                    self.touch_run(event.run_number.0, event.flow_id.as_str());
                }
            }
        }
    }

    fn touch_run(&mut self, run_number: i64, flow_id: &str) {
        self.runs.insert(RunKey { run_number, flow_id: flow_id.to_owned() });
    }

    fn touch_task(&mut self, task_id: i64, flow_id: &str) {
        self.tasks.insert(TaskKey { task_id, flow_id: flow_id.to_owned() });
    }
}
