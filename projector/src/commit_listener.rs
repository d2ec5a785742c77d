//! Keeps a generation's progress up to date with what other processes commit.
//!
//! Each commit sends a notification. A notification can be lost with its connection, so the checkpoints are read when
//! another one is open, and polled while a request waits. A process ignores its own notifications, because its runner
//! reports its commits directly.

use std::{fmt, sync::Arc, time::Duration};

use daybook_schemas::position::Vector;
use tokio::{sync::mpsc, time::Instant};

use crate::generation::Generation;

/// Time between two reads of the checkpoints while somebody waits.
const AWAITED_POLL: Duration = Duration::from_millis(250);

/// The notification of a commit: who committed, and the new checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The process.
    pub instance: String,
    /// The checkpoints of the partitions that moved.
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

/// Listens until the task is dropped; returns immediately if no other process can change the tables. `instance` is the
/// name of this process.
pub async fn listen(instance: String, generation: Arc<Generation>) {
    let (mut polled_at, mut is_read) = (Instant::now(), false);
    let mut listening = None;
    loop {
        if listening.is_none() {
            match generation.tables.listen().await {
                Ok(None) => return,
                Ok(Some(receiver)) => {
                    listening = Some(receiver);
                    // Commits before this were not heard, and another server may have taken over.
                    polled_at = Instant::now();
                    is_read = read_checkpoints(&generation).await;
                }
                Err(error) => tracing::warn!(error = %error, "cannot listen for commits: {error}"),
            }
        }
        let received = receive(&mut listening).await;
        match received.as_deref().map(Notification::parse) {
            Some(Some(notification)) if notification.instance == instance => {}
            Some(Some(notification)) => generation.note_reached(&notification.reached),
            None if polled_at.elapsed() < AWAITED_POLL || is_read && !generation.progress.awaited() => {}
            _ => {
                polled_at = Instant::now();
                is_read = read_checkpoints(&generation).await;
            }
        }
    }
}

/// Reads the checkpoints; false if that failed.
async fn read_checkpoints(generation: &Generation) -> bool {
    let read = generation.look().await;
    read.inspect_err(|error| tracing::debug!(error = %error, "cannot read the checkpoints: {error}")).is_ok()
}

/// The next notification, or `None` after a while without one. A receiver whose sender is gone is dropped.
async fn receive(listening: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    let Some(receiver) = listening else {
        tokio::time::sleep(AWAITED_POLL).await;
        return None;
    };
    let received = tokio::time::timeout(AWAITED_POLL, receiver.recv()).await;
    if matches!(received, Ok(None)) {
        *listening = None;
    }
    received.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_without_a_sender_is_dropped_and_a_silent_one_is_kept() {
        let (sender, receiver) = mpsc::channel(1);
        let mut listening = Some(receiver);
        assert_eq!(receive(&mut listening).await, None);
        assert!(listening.is_some());
        assert!(sender.send("a b@1".to_owned()).await.is_ok());
        assert_eq!(receive(&mut listening).await.as_deref(), Some("a b@1"));
        drop(sender);
        assert_eq!(receive(&mut listening).await, None);
        assert!(listening.is_none());
        let began = Instant::now();
        assert_eq!(receive(&mut listening).await, None);
        assert!(began.elapsed() >= AWAITED_POLL, "who cannot listen polls at a bounded rate");
    }
}
