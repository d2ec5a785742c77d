//! What this process knows of the broker's condition: whether it answers, and whether the topics are still the same.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};

use crate::log::WAYS_OUT;

/// Shared by appends and queries of watermarks.
#[derive(Default)]
pub(super) struct Condition(Mutex<State>);

#[derive(Default)]
struct State {
    /// Appends timed out, and nothing has succeeded since: further ones are refused immediately, not after a time-out.
    appends_fail: Option<String>,
    /// The last query of watermarks failed.
    end_fails: Option<String>,
    /// A topic was recreated since it was opened. Set until the process restarts.
    recreated: Option<String>,
    /// The least offset that the next append to a partition can get.
    least: HashMap<Partition, Offset>,
}

impl Condition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the log refuses appends now.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        state.recreated.as_ref().or(state.appends_fail.as_ref()).or(state.end_fails.as_ref()).cloned()
    }

    /// Why an append is refused without trying it.
    pub(super) fn refusal(&self) -> Option<String> {
        let state = self.lock();
        state.recreated.as_ref().or(state.appends_fail.as_ref()).cloned()
    }

    /// Sets the log's end as of its opening, before any append.
    pub(super) fn note_opened(&self, end: &Vector) {
        self.lock().least.extend(end.0.iter().map(|(partition, next)| (*partition, *next)));
    }

    /// Records the outcome of a query of watermarks. After a success, appends are tried again.
    pub(super) fn note_end(&self, outcome: Result<(), String>) {
        let mut state = self.lock();
        match outcome {
            Ok(()) => (state.appends_fail, state.end_fails) = (None, None),
            Err(reason) => state.end_fails = Some(reason),
        }
    }

    /// Records that an append failed.
    pub(super) fn note_failure(&self, reason: &str) {
        self.lock().appends_fail = Some(reason.to_owned());
    }

    /// Records a successful append; false if its offset was already taken, which means that the topic was recreated.
    pub(super) fn note_append(&self, position: Position) -> bool {
        let mut state = self.lock();
        let least = state.least.entry(position.partition).or_default();
        if position.offset < *least {
            let reason = format!(
                "{position} was assigned to a new record, but the partition had already reached offset {least}: the topic \
                 was recreated or restored from an older state; {WAYS_OUT}"
            );
            tracing::error!(reason, "the log was recreated: {reason}");
            state.recreated = Some(reason);
            return false;
        }
        *least = position.offset + 1;
        (state.appends_fail, state.end_fails) = (None, None);
        state.recreated.is_none()
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{
        Topic,
        topics::{Declaration, declare},
    };

    use super::*;

    #[test]
    fn offsets_that_go_back_mean_a_recreated_topic_until_the_process_restarts() {
        let topic = Topic::new(&Declaration { name: "t", compacted: false, partitions: 1 });
        declare(&[topic]);
        let (condition, at) = (Condition::default(), |offset| Position::new(topic, 0, offset));
        condition.note_opened(&"t/0@5".parse().unwrap_or_default());
        assert!(condition.note_append(at(5)) && condition.note_append(at(9)));
        assert!(!condition.note_append(at(9)));
        condition.note_end(Ok(()));
        assert!(!condition.note_append(at(20)));
        assert!(condition.refusal().is_some_and(|reason| reason.contains("recreated")));
    }

    #[test]
    fn a_broker_that_answers_again_is_tried_again() {
        let condition = Condition::default();
        condition.note_failure("timed out");
        assert!(condition.refusal().is_some());
        condition.note_end(Err("no answer".to_owned()));
        assert!(condition.refusal().is_some());
        condition.note_end(Ok(()));
        assert_eq!((condition.refusal(), condition.failure()), (None, None));
    }
}
