//! Builds an index from all rows, in ranges of keys.
//!
//! The process with the first partition plans: it notes the ranges, and the vector from which the log is followed
//! afterwards. Each process writes the ranges that fall to its partitions, and notes each one that is durable. So an
//! interrupted build goes on where it was, whoever has the partitions then. A range that two processes write is written
//! twice, which does no harm. The index has no checkpoint before all ranges are written.

use std::{sync::Arc, time::Duration};

use daybook_schemas::position::{Partition, Vector};
use tokio::{sync::watch, time::Instant};

use super::{SearchRunnerError, Worker};
use crate::{
    bookkeeping::checkpoints,
    search::{
        SearchIndex, bookkeeping,
        builds::{self, Numbered},
        ranges::RANGE_KEYS,
        state::Building,
        writer::Writer,
    },
};

/// Between two looks at what other processes have written.
const LOOK: Duration = Duration::from_millis(200);

impl Worker {
    /// Takes part in building an index until it is built. The vector that it has reached then.
    pub(super) fn build(
        &self,
        index: &Arc<dyn SearchIndex>,
        mine: &[Partition],
        assignment: &watch::Receiver<Vec<Partition>>,
    ) -> Result<Vector, SearchRunnerError> {
        let (is_first, began) = (mine.iter().any(|partition| partition.id == 0), Instant::now());
        let mut writer = self.writer(index).of_rebuild(Arc::clone(&self.setting.generation));
        if is_first {
            self.plan_build(index)?;
        }
        loop {
            let reached = self.wait(bookkeeping::checkpoints(self.tables(), index.id()))?;
            if !reached.0.is_empty() {
                self.setting.search.note(|health| health.building = None);
                return Ok(reached);
            }
            let mut has_written = false;
            for range in self.wait(builds::unwritten(self.tables(), index.id()))? {
                if self.is_mine(&range, mine) {
                    self.check_assignment(assignment)?;
                    self.write_range(range, &mut writer)?;
                    has_written = true;
                }
            }
            match self.wait(builds::read(self.tables(), index.id()))? {
                Some(build) if is_first && build.is_complete() => {
                    self.advance(&mut writer, &build.from)?;
                    let (ranges, seconds) = (build.ranges, began.elapsed().as_secs_f64());
                    tracing::info!(ranges, "search index built: {ranges} ranges of keys in {seconds:.1} s");
                }
                _ if has_written => {}
                _ => self.pause(LOOK),
            }
            self.check_assignment(assignment)?;
        }
    }

    /// Plans a build, unless that was done before.
    fn plan_build(&self, index: &Arc<dyn SearchIndex>) -> Result<(), SearchRunnerError> {
        if self.wait(builds::read(self.tables(), index.id()))?.is_some() {
            return Ok(());
        }
        // Read before the rows: what changes them later is in the log after it.
        let mut from = checkpoints::read_blocking(self.tables())?.next;
        from.0.retain(|partition, _| self.is_searched(partition));
        if from.0.values().any(|next| *next > 0) {
            tracing::info!(index = index.describe(), "building the search index from all rows");
        }
        let ranges = self.wait(self.setting.documents.ranges(self.tables(), RANGE_KEYS))?;
        Ok(builds::begin(self.tables(), index.id(), &from, &ranges)?)
    }

    /// Whether a range falls to the partitions of this process.
    fn is_mine(&self, range: &Numbered, mine: &[Partition]) -> bool {
        let Some(topic) = self.setting.documents.topics().first().copied() else { return false };
        let partitions = i64::from(self.setting.log.partition_count(topic)).max(1);
        mine.iter().any(|it| it.topic == topic && i64::from(it.id) == range.number % partitions)
    }

    /// Writes the documents of a range, and notes that they are durable.
    fn write_range(&self, Numbered { number, range }: Numbered, writer: &mut Writer) -> Result<(), SearchRunnerError> {
        self.wait(self.setting.documents.of_range(self.tables(), &range, writer))?;
        self.wait(writer.flush())?;
        self.keep_outcome(writer, &Vector::default(), None)?;
        self.wait(builds::note_written(self.tables(), writer.index_id(), number))?;
        let build = self.wait(builds::read(self.tables(), writer.index_id()))?;
        self.setting.search.note(|health| {
            let building = health.building.get_or_insert_with(Building::default);
            if let Some(build) = build {
                (building.ranges, building.ranges_written) = (build.ranges, build.written);
            }
        });
        Ok(())
    }

    /// Fails if this is stopped, or has other partitions now.
    fn check_assignment(&self, assignment: &watch::Receiver<Vec<Partition>>) -> Result<(), SearchRunnerError> {
        let is_changed = assignment.has_changed().unwrap_or(false);
        if self.stopped() || is_changed { Err(SearchRunnerError::Stopped) } else { Ok(()) }
    }
}
