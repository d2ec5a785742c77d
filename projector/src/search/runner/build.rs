//! Builds an index from all rows, in ranges of keys.
//!
//! The process with the first partition plans: it notes the ranges, and the vector from which the log is followed
//! afterwards. Each process writes the ranges that fall to its partitions, and notes each one that is durable. So an
//! interrupted build goes on where it was, whoever has the partitions then. One that has nothing to do takes ranges of
//! others, if these get no further. A range that two processes write is written twice, which does no harm. The index has
//! no checkpoint before all ranges are written.

use std::{sync::Arc, time::Duration};

use daybook_schemas::position::{Partition, Vector};
use tokio::{sync::watch, time::Instant};

use super::{LOOK, SearchRunnerError, Worker};
use crate::{
    bookkeeping::checkpoints,
    search::{
        SearchIndex, bookkeeping,
        builds::{self, Build, NumberedRange},
        ranges::RANGE_KEYS,
        state::{Building, Health},
        writer::Writer,
    },
};

/// Between two looks at what other processes have written.
const PAUSE: Duration = Duration::from_millis(500);
/// After so long without a range that was written, a process that has nothing to do takes one of another.
const STALLED: Duration = Duration::from_secs(15);

impl Worker {
    /// Takes part in building an index until it is built. The vector that it has reached then.
    pub(super) fn build(
        &self,
        index: &Arc<dyn SearchIndex>,
        mine: &[Partition],
        assignment: &watch::Receiver<Vec<Partition>>,
    ) -> Result<Vector, SearchRunnerError> {
        let (is_first, began) = (mine.iter().any(|partition| partition.id == 0), Instant::now());
        if is_first {
            self.plan_build(index)?;
        }
        let mut writer = self.writer_of_part(index, mine);
        let (mut written, mut own, mut advanced_at, mut seen_at) = (0_u64, 0_u64, began, began);
        let log_end = |own: u64| {
            let seconds = began.elapsed().as_secs_f64();
            tracing::info!(ranges = own, "search index built, {own} ranges of keys by this process, in {seconds:.1} s");
        };
        loop {
            let reached = self.wait(bookkeeping::checkpoints(self.tables(), index.id()))?;
            if !reached.0.is_empty() {
                log_end(own);
                return Ok(reached);
            }
            let build = self.wait(builds::read(self.tables(), index.id()))?;
            let now = build.as_ref().map_or(0, |build| build.written);
            if now > written {
                (written, advanced_at) = (now, Instant::now());
            }
            self.show_build(build.as_ref());
            match build {
                Some(build) if is_first && build.is_complete() => {
                    self.advance(&mut writer, &build.from)?;
                    log_end(own);
                    return Ok(build.from);
                }
                Some(build) if !build.is_complete() && !mine.is_empty() => {
                    let takes_others = advanced_at.elapsed() > STALLED;
                    match self.write_range(&mut writer, mine, takes_others)? {
                        true => own += 1,
                        false => self.pause_until_changed(assignment),
                    }
                }
                _ => self.pause_until_changed(assignment),
            }
            self.check_assignment(assignment)?;
            if seen_at.elapsed() >= LOOK {
                // One that was deleted is missed without a write, too.
                self.wait(index.newest())?;
                seen_at = Instant::now();
            }
        }
    }

    /// Does nothing for a while, unless this is stopped or has other partitions first.
    fn pause_until_changed(&self, assignment: &watch::Receiver<Vec<Partition>>) {
        let (mut assignment, mut stop) = (assignment.clone(), self.stop.clone());
        self.runtime.block_on(async {
            tokio::select! {
                _ = assignment.changed() => {}
                _ = stop.wait_for(|stop| *stop) => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        });
    }

    /// A writer that sends as many writes concurrently as fall to the partitions of this process: the live index has to
    /// be written meanwhile, and searched.
    fn writer_of_part(&self, index: &Arc<dyn SearchIndex>, mine: &[Partition]) -> Writer {
        let topics = self.setting.documents.topics();
        let all: usize =
            topics.iter().filter_map(|it| usize::try_from(self.setting.log.partition_count(*it)).ok()).sum();
        let writes_max = index.writes().concurrent_max * mine.len() / all.max(1);
        self.writer(index).of_rebuild(Arc::clone(&self.setting.generation), writes_max.max(1))
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

    /// Writes the next range that falls to this process, or else one of another process. Whether there was any.
    fn write_range(
        &self,
        writer: &mut Writer,
        mine: &[Partition],
        takes_others: bool,
    ) -> Result<bool, SearchRunnerError> {
        let unwritten = self.wait(builds::unwritten(self.tables(), writer.index_id()))?;
        let of_mine = unwritten.iter().find(|range| self.is_mine(range, mine));
        // Its process writes the first of them.
        let of_others = unwritten.last().filter(|_| takes_others);
        let Some(NumberedRange { number, range }) = of_mine.or(of_others) else { return Ok(false) };
        self.wait(self.setting.documents.of_range(self.tables(), range, writer))?;
        self.wait(writer.flush())?;
        // What it is known to hold grows with it, so that an index that was put back is noticed.
        let newest = self.wait(writer.newest())?;
        self.keep_outcome(writer, &Vector::default(), newest)?;
        self.wait(builds::note_written(self.tables(), writer.index_id(), *number))?;
        self.setting.search.note(Health::heal);
        Ok(true)
    }

    /// Whether a range falls to the partitions of this process.
    fn is_mine(&self, range: &NumberedRange, mine: &[Partition]) -> bool {
        let Some(topic) = self.setting.documents.topics().first().copied() else { return false };
        let partitions = i64::from(self.setting.log.partition_count(topic)).max(1);
        mine.iter().any(|it| it.topic == topic && i64::from(it.id) == range.number % partitions)
    }

    /// Shows how far the build is.
    fn show_build(&self, build: Option<&Build>) {
        self.setting.search.note(|health| {
            health.is_built = false;
            let building = health.building.get_or_insert_with(Building::default);
            if let Some(build) = build {
                (building.ranges, building.ranges_written) = (build.ranges, build.written);
            }
        });
    }

    /// Fails if this is stopped, or has other partitions now.
    fn check_assignment(&self, assignment: &watch::Receiver<Vec<Partition>>) -> Result<(), SearchRunnerError> {
        let is_changed = assignment.has_changed().unwrap_or(false);
        if self.stopped() || is_changed { Err(SearchRunnerError::Stopped) } else { Ok(()) }
    }
}
