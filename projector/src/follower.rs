//! Keeps a generation's progress up to date in a process that shares its tables with others.
//!
//! Hears each commit through a notification. As one may be lost with a connection, the checkpoints are also read at a
//! bounded pace: often while somebody waits, seldom otherwise. A process's own commits are left out: its runner tells more
//! of them, and sooner.

use std::{fmt, sync::Arc, time::Duration};

use daybook_schemas::position::Vector;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    generation::{self, Generation},
    tables::TablesError,
};

/// Between two looks at the checkpoints while somebody waits, and while nobody does.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// What a process tells the others of a commit: who it is, and how far the tables have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The process.
    pub instance: String,
    /// The partitions that moved, and where to.
    pub reached: Vector,
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.instance, self.reached)
    }
}

impl Notification {
    fn parse(payload: &str) -> Option<Self> {
        let (instance, reached) = payload.split_once(' ')?;
        Some(Self { instance: instance.to_owned(), reached: reached.parse().ok()? })
    }
}

/// Follows until the task is dropped; returns at once where no other process can change the tables. `instance` names this
/// process.
pub async fn follow(instance: String, generation: Arc<Generation>) {
    let mut looked = Instant::now();
    let mut listening = None;
    loop {
        if listening.is_none() {
            match generation.tables.listen().await {
                Ok(None) => return,
                Ok(Some(receiver)) => listening = Some(receiver),
                Err(error) => tracing::warn!(error = %error, "cannot listen for commits: {error}"),
            }
        }
        let heard = hear(&mut listening).await;
        let due = if generation.progress.awaited() { LOOKS.0 } else { LOOKS.1 };
        match heard.as_deref().map(Notification::parse) {
            Some(Some(heard)) if heard.instance == instance => {}
            Some(Some(heard)) => generation.note_reached(&heard.reached),
            None if looked.elapsed() < due => {}
            _ => {
                looked = Instant::now();
                if let Err(error) = look(&generation).await {
                    tracing::debug!(error = %error, "cannot read the checkpoints: {error}");
                }
            }
        }
    }
}

async fn look(generation: &Generation) -> Result<(), TablesError> {
    let reached = generation::checkpoints(generation.tables.as_ref()).await?;
    generation.note_reached(&reached);
    Ok(())
}

/// The next notification, or `None` when it is time to look. A receiver that will hear no more is given up.
async fn hear(listening: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    let Some(receiver) = listening else {
        tokio::time::sleep(LOOKS.0).await;
        return None;
    };
    let heard = tokio::time::timeout(LOOKS.0, receiver.recv()).await;
    if matches!(heard, Ok(None)) {
        *listening = None;
    }
    heard.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_will_hear_no_more_is_given_up_and_one_that_is_silent_is_kept() {
        let (sender, receiver) = mpsc::channel(1);
        let mut listening = Some(receiver);
        assert_eq!(hear(&mut listening).await, None);
        assert!(listening.is_some());
        assert!(sender.send("a b@1".to_owned()).await.is_ok());
        assert_eq!(hear(&mut listening).await.as_deref(), Some("a b@1"));
        drop(sender);
        assert_eq!(hear(&mut listening).await, None);
        assert!(listening.is_none());
        let began = Instant::now();
        assert_eq!(hear(&mut listening).await, None);
        assert!(began.elapsed() >= LOOKS.0, "who cannot listen looks at a bounded pace");
    }
}
