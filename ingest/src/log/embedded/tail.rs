//! The newest records of a log in memory, so that a reader at its end does not read the file.

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
        while self.bytes > bytes_max
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.value.len();
        }
    }

    /// The index in memory of the record at `next`; `None` if memory does not hold it.
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

    /// The offset after the newest record of a partition, as far as it is known here.
    pub(super) fn end(&self, partition: Partition) -> Offset {
        self.lock().get(&partition).map_or(0, |tail| tail.end)
    }

    /// Sets the end of a partition that already has records in the file.
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

    /// Records from `next` on, at most `room`; `None` if memory no longer holds the first of them.
    pub(super) fn read(&self, partition: Partition, next: Offset, room: usize) -> Option<Vec<Record>> {
        let partitions = self.lock();
        let Some(tail) = partitions.get(&partition).filter(|tail| next < tail.end) else { return Some(Vec::new()) };
        let skip = tail.index_of(next)?;
        Some(tail.records.iter().skip(skip).take(room).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, position::Position, topics::Declaration};

    use super::*;

    const PARTITION: Partition =
        Partition { topic: Topic::new(&Declaration { name: "t", compacted: false, partitions: 1 }), id: 0 };

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
}
