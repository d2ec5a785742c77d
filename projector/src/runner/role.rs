//! The runner of a generation that is not live applies no more than the live one has.

use std::{future::pending, sync::atomic::Ordering, time::Duration};

use daybook_schemas::position::Vector;

use super::{RunnerError, Shared};
use crate::tables::TablesError;

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
        let mut live = self.live.clone();
        while !self.is_live.load(Ordering::Relaxed) {
            if self.ended() || self.is_reassigned() {
                return Err(RunnerError::Interrupted);
            }
            let other = live.borrow_and_update().clone().filter(|live| live.number != self.generation.number);
            if other.as_ref().is_some_and(|live| live.progress.applied().reaches(reached)) {
                return Ok(());
            }
            let advanced = async {
                match &other {
                    Some(live) => live.progress.wait_for(reached).await,
                    None => pending().await,
                }
            };
            let is_advanced = self.runtime.block_on(async {
                tokio::select! {
                    () = advanced => true,
                    Ok(()) = live.changed() => false,
                    () = tokio::time::sleep(ROLE_LOOK) => false,
                }
            });
            if !is_advanced {
                self.is_switched()?;
            }
        }
        Ok(())
    }
}
