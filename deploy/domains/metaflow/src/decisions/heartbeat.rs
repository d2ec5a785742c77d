//! Recording a heartbeat of a run or a task, and which clients send heartbeats.

use crate::events::{
    Event, HeartbeatRecorded,
    ids::{FlowId, RunNumber, StepName, TaskId},
};

/// Least seconds between two recorded heartbeats; heartbeats in between are acknowledged but not recorded.
pub(crate) const INTERVAL_SECONDS: i64 = 10;

/// Decides on a heartbeat of a run: `None` if the last one is too recent.
pub(crate) fn decide_run(flow_id: &FlowId, run_number: RunNumber, last: Option<i64>, now_ms: i64) -> Option<Event> {
    let event = HeartbeatRecorded { flow_id: flow_id.clone(), run_number, step_name: None, task_id: None };
    due(last, now_ms).then_some(Event::HeartbeatRecorded(event))
}

/// Decides on a heartbeat of a task: `None` if the last one is too recent.
pub(crate) fn decide_task(
    flow_id: &FlowId,
    run_number: RunNumber,
    step_name: &StepName,
    task_id: TaskId,
    last: Option<i64>,
    now_ms: i64,
) -> Option<Event> {
    let (step_name, task_id) = (Some(step_name.clone()), Some(task_id));
    let event = HeartbeatRecorded { flow_id: flow_id.clone(), run_number, step_name, task_id };
    due(last, now_ms).then_some(Event::HeartbeatRecorded(event))
}

/// Whether to record a heartbeat at `now_ms` after one at `last`, in seconds. One in the future comes from a clock that
/// was wrong: the next one is due immediately.
fn due(last: Option<i64>, now_ms: i64) -> bool {
    last.is_none_or(|last| !(0..INTERVAL_SECONDS).contains(&(now_ms.div_euclid(1000) - last)))
}

/// Whether a client with these system tags sends heartbeats, so that a registration counts as the first one.
///
/// The first `metaflow_version:` tag decides: 1.14.0 up to 2 (exclusive), and 2.2.12 or later. A version that does not
/// begin with a number counts as newer. Without system tags (`None`) the answer is yes; without such a tag, no.
pub(crate) fn capable(system_tags: Option<&[String]>) -> bool {
    let Some(tags) = system_tags else { return true };
    let Some(version) = tags.iter().find_map(|tag| tag.strip_prefix("metaflow_version:")) else { return false };
    let number: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let parts: Vec<u64> =
        number.split('.').filter(|part| !part.is_empty()).map_while(|part| part.parse().ok()).collect();
    if parts.is_empty() {
        return true;
    }
    let part = |index: usize| parts.get(index).copied().unwrap_or(0);
    let version = (part(0), part(1), part(2));
    ((1, 14, 0)..(2, 0, 0)).contains(&version) || version >= (2, 2, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tag_tells_who_sends_heartbeats() {
        let with = |version: &str| capable(Some(&["user:u".to_owned(), format!("metaflow_version:{version}")]));
        for (version, expected) in [
            ("1.13.9", false),
            ("1.14.0", true),
            ("1.99", true),
            ("2.0.0", false),
            ("2.2.11", false),
            ("2.2.12", true),
            ("2.3", true),
            ("2.19.39+netflix-1", true),
            ("custom-1", true),
            ("", true),
        ] {
            assert_eq!(with(version), expected, "{version}");
        }
        assert!(capable(None));
        assert!(!capable(Some(&[])));
        assert!(!capable(Some(&["user:u".to_owned()])));
    }

    #[test]
    fn a_beat_within_ten_seconds_is_not_recorded() {
        assert!(due(None, 5_000));
        assert!(!due(Some(100), 109_999));
        assert!(due(Some(100), 110_000));
    }

    #[test]
    fn a_beat_after_one_from_the_future_is_due_at_once() {
        assert!(due(Some(7_300), 100_000));
        assert!(due(Some(101), 100_999));
        assert!(!due(Some(100), 100_000));
    }
}
