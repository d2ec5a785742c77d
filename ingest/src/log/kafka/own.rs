//! Reads what this process itself appended from memory, and the rest from the broker.
//!
//! While this process is the only one that appends, the broker has nothing to send that memory does not hold: it is asked
//! seldom, and for much at a time. What another process appends all the same, during a change or by hand, comes late by
//! [`FETCH_WAIT_MS`] and [`LOOK`] at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_schemas::position::Vector;
use rdkafka::ClientConfig;

use super::reader::TopicReader;
use crate::log::{LogError, ReadLimits, Reader, Record, kafka::Address, tail::Tails};

/// Bytes of values kept for one partition.
const TAIL_BYTES_MAX: usize = 1024 * 1024;
/// How long the broker waits for [`FETCH_BYTES`] of records, in milliseconds.
const FETCH_WAIT_MS: &str = "500";
/// Bytes for which the broker does not wait longer.
const FETCH_BYTES: &str = "1000000";
/// How often what the broker sent is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the broker's records are waited for where memory lacks one.
const GAP_WAIT: Duration = Duration::from_millis(20);

/// Records that this process appended, kept while somebody reads them.
pub(super) struct OwnRecords {
    tails: Tails,
    readers: AtomicUsize,
}

impl Default for OwnRecords {
    fn default() -> Self {
        Self { tails: Tails::new(TAIL_BYTES_MAX), readers: AtomicUsize::new(0) }
    }
}

impl OwnRecords {
    /// Publishes records that were acknowledged.
    pub(super) fn publish(&self, mut records: Vec<Record>) {
        if records.is_empty() || self.readers.load(Ordering::Acquire) == 0 {
            return;
        }
        records.sort_by_key(|record| record.position);
        self.tails.push(records);
    }
}

/// The reader of the process that appends. At most one is open at a time.
pub(super) struct OwnReader {
    own: Arc<OwnRecords>,
    address: Address,
    broker: TopicReader,
    /// Where the broker is asked at once for what it has; `None` from there on.
    promptly_to: Option<Vector>,
    next: Vector,
    looked: Instant,
}

impl OwnReader {
    /// Opens a reader at `from` that reads up to `end` as fast as any.
    pub(super) fn open(own: Arc<OwnRecords>, address: &Address, from: &Vector, end: &Vector) -> Result<Self, LogError> {
        let broker = TopicReader::open(&address.consumer(), address, from)?;
        own.readers.fetch_add(1, Ordering::AcqRel);
        let (address, promptly_to, next) = (address.clone(), Some(end.clone()), from.clone());
        Ok(Self { own, address, broker, promptly_to, next, looked: Instant::now() })
    }

    /// Asks the broker seldom from now on.
    fn slow_down(&mut self) -> Result<(), LogError> {
        let mut config: ClientConfig = self.address.consumer();
        config.set("fetch.min.bytes", FETCH_BYTES).set("fetch.wait.max.ms", FETCH_WAIT_MS);
        self.broker = TopicReader::open(&config, &self.address, &self.next)?;
        self.promptly_to = None;
        Ok(())
    }

    /// Takes what memory holds. True if it lacks records that were appended.
    fn remember(&mut self, limits: ReadLimits, found: &mut Vec<Record>) -> bool {
        let (mut lacks, mut bytes) = (false, 0);
        for (partition, next) in &mut self.next.0 {
            let room = limits.records_max.saturating_sub(found.len());
            let taken = self.own.tails.take(*partition, *next, room, limits.bytes_max.saturating_sub(bytes));
            lacks |= taken.is_none();
            for record in taken.into_iter().flatten() {
                bytes += record.value.len();
                *next = record.position.offset + 1;
                found.push(record);
            }
        }
        lacks
    }

    /// Takes what the broker sent and memory did not hold.
    fn look(&mut self, limits: ReadLimits, found: &mut Vec<Record>) -> Result<(), LogError> {
        self.looked = Instant::now();
        for record in self.broker.read(limits)? {
            let next = self.next.0.entry(record.position.partition).or_default();
            if record.position.offset >= *next {
                *next = record.position.offset + 1;
                found.push(record);
            }
        }
        Ok(())
    }
}

impl Reader for OwnReader {
    fn read(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError> {
        if let Some(goal) = &self.promptly_to {
            if self.next.0.iter().any(|(partition, next)| *next < goal.next(*partition)) {
                let mut found = Vec::new();
                self.look(limits, &mut found)?;
                return Ok(found);
            }
            self.slow_down()?;
        }
        let deadline = Instant::now() + limits.wait;
        loop {
            let mut found = Vec::new();
            let lacks = self.remember(limits, &mut found);
            let left = deadline.saturating_duration_since(Instant::now());
            if lacks || self.looked.elapsed() >= LOOK {
                let wait = if lacks && found.is_empty() { left.min(GAP_WAIT) } else { Duration::ZERO };
                self.look(ReadLimits { wait, ..limits }, &mut found)?;
            }
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
            if !lacks {
                self.own.tails.wait(self.next.0.iter(), left.min(LOOK));
            }
        }
    }
}

impl Drop for OwnReader {
    fn drop(&mut self) {
        if self.own.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.own.tails.clear();
        }
    }
}
