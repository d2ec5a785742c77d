//! The events: facts in the past tense. Field meanings stand in `avro/v1/*.avsc`, which these types mirror.
//!
//! Naming rule: a type has the name of its Avro record; [`Event::kind`] is that name.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{FlowId, MetadataId, RunNumber, StepName, TaskId},
    topics::Topic,
};

/// Any event of the log. The aliases are the full Avro names, by which the decoder knows a union's branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The first record of a log.
    #[serde(alias = "io.daybook.events.LogCreated")]
    LogCreated(LogCreated),
    /// A flow was registered.
    #[serde(alias = "io.daybook.events.FlowRegistered")]
    FlowRegistered(FlowRegistered),
    /// A run was started.
    #[serde(alias = "io.daybook.events.RunStarted")]
    RunStarted(RunStarted),
    /// A step was registered.
    #[serde(alias = "io.daybook.events.StepRegistered")]
    StepRegistered(StepRegistered),
    /// A task was registered.
    #[serde(alias = "io.daybook.events.TaskRegistered")]
    TaskRegistered(TaskRegistered),
    /// Artifacts of a task were registered.
    #[serde(alias = "io.daybook.events.ArtifactsRegistered")]
    ArtifactsRegistered(ArtifactsRegistered),
    /// Metadata of a task was registered.
    #[serde(alias = "io.daybook.events.MetadataRegistered")]
    MetadataRegistered(MetadataRegistered),
    /// User tags of a run were changed.
    #[serde(alias = "io.daybook.events.RunTagsMutated")]
    RunTagsMutated(RunTagsMutated),
    /// A run or task was alive.
    #[serde(alias = "io.daybook.events.HeartbeatRecorded")]
    HeartbeatRecorded(HeartbeatRecorded),
}

/// The first record of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogCreated {
    /// A UUID.
    pub log_id: String,
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
    /// Where the content lies.
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
    /// The tags after this change: what stays keeps its order, additions follow in theirs.
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
    /// The task's step, if it is a task's heart.
    #[serde(default)]
    pub step_name: Option<StepName>,
    /// The task, if it is a task's heart.
    #[serde(default)]
    pub task_id: Option<TaskId>,
}

impl Event {
    /// The name of the Avro record.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::LogCreated(_) => "LogCreated",
            Self::FlowRegistered(_) => "FlowRegistered",
            Self::RunStarted(_) => "RunStarted",
            Self::StepRegistered(_) => "StepRegistered",
            Self::TaskRegistered(_) => "TaskRegistered",
            Self::ArtifactsRegistered(_) => "ArtifactsRegistered",
            Self::MetadataRegistered(_) => "MetadataRegistered",
            Self::RunTagsMutated(_) => "RunTagsMutated",
            Self::HeartbeatRecorded(_) => "HeartbeatRecorded",
        }
    }

    /// The flow that the event is about; `None` for [`LogCreated`].
    pub const fn flow_id(&self) -> Option<&FlowId> {
        match self {
            Self::LogCreated(_) => None,
            Self::FlowRegistered(event) => Some(&event.flow_id),
            Self::RunStarted(event) => Some(&event.flow_id),
            Self::StepRegistered(event) => Some(&event.flow_id),
            Self::TaskRegistered(event) => Some(&event.flow_id),
            Self::ArtifactsRegistered(event) => Some(&event.flow_id),
            Self::MetadataRegistered(event) => Some(&event.flow_id),
            Self::RunTagsMutated(event) => Some(&event.flow_id),
            Self::HeartbeatRecorded(event) => Some(&event.flow_id),
        }
    }

    /// The topic that the event belongs to.
    pub const fn topic(&self) -> Topic {
        match self {
            Self::HeartbeatRecorded(_) => Topic::Heartbeats,
            _ => Topic::Events,
        }
    }

    /// The record's key: what must be ordered (or, for heartbeats, compacted) together.
    pub fn key(&self) -> String {
        match self {
            Self::HeartbeatRecorded(beat) => match beat.task_id {
                Some(task) => format!("task/{task}/{}", beat.flow_id),
                None => format!("run/{}/{}", beat.run_number, beat.flow_id),
            },
            event => event.flow_id().map_or_else(|| "daybook".to_owned(), |flow| flow.0.clone()),
        }
    }
}
