//! Columns that all rows of a list share: the flow, the run, often the step, and the run's tags. The list is read
//! without them, and they are added to each row when it is rendered.

use std::sync::Arc;

use daybook_ingest::metaflow::RunFacts;

use super::{
    rows::{
        Artifact, ArtifactOfRunRow, ArtifactOfStepRow, ListedStepRow, ListedTaskRow, Metadata, MetadataOfRunRow,
        MetadataOfTaskRow, Step, Task,
    },
    run_tags::Tags,
};

/// The columns that the rows of one list share.
pub(super) struct SharedColumns {
    flow_id: String,
    run_number: i64,
    run_id: Option<String>,
    /// Empty if rows have steps of their own.
    step_name: String,
    tags: Arc<Tags>,
}

impl SharedColumns {
    /// The columns of a run's list; of one of its steps, if there is one.
    pub(super) fn new(flow: &str, run: &RunFacts, step: Option<&str>, tags: Arc<Tags>) -> Self {
        Self {
            flow_id: flow.to_owned(),
            run_number: run.run_number.0,
            run_id: run.run_id.clone(),
            step_name: step.unwrap_or_default().to_owned(),
            tags,
        }
    }

    pub(super) fn step<'a>(&'a self, row: &ListedStepRow<'a>) -> Step<'a> {
        Step {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: row.step_name,
            user_name: row.user_name,
            ts_epoch: row.ts_epoch,
            tags: &self.tags.tags,
            system_tags: &self.tags.system_tags,
        }
    }

    pub(super) fn task<'a>(&'a self, row: &ListedTaskRow<'a>) -> Task<'a> {
        Task {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: &self.step_name,
            task_id: row.task_id,
            task_name: row.task_name,
            user_name: row.user_name,
            ts_epoch: row.ts_epoch,
            tags: &self.tags.tags,
            system_tags: &self.tags.system_tags,
            heartbeat: row.heartbeat(),
        }
    }

    pub(super) fn artifact_of_run<'a>(&'a self, row: &ArtifactOfRunRow<'a>) -> Artifact<'a> {
        Artifact {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: row.step_name,
            task_id: row.task_id,
            task_name: row.task_name,
            name: row.name,
            location: row.location,
            ds_type: row.ds_type,
            sha: row.sha,
            r#type: row.r#type,
            content_type: row.content_type,
            user_name: row.user_name,
            attempt_id: row.attempt_id,
            ts_epoch: row.ts_epoch,
            tags: &self.tags.tags,
            system_tags: &self.tags.system_tags,
        }
    }

    pub(super) fn artifact_of_step<'a>(&'a self, row: &ArtifactOfStepRow<'a>) -> Artifact<'a> {
        Artifact {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: &self.step_name,
            task_id: row.task_id,
            task_name: row.task_name,
            name: row.name,
            location: row.location,
            ds_type: row.ds_type,
            sha: row.sha,
            r#type: row.r#type,
            content_type: row.content_type,
            user_name: row.user_name,
            attempt_id: row.attempt_id,
            ts_epoch: row.ts_epoch,
            tags: &self.tags.tags,
            system_tags: &self.tags.system_tags,
        }
    }

    /// Entries have tags of their own.
    pub(super) fn metadata_of_run<'a>(&'a self, row: &MetadataOfRunRow<'a>) -> Metadata<'a> {
        Metadata {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: row.step_name,
            task_id: row.task_id,
            task_name: row.task_name,
            id: row.id,
            field_name: row.field_name,
            value: row.value,
            r#type: row.r#type,
            user_name: row.user_name,
            ts_epoch: row.ts_epoch,
            tags: row.tags,
            system_tags: row.system_tags,
        }
    }

    /// Entries have tags of their own.
    pub(super) fn metadata_of_task<'a>(&'a self, row: &MetadataOfTaskRow<'a>) -> Metadata<'a> {
        Metadata {
            flow_id: &self.flow_id,
            run_number: self.run_number,
            run_id: self.run_id.as_deref(),
            step_name: &self.step_name,
            task_id: row.task_id,
            task_name: row.task_name,
            id: row.id,
            field_name: row.field_name,
            value: row.value,
            r#type: row.r#type,
            user_name: row.user_name,
            ts_epoch: row.ts_epoch,
            tags: row.tags,
            system_tags: row.system_tags,
        }
    }
}
