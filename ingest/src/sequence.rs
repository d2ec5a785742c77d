//! Numbers for what events register: each domain declares its sequences by name.
//!
//! A process takes numbers from the source in blocks and gives them out one after another. A number is given out once, as far
//! as the source is not set back; what a process has not given out when it ends is a gap. A number that another record holds
//! already, as one that an import brought along, is found by the fold: its writer calls [`Sequencer::skip_past`] and tries again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::log::BoxFuture;

/// A sequence that a domain declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// Its name, unique over all domains.
    pub name: &'static str,
    /// Numbers that a process takes at a time, at least. With 1, a process that ends leaves no gap.
    pub block: i64,
}

/// The source gives no numbers. Retryable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot get a number: {0}")]
pub struct SequenceError(pub String);

/// Where numbers come from.
pub trait NumberSource: Send + Sync {
    /// Takes `count` consecutive numbers and returns the first: greater than `above` and than any that was taken before.
    fn take(&self, sequence: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>>;
}

/// Gives out numbers. Clones share their blocks.
#[derive(Clone)]
pub struct Sequencer {
    source: Arc<dyn NumberSource>,
    blocks: Arc<BTreeMap<Sequence, Block>>,
}

/// What was taken of one sequence and not given out yet.
#[derive(Default)]
struct Block {
    numbers: Mutex<Numbers>,
    /// Held by the one caller that asks the source; the others wait for the lock.
    refill: tokio::sync::Mutex<()>,
    /// Numbers that callers wait for.
    awaited: AtomicI64,
}

/// Numbers at hand, `[next, end)`.
#[derive(Default)]
struct Numbers {
    next: i64,
    end: i64,
    /// No number up to this one may be given out.
    floor: i64,
}

impl Numbers {
    fn take(&mut self, count: i64) -> Option<i64> {
        if self.end - self.next < count {
            return None;
        }
        self.next += count;
        Some(self.next - count)
    }
}

impl Block {
    fn numbers(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a caller's numbers as awaited for as long as it waits.
struct Awaiting<'a> {
    awaited: &'a AtomicI64,
    count: i64,
}

impl<'a> Awaiting<'a> {
    fn begin(awaited: &'a AtomicI64, count: i64) -> Self {
        awaited.fetch_add(count, Ordering::AcqRel);
        Self { awaited, count }
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.awaited.fetch_sub(self.count, Ordering::AcqRel);
    }
}

impl Sequencer {
    /// A sequencer over these sequences, each with the highest number that the log holds of it.
    pub fn new(source: Arc<dyn NumberSource>, sequences: impl IntoIterator<Item = (Sequence, i64)>) -> Self {
        let block = |(sequence, floor)| {
            let block = Block::default();
            block.numbers().floor = floor;
            (sequence, block)
        };
        Self { source, blocks: Arc::new(sequences.into_iter().map(block).collect()) }
    }

    /// The next number.
    pub async fn next(&self, sequence: Sequence) -> Result<i64, SequenceError> {
        self.take(sequence, 1).await
    }

    /// The first of `count` consecutive numbers.
    pub async fn take(&self, sequence: Sequence, count: usize) -> Result<i64, SequenceError> {
        let count = i64::try_from(count).map_err(|_| SequenceError("too many at once".to_owned()))?;
        let block = self.block(sequence)?;
        if let Some(first) = block.numbers().take(count) {
            return Ok(first);
        }
        let _awaiting = Awaiting::begin(&block.awaited, count);
        let _refill = block.refill.lock().await;
        if let Some(first) = block.numbers().take(count) {
            return Ok(first);
        }
        // One call serves all who wait by now.
        let taken = sequence.block.max(block.awaited.load(Ordering::Acquire)).max(count);
        let above = block.numbers().floor;
        let first = self.source.take(sequence.name, taken, above).await?;
        let mut numbers = block.numbers();
        // Whoever skipped numbers meanwhile has raised the floor: then the block is of no use, and this caller is told to try again.
        if first <= numbers.floor {
            return Err(SequenceError(format!("the numbers of {} are in use; try again", sequence.name)));
        }
        (numbers.next, numbers.end) = (first, first + taken);
        numbers.take(count).ok_or_else(|| SequenceError("the source gave too few numbers".to_owned()))
    }

    /// Gives out no number up to `highest` any more.
    pub fn skip_past(&self, sequence: Sequence, highest: i64) -> Result<(), SequenceError> {
        let mut numbers = self.block(sequence)?.numbers();
        numbers.floor = numbers.floor.max(highest);
        if numbers.next <= numbers.floor {
            numbers.next = (numbers.floor + 1).min(numbers.end);
        }
        Ok(())
    }

    fn block(&self, sequence: Sequence) -> Result<&Block, SequenceError> {
        let undeclared = || SequenceError(format!("no domain declares the sequence {}", sequence.name));
        self.blocks.get(&sequence).ok_or_else(undeclared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_BY_ONE: Sequence = Sequence { name: "one", block: 1 };
    const IN_BLOCKS: Sequence = Sequence { name: "many", block: 100 };

    /// A source that lets others run while it is asked, and counts its calls.
    #[derive(Default)]
    struct Counter {
        last: AtomicI64,
        calls: AtomicI64,
    }

    impl NumberSource for Counter {
        fn take(&self, _: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>> {
            Box::pin(async move {
                self.calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                self.last.fetch_max(above, Ordering::SeqCst);
                let first = self.last.fetch_add(count, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                Ok(first)
            })
        }
    }

    fn sequencer(floor: i64) -> (Sequencer, Arc<Counter>) {
        let source = Arc::new(Counter::default());
        let of_sequencer: Arc<dyn NumberSource> = Arc::<Counter>::clone(&source);
        (Sequencer::new(of_sequencer, [(ONE_BY_ONE, floor), (IN_BLOCKS, floor)]), source)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_number_is_given_out_twice_and_waiting_callers_share_a_call() {
        for sequence in [ONE_BY_ONE, IN_BLOCKS] {
            let (sequencer, source) = sequencer(7);
            let asking = (0..50).map(|asker| {
                let sequencer = sequencer.clone();
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    for round in 0..40 {
                        let count = if (asker + round) % 9 == 0 { 3 } else { 1 };
                        let first = sequencer.take(sequence, count).await.unwrap_or_else(|error| panic!("{error}"));
                        all.extend(first..first + i64::try_from(count).unwrap_or(0));
                    }
                    all
                })
            });
            let asking: Vec<_> = asking.collect();
            let mut all = Vec::new();
            for asker in asking {
                all.extend(asker.await.unwrap_or_else(|error| panic!("{error}")));
            }
            let (count, calls) = (all.len(), source.calls.load(Ordering::SeqCst));
            assert!(all.iter().all(|number| *number > 7), "the log holds numbers up to 7");
            assert!(usize::try_from(calls).is_ok_and(|calls| calls < count), "{calls} calls for {count} numbers");
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "a number was given out twice");
        }
    }

    #[tokio::test]
    async fn numbers_one_by_one_leave_no_gap_and_blocks_need_few_calls() {
        let (sequencer, source) = sequencer(0);
        for expected in 1..=5 {
            assert_eq!(sequencer.next(ONE_BY_ONE).await.ok(), Some(expected));
        }
        assert_eq!((source.last.load(Ordering::SeqCst), source.calls.swap(0, Ordering::SeqCst)), (5, 5));
        for _ in 0..100 {
            assert!(sequencer.next(IN_BLOCKS).await.is_ok());
        }
        assert_eq!(source.calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn skipped_numbers_are_not_given_out() {
        let (sequencer, _) = sequencer(0);
        assert_eq!(sequencer.next(IN_BLOCKS).await.ok(), Some(1));
        assert!(sequencer.skip_past(IN_BLOCKS, 50).is_ok());
        assert_eq!(sequencer.next(IN_BLOCKS).await.ok(), Some(51), "the rest of the block is good");
        assert!(sequencer.skip_past(IN_BLOCKS, 5000).is_ok());
        assert_eq!(sequencer.next(IN_BLOCKS).await.ok(), Some(5001));
        let undeclared = Sequence { name: "other", block: 1 };
        assert!(sequencer.next(undeclared).await.is_err());
    }
}
