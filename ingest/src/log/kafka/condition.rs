//! What this process knows of the broker's condition: whether it answers, and whether the topics are still the same.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};

/// Shared by what appends and what asks for watermarks.
#[derive(Default)]
pub(super) struct Condition(Mutex<State>);

#[derive(Default)]
struct State {
    /// Appends timed out, and nothing has succeeded since: further ones are refused at once rather than after a time-out.
    appends_fail: Option<String>,
    /// The broker did not tell where the log ends.
    end_fails: Option<String>,
    /// A topic is not the one that was opened. Never mended in this process.
    made_anew: Option<String>,
    /// The least offset that the next append to a partition can get.
    least: HashMap<Partition, Offset>,
}

impl Condition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the log does not take records now.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        state.made_anew.as_ref().or(state.appends_fail.as_ref()).or(state.end_fails.as_ref()).cloned()
    }

    /// Why an append need not be tried.
    pub(super) fn refusal(&self) -> Option<String> {
        let state = self.lock();
        state.made_anew.as_ref().or(state.appends_fail.as_ref()).cloned()
    }

    /// Notes where the log ended when it was opened, before anything was appended.
    pub(super) fn note_opened(&self, end: &Vector) {
        self.lock().least.extend(end.0.iter().map(|(partition, next)| (*partition, *next)));
    }

    /// Notes what came of asking for the log's end. A broker that tells it takes appends again.
    pub(super) fn note_end(&self, outcome: Result<(), String>) {
        let mut state = self.lock();
        match outcome {
            Ok(()) => (state.appends_fail, state.end_fails) = (None, None),
            Err(reason) => state.end_fails = Some(reason),
        }
    }

    /// Notes that an append failed.
    pub(super) fn note_failure(&self, reason: &str) {
        self.lock().appends_fail = Some(reason.to_owned());
    }

    /// Notes that a record was appended; false if it stands where another one stood: the topic was made anew.
    pub(super) fn note_append(&self, position: Position) -> bool {
        let mut state = self.lock();
        let least = state.least.entry(position.partition).or_default();
        if position.offset < *least {
            let reason = format!(
                "{position} was given to a new record, but the log had come to offset {least} there: the topic was made \
                 anew; point to the former log, or to an empty place for tables"
            );
            tracing::error!(reason, "the log was made anew: {reason}");
            state.made_anew = Some(reason);
            return false;
        }
        *least = position.offset + 1;
        (state.appends_fail, state.end_fails) = (None, None);
        state.made_anew.is_none()
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::Topic;

    use super::*;

    #[test]
    fn offsets_that_go_back_are_a_topic_made_anew_and_nothing_mends_that() {
        let (condition, at) = (Condition::default(), |offset| Position::new(Topic::Events, 0, offset));
        condition.note_opened(&"events/0@5".parse().unwrap_or_default());
        assert!(condition.note_append(at(5)) && condition.note_append(at(9)));
        assert!(!condition.note_append(at(9)));
        condition.note_end(Ok(()));
        assert!(!condition.note_append(at(20)));
        assert!(condition.refusal().is_some_and(|reason| reason.contains("made anew")));
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
