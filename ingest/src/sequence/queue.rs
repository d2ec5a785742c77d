//! Those who wait for numbers of one sequence: one call to the source serves all of them.
//!
//! One task at a time calls the source, so that what it gives is greater than all that was given out or is in stock. Who asks after
//! another was answered gets a greater number: the stock is used up before new numbers are given out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{NumberSource, Sequence, SequenceError, Spell, stock::Stock};
use crate::gather::gather;

/// Requests that may wait; more wait for room.
const REQUESTS_MAX: usize = 4096;
/// Requests that are served by one call.
const BATCH_MAX: usize = 1024;
/// Numbers taken ahead in one call. As many and [`LOW`] are lost, at most, when the process ends.
const AHEAD: usize = 256;
/// Numbers in stock at which more are ordered, so that nobody has to wait for them.
const LOW: usize = AHEAD / 2;

/// Asked for each number: whether some may be taken ahead, and in which spell. None from one spell is given out in another.
pub(super) type MayTakeAhead = Arc<dyn Fn() -> Option<Spell> + Send + Sync>;

enum Request {
    /// So many numbers, for somebody who waits.
    Numbers(usize, oneshot::Sender<Result<Vec<i64>, SequenceError>>),
    /// Numbers for the stock.
    Order,
}

impl Request {
    fn count(&self) -> usize {
        if let Self::Numbers(count, _) = self { *count } else { 0 }
    }
}

/// The numbers of one sequence. Clones share them.
#[derive(Clone)]
pub(super) struct Queue {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn NumberSource>,
    sequence: Sequence,
    may_take_ahead: MayTakeAhead,
    stock: Mutex<Stock>,
}

impl Queue {
    /// Starts the task that calls the source; it ends when the last clone is dropped.
    pub(super) fn start(source: Arc<dyn NumberSource>, sequence: Sequence, may_take_ahead: MayTakeAhead) -> Self {
        let (requests, of_task) = mpsc::channel(REQUESTS_MAX);
        let shared = Arc::new(Shared { source, sequence, may_take_ahead, stock: Mutex::default() });
        tokio::spawn(serve(Arc::clone(&shared), of_task));
        Self { requests, shared }
    }

    /// The next number: from stock, if there is any.
    pub(super) async fn next(&self) -> Result<i64, SequenceError> {
        if let Some(number) = self.next_in_stock() {
            return Ok(number);
        }
        let numbers = self.take(1).await?;
        numbers.first().copied().ok_or_else(|| SequenceError("the source gave none".to_owned()))
    }

    /// So many numbers, ascending.
    pub(super) async fn take(&self, count: usize) -> Result<Vec<i64>, SequenceError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let ended = || SequenceError("shutting down".to_owned());
        let (waiting, numbers) = oneshot::channel();
        self.requests.send(Request::Numbers(count, waiting)).await.map_err(|_| ended())?;
        numbers.await.map_err(|_| ended())?
    }

    /// Throws away what is in stock.
    pub(super) fn clear(&self) {
        self.shared.stock().clear();
    }

    fn next_in_stock(&self) -> Option<i64> {
        let mut stock = self.shared.stock();
        if !stock.is_of((self.shared.may_take_ahead)()) {
            return None;
        }
        let number = stock.next()?;
        // A queue without room is served soon, and each number from stock asks again.
        if stock.order(LOW) && self.requests.try_send(Request::Order).is_err() {
            stock.order_ended();
        }
        Some(number)
    }
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many numbers, from stock and then from the source, which fills the stock again where it is low.
    async fn take(&self, count: usize) -> Result<Vec<i64>, SequenceError> {
        let (mut numbers, ahead, epoch) = {
            let mut stock = self.stock();
            let may_take_ahead = stock.is_of((self.may_take_ahead)());
            let numbers = stock.take(count);
            let ahead = if may_take_ahead && stock.is_low(LOW) { AHEAD } else { 0 };
            (numbers, ahead, stock.epoch())
        };
        let lacking = count - numbers.len();
        let mut taken = match (lacking, ahead) {
            (0, 0) => Vec::new(),
            (_, 0) => self.source.take(self.sequence, lacking).await?,
            _ => self.source.take_ahead(self.sequence, lacking + ahead).await?,
        };
        let for_stock = taken.split_off(lacking.min(taken.len()));
        numbers.extend(taken);
        self.stock().add(epoch, for_stock);
        Ok(numbers)
    }
}

async fn serve(shared: Arc<Shared>, mut requests: mpsc::Receiver<Request>) {
    let mut gathered = Vec::new();
    while gather(&mut requests, &mut gathered, BATCH_MAX).await > 0 {
        let taken = shared.take(gathered.iter().map(Request::count).sum()).await;
        shared.stock().order_ended();
        let mut numbers = taken.as_ref().map_or(&[][..], Vec::as_slice);
        for request in gathered.drain(..) {
            let Request::Numbers(count, waiting) = request else { continue };
            let (mine, others) = numbers.split_at(count.min(numbers.len()));
            numbers = others;
            // A request that has gone away leaves a gap.
            let _gone = waiting.send(taken.as_ref().map(|_| mine.to_vec()).map_err(Clone::clone));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    use super::*;
    use crate::log::BoxFuture;

    /// A source that lets the others run while it is asked, and counts how often it was.
    #[derive(Default)]
    struct Counter {
        last: AtomicI64,
        calls: AtomicI64,
    }

    impl NumberSource for Counter {
        fn take(&self, _: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>> {
            Box::pin(async move {
                self.calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                let numbers = (0..count).map(|_| self.last.fetch_add(1, Ordering::SeqCst) + 1).collect();
                tokio::task::yield_now().await;
                Ok(numbers)
            })
        }

        fn take_ahead(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>> {
            self.take(sequence, count)
        }

        fn take_block(&self, _: Sequence, _: usize) -> BoxFuture<'_, Result<i64, SequenceError>> {
            Box::pin(async { Err(SequenceError("gives no blocks".to_owned())) })
        }

        fn raise(&self, _: Sequence, highest: i64) -> BoxFuture<'_, Result<(), SequenceError>> {
            self.last.fetch_max(highest, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_are_unique_and_greater_than_all_that_were_answered_before() {
        let (source, ahead) = (Arc::new(Counter::default()), Arc::new(AtomicBool::new(true)));
        let of_queue = Arc::clone(&ahead);
        let may_take_ahead = Arc::new(move || of_queue.load(Ordering::SeqCst).then_some(1));
        let queue = Queue::start(source, Sequence::Task, may_take_ahead);
        let answered = Arc::new(AtomicI64::new(0));
        let asking = (0..8).map(|asker| {
            let (queue, answered, ahead) = (queue.clone(), Arc::clone(&answered), Arc::clone(&ahead));
            tokio::spawn(async move {
                let mut all = Vec::new();
                for round in 0..2000 {
                    let before = answered.load(Ordering::SeqCst);
                    let numbers = match (asker, round % 50) {
                        (0, 10) => queue.take(300).await,
                        (1, 20) => queue.take(3).await,
                        _ => queue.next().await.map(|number| vec![number]),
                    };
                    let numbers = numbers.unwrap_or_else(|error| panic!("{error}"));
                    assert!(numbers.iter().all(|number| *number > before), "{numbers:?} after {before}");
                    answered.fetch_max(numbers.iter().copied().max().unwrap_or(0), Ordering::SeqCst);
                    all.extend(numbers);
                    if asker == 2 && round % 100 == 0 {
                        ahead.fetch_not(Ordering::SeqCst);
                    }
                    if asker == 3 && round % 70 == 0 {
                        queue.clear();
                    }
                }
                all
            })
        });
        let asking: Vec<_> = asking.collect();
        let mut all = Vec::new();
        for asker in asking {
            all.extend(asker.await.unwrap_or_else(|error| panic!("{error}")));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a number was given out twice");
    }

    #[tokio::test]
    async fn what_is_in_stock_needs_no_call_and_nothing_is_taken_ahead_unasked() {
        for (ahead, calls) in [(Some(1), 2), (None, 100)] {
            let source = Arc::new(Counter::default());
            let queue = Queue::start(Arc::<Counter>::clone(&source), Sequence::Task, Arc::new(move || ahead));
            for expected in 1..=100 {
                assert_eq!(queue.next().await.ok(), Some(expected));
            }
            assert!(source.calls.load(Ordering::SeqCst) <= calls);
            let most = if ahead.is_some() { AHEAD as i64 + 100 } else { 100 };
            assert!(source.last.load(Ordering::SeqCst) <= most);
        }
    }
}
