//! What happens: the topics, the schemas and the events. The fields are documented in `schemas/avro/metaflow/v1/*.avsc`,
//! which the types of events mirror.

pub mod ids;
pub mod rules;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use daybook_schemas::{
    event::{EventSet, Numbers},
    events,
    registry::SchemaSet,
    rules::Violation,
    schema_files,
    topics::{Declaration, Topic},
};
use serde::{Deserialize, Serialize};

use self::ids::{EXPLICIT_ID_MAX, EXPLICIT_RUN_NUMBER_MAX, FlowId, MetadataId, RunNumber, StepName, TaskId};
use crate::sequences::{METADATA_IDS, RUN_NUMBERS, TASK_IDS};

/// Every event but heartbeats, by flow: a parent precedes its child, and the first of one name wins.
pub const EVENTS: Topic = Topic::new(&Declaration { name: "metaflow", compacted: false, partitions: 2 });
/// Heartbeats, without order against the events: only the newest of a run or task matters.
pub const HEARTBEATS: Topic = Topic::new(&Declaration { name: "metaflow.heartbeats", compacted: true, partitions: 2 });

/// All topics of the domain.
pub const TOPICS: [Topic; 2] = [EVENTS, HEARTBEATS];

/// Schema ids of the domain: 100 to 199.
pub static SCHEMAS: LazyLock<SchemaSet> = LazyLock::new(|| {
    SchemaSet::new(
        "metaflow",
        100..200,
        &[
            schema_files!("../../../schemas/avro/metaflow/v1": "flow-registered", "run-started", "step-registered", "task-registered",
            "artifacts-registered", "metadata-registered", "run-tags-mutated", "heartbeat-recorded"),
        ],
    )
});

events! {
    /// Any event of the domain.
    pub enum Event of SCHEMAS {
        /// A flow was registered.
        FlowRegistered = "io.daybook.metaflow.FlowRegistered",
        /// A run was started.
        RunStarted = "io.daybook.metaflow.RunStarted",
        /// A step was registered.
        StepRegistered = "io.daybook.metaflow.StepRegistered",
        /// A task was registered.
        TaskRegistered = "io.daybook.metaflow.TaskRegistered",
        /// Artifacts of a task were registered.
        ArtifactsRegistered = "io.daybook.metaflow.ArtifactsRegistered",
        /// Metadata of a task was registered.
        MetadataRegistered = "io.daybook.metaflow.MetadataRegistered",
        /// User tags of a run were changed.
        RunTagsMutated = "io.daybook.metaflow.RunTagsMutated",
        /// A run or task was alive.
        HeartbeatRecorded = "io.daybook.metaflow.HeartbeatRecorded",
    }
}

/// A flow was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRegistered {
    /// Name of the flow.
    pub flow_id: FlowId,
    /// Who registered it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
}

/// A run of a flow was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStarted {
    /// The flow.
    pub flow_id: FlowId,
    /// The run's number.
    pub run_number: RunNumber,
    /// The run's name, if the client gave one.
    #[serde(default)]
    pub run_id: Option<String>,
    /// Who started it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
    /// Whether the start counts as the first heartbeat.
    #[serde(default)]
    pub heartbeat: bool,
}

/// A step of a run was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRegistered {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// Name of the step.
    pub step_name: StepName,
    /// Who registered it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
}

/// A task of a step was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRegistered {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// The step.
    pub step_name: StepName,
    /// The task's number.
    pub task_id: TaskId,
    /// The task's name, if the client gave one.
    #[serde(default)]
    pub task_name: Option<String>,
    /// Who registered it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
    /// Whether the registration counts as the first heartbeat, of the task and of its run.
    #[serde(default)]
    pub heartbeat: bool,
}

/// Artifacts of one task were registered, in one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsRegistered {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// The step.
    pub step_name: StepName,
    /// The task.
    pub task_id: TaskId,
    /// The artifacts, in the order of the request.
    pub entries: Vec<Artifact>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name, unique in the task's attempt.
    pub name: String,
    /// Location of the content.
    pub location: String,
    /// Kind of data store.
    pub ds_type: String,
    /// Content hash.
    #[serde(default)]
    pub sha: Option<String>,
    /// Type of object.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Encoding of the content.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Who registered it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// The attempt that made it, from 0.
    #[serde(default)]
    pub attempt_id: i32,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
}

/// Metadata entries of one task were registered, in one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataRegistered {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// The step.
    pub step_name: StepName,
    /// The task.
    pub task_id: TaskId,
    /// Id of the first entry; the others count up from it.
    pub first_id: MetadataId,
    /// The entries, in the order of the request.
    pub entries: Vec<MetadataEntry>,
}

/// One metadata entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataEntry {
    /// Name of the field; may repeat.
    pub field_name: String,
    /// Its value.
    pub value: String,
    /// Kind of value.
    pub r#type: String,
    /// Who registered it.
    #[serde(default)]
    pub user_name: Option<String>,
    /// User tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// System tags.
    #[serde(default)]
    pub system_tags: Vec<String>,
}

/// User tags of a run were changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTagsMutated {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// Tags to add, after the removals.
    #[serde(default)]
    pub add: Vec<String>,
    /// Tags to remove.
    #[serde(default)]
    pub remove: Vec<String>,
}

impl RunTagsMutated {
    /// The tags after this change: remaining tags keep their order, followed by the additions in theirs.
    pub fn apply_to(&self, tags: &[String]) -> Vec<String> {
        let mut changed: Vec<String> = tags.iter().filter(|tag| !self.remove.contains(tag)).cloned().collect();
        for tag in &self.add {
            if !changed.contains(tag) {
                changed.push(tag.clone());
            }
        }
        changed
    }
}

/// A run, or one task of it, was alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRecorded {
    /// The flow.
    pub flow_id: FlowId,
    /// The run.
    pub run_number: RunNumber,
    /// The task's step, for the heartbeat of a task.
    #[serde(default)]
    pub step_name: Option<StepName>,
    /// The task, for the heartbeat of a task.
    #[serde(default)]
    pub task_id: Option<TaskId>,
}

impl Event {
    /// The flow that the event is about.
    pub const fn flow_id(&self) -> &FlowId {
        match self {
            Self::FlowRegistered(event) => &event.flow_id,
            Self::RunStarted(event) => &event.flow_id,
            Self::StepRegistered(event) => &event.flow_id,
            Self::TaskRegistered(event) => &event.flow_id,
            Self::ArtifactsRegistered(event) => &event.flow_id,
            Self::MetadataRegistered(event) => &event.flow_id,
            Self::RunTagsMutated(event) => &event.flow_id,
            Self::HeartbeatRecorded(event) => &event.flow_id,
        }
    }
}

impl EventSet for Event {
    fn topic(&self) -> Topic {
        match self {
            Self::HeartbeatRecorded(_) => HEARTBEATS,
            _ => EVENTS,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::HeartbeatRecorded(beat) => match beat.task_id {
                Some(task) => format!("task/{task}/{}", beat.flow_id),
                None => format!("run/{}/{}", beat.run_number, beat.flow_id),
            },
            event => event.flow_id().0.clone(),
        }
    }

    fn check(&self) -> Result<(), Violation> {
        rules::check(self)
    }

    fn numbers(&self) -> Option<Numbers> {
        let (sequence, first, count, explicit_max) = match self {
            Self::RunStarted(event) => (RUN_NUMBERS, event.run_number.0, 1, EXPLICIT_RUN_NUMBER_MAX),
            Self::TaskRegistered(event) => (TASK_IDS, event.task_id.0, 1, EXPLICIT_ID_MAX),
            Self::MetadataRegistered(event) => (METADATA_IDS, event.first_id.0, event.entries.len(), EXPLICIT_ID_MAX),
            _ => return None,
        };
        let last = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX) - 1);
        Some(Numbers { sequence: sequence.name, first, last, explicit_max })
    }

    fn entries(&self) -> usize {
        match self {
            Self::ArtifactsRegistered(event) => event.entries.len(),
            Self::MetadataRegistered(event) => event.entries.len(),
            _ => 0,
        }
    }
}
