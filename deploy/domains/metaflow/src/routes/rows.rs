//! Rows of Metaflow's objects, which are the objects as answers show them.
//!
//! A row struct declares the columns of its statements. Lists are read without the columns that all of their rows share
//! (see [`super::shared_columns`]).

use daybook_projector::row;

row! {
    /// A flow.
    pub(super) struct Flow<'r> {
        pub(super) flow_id: &'r str,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
    }
}

row! {
    /// A flow with the position of the event that made it.
    pub(super) struct FlowRow<'r>: flow: Flow {
        pub(super) record_partition: i64,
        pub(super) record_offset: i64,
    }
}

row! {
    /// A run.
    pub(super) struct Run<'r> {
        pub(super) flow_id: &'r str,
        pub(super) run_number: i64,
        pub(super) run_id: Option<&'r str>,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
        pub(super) heartbeat_at: Option<i64>,
        pub(super) beat_at: Option<i64>,
        pub(super) outcome: Option<&'r str>,
    }
}

row! {
    /// A run with the position of the event that made it.
    pub(super) struct RunRow<'r>: run: Run {
        pub(super) record_partition: i64,
        pub(super) record_offset: i64,
    }
}

row! {
    /// A run that was looked up by its name.
    pub(super) struct RunByNameRow<'r> {
        pub(super) run_number: i64,
        pub(super) system_tags: &'r str,
    }
}

row! {
    /// A step.
    pub(super) struct Step<'r> {
        pub(super) flow_id: &'r str,
        pub(super) run_number: i64,
        pub(super) run_id: Option<&'r str>,
        pub(super) step_name: &'r str,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
    }
}

row! {
    /// A step with the position of the event that made it.
    pub(super) struct StepRow<'r>: step: Step {
        pub(super) record_partition: i64,
        pub(super) record_offset: i64,
    }
}

row! {
    /// A step of a list, without the columns of its run.
    pub(super) struct ListedStepRow<'r> {
        pub(super) step_name: &'r str,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
    }
}

row! {
    /// A task.
    pub(super) struct Task<'r> {
        pub(super) flow_id: &'r str,
        pub(super) run_number: i64,
        pub(super) run_id: Option<&'r str>,
        pub(super) step_name: &'r str,
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
        pub(super) heartbeat_at: Option<i64>,
        pub(super) beat_at: Option<i64>,
    }
}

row! {
    /// A task with the position of the event that made it.
    pub(super) struct TaskRow<'r>: task: Task {
        pub(super) record_partition: i64,
        pub(super) record_offset: i64,
    }
}

row! {
    /// A task that was looked up by its name.
    pub(super) struct TaskByNameRow {
        pub(super) task_id: i64,
    }
}

row! {
    /// A task of a list, without the columns of its run and step.
    pub(super) struct ListedTaskRow<'r> {
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) heartbeat_at: Option<i64>,
        pub(super) beat_at: Option<i64>,
    }
}

row! {
    /// A task with one value of its metadata.
    pub(super) struct TaskMetadataRow<'r> {
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) value: &'r str,
    }
}

row! {
    /// An artifact.
    pub(super) struct Artifact<'r> {
        pub(super) flow_id: &'r str,
        pub(super) run_number: i64,
        pub(super) run_id: Option<&'r str>,
        pub(super) step_name: &'r str,
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) name: &'r str,
        pub(super) location: &'r str,
        pub(super) ds_type: &'r str,
        pub(super) sha: Option<&'r str>,
        pub(super) r#type: Option<&'r str>,
        pub(super) content_type: Option<&'r str>,
        pub(super) user_name: Option<&'r str>,
        pub(super) attempt_id: i64,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
    }
}

row! {
    /// An artifact of a list, without the columns of the run.
    pub(super) struct ListedArtifactRow<'r> {
        pub(super) step_name: &'r str,
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) name: &'r str,
        pub(super) location: &'r str,
        pub(super) ds_type: &'r str,
        pub(super) sha: Option<&'r str>,
        pub(super) r#type: Option<&'r str>,
        pub(super) content_type: Option<&'r str>,
        pub(super) user_name: Option<&'r str>,
        pub(super) attempt_id: i64,
        pub(super) ts_epoch: i64,
    }
}

row! {
    /// How many artifacts of a record existed already.
    pub(super) struct SkippedRow {
        pub(super) entries: i64,
    }
}

row! {
    /// A metadata entry of a list, without the columns of the run.
    pub(super) struct ListedMetadataRow<'r> {
        pub(super) step_name: &'r str,
        pub(super) task_id: i64,
        pub(super) task_name: Option<&'r str>,
        pub(super) id: i64,
        pub(super) field_name: &'r str,
        pub(super) value: &'r str,
        pub(super) r#type: &'r str,
        pub(super) user_name: Option<&'r str>,
        pub(super) ts_epoch: i64,
        pub(super) tags: &'r str,
        pub(super) system_tags: &'r str,
    }
}

/// A metadata entry as answers show it.
pub(super) struct Metadata<'r> {
    pub(super) flow_id: &'r str,
    pub(super) run_number: i64,
    pub(super) run_id: Option<&'r str>,
    pub(super) step_name: &'r str,
    pub(super) task_id: i64,
    pub(super) task_name: Option<&'r str>,
    pub(super) id: i64,
    pub(super) field_name: &'r str,
    pub(super) value: &'r str,
    pub(super) r#type: &'r str,
    pub(super) user_name: Option<&'r str>,
    pub(super) ts_epoch: i64,
    pub(super) tags: &'r str,
    pub(super) system_tags: &'r str,
}

impl Run<'_> {
    /// The last heartbeat, in seconds: of the heartbeat topic, and before its first one of a registration. The later of
    /// the two times says nothing: it may come from a clock that was ahead.
    pub(super) fn heartbeat(&self) -> Option<i64> {
        self.beat_at.or(self.heartbeat_at)
    }
}

impl Task<'_> {
    /// The last heartbeat, in seconds; the registration is before all of the heartbeat topic.
    pub(super) fn heartbeat(&self) -> Option<i64> {
        self.beat_at.or(self.heartbeat_at)
    }
}
