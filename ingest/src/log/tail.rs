//! The newest records of a log in memory, so that a reader at its end need not ask the log for them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_schemas::position::{Offset, Partition};

use crate::log::Record;

/// The newest records of each partition, up to a bound.
pub(super) struct Tails {
    partitions: Mutex<HashMap<Partition, Tail>>,
    grown: Condvar,
    /// Bytes of values kept for one partition.
    bytes_max: usize,
}

/// The newest records of one partition, without a gap between them.
#[derive(Default)]
struct Tail {
    /// The offset after the newest record.
    end: Offset,
    records: VecDeque<Record>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, record: Record, bytes_max: usize) {
        if record.position.offset != self.end {
            self.records.clear();
            self.bytes = 0;
        }
        self.end = record.position.offset + 1;
        self.bytes += record.value.len();
        self.records.push_back(record);
        while self.bytes > bytes_max && self.pop().is_some() {}
    }

    fn pop(&mut self) -> Option<Record> {
        let oldest = self.records.pop_front()?;
        self.bytes -= oldest.value.len();
        Some(oldest)
    }

    /// Where the record at `next` stands among those in memory; `None` where memory does not hold it.
    fn index_of(&self, next: Offset) -> Option<usize> {
        let oldest = self.records.front()?.position.offset;
        usize::try_from(next.checked_sub(oldest)?).ok()
    }
}

impl Tails {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { partitions: Mutex::default(), grown: Condvar::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, Tail>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset after the newest record of a partition, as far as it was told.
    pub(super) fn end(&self, partition: Partition) -> Offset {
        self.lock().get(&partition).map_or(0, |tail| tail.end)
    }

    /// Tells where a partition ends that has records from before.
    pub(super) fn start_at(&self, partition: Partition, end: Offset) {
        self.lock().entry(partition).or_default().end = end;
    }

    /// Adds records, each partition's in order, and wakes readers that wait.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Record>) {
        let mut partitions = self.lock();
        for record in records {
            partitions.entry(record.position.partition).or_default().push(record, self.bytes_max);
        }
        drop(partitions);
        self.grown.notify_all();
    }

    /// Waits until a partition has grown past its next offset, or `limit` is over.
    pub(super) fn wait<'a>(&self, next: impl Iterator<Item = (&'a Partition, &'a Offset)> + Clone, limit: Duration) {
        let behind = |partitions: &mut HashMap<Partition, Tail>| {
            let grown =
                |(partition, next): (&Partition, &Offset)| partitions.get(partition).is_some_and(|t| t.end > *next);
            next.clone().any(grown)
        };
        let waited = self.grown.wait_timeout_while(self.lock(), limit, |partitions| !behind(partitions));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Records from `next` on, at most `room`; `None` where memory does not reach back that far.
    pub(super) fn read(&self, partition: Partition, next: Offset, room: usize) -> Option<Vec<Record>> {
        let partitions = self.lock();
        let Some(tail) = partitions.get(&partition).filter(|tail| next < tail.end) else { return Some(Vec::new()) };
        let skip = tail.index_of(next)?;
        Some(tail.records.iter().skip(skip).take(room).cloned().collect())
    }

    /// The same for the only reader, which reads nothing twice: what it has read is forgotten. Of `bytes_max` bytes of
    /// values it takes at most the first record more.
    pub(super) fn take(
        &self,
        partition: Partition,
        next: Offset,
        room: usize,
        bytes_max: usize,
    ) -> Option<Vec<Record>> {
        let mut partitions = self.lock();
        let Some(tail) = partitions.get_mut(&partition) else { return Some(Vec::new()) };
        while tail.records.front().is_some_and(|record| record.position.offset < next) {
            tail.pop();
        }
        if next >= tail.end {
            return Some(Vec::new());
        }
        tail.index_of(next).filter(|index| *index == 0)?;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < room
            && bytes < bytes_max
            && let Some(record) = tail.pop()
        {
            bytes += record.value.len();
            taken.push(record);
        }
        Some(taken)
    }

    /// Forgets all records.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{position::Position, topics::Topic};

    use super::*;

    const PARTITION: Partition = Partition { topic: Topic::Events, id: 0 };

    fn record(offset: Offset) -> Record {
        Record { position: Position { partition: PARTITION, offset }, key: None, value: [0; 10].as_slice().into() }
    }

    fn offsets(records: Option<Vec<Record>>) -> Option<Vec<Offset>> {
        records.map(|records| records.iter().map(|record| record.position.offset).collect())
    }

    #[test]
    fn memory_serves_what_it_holds_without_a_gap_and_says_where_it_cannot() {
        let tails = Tails::new(30);
        tails.start_at(PARTITION, 5);
        tails.push((5..9).map(record));
        assert_eq!(offsets(tails.read(PARTITION, 5, 9)), None, "only three fit");
        assert_eq!(offsets(tails.read(PARTITION, 7, 9)), Some(vec![7, 8]));
        assert_eq!(offsets(tails.read(PARTITION, 9, 9)), Some(vec![]));
        tails.push([record(12)]);
        assert_eq!((offsets(tails.read(PARTITION, 9, 9)), tails.end(PARTITION)), (None, 13));
        assert_eq!(offsets(tails.read(PARTITION, 12, 9)), Some(vec![12]));
    }

    #[test]
    fn what_is_taken_is_forgotten_and_no_gap_is_jumped() {
        let tails = Tails::new(1000);
        tails.push((3..8).map(record));
        assert_eq!(offsets(tails.take(PARTITION, 2, 9, 99)), None, "the record before them is not here");
        assert_eq!(offsets(tails.take(PARTITION, 4, 2, 99)), Some(vec![4, 5]));
        assert_eq!(offsets(tails.take(PARTITION, 4, 9, 99)), None);
        assert_eq!(offsets(tails.take(PARTITION, 6, 9, 5)), Some(vec![6]), "bytes bound it, but for the first");
        assert_eq!(offsets(tails.take(PARTITION, 7, 9, 99)), Some(vec![7]));
        assert_eq!(offsets(tails.take(PARTITION, 8, 9, 99)), Some(vec![]));
    }
}
