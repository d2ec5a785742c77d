//! Writes documents to an index, many at a time, and notes what is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use daybook_ingest::log::BoxFuture;
use tokio::{task::JoinSet, time::Instant};

use super::{Refused, SearchError, SearchIndex, document::Document, runner::PAUSES, source::Sink, state::Search};

/// Documents written before they are made visible, at most, where the index holds them in memory until then.
const UNSEEN_MAX: u64 = 50_000;
/// Documents of one write, at least, while there are more to come.
const WRITE_MIN: usize = 1000;

/// Between two looks whether to stop, while an index is away.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Writes to one index.
pub(super) struct Writer {
    destination: Destination,
    refused: Vec<Refused>,
    written: u64,
    unrefreshed: u64,
    /// Whether every document is written, which is told as it goes on.
    of_rebuild: bool,
    /// Documents that wait for more, so that each write is of many.
    gathered: Vec<Document>,
    /// Writes on their way; each tells how many documents it was of, and those that were refused.
    under_way: JoinSet<Result<(u64, Vec<Refused>), SearchError>>,
}

impl Writer {
    pub(super) fn new(index: Arc<dyn SearchIndex>, search: Arc<Search>, stop: Arc<AtomicBool>) -> Self {
        let destination = Destination { index, search, stop };
        let (refused, gathered, under_way) = (Vec::new(), Vec::new(), JoinSet::new());
        Self { destination, refused, written: 0, unrefreshed: 0, of_rebuild: false, gathered, under_way }
    }

    /// The same, for writing every document.
    pub(super) fn of_rebuild(self) -> Self {
        Self { of_rebuild: true, ..self }
    }

    pub(super) fn index_id(&self) -> &str {
        self.destination.index.id()
    }

    /// Whether as much was written as may stay unseen.
    pub(super) fn is_due(&self) -> bool {
        self.unrefreshed >= UNSEEN_MAX && !self.destination.index.keeps_writes()
    }

    /// What was refused, and how many documents were written, since this was last asked.
    pub(super) fn take_outcome(&mut self) -> (Vec<Refused>, u64) {
        (std::mem::take(&mut self.refused), std::mem::take(&mut self.written))
    }

    fn note(&mut self, documents: u64, refused: Vec<Refused>) {
        self.written += documents - refused.len() as u64;
        self.refused.extend(refused);
    }

    /// Waits until at most `count_max` writes are on their way.
    async fn settle(&mut self, count_max: usize) -> Result<(), SearchError> {
        while self.under_way.len() > count_max {
            match self.under_way.join_next().await {
                Some(Ok(written)) => {
                    let (documents, refused) = written?;
                    self.note(documents, refused);
                }
                Some(Err(error)) => return Err(SearchError::Unavailable(format!("a write ended: {error}"))),
                None => break,
            }
        }
        Ok(())
    }

    /// Writes what was gathered.
    async fn write(&mut self) -> Result<(), SearchError> {
        let documents = std::mem::take(&mut self.gathered);
        let (count, writes_max) = (documents.len() as u64, self.destination.index.writes_max());
        if writes_max > 1 {
            self.settle(writes_max - 1).await?;
            let destination = self.destination.clone();
            self.under_way.spawn(async move { Ok((count, destination.write(&documents).await?)) });
        } else {
            let refused = self.destination.write(&documents).await?;
            self.note(count, refused);
        }
        self.unrefreshed += count;
        Ok(())
    }

    /// Makes everything that was taken durable and visible.
    pub(super) async fn refresh(&mut self) -> Result<(), SearchError> {
        if !self.gathered.is_empty() {
            self.write().await?;
        }
        self.settle(0).await?;
        self.unrefreshed = 0;
        self.destination.refresh().await
    }
}

impl Sink for Writer {
    fn take(&mut self, documents: Vec<Document>) -> BoxFuture<'_, Result<(), SearchError>> {
        Box::pin(async move {
            self.gathered.extend(documents);
            if self.gathered.len() >= WRITE_MIN {
                self.write().await?;
            }
            if self.of_rebuild {
                self.destination.search.note(|health| health.rebuilding = Some(self.written));
                if self.is_due() {
                    self.refresh().await?;
                }
            }
            Ok(())
        })
    }
}

/// An index, which is tried again for as long as it is away, if it lost nothing with that.
#[derive(Clone)]
struct Destination {
    index: Arc<dyn SearchIndex>,
    search: Arc<Search>,
    stop: Arc<AtomicBool>,
}

impl Destination {
    async fn write(&self, documents: &[Document]) -> Result<Vec<Refused>, SearchError> {
        self.insist(|| self.index.write(documents)).await
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        self.insist(|| self.index.refresh()).await
    }

    /// Calls until the index answers, and tells of its failure for as long as that lasts.
    async fn insist<'a, T>(&self, call: impl Fn() -> BoxFuture<'a, Result<T, SearchError>>) -> Result<T, SearchError> {
        let (mut pause, mut failed) = (PAUSES.0, false);
        loop {
            let outcome = call().await;
            match &outcome {
                Err(SearchError::Unavailable(reason)) if self.index.keeps_writes() && !self.stopped() => {
                    tracing::warn!(error = reason, "search waits for its index: {reason}");
                    self.search.note(|health| health.failure = Some(reason.clone()));
                    failed = true;
                }
                Ok(_) if failed => {
                    self.search.note(|health| health.failure = None);
                    return outcome;
                }
                _ => return outcome,
            }
            let until = Instant::now() + pause;
            while Instant::now() < until && !self.stopped() {
                tokio::time::sleep(STOP_LOOK.min(pause)).await;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
