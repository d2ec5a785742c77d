//! Writes documents to an index, many at a time, and collects what is refused.
//!
//! Its futures can be dropped at any point: the next run repeats the writes that were not refreshed. It yields often, so
//! that a stop takes no longer than a small part of a batch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daybook_ingest::log::BoxFuture;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Refused, SearchError, SearchIndex,
    document::Document,
    runner::Gate,
    source::{Sink, SourceError},
    state::{Health, Search},
};
use crate::{backoff::Backoff, bookkeeping::checkpoints, generation::Generation, tables::Tables, throttle};

/// Documents written before they are made visible, at most, where the index holds them in memory until then.
const UNSEEN_MAX: u64 = 50_000;
/// Documents of one write, at least, while there are more to come.
const WRITE_MIN: usize = 1000;
/// Documents that a write which blocks the thread takes at a time: some milliseconds.
const BLOCKING_MAX: usize = 50;
/// Documents that are handed to an index together: at first, at least, and at most. There are more after a quick answer,
/// and fewer after a slow one or a failure, so that an index that is slow is not sent the same again and again.
const PART_FIRST: usize = 100;
const PART_MIN: usize = 25;
const PART_MAX: usize = 100_000;
const QUICK: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(5);
/// Between two looks at whether the index may be sent more.
const GATE_LOOK: Duration = Duration::from_millis(20);
/// The first and the longest pause between tries to reach an index that is away.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// The outcome of writing documents.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many are stored.
    pub(super) written: u64,
    /// Those that are not.
    pub(super) refused: Vec<Refused>,
}

impl Outcome {
    fn add(&mut self, documents: usize, refused: Vec<Refused>) {
        self.written += (documents - refused.len()) as u64;
        self.refused.extend(refused);
    }
}

/// Writes to one index.
pub(super) struct Writer {
    destination: Destination,
    /// Whose rows the documents are made of.
    tables: Arc<dyn Tables>,
    gate: Gate,
    /// Concurrent writes, at most.
    writes_max: usize,
    outcome: Outcome,
    /// Documents of the outcomes that were taken.
    written_before: u64,
    /// Documents that the progress shows.
    shown: u64,
    unrefreshed: u64,
    /// Whether every document is written, whose progress is shown: of which generation, and since when it works.
    of_rebuild: Option<(Arc<Generation>, Instant)>,
    /// Documents that wait for more, so that each write is of many.
    batch: Vec<Document>,
    /// Writes on their way; each returns how many documents it was of, and those that were refused.
    under_way: JoinSet<Result<(usize, Vec<Refused>), SearchError>>,
}

impl Writer {
    pub(super) fn new(index: Arc<dyn SearchIndex>, search: Arc<Search>, tables: Arc<dyn Tables>, gate: Gate) -> Self {
        Self {
            writes_max: index.writes().concurrent_max,
            destination: Destination::new(index, search),
            tables,
            gate,
            outcome: Outcome::default(),
            written_before: 0,
            shown: 0,
            unrefreshed: 0,
            of_rebuild: None,
            batch: Vec::new(),
            under_way: JoinSet::new(),
        }
    }

    /// The same, for writing every document of a generation, together with other processes.
    pub(super) fn of_rebuild(self, generation: Arc<Generation>, writes_max: usize) -> Self {
        Self { of_rebuild: Some((generation, Instant::now())), writes_max, ..self }
    }

    pub(super) fn index_id(&self) -> &str {
        self.destination.index.id()
    }

    /// Whether as much was written as may be invisible.
    pub(super) fn is_due(&self) -> bool {
        self.unrefreshed >= UNSEEN_MAX && !self.destination.index.writes().are_kept
    }

    /// The outcome of the writes since the last call.
    pub(super) fn take_outcome(&mut self) -> Outcome {
        self.written_before += self.outcome.written;
        std::mem::take(&mut self.outcome)
    }

    /// Waits until at most `count_max` writes are on their way.
    async fn complete(&mut self, count_max: usize) -> Result<(), SearchError> {
        while self.under_way.len() > count_max {
            match self.under_way.join_next().await {
                Some(Ok(written)) => {
                    let (documents, refused) = written?;
                    self.outcome.add(documents, refused);
                }
                Some(Err(error)) => return Err(SearchError::Unavailable(format!("a write ended: {error}"))),
                None => break,
            }
        }
        Ok(())
    }

    async fn write_batch(&mut self) -> Result<(), SourceError> {
        let mut documents = std::mem::take(&mut self.batch);
        // Read after the documents' rows, so that it is no less than these have.
        let applied = checkpoints::read(self.tables.as_ref()).await?.count();
        documents.iter_mut().for_each(|document| document.applied = applied);
        while !(self.gate)().await? {
            tokio::time::sleep(GATE_LOOK).await;
        }
        let count = documents.len();
        if self.destination.index.writes().concurrent_max > 1 {
            self.complete(self.writes_max - 1).await?;
            let destination = self.destination.clone();
            self.under_way.spawn(async move { Ok((count, destination.write(&documents).await?)) });
        } else {
            for part in documents.chunks(BLOCKING_MAX) {
                let refused = self.destination.write(part).await?;
                self.outcome.add(part.len(), refused);
                tokio::task::yield_now().await;
            }
        }
        self.unrefreshed += count as u64;
        Ok(())
    }

    /// Makes everything that was taken durable.
    pub(super) async fn flush(&mut self) -> Result<(), SourceError> {
        if !self.destination.index.writes().are_kept {
            return self.refresh().await;
        }
        self.send().await
    }

    /// Writes everything that was taken.
    async fn send(&mut self) -> Result<(), SourceError> {
        if !self.batch.is_empty() {
            self.write_batch().await?;
        }
        Ok(self.complete(0).await?)
    }

    /// Makes everything that was taken durable and visible.
    pub(super) async fn refresh(&mut self) -> Result<(), SourceError> {
        self.send().await?;
        self.unrefreshed = 0;
        Ok(self.destination.refresh().await?)
    }

    /// How new the documents of the index are.
    pub(super) async fn newest(&self) -> Result<Option<i64>, SearchError> {
        self.destination.insist(|| self.destination.index.newest()).await
    }
}

impl Sink for Writer {
    fn take(&mut self, documents: Vec<Document>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            self.batch.extend(documents);
            if self.batch.len() >= WRITE_MIN {
                self.write_batch().await?;
            }
            if self.of_rebuild.is_some() {
                let written = self.written_before + self.outcome.written;
                let more = written - std::mem::replace(&mut self.shown, written);
                let note = |health: &mut Health| health.building.get_or_insert_default().documents += more;
                self.destination.search.note(note);
            }
            if self.is_due() {
                self.refresh().await?;
            }
            if let Some((generation, since)) = &mut self.of_rebuild {
                throttle::rest(generation.pauses(), since).await;
            }
            Ok(())
        })
    }
}

/// An index, which is tried again for as long as it is away, if it loses nothing with that.
#[derive(Clone)]
struct Destination {
    index: Arc<dyn SearchIndex>,
    search: Arc<Search>,
    /// Documents that it is handed together.
    part: Arc<AtomicUsize>,
}

impl Destination {
    fn new(index: Arc<dyn SearchIndex>, search: Arc<Search>) -> Self {
        Self { index, search, part: Arc::new(AtomicUsize::new(PART_FIRST)) }
    }

    /// Writes documents in parts. A part that is written is not sent again.
    async fn write(&self, documents: &[Document]) -> Result<Vec<Refused>, SearchError> {
        let (mut refused, mut rest, mut tries) = (Vec::new(), documents, Tries::new());
        while !rest.is_empty() {
            let (part, others) = rest.split_at(self.part.load(Ordering::Relaxed).min(rest.len()));
            let began = Instant::now();
            match self.index.write(part).await {
                Ok(more) => {
                    self.note_success(&mut tries);
                    refused.extend(more);
                    rest = others;
                    self.resize(part.len(), Some(began.elapsed()));
                }
                Err(error) => {
                    self.pause_after(error, &mut tries).await?;
                    self.resize(part.len(), None);
                }
            }
        }
        Ok(refused)
    }

    /// Decides how many documents the next part has, by the time that the last one took, or `None` if it failed.
    fn resize(&self, part: usize, took: Option<Duration>) {
        let now = self.part.load(Ordering::Relaxed);
        let next = match took {
            // A smaller one says nothing about a larger one.
            Some(took) if took < QUICK && part >= now => now * 2,
            Some(took) if took < SLOW => now,
            _ => now.min(part / 2),
        };
        self.part.store(next.clamp(PART_MIN, PART_MAX), Ordering::Relaxed);
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        self.insist(|| self.index.refresh()).await
    }

    /// Calls until the index answers.
    async fn insist<'a, T>(&self, call: impl Fn() -> BoxFuture<'a, Result<T, SearchError>>) -> Result<T, SearchError> {
        let mut tries = Tries::new();
        loop {
            match call().await {
                Ok(answer) => {
                    self.note_success(&mut tries);
                    return Ok(answer);
                }
                Err(error) => self.pause_after(error, &mut tries).await?,
            }
        }
    }

    /// Shows a failure and pauses, if the call can be repeated.
    async fn pause_after(&self, error: SearchError, tries: &mut Tries) -> Result<(), SearchError> {
        if !error.is_retryable() || !self.index.writes().are_kept {
            return Err(error);
        }
        tracing::warn!(error = %error, "search waits for its index: {error}");
        self.search.note(|health| health.fail(error.to_string(), matches!(error, SearchError::Full(_))));
        tries.failed = true;
        tokio::time::sleep(tries.backoff.pause()).await;
        Ok(())
    }

    /// Shows that the last failure is over.
    fn note_success(&self, tries: &mut Tries) {
        if std::mem::replace(tries, Tries::new()).failed {
            self.search.note(Health::heal);
        }
    }
}

/// Tries to reach an index.
struct Tries {
    failed: bool,
    backoff: Backoff,
}

impl Tries {
    fn new() -> Self {
        Self { failed: false, backoff: Backoff::new(PAUSE_FIRST, PAUSE_LONGEST) }
    }
}
