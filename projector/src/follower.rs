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
        let heard = hear(listening.as_mut()).await;
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

/// The next notification, or `None` when it is time to look.
async fn hear(listening: Option<&mut mpsc::Receiver<String>>) -> Option<String> {
    match listening {
        Some(receiver) => tokio::time::timeout(LOOKS.0, receiver.recv()).await.ok().flatten(),
        None => {
            tokio::time::sleep(LOOKS.0).await;
            None
        }
    }
}
