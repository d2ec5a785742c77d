//! Before tables are read: that they have whatever was acknowledged before.
//!
//! What this process acknowledged, it knows. What others did, the tables have, once the others know of this process; until then only
//! the log tells (see [`daybook_projector::standing`]).

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::EventLog;
use daybook_projector::{generation::Generation, standing::Standing, tables::TablesError};
use daybook_schemas::position::Vector;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait to be told where the log ends; more wait for room.
const QUEUE_MAX: usize = 4096;

type Asker = oneshot::Sender<Result<Arc<Vector>, TablesError>>;

/// What a reader of one generation waits for.
pub struct Freshness {
    generation: Arc<Generation>,
    standing: Arc<Standing>,
    ends: mpsc::Sender<Asker>,
    wait_max: Duration,
}

impl Freshness {
    /// Starts the task that asks the log where it ends; it stops when this is dropped. No reader waits longer than `wait_max`.
    pub fn start(
        generation: Arc<Generation>,
        standing: Arc<Standing>,
        log: Arc<dyn EventLog>,
        wait_max: Duration,
    ) -> Self {
        let (ends, askers) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(tell_ends(log, askers));
        Self { generation, standing, ends, wait_max }
    }

    /// Waits until the tables have whatever was acknowledged before.
    pub async fn reached(&self) -> Result<(), TablesError> {
        if self.standing.is_known() && self.generation.progress.is_settled() {
            return Ok(());
        }
        let waiting = async {
            if self.standing.is_known() {
                self.generation.progress.settled().await;
            } else {
                let end = self.end().await?;
                self.generation.progress.wait_for(&end).await;
            }
            Ok(())
        };
        let late = |_| TablesError::Unavailable("the tables do not have in time what was acknowledged".to_owned());
        tokio::time::timeout(self.wait_max, waiting).await.map_err(late)?
    }

    /// Where the log ends, as it says after it was asked.
    async fn end(&self) -> Result<Arc<Vector>, TablesError> {
        let ended = || TablesError::Unavailable("shutting down".to_owned());
        let (asker, end) = oneshot::channel();
        self.ends.send(asker).await.map_err(|_| ended())?;
        end.await.map_err(|_| ended())?
    }
}

/// Asks the log once for all that ask at the same time.
async fn tell_ends(log: Arc<dyn EventLog>, mut askers: mpsc::Receiver<Asker>) {
    let mut asking = Vec::new();
    while askers.recv_many(&mut asking, QUEUE_MAX).await > 0 {
        let log = Arc::clone(&log);
        let end = tokio::task::spawn_blocking(move || log.end().map_err(|error| error.to_string())).await;
        let end = end.unwrap_or_else(|error| Err(error.to_string()));
        let end =
            end.map(Arc::new).map_err(|reason| TablesError::Unavailable(format!("where does the log end? {reason}")));
        for asker in asking.drain(..) {
            // One that has gone away does not want to know.
            let _gone = asker.send(end.clone());
        }
    }
}
