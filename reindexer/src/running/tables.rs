//! Tables to which records are applied in this process. While they are being filled, several runners share the partitions:
//! PostgreSQL works for one connection on one processor.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use daybook_projector::{
    commit_listener,
    generation::Generation,
    runner::{Health, LiveGeneration, Runner},
    tables::TablesError,
};
use daybook_schemas::position::Partition;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Platform,
    assignment::{self, assignment_of, set_changed},
    threaded,
};
use crate::control::{Entry, State};

/// Runners of one generation that is being filled, at most.
const LANES_MAX: usize = 4;

/// Tables to which records are applied, until the last generation that has them is dropped.
pub(super) struct RunningTables {
    runner: Option<Runner>,
    /// Further runners while they are being filled, each for some of the partitions.
    lanes: Mutex<Vec<Runner>>,
    stage: watch::Sender<Stage>,
    /// Of the generations that have them.
    fingerprints: watch::Sender<BTreeSet<String>>,
    _background: JoinSet<()>,
}

/// How far tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// They are filled from the log: workers take part, and several runners.
    Filled,
    /// They belong to a generation that is being built: workers take part.
    Built,
    /// They can be promoted, or were. Workers have left before, so that a promotion changes no assignment.
    Complete,
}

impl Stage {
    /// Of the tables of a generation.
    pub(crate) fn of(entry: &Entry) -> Self {
        match entry.state {
            State::Planned | State::Loading => Self::Filled,
            State::Indexing | State::Tailing | State::Verifying => Self::Built,
            _ => Self::Complete,
        }
    }
}

impl RunningTables {
    /// Starts to apply records.
    pub(super) async fn start(
        platform: &Platform,
        generation: &Arc<Generation>,
        live: &LiveGeneration,
        stage: Stage,
    ) -> Result<Self, TablesError> {
        let (mut lanes, store) = (vec![Arc::clone(generation)], platform.control.store());
        let count = match store.shared() && platform.projects && stage == Stage::Filled {
            true => thread::available_parallelism().map_or(1, |count| count.get().min(LANES_MAX)),
            // An embedded engine has one writer.
            false => 1,
        };
        while lanes.len() < count {
            lanes.push(Arc::new(generation.through(store.open(&generation.schema).await?)));
        }
        Self::start_lanes(platform, &lanes, live, stage)
    }

    /// Starts a runner for each of the handles of one generation.
    fn start_lanes(
        platform: &Platform,
        lanes: &[Arc<Generation>],
        live: &LiveGeneration,
        stage: Stage,
    ) -> Result<Self, TablesError> {
        let mut background = JoinSet::new();
        let fingerprints = BTreeSet::from([platform.version.fingerprint.clone()]);
        let all = assignment_of(&platform.lease, stage).borrow().of_any(&fingerprints);
        let fingerprints = watch::Sender::new(fingerprints);
        let (stage, mut runners) = (watch::Sender::new(stage), Vec::new());
        let of_lanes: Vec<_> = split(&all, lanes.len()).into_iter().map(watch::Sender::new).collect();
        for (generation, assigned) in lanes.iter().zip(&of_lanes).filter(|_| platform.projects) {
            runners.push(threaded(Runner::start(
                platform.instance.clone(),
                Arc::clone(generation),
                Arc::clone(&platform.version.projection),
                Arc::clone(&platform.log),
                assigned.subscribe(),
                live.clone(),
            ))?);
        }
        let assigned = Assigned { of_lanes };
        let set = move |next: &[Partition], stage| assigned.set(next, stage);
        background.spawn(assignment::follow(
            Arc::clone(&platform.lease),
            fingerprints.subscribe(),
            stage.subscribe(),
            set,
        ));
        if let Some(generation) = lanes.first() {
            background.spawn(commit_listener::listen(platform.instance.clone(), Arc::clone(generation)));
        }
        let mut runners = runners.into_iter();
        let runner = runners.next();
        Ok(Self { runner, lanes: Mutex::new(runners.collect()), stage, fingerprints, _background: background })
    }

    /// Notes the fingerprints of all generations that have them: whoever knows one of these takes part.
    pub(super) fn note_fingerprints(&self, now: BTreeSet<String>) {
        self.fingerprints.send_if_modified(|before| {
            let is_changed = *before != now;
            *before = now;
            is_changed
        });
    }

    /// Notes how far they are. Once they are filled, one runner applies all partitions: so a promotion changes nothing.
    pub(super) fn note(&self, stage: Stage) {
        self.stage.send_if_modified(|before| std::mem::replace(before, stage) != stage);
        if stage != Stage::Filled {
            let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
            if !lanes.is_empty() {
                // To wait until they have stopped would block.
                tokio::task::spawn_blocking(move || drop(lanes));
            }
        }
    }

    /// What its runners are doing.
    pub(super) fn health(&self) -> Vec<Health> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        self.runner.iter().chain(lanes.iter()).map(Runner::health).collect()
    }
}

/// How the partitions of a generation are spread over its runners.
struct Assigned {
    of_lanes: Vec<watch::Sender<Vec<Partition>>>,
}

impl Assigned {
    /// While tables are being filled, each of their runners gets some partitions; afterwards the first one gets all.
    fn set(&self, next: &[Partition], stage: Stage) {
        let mut parts = split(next, if stage == Stage::Filled { self.of_lanes.len() } else { 1 });
        parts.resize(self.of_lanes.len(), Vec::new());
        // First what others are to give up.
        for (sender, part) in self.of_lanes.iter().zip(parts).rev() {
            set_changed(sender, part);
        }
    }
}

/// Spreads partitions evenly.
fn split(partitions: &[Partition], count: usize) -> Vec<Vec<Partition>> {
    let mut parts = vec![Vec::new(); count];
    for (index, partition) in partitions.iter().enumerate() {
        parts[index % count].push(*partition);
    }
    parts
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, position::PartitionId, topics::Declaration};

    use super::*;

    const ORDERS: Topic = Topic::new(&Declaration { name: "orders", compacted: false, partitions: 8 });

    fn partitions(count: PartitionId) -> Vec<Partition> {
        (0..count).map(|id| Partition { topic: ORDERS, id }).collect()
    }

    #[test]
    fn each_partition_belongs_to_one_runner_and_all_to_the_first_one_in_the_end() {
        let of_lanes: Vec<_> = (0..3).map(|_| watch::Sender::new(Vec::new())).collect();
        let assigned = Assigned { of_lanes };
        for count in 0..8 {
            let all = partitions(count);
            assigned.set(&all, Stage::Filled);
            let parts: Vec<Vec<Partition>> = assigned.of_lanes.iter().map(|lane| lane.borrow().clone()).collect();
            let mut found = parts.concat();
            found.sort_unstable();
            assert_eq!(found, all);
            let sizes = || parts.iter().map(Vec::len);
            assert!(sizes().max() <= sizes().min().map(|least| least + 1), "{parts:?}");
            assigned.set(&all, Stage::Built);
            let parts: Vec<usize> = assigned.of_lanes.iter().map(|lane| lane.borrow().len()).collect();
            assert_eq!(parts, [all.len(), 0, 0]);
        }
    }
}
