//! The runner of a generation that is not live applies no more than the live one has.

use std::{
    sync::{atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};

use super::{RunnerError, Shared};
use crate::{generation::Generation, tables::TablesError};

/// How long it waits for the live one, before it looks whether it is live now.
const ROLE_LOOK: Duration = Duration::from_millis(100);

impl Shared {
    /// Moves the checkpoints to `reached` by `commit`, as soon as this generation may. If a switch comes in between, it
    /// tries again.
    pub(super) fn as_allowed<T>(
        &self,
        reached: &Vector,
        commit: impl Fn() -> Result<T, RunnerError>,
    ) -> Result<T, RunnerError> {
        loop {
            self.wait_for_live(reached)?;
            match commit() {
                Err(RunnerError::Tables(TablesError::Conflict(reason))) => {
                    if !self.is_switched()? {
                        return Err(TablesError::Conflict(reason).into());
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Reads whether the generation is live now; returns whether that has changed.
    fn is_switched(&self) -> Result<bool, TablesError> {
        let is_live = self.checkpoints()?.is_live;
        Ok(self.is_live.swap(is_live, Ordering::Relaxed) != is_live)
    }

    /// Waits until the live generation has applied everything before `reached`, unless this is the live one.
    fn wait_for_live(&self, reached: &Vector) -> Result<(), RunnerError> {
        let mut awaited: Option<Awaited> = None;
        while !self.is_live.load(Ordering::Relaxed) {
            if self.ended() || self.is_reassigned() {
                return Err(RunnerError::Interrupted);
            }
            let live = self.live.borrow().clone();
            match live.filter(|live| live.number != self.generation.number) {
                Some(live) if live.progress.applied().reaches(reached) => return Ok(()),
                Some(live) => {
                    let of_live = awaited.take().filter(|awaited| awaited.generation == live.number);
                    let of_live = of_live.unwrap_or_else(|| Awaited::new(&live, reached));
                    // Once it was woken, it is made anew: tables can go back.
                    awaited = of_live.wait().then_some(of_live);
                }
                None => thread::park_timeout(ROLE_LOOK),
            }
            self.is_switched()?;
        }
        Ok(())
    }
}

/// A vector that another generation will reach.
struct Awaited {
    generation: i64,
    reached: mpsc::Receiver<()>,
}

impl Awaited {
    fn new(live: &Generation, wanted: &Vector) -> Self {
        let last = |(partition, next): (&Partition, &Offset)| Position { partition: *partition, offset: next - 1 };
        let positions = wanted.0.iter().filter(|(_, next)| **next > 0).map(last).collect();
        let (sender, reached) = mpsc::channel();
        // Fails only if nobody waits any longer.
        live.progress.call_when_applied(
            positions,
            Box::new(move |_| {
                let _gone = sender.send(());
            }),
        );
        Self { generation: live.number, reached }
    }

    /// Waits for a short time; whether it is still to come.
    fn wait(&self) -> bool {
        self.reached.recv_timeout(ROLE_LOOK) == Err(mpsc::RecvTimeoutError::Timeout)
    }
}
