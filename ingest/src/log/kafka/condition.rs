//! What this process knows of the broker's condition: whether it answers, and whether the topics are still the same.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daybook_schemas::{
    Topic,
    position::{Offset, Partition, Position, Vector},
};

use crate::log::WAYS_OUT;

/// How long a partition may end before a record that was appended. A transaction of another producer that ends is briefer.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Shared by appends and queries of watermarks.
#[derive(Default)]
pub(super) struct Condition(Mutex<State>);

#[derive(Default)]
struct State {
    /// Appends to a topic timed out, and nothing has succeeded there since: further ones are refused immediately, not after
    /// a time-out.
    appends_fail: BTreeMap<Topic, String>,
    /// The last query of a topic's watermarks failed.
    end_fails: BTreeMap<Topic, String>,
    /// A topic was recreated since it was opened. Set until the process restarts.
    recreated: Option<String>,
    /// The least offset that the next append to a partition can get.
    least: HashMap<Partition, Offset>,
    /// Partitions that ended before a record that was appended when they were looked at last.
    held: BTreeMap<Partition, Held>,
}

/// A partition that ends before a record that was appended.
struct Held {
    /// Where it ends.
    next: Offset,
    /// When it was found to end there first, and last.
    since: Instant,
    until: Instant,
}

impl State {
    fn note_success(&mut self, topic: Topic) {
        self.appends_fail.remove(&topic);
        self.end_fails.remove(&topic);
    }

    /// Notes whether partitions end before a record that was appended. Under constant writes they do in each look, and end
    /// elsewhere in the next one.
    fn note_held(&mut self, end: &Vector, now: Instant) {
        for (partition, next) in &end.0 {
            if self.least.get(partition).is_none_or(|least| next >= least) {
                self.held.remove(partition);
                continue;
            }
            let held = self.held.entry(*partition).or_insert(Held { next: *next, since: now, until: now });
            if held.next != *next {
                (held.next, held.since) = (*next, now);
            }
            held.until = now;
        }
    }

    /// Why records that were appended cannot be read.
    fn held(&self) -> Option<String> {
        let is_long = |held: &Held| held.until.saturating_duration_since(held.since) > HELD_MAX;
        let (partition, Held { next, .. }) = self.held.iter().find(|(_, held)| is_long(held))?;
        Some(format!(
            "{partition} cannot be read from offset {next} on, where a transaction of another producer is open: end it"
        ))
    }
}

impl Condition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the log refuses appends now, or does not let them be read.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        let failures = state.appends_fail.values().chain(state.end_fails.values());
        state.recreated.iter().chain(failures).next().cloned().or_else(|| state.held())
    }

    /// Why an append is refused without trying it.
    pub(super) fn refusal(&self) -> Option<String> {
        let state = self.lock();
        state.recreated.iter().chain(state.appends_fail.values()).next().cloned()
    }

    /// Sets the log's end as of its opening, before any append.
    pub(super) fn note_opened(&self, end: &Vector) {
        self.lock().least.extend(end.0.iter().map(|(partition, next)| (*partition, *next)));
    }

    /// Records the outcome of a query of the watermarks of some topics. After a success, appends are tried again.
    pub(super) fn note_end(&self, topics: &[Topic], outcome: Result<&Vector, String>) {
        let mut state = self.lock();
        if let Ok(end) = outcome {
            state.note_held(end, Instant::now());
        }
        for topic in topics {
            match &outcome {
                Ok(_) => state.note_success(*topic),
                Err(reason) => drop(state.end_fails.insert(*topic, reason.clone())),
            }
        }
    }

    /// Records that an append failed.
    pub(super) fn note_failure(&self, topic: Topic, reason: &str) {
        self.lock().appends_fail.insert(topic, reason.to_owned());
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
        state.note_success(position.partition.topic);
        state.recreated.is_none()
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::{Declaration, declare};

    use super::*;

    fn topic() -> Topic {
        Topic::new(&Declaration { name: "t", compacted: false, partitions: 1 })
    }

    #[test]
    fn offsets_that_go_back_mean_a_recreated_topic_until_the_process_restarts() {
        let topic = topic();
        declare(&[topic]);
        let (condition, at) = (Condition::default(), |offset| Position::new(topic, 0, offset));
        condition.note_opened(&"t/0@5".parse().unwrap_or_default());
        assert!(condition.note_append(at(5)) && condition.note_append(at(9)));
        assert!(!condition.note_append(at(9)));
        condition.note_end(&[topic], Ok(&Vector::default()));
        assert!(!condition.note_append(at(20)));
        assert!(condition.refusal().is_some_and(|reason| reason.contains("recreated")));
    }

    #[test]
    fn a_broker_that_answers_again_is_tried_again() {
        let (condition, topic) = (Condition::default(), topic());
        condition.note_failure(topic, "timed out");
        assert!(condition.refusal().is_some());
        condition.note_end(&[topic], Err("no answer".to_owned()));
        // What another topic does says nothing about this one.
        let other = Topic::new(&Declaration { name: "other", compacted: false, partitions: 1 });
        condition.note_end(&[other], Ok(&Vector::default()));
        condition.note_end(&[], Ok(&Vector::default()));
        assert!(condition.refusal().is_some());
        condition.note_end(&[topic], Ok(&Vector::default()));
        assert_eq!((condition.refusal(), condition.failure()), (None, None));
    }

    #[test]
    fn a_partition_that_ends_before_what_was_appended_is_held_up_once_its_end_does_not_move() {
        let (topic, began) = (topic(), Instant::now());
        declare(&[topic]);
        let condition = Condition::default();
        assert!(condition.note_append(Position::new(topic, 0, 9)));
        let mut state = condition.lock();
        let end = |next| Vector([(Partition { topic, id: 0 }, next)].into());
        for (next, after) in [(7, 0), (8, 2), (8, 3)] {
            state.note_held(&end(next), began + after * HELD_MAX / 2);
            assert_eq!(state.held(), None, "{next}");
        }
        state.note_held(&end(8), began + 3 * HELD_MAX);
        assert!(state.held().is_some_and(|reason| reason.contains("t/0 cannot be read from offset 8")));
        state.note_held(&end(9), began + 4 * HELD_MAX);
        assert_eq!(state.held(), None, "it goes on");
        state.note_held(&end(10), began + 6 * HELD_MAX);
        assert_eq!(state.held(), None, "all can be read");
    }
}
