//! How far a generation's tables have come, and whom to wake when they get further.
//!
//! Guarantee: a wait for a position ends once the tables have applied it, as a notification and not by polling. The
//! vector may run behind what the tables hold, never ahead of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};
use tokio::sync::oneshot;

/// How far one generation has come.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    applied: Vector,
    /// Waiters by partition and by the offset that they wait for.
    waiting: HashMap<Partition, BTreeMap<Offset, Vec<oneshot::Sender<()>>>>,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vector that the tables have reached.
    pub fn applied(&self) -> Vector {
        self.lock().applied.clone()
    }

    /// Whether somebody waits.
    pub fn awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Notes that the tables have come to `reached` and wakes whoever waited for that.
    pub fn advance(&self, reached: &Vector) {
        let mut state = self.lock();
        for (partition, next) in &reached.0 {
            let applied = state.applied.0.entry(*partition).or_insert(0);
            if *applied >= *next {
                continue;
            }
            *applied = *next;
            if let Some(waiting) = state.waiting.get_mut(partition) {
                let later = waiting.split_off(next);
                let due = std::mem::replace(waiting, later);
                if waiting.is_empty() {
                    state.waiting.remove(partition);
                }
                for waiter in due.into_values().flatten() {
                    // A waiter that has gone away needs no waking.
                    let _gone = waiter.send(());
                }
            }
        }
    }

    /// Waits until the tables have applied the record at `position`. Bounded by the caller's time-out.
    pub async fn wait(&self, position: Position) {
        let waiting = {
            let mut state = self.lock();
            if state.applied.covers(position) {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            let of_partition = state.waiting.entry(position.partition).or_default();
            let of_offset = of_partition.entry(position.offset).or_default();
            of_offset.retain(|waiter| !waiter.is_closed());
            of_offset.push(sender);
            receiver
        };
        // The sender lives in the map until it is used; a progress that is dropped has no more to wait for.
        let _dropped = waiting.await;
    }

    /// Waits until the tables have reached `vector`.
    pub async fn wait_for(&self, vector: &Vector) {
        for (partition, next) in vector.0.iter().filter(|(_, next)| **next > 0) {
            self.wait(Position { partition: *partition, offset: next - 1 }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use daybook_schemas::topics::Topic;

    use super::*;

    #[test]
    fn a_waiter_is_woken_by_the_advance_that_covers_it_and_no_sooner() {
        let progress = Progress::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = pin!(progress.wait(Position::new(Topic::Events, 0, 4)));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
        progress.advance(&"events/0@4,events/1@9".parse().unwrap_or_default());
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
        progress.advance(&"events/0@5".parse().unwrap_or_default());
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(()));
        assert!(!progress.awaited());
    }

    #[test]
    fn an_older_vector_takes_nothing_back() {
        let progress = Progress::default();
        progress.advance(&"events/0@5".parse().unwrap_or_default());
        progress.advance(&"events/0@3".parse().unwrap_or_default());
        assert_eq!(progress.applied().to_string(), "events/0@5");
    }
}
