//! Removes what is left of generations that have ended.

use std::time::Duration;

use daybook_projector::tables::TablesError;
use tokio::time::Instant;

use super::Coordinator;
use crate::{control::Entry, upgrade};

/// After so long, no process still opens a generation that has ended.
const CLOSED_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to remove an index that cannot be removed.
const PAUSE: Duration = Duration::from_secs(2);

/// What is left of a generation that has ended, as far as this process has removed it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    /// Its index could not be removed; when that is tried again.
    Left(Instant),
    /// All was removed that was there. A process that was just opening it may make something afterwards, so it is removed
    /// once more at this time.
    Emptied(Instant),
    /// Nothing.
    Removed,
}

impl Ended {
    fn is_due(self) -> bool {
        match self {
            Self::Left(next) | Self::Emptied(next) => next <= Instant::now(),
            Self::Removed => false,
        }
    }
}

impl Coordinator {
    /// Removes the tables and the indexes of generations that have ended and that this process has closed, except tables
    /// that others have, too.
    pub(super) async fn remove_ended(&mut self, entries: &[Entry]) -> Result<(), TablesError> {
        let domain = self.platform.domain();
        for entry in entries.iter().filter(|entry| entry.is_gone()) {
            let number = entry.generation;
            let before = self.ended.get(&number).copied();
            let is_open = self.serving.borrow().open.contains_key(&number);
            if is_open || !before.is_none_or(Ended::is_due) {
                continue;
            }
            self.platform.control.forget_workers(domain, number).await?;
            let is_removed = upgrade::remove(&self.platform.stores(), domain, entry, entries).await?;
            let now = match (is_removed, before) {
                (false, _) => Ended::Left(Instant::now() + PAUSE),
                (true, None | Some(Ended::Left(_))) => Ended::Emptied(Instant::now() + CLOSED_MAX),
                (true, Some(_)) => Ended::Removed,
            };
            self.ended.insert(number, now);
        }
        Ok(())
    }
}
