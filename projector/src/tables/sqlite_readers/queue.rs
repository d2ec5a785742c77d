//! A queue of reads for some threads. A file has at most a part of the threads at a time, so that the reads of one file
//! do not hold up those of all others.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A number that no other file has while a read of it is queued or runs.
pub(super) type FileNumber = usize;

/// A read of a file that waits.
struct Waiting<R> {
    file: FileNumber,
    read: R,
}

/// The queue.
pub(super) struct Queue<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    /// Reads that may wait.
    waiting_max: usize,
    /// Reads of one file that may run at a time.
    of_file_max: usize,
}

struct State<R> {
    waiting: VecDeque<Waiting<R>>,
    /// How many reads of a file run.
    running: HashMap<FileNumber, usize>,
    is_closed: bool,
}

/// What a thread is to do next.
pub(super) enum Next<R> {
    /// This read of a file, and then to say that it has ended.
    Read(FileNumber, R),
    /// There was nothing to read for some time.
    Idle,
    /// To end.
    End,
}

impl<R> Queue<R> {
    pub(super) fn new(waiting_max: usize, of_file_max: usize) -> Arc<Self> {
        let state = State { waiting: VecDeque::new(), running: HashMap::new(), is_closed: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), waiting_max, of_file_max })
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a read; false if too many wait.
    pub(super) fn push(&self, file: FileNumber, read: R) -> bool {
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() >= self.waiting_max {
            return false;
        }
        state.waiting.push_back(Waiting { file, read });
        drop(state);
        self.changed.notify_one();
        true
    }

    /// The first read of a file that may have a thread. Waits for one, but no longer than `idle`.
    pub(super) fn next(&self, idle: Duration) -> Next<R> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Next::End;
            }
            if let Some(Waiting { file, read }) = state.take(self.of_file_max) {
                return Next::Read(file, read);
            }
            let (locked, waited) = self.changed.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = locked;
            if waited.timed_out() {
                return Next::Idle;
            }
        }
    }

    /// Notes that a read has ended.
    pub(super) fn ended(&self, file: FileNumber) {
        let mut state = self.lock();
        if let Some(running) = state.running.get_mut(&file) {
            *running -= 1;
            if *running == 0 {
                state.running.remove(&file);
            }
        }
        let waits = !state.waiting.is_empty();
        drop(state);
        if waits {
            self.changed.notify_one();
        }
    }

    /// Ends all threads. What waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }
}

impl<R> State<R> {
    fn take(&mut self, of_file_max: usize) -> Option<Waiting<R>> {
        let running = &self.running;
        let may_run = |waiting: &Waiting<R>| running.get(&waiting.file).is_none_or(|running| *running < of_file_max);
        let at = self.waiting.iter().position(may_run)?;
        let taken = self.waiting.remove(at)?;
        *self.running.entry(taken.file).or_default() += 1;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(queue: &Queue<()>) -> Option<FileNumber> {
        match queue.next(Duration::ZERO) {
            Next::Read(file, ()) => Some(file),
            Next::Idle | Next::End => None,
        }
    }

    #[test]
    fn a_file_has_a_part_of_the_threads_and_others_pass_it() {
        let queue = Queue::new(4, 2);
        assert!([1, 1, 1, 2].into_iter().all(|file| queue.push(file, ())));
        assert!(!queue.push(3, ()), "more wait than may");
        assert_eq!([next(&queue), next(&queue), next(&queue), next(&queue)], [Some(1), Some(1), Some(2), None]);
        queue.ended(2);
        assert_eq!(next(&queue), None);
        queue.ended(1);
        assert_eq!(next(&queue), Some(1));
        queue.close();
        assert!(!queue.push(1, ()) && matches!(queue.next(Duration::ZERO), Next::End));
    }
}
