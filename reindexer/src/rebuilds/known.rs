//! A generation with its progress, as people see it.

use daybook_projector::search::state::Building;
use daybook_schemas::position::{Offset, Partition, Vector};

use crate::{
    control::{Entry, State},
    work::WorkerProgress,
};

/// A generation with its progress, as far as this process knows.
#[derive(Debug, Clone)]
pub struct Known {
    /// The domain.
    pub domain: &'static str,
    /// What control storage says.
    pub entry: Entry,
    /// What its tables have applied; `None` if it is not open here.
    pub applied: Option<Vector>,
    /// How many records it is behind the live generation, or behind the log if it is the live one.
    pub lag: Option<i64>,
    /// Where its index is, if it has one.
    pub index: Option<String>,
    /// Its parts that others have, too, which have not ended: `tables`.
    pub shared_parts: Vec<&'static str>,
    /// What processes have done for it.
    pub workers: Vec<WorkerProgress>,
    /// Whether its index has been built.
    pub is_indexed: bool,
    /// How far its index is, while that is built from rows.
    pub building: Option<Building>,
    /// How long its rebuild pauses because reads are slow, in percent of its work.
    pub pause_percent: u32,
}

/// How far the load of a partition is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: Partition,
    /// The next offset that is applied, up to the goal.
    pub applied: Offset,
    /// Where the load ends.
    pub goal: Offset,
    /// Of its offsets, how many are applied, in percent, rounded down to tenths.
    pub percent: f64,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Of its records, how many are applied, in percent; while its index is built, of the ranges of keys. Rounded down to
    /// tenths: 100 only if all are done.
    pub percent: f64,
    /// Records applied in a second, since it began.
    pub events_per_second: f64,
    /// Seconds until its records are applied; `None` if that is not known.
    pub eta_seconds: Option<f64>,
}

impl Known {
    /// How far its rebuild is at a time, in milliseconds since 1970.
    pub fn pace(&self, now_ms: i64) -> Pace {
        match self.entry.state {
            // It is not known yet where its load ends.
            State::Planned => Pace::default(),
            State::Indexing => self.pace_of_index(now_ms),
            _ => self.pace_of_load(now_ms),
        }
    }

    fn pace_of_index(&self, now_ms: i64) -> Pace {
        let of_load = self.pace_of_load(now_ms);
        let Some(building) = self.building else {
            let percent = if self.is_indexed { 100.0 } else { 0.0 };
            return Pace { percent, eta_seconds: None, ..of_load };
        };
        let seconds = (now_ms - self.entry.changed_at).max(1) as f64 / 1000.0;
        let (done, left) = (building.ranges_written, building.ranges.saturating_sub(building.ranges_written));
        let eta_seconds = (done > 0).then(|| seconds * left as f64 / done as f64);
        Pace { percent: building.percent(), eta_seconds, ..of_load }
    }

    fn pace_of_load(&self, now_ms: i64) -> Pace {
        if self.entry.is_search_only() {
            // It applies no records.
            let is_built = !matches!(self.entry.state, State::Loading | State::Indexing);
            return Pace { percent: if is_built { 100.0 } else { 0.0 }, ..Pace::default() };
        }
        let goal: Vector = self.entry.goal.parse().unwrap_or_default();
        let (all, left) = match &self.applied {
            Some(applied) => (goal.count(), applied.lag(&goal)),
            None => return Pace::default(),
        };
        // Once they are applied, time that passes says nothing about the pace.
        let until = if self.entry.state == State::Loading { now_ms } else { self.entry.changed_at };
        let seconds = (until - self.entry.created_at).max(1) as f64 / 1000.0;
        let done = (all - left) as f64;
        let events_per_second = done / seconds;
        let percent = percent(all - left, all);
        let eta_seconds = (events_per_second > 0.0).then(|| left as f64 / events_per_second);
        Pace { percent, events_per_second, eta_seconds }
    }

    /// Documents that processes have written so far; `None` if its index is not being built.
    pub fn documents(&self) -> Option<u64> {
        let own = self.building?.documents;
        Some(own.max(self.workers.iter().filter_map(|worker| worker.documents).sum()))
    }

    /// How far the load of each partition is.
    pub fn partitions(&self) -> Vec<PartitionProgress> {
        let goal: Vector = self.entry.goal.parse().unwrap_or_default();
        let Some(applied) = &self.applied else { return Vec::new() };
        let progress = |(partition, goal): (&Partition, &Offset)| {
            let applied = applied.next(*partition).min(*goal);
            PartitionProgress { partition: *partition, applied, goal: *goal, percent: percent(applied, *goal) }
        };
        goal.0.iter().map(progress).collect()
    }
}

/// How many of all are done, in percent, rounded down to tenths: 100 only if all are.
fn percent(done: i64, all: i64) -> f64 {
    if all == 0 { 100.0 } else { (i128::from(done) * 1000 / i128::from(all)) as f64 / 10.0 }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{
        Topic,
        topics::{self, Declaration},
    };

    use super::*;

    const TOPIC: Topic = Topic::new(&Declaration { name: "known", compacted: false, partitions: 2 });
    const GOAL: [Offset; 2] = [7, 4000];

    fn vector([one, other]: [Offset; 2]) -> Vector {
        Vector([(Partition { topic: TOPIC, id: 0 }, one), (Partition { topic: TOPIC, id: 1 }, other)].into())
    }

    fn known(state: State, applied: [Offset; 2], building: Option<Building>) -> Known {
        topics::declare(&[TOPIC]);
        let mut entry = Entry::new(2, "d_g0002".to_owned(), state, String::new(), String::new());
        if state != State::Planned {
            entry.goal = vector(GOAL).to_string();
        }
        Known {
            domain: "d",
            entry,
            applied: Some(vector(applied)),
            lag: None,
            index: None,
            shared_parts: Vec::new(),
            workers: Vec::new(),
            is_indexed: false,
            building,
            pause_percent: 0,
        }
    }

    #[test]
    fn the_percentage_of_a_load_never_falls_and_is_100_only_once_all_is_applied() {
        assert_eq!(known(State::Planned, [0, 0], None).pace(1000).percent, 0.0);
        let mut before = 0.0;
        // A partition may be ahead of the goal: that makes up for nothing.
        let steps = (0..=9).map(|one| [one, 0]).chain((0..=4010).map(|other| [9, other]));
        for applied in steps {
            let known = known(State::Loading, applied, None);
            let percent = known.pace(1000).percent;
            assert!((before..=100.0).contains(&percent), "{applied:?}: {percent} after {before}");
            assert_eq!(percent == 100.0, applied[0] >= GOAL[0] && applied[1] >= GOAL[1], "{applied:?}");
            for (PartitionProgress { percent, .. }, (applied, goal)) in
                known.partitions().into_iter().zip(applied.into_iter().zip(GOAL))
            {
                assert!((0.0..=100.0).contains(&percent), "{applied} of {goal}: {percent}");
                assert_eq!(percent == 100.0, applied >= goal, "{applied} of {goal}: {percent}");
            }
            before = percent;
        }
        for state in [State::Tailing, State::Verifying, State::Ready] {
            assert_eq!(known(state, GOAL, None).pace(1000).percent, 100.0);
        }
    }

    #[test]
    fn the_percentage_of_an_index_never_falls_and_is_100_only_once_all_ranges_are_written() {
        const RANGES: u64 = 3001;
        let of_index = |building| known(State::Indexing, GOAL, building).pace(1000).percent;
        let written = |ranges, ranges_written| Some(Building { documents: 1, ranges_written, ranges });
        assert_eq!((of_index(None), of_index(written(0, 0))), (0.0, 0.0));
        let mut before = 0.0;
        for count in 0..=RANGES {
            let percent = of_index(written(RANGES, count));
            assert!((before..=100.0).contains(&percent), "{count}: {percent} after {before}");
            assert_eq!(percent == 100.0, count == RANGES, "{count}: {percent}");
            before = percent;
        }
        let built = Known { is_indexed: true, ..known(State::Indexing, GOAL, None) };
        assert_eq!(built.pace(1000).percent, 100.0);
    }
}
