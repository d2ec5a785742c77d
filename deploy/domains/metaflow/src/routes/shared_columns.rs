//! Columns that all rows of a list share: the flow, the run, often the step, and the run's tags. The list is read
//! without them, and they are added to each row when it is rendered.

use std::sync::Arc;

use super::{
    rows::{Artifact, ListedArtifactRow, ListedMetadataRow, ListedStepRow, ListedTaskRow, Metadata, Step, Task},
    run_tags::Tags,
};
use crate::decisions::RunFacts;

/// An object of a list: the columns of its run, those of its row, and others that the list shares.
macro_rules! of_list {
    ($object:ident, $shared:ident, $row:ident { $($field:ident),+ }, $($other:ident),*) => {
        $object {
            flow_id: &$shared.flow_id,
            run_number: $shared.run_number,
            run_id: $shared.run_id.as_deref(),
            $($field: $row.$field,)+
            $($other),*
        }
    };
}

/// The columns that the rows of one list share.
pub(super) struct SharedColumns {
    flow_id: String,
    run_number: i64,
    run_id: Option<String>,
    /// The step of tasks; other rows have steps of their own.
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
        let Tags { tags, system_tags } = self.tags.as_ref();
        of_list!(Step, self, row { step_name, user_name, ts_epoch }, tags, system_tags)
    }

    pub(super) fn task<'a>(&'a self, row: &ListedTaskRow<'a>) -> Task<'a> {
        let (Tags { tags, system_tags }, step_name) = (self.tags.as_ref(), &self.step_name);
        of_list!(
            Task,
            self,
            row { task_id, task_name, user_name, ts_epoch, heartbeat_at, beat_at },
            step_name,
            tags,
            system_tags
        )
    }

    pub(super) fn artifact<'a>(&'a self, row: &ListedArtifactRow<'a>) -> Artifact<'a> {
        let Tags { tags, system_tags } = self.tags.as_ref();
        of_list!(
            Artifact,
            self,
            row {
                step_name,
                task_id,
                task_name,
                name,
                location,
                ds_type,
                sha,
                r#type,
                content_type,
                user_name,
                attempt_id,
                ts_epoch
            },
            tags,
            system_tags
        )
    }

    /// Entries have tags of their own.
    pub(super) fn metadata<'a>(&'a self, row: &ListedMetadataRow<'a>) -> Metadata<'a> {
        of_list!(
            Metadata,
            self,
            row {
                step_name,
                task_id,
                task_name,
                id,
                field_name,
                value,
                r#type,
                user_name,
                ts_epoch,
                tags,
                system_tags
            },
        )
    }
}
