//! The vector that a generation's tables have reached, and the waiters to wake when it advances.
//!
//! Guarantee: a wait for a position ends once the tables have applied it, by notification, without polling. The vector
//! may lag behind the tables, but is never ahead of them. If a server takes over that lacks the last commits, the vector
//! goes back with the tables; they owe what they had reached until they reach it again.
//!
//! For the records that this process applied itself, it also remembers which must be read back. The rows of all others
//! are as in their events, so their writers are answered without a read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};
use tokio::sync::oneshot;

/// Remembered records to be read back per partition, at most; if more, the oldest and all before it are forgotten.
const READ_BACK_MAX: usize = 4096;

/// The progress of one generation.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
}

/// What is known of a record that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This process applied it, and none of its rows existed before: they are as in its event.
    AsWritten,
    /// Its outcome must be read from the tables.
    ReadBack,
}

/// Records of one partition that this process applied, one after another: `[from, applied)`.
struct Own {
    from: Offset,
    read_back: BTreeSet<Offset>,
}

#[derive(Default)]
struct State {
    applied: Vector,
    /// The vector as text, made when it is first asked for.
    text: Option<Arc<str>>,
    /// What the tables had reached before they went back, until they reach it again.
    owed: Vector,
    own: HashMap<Partition, Own>,
    /// Waiters by partition and by the offset that they wait for.
    waiting: HashMap<Partition, BTreeMap<Offset, Vec<Waiter>>>,
}

/// A waiter for several positions, one after another.
struct Waiter {
    positions: Vec<Position>,
    /// Positions from the front that are applied.
    applied: usize,
    done: Done,
}

/// How to notify a waiter.
enum Done {
    Wake(oneshot::Sender<()>),
    Call(Box<dyn FnOnce(Vec<Position>) + Send>),
}

impl Waiter {
    fn is_gone(&self) -> bool {
        matches!(&self.done, Done::Wake(sender) if sender.is_closed())
    }

    fn notify(self) {
        match self.done {
            // Fails only if the receiver was dropped.
            Done::Wake(sender) => drop(sender.send(())),
            Done::Call(call) => call(self.positions),
        }
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vector that the tables have reached.
    pub fn applied(&self) -> Vector {
        self.lock().applied.clone()
    }

    /// The vector that the tables have reached, as text.
    pub fn applied_text(&self) -> Arc<str> {
        let mut state = self.lock();
        let State { applied, text, .. } = &mut *state;
        Arc::clone(text.get_or_insert_with(|| applied.to_string().into()))
    }

    /// What the tables had reached before they went back and have not reached again; empty otherwise. Writes up to there
    /// were acknowledged, so whoever reads must wait for it.
    pub fn owed(&self) -> Vector {
        self.lock().owed.clone()
    }

    /// Compares what the tables say that they have reached with `before`, the vector before they were asked. Tables are
    /// never behind it, unless they went back. Then the vector goes back, too, and this returns true.
    pub fn take_back(&self, before: &Vector, reached: &Vector) -> bool {
        let mut state = self.lock();
        let lost = before.0.iter().filter(|(partition, next)| reached.next(**partition) < **next);
        let lost: Vec<(Partition, Offset)> = lost.map(|(partition, next)| (*partition, *next)).collect();
        for (partition, next) in &lost {
            let owed = state.owed.0.entry(*partition).or_insert(0);
            *owed = (*owed).max(*next);
            state.own.remove(partition);
            state.applied.0.insert(*partition, reached.next(*partition));
            state.text = None;
        }
        !lost.is_empty()
    }

    /// Whether somebody waits.
    pub fn awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Records that other processes have advanced the tables to `reached`, and wakes waiters. False if it was known.
    pub fn advance(&self, reached: &Vector) -> bool {
        let mut state = self.lock();
        let mut advanced = false;
        for (partition, next) in &reached.0 {
            if state.applied.next(*partition) < *next {
                advanced = true;
                state.own.remove(partition);
                state.advance(*partition, *next);
            }
        }
        advanced
    }

    /// Records that this process has advanced the tables from one vector to another, and wakes waiters. The outcome of
    /// the `read_back` records must be read from the tables.
    pub fn advance_own(&self, from: &Vector, reached: &Vector, read_back: impl IntoIterator<Item = Position>) {
        let mut state = self.lock();
        for partition in reached.0.keys() {
            let own = || Own { from: from.next(*partition), read_back: BTreeSet::new() };
            state.own.entry(*partition).or_insert_with(own);
        }
        for position in read_back {
            let Some(own) = state.own.get_mut(&position.partition) else { continue };
            own.read_back.insert(position.offset);
            if own.read_back.len() > READ_BACK_MAX
                && let Some(oldest) = own.read_back.pop_first()
            {
                own.from = own.from.max(oldest + 1);
            }
        }
        for (partition, next) in &reached.0 {
            state.advance(*partition, *next);
        }
    }

    /// What is known of a record that was applied.
    pub fn outcome(&self, position: Position) -> Outcome {
        let state = self.lock();
        let as_written = |own: &Own| position.offset >= own.from && !own.read_back.contains(&position.offset);
        let known = state.applied.covers(position) && state.own.get(&position.partition).is_some_and(as_written);
        if known { Outcome::AsWritten } else { Outcome::ReadBack }
    }

    /// Calls `then` with positions once the tables have applied the records at all of them: immediately, or on the
    /// thread that applies them. It must not block or use this progress.
    pub fn call_when_applied(&self, positions: Vec<Position>, then: Box<dyn FnOnce(Vec<Position>) + Send>) {
        self.lock().notify_or_queue(Waiter { positions, applied: 0, done: Done::Call(then) });
    }

    /// Waits until the tables have applied the record at `position`. Bounded by the caller's time-out.
    pub async fn wait(&self, position: Position) {
        let (sender, applied) = oneshot::channel();
        self.lock().notify_or_queue(Waiter { positions: vec![position], applied: 0, done: Done::Wake(sender) });
        // Fails only if this progress was dropped.
        let _dropped = applied.await;
    }

    /// Waits until the tables have reached `vector`.
    pub async fn wait_for(&self, vector: &Vector) {
        for (partition, next) in vector.0.iter().filter(|(_, next)| **next > 0) {
            self.wait(Position { partition: *partition, offset: next - 1 }).await;
        }
    }
}

impl State {
    fn advance(&mut self, partition: Partition, next: Offset) {
        let applied = self.applied.0.entry(partition).or_insert(0);
        if *applied >= next {
            return;
        }
        *applied = next;
        self.text = None;
        if self.owed.0.get(&partition).is_some_and(|owed| *owed <= next) {
            self.owed.0.remove(&partition);
        }
        let Some(waiting) = self.waiting.get_mut(&partition) else { return };
        let later = waiting.split_off(&next);
        let due = std::mem::replace(waiting, later);
        if waiting.is_empty() {
            self.waiting.remove(&partition);
        }
        for waiter in due.into_values().flatten() {
            self.notify_or_queue(waiter);
        }
    }

    /// Notifies a waiter whose positions are all applied; else queues it for the next one that is not.
    fn notify_or_queue(&mut self, mut waiter: Waiter) {
        while let Some(position) = waiter.positions.get(waiter.applied) {
            if !self.applied.covers(*position) {
                let of_partition = self.waiting.entry(position.partition).or_default();
                let of_offset = of_partition.entry(position.offset).or_default();
                of_offset.retain(|other| !other.is_gone());
                return of_offset.push(waiter);
            }
            waiter.applied += 1;
        }
        waiter.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use daybook_schemas::{
        Topic,
        topics::{self, Declaration},
    };

    use super::*;

    const EVENTS: Topic = Topic::new(&Declaration { name: "events", compacted: false, partitions: 2 });

    fn vector(text: &str) -> Vector {
        topics::declare(&[EVENTS]);
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_waiter_is_woken_by_the_advance_that_covers_it_and_no_sooner() {
        let progress = Progress::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = pin!(progress.wait(Position::new(EVENTS, 0, 4)));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
        assert!(progress.advance(&vector("events/0@4,events/1@9")));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
        assert!(progress.advance(&vector("events/0@5")));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(()));
        assert!(!progress.awaited());
    }

    #[test]
    fn a_call_comes_once_all_its_positions_are_applied() {
        let (progress, (sender, receiver)) = (Progress::default(), std::sync::mpsc::channel());
        let positions = vec![Position::new(EVENTS, 1, 2), Position::new(EVENTS, 0, 4)];
        progress.call_when_applied(positions.clone(), Box::new(move |positions| drop(sender.send(positions))));
        let called = |reached: &str| {
            progress.advance(&vector(reached));
            receiver.try_recv().ok()
        };
        assert_eq!(called("events/0@5"), None);
        assert_eq!(called("events/1@2"), None);
        assert_eq!(called("events/1@3"), Some(positions));
    }

    #[test]
    fn only_what_this_process_applied_whole_and_without_a_gap_is_as_written() {
        let (progress, at) = (Progress::default(), |offset| Position::new(EVENTS, 0, offset));
        progress.advance(&vector("events/0@3"));
        progress.advance_own(&vector("events/0@3"), &vector("events/0@6"), [at(4)]);
        let outcomes = [2, 3, 4, 5, 6].map(|offset| progress.outcome(at(offset)));
        assert_eq!(
            outcomes,
            [Outcome::ReadBack, Outcome::AsWritten, Outcome::ReadBack, Outcome::AsWritten, Outcome::ReadBack]
        );
        assert!(!progress.advance(&vector("events/0@6")), "this was known");
        assert_eq!(progress.outcome(at(5)), Outcome::AsWritten);
        assert!(progress.advance(&vector("events/0@7")));
        assert_eq!(progress.outcome(at(5)), Outcome::ReadBack, "another process has applied records since");
    }

    #[test]
    fn records_to_be_read_back_are_remembered_up_to_a_bound() {
        let progress = Progress::default();
        let count = Offset::try_from(READ_BACK_MAX).unwrap_or(0) + 2;
        let (from, to) = (Vector::default(), Vector([(Partition { topic: EVENTS, id: 0 }, 2 * count)].into()));
        progress.advance_own(&from, &to, (0..count).map(|offset| Position::new(EVENTS, 0, offset)));
        assert!((0..count).all(|offset| progress.outcome(Position::new(EVENTS, 0, offset)) == Outcome::ReadBack));
        assert_eq!(progress.outcome(Position::new(EVENTS, 0, count)), Outcome::AsWritten);
    }

    #[test]
    fn tables_that_went_back_take_the_vector_back_and_owe_the_rest() {
        let progress = Progress::default();
        progress.advance_own(&Vector::default(), &vector("events/0@5,events/1@9"), []);
        let before = progress.applied();
        assert!(!progress.take_back(&before, &vector("events/0@5,events/1@10")), "they went on");
        assert!(progress.take_back(&before, &vector("events/0@3,events/1@9")));
        assert_eq!(
            (progress.applied_text().as_ref(), progress.owed().to_string().as_str()),
            ("events/0@3,events/1@9", "events/0@5")
        );
        assert_eq!(progress.outcome(Position::new(EVENTS, 0, 2)), Outcome::ReadBack);
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = pin!(progress.wait(Position::new(EVENTS, 0, 3)));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending, "it is not there any longer");
        progress.advance(&vector("events/0@4"));
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(progress.owed().to_string(), "events/0@5");
        progress.advance(&vector("events/0@6"));
        assert!(progress.owed().0.is_empty());
    }

    #[test]
    fn an_older_vector_takes_nothing_back() {
        let progress = Progress::default();
        assert!(progress.advance(&vector("events/0@5")));
        assert!(!progress.advance(&vector("events/0@3")));
        assert_eq!(progress.applied().to_string(), "events/0@5");
    }
}
