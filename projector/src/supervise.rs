//! The thread of every runner, and its loop: it restarts the work after a failure or a panic, with a growing pause.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::Instant;

use crate::backoff::Backoff;

/// How long a stop waits for a call that cannot be interrupted, such as a commit. Interrupting it harms neither index
/// nor tables.
const STOP_MAX: Duration = Duration::from_millis(500);
/// Time between two looks at a thread that is being stopped.
const STOP_POLL: Duration = Duration::from_millis(2);

/// The thread of a runner.
pub(crate) struct RunnerThread {
    name: &'static str,
    handle: Option<JoinHandle<()>>,
}

impl RunnerThread {
    /// Starts the thread.
    pub(crate) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let handle = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { name, handle: Some(handle) })
    }

    /// Waits until the thread, which was asked to stop, has ended. After a bounded time it is abandoned.
    pub(crate) fn join(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        // It may be in a pause.
        handle.thread().unpark();
        let (name, began) = (self.name, Instant::now());
        while !handle.is_finished() {
            if began.elapsed() >= STOP_MAX {
                tracing::info!("the thread {name} did not stop in time and is abandoned");
                return;
            }
            thread::sleep(STOP_POLL);
        }
        if handle.join().is_err() {
            tracing::error!("the thread {name} panicked");
        }
    }
}

/// Why a runner's work ended without a request to stop.
pub(crate) enum Interruption<E> {
    /// It failed.
    Failed(E),
    /// It panicked: a bug, but one that must not leave the process alive and idle.
    Panicked,
}

/// Works until `stopped`. `work` sets its argument after any progress, which resets the pause; `note` is called with every
/// interruption.
pub(crate) fn supervise<E>(
    mut backoff: Backoff,
    stopped: impl Fn() -> bool,
    pause: impl Fn(Duration),
    mut work: impl FnMut(&mut bool) -> Result<(), E>,
    mut note: impl FnMut(Interruption<E>),
) {
    while !stopped() {
        let mut progressed = false;
        match panic::catch_unwind(AssertUnwindSafe(|| work(&mut progressed))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => note(Interruption::Failed(error)),
            Err(_) => note(Interruption::Panicked),
        }
        if progressed {
            backoff.reset();
        }
        if !stopped() {
            pause(backoff.pause());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_does_not_end_is_abandoned_in_time() {
        let (release, released) = mpsc::channel::<()>();
        let work = move || {
            let _released = released.recv();
        };
        let blocked = RunnerThread::start("blocked", work);
        let mut blocked = blocked.unwrap_or_else(|error| panic!("{error}"));
        let began = Instant::now();
        blocked.join();
        assert!(began.elapsed() >= STOP_MAX, "{:?}", began.elapsed());
        drop(release);
    }

    #[test]
    fn work_begins_again_after_failures_and_panics_until_it_is_stopped() {
        let backoff = Backoff::new(Duration::from_micros(1), Duration::from_micros(2));
        let turns = std::cell::Cell::new(0);
        let (mut failed, mut panicked) = (0, 0);
        let work = |_: &mut bool| {
            turns.set(turns.get() + 1);
            match turns.get() {
                1 => Err("a failure"),
                2 => panic!("a bug"),
                _ => Ok(()),
            }
        };
        let note = |interruption| match interruption {
            Interruption::Failed(_) => failed += 1,
            Interruption::Panicked => panicked += 1,
        };
        supervise(backoff, || turns.get() >= 4, std::thread::park_timeout, work, note);
        assert_eq!((turns.get(), failed, panicked), (4, 1, 1));
    }
}
