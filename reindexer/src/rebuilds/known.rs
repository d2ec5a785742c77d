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
    /// Of its offsets, how many are applied, in percent.
    pub percent: f64,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Of its records, how many are applied, in percent; while its index is built, of the ranges of keys.
    pub percent: f64,
    /// Records applied in a second, since it began.
    pub events_per_second: f64,
    /// Seconds until its records are applied; `None` if that is not known.
    pub eta_seconds: Option<f64>,
}

impl Known {
    /// How far its rebuild is at a time, in milliseconds since 1970.
    pub fn pace(&self, now_ms: i64) -> Pace {
        let of_load = self.pace_of_load(now_ms);
        if self.entry.state != State::Indexing {
            return of_load;
        }
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
            let is_built = !matches!(self.entry.state, State::Planned | State::Loading | State::Indexing);
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
        let percent = if all == 0 { 100.0 } else { 100.0 * done / all as f64 };
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
            let percent = if *goal == 0 { 100.0 } else { 100.0 * applied as f64 / *goal as f64 };
            PartitionProgress { partition: *partition, applied, goal: *goal, percent }
        };
        goal.0.iter().map(progress).collect()
    }
}
