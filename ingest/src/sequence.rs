//! Numbers for runs, tasks and metadata entries: each kind from one sequence, monotonic over restarts.
//!
//! Callers that ask at once are served by one call to the source. A number once given out is never given out again;
//! a request that fails after it got its number leaves a gap, as in any sequence. A process that is alone takes task ids ahead, so
//! that creating a task waits for none; what it has not given out when it ends is a gap too.

mod queue;
mod stock;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use self::queue::Queue;
use crate::log::BoxFuture;

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

/// One unbroken time in which no other process takes numbers, nor appends events; counted.
pub type Spell = u64;

/// The source does not answer. Retryable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot get a number: {0}")]
pub struct SequenceError(pub String);

/// Where numbers come from.
pub trait NumberSource: Send + Sync {
    /// Takes `count` numbers, ascending, each greater than any given out before it began.
    fn take(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>>;

    /// The same for numbers that are used later: none of them is taken again, whatever becomes of the source in between.
    fn take_ahead(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>>;

    /// Takes `count` consecutive numbers and returns the first.
    fn take_block(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<i64, SequenceError>>;

    /// Makes the sequence go on after `highest`, if it has not come so far yet.
    fn raise(&self, sequence: Sequence, highest: i64) -> BoxFuture<'_, Result<(), SequenceError>>;
}

/// Metadata ids taken from the source at a time, at least.
const BLOCK: i64 = 4096;
/// By how much more than asked for a sequence is raised.
const RAISE_MARGIN: i64 = 10_000;

/// Gives out numbers, one call to the source for all that wait.
#[derive(Clone)]
pub struct Sequencer {
    runs: Queue,
    tasks: Queue,
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
    /// Starts the tasks that call the source; they end when the last clone is dropped. Task ids are taken ahead while
    /// `may_take_ahead` names a spell: while no other process takes any.
    pub fn start(
        source: Arc<dyn NumberSource>,
        may_take_ahead: impl Fn() -> Option<Spell> + Send + Sync + 'static,
    ) -> Self {
        // Run numbers are few, and people read them: a process that ends leaves no gap in them.
        let runs = Queue::start(Arc::clone(&source), Sequence::Run, Arc::new(|| None));
        let tasks = Queue::start(Arc::clone(&source), Sequence::Task, Arc::new(may_take_ahead));
        Self { runs, tasks, source, block: Arc::default(), raised: Arc::default() }
    }

    /// The next run number.
    pub async fn next_run(&self) -> Result<i64, SequenceError> {
        self.runs.next().await
    }

    /// The next task id.
    pub async fn next_task(&self) -> Result<i64, SequenceError> {
        self.tasks.next().await
    }

    /// So many run numbers at once, ascending.
    pub async fn take_runs(&self, count: usize) -> Result<Vec<i64>, SequenceError> {
        self.runs.take(count).await
    }

    /// So many task ids at once, ascending.
    pub async fn take_tasks(&self, count: usize) -> Result<Vec<i64>, SequenceError> {
        self.tasks.take(count).await
    }

    /// Makes a sequence go on after a number that an event brings with it. False if it had come so far already.
    pub async fn raise(&self, sequence: Sequence, highest: i64) -> Result<bool, SequenceError> {
        let raised = match sequence {
            Sequence::Run => &self.raised[0],
            Sequence::Task => &self.raised[1],
            Sequence::Metadata => &self.raised[2],
        };
        let behind = raised.load(Ordering::Acquire) < highest;
        if behind {
            // A margin saves most of the calls while numbers are brought in ascending order.
            let target = highest.saturating_add(RAISE_MARGIN);
            self.source.raise(sequence, target).await?;
            // Before others are told that nothing is left to do: what is in stock may be what they bring.
            if sequence == Sequence::Task {
                self.tasks.clear();
            }
            raised.fetch_max(target, Ordering::AcqRel);
        }
        Ok(behind)
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
