//! Keeps a generation's progress up to date in a process that shares its tables with others.
//!
//! Hears each commit through a notification. As one may be lost with a connection, the checkpoints are also read at a
//! bounded pace: often while somebody waits, seldom otherwise.

use std::{sync::Arc, time::Duration};

use daybook_schemas::position::Vector;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    generation::{self, Generation},
    tables::TablesError,
};

/// Between two looks at the checkpoints while somebody waits, and while nobody does.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Follows until the task is dropped; returns at once where no other process can change the tables.
pub async fn follow(generation: Arc<Generation>) {
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
        match heard.as_deref().map(str::parse::<Vector>) {
            Some(Ok(reached)) if !reached.0.is_empty() => generation.progress.advance(&reached),
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
    generation.progress.advance(&reached);
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
