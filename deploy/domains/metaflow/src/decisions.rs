//! Metaflow's commands and the pure decisions on them: a command and its facts become events, or a rejection.
//!
//! Facts are read from the live tables before the decision. Two racing commands may both be decided on the same facts:
//! both are appended, the first in the partition wins, and the fold reports this to the other's writer.

pub(crate) mod artifacts;
pub(crate) mod flow;
pub(crate) mod heartbeat;
pub(crate) mod metadata;
pub(crate) mod run;
pub(crate) mod run_tags;
pub(crate) mod step;
pub(crate) mod task;

use daybook_schemas::{EventSet, rules::Violation};

use crate::events::{
    Event,
    ids::{RunNumber, TaskId},
};

/// The fields that all registered objects have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// Who registers it.
    pub(crate) user_name: Option<String>,
    /// User tags.
    pub(crate) tags: Vec<String>,
    /// System tags.
    pub(crate) system_tags: Vec<String>,
    /// Whether its client sends heartbeats.
    pub(crate) heartbeat: bool,
}

/// The immutable fields of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFacts {
    /// Its number.
    pub(crate) run_number: RunNumber,
    /// Its name, if it has one.
    pub(crate) run_id: Option<String>,
    /// Its system tags.
    pub(crate) system_tags: Vec<String>,
}

/// The immutable fields of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskFacts {
    /// Its number.
    pub(crate) task_id: TaskId,
    /// Its name, if it has one.
    pub(crate) task_name: Option<String>,
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// An object of this name exists already.
    #[error("{0} exists already")]
    Duplicate(String),
    /// There is no such flow.
    #[error("flow {0} is unknown")]
    UnknownFlow(String),
    /// There is no such run.
    #[error("run {0} is unknown")]
    UnknownRun(String),
    /// There is no such step.
    #[error("step {0} is unknown")]
    UnknownStep(String),
    /// There is no such run or task.
    #[error("task {0} is unknown")]
    UnknownTask(String),
    /// System tags cannot be removed.
    #[error("cannot remove tags that are existing system tags: {}", .0.join(", "))]
    SystemTags(Vec<String>),
    /// The command violates a rule by itself.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Checks an event's own rules.
fn checked(event: Event) -> Result<Event, Rejection> {
    event.check()?;
    Ok(event)
}

/// Bytes of entries after which the next entry starts another event, so that no record exceeds the log's limit.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Entries of one event, at most.
const EVENT_ENTRIES_MAX: usize = 5000;

/// Splits entries into runs that fit one event each; empty for no entries.
fn split<T>(entries: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = bytes_of(&entry);
        match parts.last_mut() {
            Some(part) if part.len() < EVENT_ENTRIES_MAX && bytes + size <= EVENT_BYTES_MAX => {
                bytes += size;
                part.push(entry);
            }
            _ => {
                bytes = size;
                parts.push(vec![entry]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_by_bytes_and_by_count_and_none_is_lost() {
        let sizes = vec![10, EVENT_BYTES_MAX, 1, EVENT_BYTES_MAX - 1, 1];
        assert_eq!(
            split(sizes, |size| *size),
            vec![vec![10], vec![EVENT_BYTES_MAX], vec![1, EVENT_BYTES_MAX - 1], vec![1]]
        );
        let many = split(vec![1; EVENT_ENTRIES_MAX * 2 + 1], |_| 1);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [EVENT_ENTRIES_MAX, EVENT_ENTRIES_MAX, 1]);
        assert!(split(Vec::<usize>::new(), |_| 1).is_empty());
    }
}
