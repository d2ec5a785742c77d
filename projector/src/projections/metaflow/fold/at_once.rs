//! An ordinary batch in one round trip: what `apply` does in many statements, one function of PostgreSQL does at once.
//!
//! Ordinary is a batch of runs, tasks, artifacts, metadata and heartbeats without idempotency keys, without two items of
//! one key, and without metadata that tell how a run went. The function counts what it inserted and declines where that is less than all, so that every other case is
//! left to `apply`.

use std::collections::HashSet;

use daybook_schemas::Event;

use super::{columns, outcomes};
use crate::{
    projection::{BatchStatement, Decoded},
    projections::metaflow::items::Sorted,
    statement,
    tables::Statement,
};

const APPLY_BATCH: Statement = statement!("apply_batch", split);

/// The batch as parameters of the function, if it is an ordinary one.
pub(in crate::projections::metaflow) fn at_once(batch: &[Decoded]) -> Option<BatchStatement> {
    let ordinary = |decoded: &Decoded| {
        let event = &decoded.envelope.event;
        let kind = match event {
            Event::MetadataRegistered(event) => !outcomes::tells(event),
            Event::RunStarted(_)
            | Event::TaskRegistered(_)
            | Event::ArtifactsRegistered(_)
            | Event::HeartbeatRecorded(_) => true,
            _ => false,
        };
        kind && (decoded.envelope.idempotency_key.is_none() || matches!(event, Event::HeartbeatRecorded(_)))
    };
    if !batch.iter().all(ordinary) {
        return None;
    }
    let sorted = Sorted::new(batch, &HashSet::new());
    if columns::runs_repeat(&sorted.runs)
        || columns::tasks_repeat(&sorted.tasks)
        || columns::artifacts_repeat(&sorted.artifacts)
    {
        return None;
    }
    let [of_runs, of_tasks] = columns::hearts(sorted.tasks.iter(), &sorted.heartbeats);
    let columns = [
        columns::runs(&sorted.runs),
        columns::tasks(&sorted.tasks),
        columns::artifacts(&sorted.artifacts),
        columns::attempts(sorted.artifacts.iter()),
        columns::metadata(&sorted.metadata),
        of_runs,
        of_tasks,
        columns::numbers(&sorted),
    ];
    Some(BatchStatement { statement: &APPLY_BATCH, columns: columns.concat() })
}
