//! Sequences of numbers. Each domain declares its sequences by name.
//!
//! A process takes numbers from the source in blocks and assigns them in order. A number is assigned once, unless the
//! source is reset. The numbers that a process holds when it ends are lost. If another record already has a number, for
//! example from an import with explicit ids, the fold reports it; the writer calls [`Sequencer::skip_past`] and
//! retries.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::log::BoxFuture;

/// How often one caller refills, at most, if others skip numbers meanwhile.
const REFILLS_MAX: usize = 5;

/// A sequence that a domain declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// Its name, unique over all domains.
    pub name: &'static str,
    /// Least count of numbers that a process takes at a time. With 1, a process that ends leaves no gap.
    pub block: i64,
}

/// No number is available. Retryable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot get a number: {0}")]
pub struct SequenceError(pub String);

/// The source of numbers.
pub trait NumberSource: Send + Sync {
    /// Takes `count` consecutive numbers and returns the first, which is greater than `above` and all earlier numbers.
    fn take(&self, sequence: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>>;
}

/// Assigns numbers. Clones share their blocks.
#[derive(Clone)]
pub struct Sequencer {
    source: Arc<dyn NumberSource>,
    blocks: Arc<BTreeMap<Sequence, Block>>,
}

/// The unassigned numbers of one sequence.
#[derive(Default)]
struct Block {
    numbers: Mutex<Numbers>,
    /// Held by the caller that calls the source; the others wait for the lock.
    refill: tokio::sync::Mutex<()>,
    /// Numbers that callers wait for.
    awaited: AtomicI64,
}

/// The current block, `[next, end)`.
#[derive(Default)]
struct Numbers {
    next: i64,
    end: i64,
    /// Only numbers above this one may be assigned.
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

/// Counts a caller's numbers as awaited while it waits.
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
        let count = i64::try_from(count).map_err(|_| SequenceError("too many numbers for one call".to_owned()))?;
        let block = self.block(sequence)?;
        if let Some(first) = block.numbers().take(count) {
            return Ok(first);
        }
        let _awaiting = Awaiting::begin(&block.awaited, count);
        let _refill = block.refill.lock().await;
        if let Some(first) = block.numbers().take(count) {
            return Ok(first);
        }
        for _ in 0..REFILLS_MAX {
            // One call serves all callers that wait by now.
            let taken = sequence.block.max(block.awaited.load(Ordering::Acquire)).max(count);
            let above = block.numbers().floor;
            let first = self.source.take(sequence.name, taken, above).await?;
            let mut numbers = block.numbers();
            // Another caller may have skipped numbers meanwhile. Then the block is unusable.
            if first > numbers.floor {
                (numbers.next, numbers.end) = (first, first + taken);
                let first = numbers.take(count);
                return first.ok_or_else(|| SequenceError("the source returned too few numbers".to_owned()));
            }
        }
        Err(SequenceError(format!("the numbers of {} were taken meanwhile; try again", sequence.name)))
    }

    /// Skips all numbers up to `highest`, inclusive.
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

    /// A source that yields during a call, and counts its calls.
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
            let callers = (0..50).map(|caller| {
                let sequencer = sequencer.clone();
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    for round in 0..40 {
                        let count = if (caller + round) % 9 == 0 { 3 } else { 1 };
                        let first = sequencer.take(sequence, count).await.unwrap_or_else(|error| panic!("{error}"));
                        all.extend(first..first + i64::try_from(count).unwrap_or(0));
                    }
                    all
                })
            });
            let callers: Vec<_> = callers.collect();
            let mut all = Vec::new();
            for caller in callers {
                all.extend(caller.await.unwrap_or_else(|error| panic!("{error}")));
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

    /// A source during whose first calls another caller skips the numbers that it returns.
    struct Skipped {
        counter: Counter,
        skips: AtomicI64,
        sequencer: std::sync::OnceLock<Sequencer>,
    }

    impl NumberSource for Skipped {
        fn take(&self, sequence: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>> {
            Box::pin(async move {
                let first = self.counter.take(sequence, count, above).await?;
                if self.skips.fetch_sub(1, Ordering::SeqCst) > 0
                    && let Some(sequencer) = self.sequencer.get()
                {
                    sequencer.skip_past(ONE_BY_ONE, first + 10)?;
                }
                Ok(first)
            })
        }
    }

    #[tokio::test]
    async fn a_caller_whose_block_is_skipped_meanwhile_refills_a_bounded_number_of_times() {
        for (skips, number) in [(1, Some(12)), (4, Some(45)), (1000, None)] {
            let (counter, sequencer) = (Counter::default(), std::sync::OnceLock::new());
            let source = Arc::new(Skipped { counter, skips: AtomicI64::new(skips), sequencer });
            let of_sequencer: Arc<dyn NumberSource> = Arc::<Skipped>::clone(&source);
            let sequencer = source.sequencer.get_or_init(|| Sequencer::new(of_sequencer, [(ONE_BY_ONE, 0)]));
            assert_eq!(sequencer.next(ONE_BY_ONE).await.ok(), number, "{skips} skips");
        }
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
