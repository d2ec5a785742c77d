//! Numbers for runs, tasks and metadata entries: each kind from one sequence, monotonic over restarts.
//!
//! Callers that ask at once are served by one call to the source. A number once given out is never given out again;
//! a request that fails after it got its number leaves a gap, as in any sequence.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::{mpsc, oneshot};

use crate::{gather::gather, log::BoxFuture};

/// Which sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// Run numbers.
    Run,
    /// Task ids.
    Task,
    /// Ids of metadata entries. May be given out in blocks, with gaps.
    Metadata,
}

/// The source does not answer. Retryable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot get a number: {0}")]
pub struct SequenceError(pub String);

/// Where numbers come from.
pub trait NumberSource: Send + Sync {
    /// Takes `count` numbers, ascending, each greater than any given out before it began.
    fn take(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>>;

    /// Takes `count` consecutive numbers and returns the first.
    fn take_block(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<i64, SequenceError>>;

    /// Makes the sequence go on after `highest`, if it has not come so far yet.
    fn raise(&self, sequence: Sequence, highest: i64) -> BoxFuture<'_, Result<(), SequenceError>>;
}

type Waiting = oneshot::Sender<Result<i64, SequenceError>>;

/// Requests that may wait for one sequence; more wait for room.
const QUEUE_MAX: usize = 4096;
/// Numbers taken from the source in one call.
const BATCH_MAX: usize = 1024;
/// Metadata ids taken from the source at a time, at least.
const BLOCK: i64 = 4096;

/// By how much more than asked for a sequence is raised.
const RAISE_MARGIN: i64 = 10_000;

/// Gives out numbers, one call to the source for all that wait.
#[derive(Clone)]
pub struct Sequencer {
    runs: mpsc::Sender<Waiting>,
    tasks: mpsc::Sender<Waiting>,
    source: Arc<dyn NumberSource>,
    block: Arc<tokio::sync::Mutex<Block>>,
    /// How far each sequence was raised.
    raised: Arc<[AtomicI64; 3]>,
}

/// Metadata ids that were taken and not yet given out: `[next, end)`.
#[derive(Default)]
struct Block {
    next: i64,
    end: i64,
}

impl Sequencer {
    /// Starts the two tasks that collect requests; they end when the last clone is dropped.
    pub fn start(source: Arc<dyn NumberSource>) -> Self {
        let open = |sequence| {
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(collect(Arc::clone(&source), sequence, receiver));
            sender
        };
        let (runs, tasks) = (open(Sequence::Run), open(Sequence::Task));
        Self { runs, tasks, source, block: Arc::default(), raised: Arc::default() }
    }

    /// The next run number.
    pub async fn next_run(&self) -> Result<i64, SequenceError> {
        next(&self.runs).await
    }

    /// The next task id.
    pub async fn next_task(&self) -> Result<i64, SequenceError> {
        next(&self.tasks).await
    }

    /// So many numbers at once, ascending.
    pub async fn take(&self, sequence: Sequence, count: usize) -> Result<Vec<i64>, SequenceError> {
        if count == 0 { Ok(Vec::new()) } else { self.source.take(sequence, count).await }
    }

    /// Makes a sequence go on after a number that an event brings with it.
    pub async fn raise(&self, sequence: Sequence, highest: i64) -> Result<(), SequenceError> {
        let raised = match sequence {
            Sequence::Run => &self.raised[0],
            Sequence::Task => &self.raised[1],
            Sequence::Metadata => &self.raised[2],
        };
        if raised.load(Ordering::Acquire) < highest {
            // A margin saves most of the calls while numbers are brought in ascending order.
            let target = highest.saturating_add(RAISE_MARGIN);
            self.source.raise(sequence, target).await?;
            raised.fetch_max(target, Ordering::AcqRel);
        }
        Ok(())
    }

    /// The first of `count` consecutive metadata ids.
    pub async fn metadata_ids(&self, count: usize) -> Result<i64, SequenceError> {
        let wanted = i64::try_from(count).map_err(|_| SequenceError("too many at once".to_owned()))?;
        let mut block = self.block.lock().await;
        if block.end - block.next < wanted {
            let size = wanted.max(BLOCK);
            block.next = self.source.take_block(Sequence::Metadata, usize::try_from(size).unwrap_or(count)).await?;
            block.end = block.next + size;
        }
        block.next += wanted;
        Ok(block.next - wanted)
    }
}

async fn next(sequence: &mpsc::Sender<Waiting>) -> Result<i64, SequenceError> {
    let ended = || SequenceError("shutting down".to_owned());
    let (waiting, number) = oneshot::channel();
    sequence.send(waiting).await.map_err(|_| ended())?;
    number.await.map_err(|_| ended())?
}

async fn collect(source: Arc<dyn NumberSource>, sequence: Sequence, mut requests: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while gather(&mut requests, &mut waiting, BATCH_MAX).await > 0 {
        match source.take(sequence, waiting.len()).await {
            Ok(numbers) => {
                for (request, number) in waiting.drain(..).zip(numbers) {
                    // A request that has gone away leaves a gap.
                    let _gone = request.send(Ok(number));
                }
            }
            Err(error) => {
                for request in waiting.drain(..) {
                    let _gone = request.send(Err(error.clone()));
                }
            }
        }
    }
}
