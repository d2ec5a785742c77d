//! Keeps a generation's index up to date: reads the log behind the tables, and writes the documents that events change.
//!
//! One thread per process, at a lower priority than writers and reads. Guarantees: an index is never ahead of the
//! tables; its checkpoint moves only once everything before it is durable in the index, so a crash skips nothing; an
//! index without a checkpoint is built from all rows. Documents are built from the current rows, so writing one twice
//! does no harm. The runner retries until it is stopped, with one batch in memory. When it is stopped, it drops its
//! current work; the next start repeats what was not durable.

mod build;

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::{self, BoxFuture, EventLog, LogError, ReadLimits, Record};
use daybook_schemas::position::{Partition, Vector};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{
    SearchError, SearchIndex, SearchStore,
    binding::Binding,
    bookkeeping,
    source::{Documents, SourceError},
    state::Search,
    writer::Writer,
};
use crate::{
    backoff::Backoff,
    bookkeeping::checkpoints,
    error_chain::chain,
    generation::Generation,
    metrics::metrics,
    priority,
    supervise::{Interruption, RunnerThread, supervise},
    tables::TablesError,
};

/// Bounds of one batch.
const RECORDS_MAX: usize = 2048;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest time until written documents are visible, unless a request needs them earlier.
const REFRESH: Duration = Duration::from_secs(1);
/// How long records are waited for, with nothing to make visible. Also how long a stop may go unnoticed.
const WAIT_IDLE: Duration = Duration::from_millis(100);
/// The same with something to make visible.
const WAIT_UNSEEN: Duration = Duration::from_millis(5);
/// Between two looks at whether the index is still there.
const LOOK: Duration = Duration::from_secs(5);
/// After this long without anything to write, the index gives back what only writing needs.
const REST: Duration = Duration::from_secs(3);
/// The first and the longest pause after failures.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Why the runner stopped for a moment.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchRunnerError {
    /// The log failed.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The tables failed.
    #[error("cannot use the tables")]
    Tables(#[from] TablesError),
    /// The index failed.
    #[error("cannot use the search index")]
    Search(#[from] SearchError),
    /// Documents could not be read or written.
    #[error("cannot write documents to the search index")]
    Source(#[from] SourceError),
    /// The index does not hold what these tables have written to it.
    #[error("the search index {0}; the process with the first partition builds it anew")]
    OtherState(&'static str),
    /// A panic.
    #[error("the search projector panicked")]
    Panic,
    /// It is being stopped: no failure.
    #[error("the search projector is being stopped")]
    Stopped,
}

impl SearchRunnerError {
    /// Whether there is no room.
    const fn is_full(&self) -> bool {
        match self {
            Self::Tables(error) | Self::Source(SourceError::Tables(error)) => matches!(error, TablesError::Full(_)),
            Self::Search(error) | Self::Source(SourceError::Search(error)) => matches!(error, SearchError::Full(_)),
            _ => false,
        }
    }

    /// Whether the index is not this installation's.
    const fn is_foreign(&self) -> bool {
        matches!(
            self,
            Self::Search(SearchError::Foreign(_)) | Self::Source(SourceError::Search(SearchError::Foreign(_)))
        )
    }
}

/// What the runner works with.
pub struct Setting {
    /// Whose documents.
    pub generation: Arc<Generation>,
    /// How rows become documents.
    pub documents: Arc<dyn Documents>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Where indexes live.
    pub store: Arc<dyn SearchStore>,
    /// The partitions that this process indexes; if none, it only follows the progress of others.
    pub assignment: watch::Receiver<Vec<Partition>>,
    /// What requests see.
    pub search: Arc<Search>,
    /// Whether the index may be sent more.
    pub gate: Gate,
}

/// Whether an index may be sent more now. It is asked after the rows were read whose documents are to be sent: while
/// instances leave a generation, its index shows no more than those who have left it can find. An engine, or another
/// process, may refresh it at any time, so it must not have more.
pub type Gate = Arc<dyn Fn() -> BoxFuture<'static, Result<bool, TablesError>> + Send + Sync>;

impl Setting {
    /// Which index this is about.
    pub fn binding(&self) -> Binding {
        Binding {
            log_id: self.log.id().to_owned(),
            domain: self.generation.domain.to_owned(),
            index: self.generation.index.clone(),
            fingerprint: self.generation.fingerprint.clone(),
            shape: self.documents.shape(),
        }
    }
}

/// A running search projector.
pub struct SearchRunner {
    stop: watch::Sender<bool>,
    thread: RunnerThread,
}

impl SearchRunner {
    /// Starts the runner's thread. Must be called on a runtime.
    pub fn start(setting: Setting) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let worker = Worker { setting, stop: stopped, runtime: Handle::current() };
        let thread = RunnerThread::start("search", move || worker.run())?;
        Ok(Self { stop, thread })
    }

    /// Stops. Blocks until the thread has ended, for a bounded time: a call that cannot be interrupted is abandoned.
    pub fn stop(&mut self) {
        self.stop.send_replace(true);
        self.thread.join();
    }
}

impl Drop for SearchRunner {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    setting: Setting,
    stop: watch::Receiver<bool>,
    runtime: Handle,
}

/// An index and its progress.
struct Tail {
    index: Arc<dyn SearchIndex>,
    /// What the index holds, of the partitions of this process.
    next: Vector,
    writer: Writer,
    /// Whether other processes index partitions, too.
    has_others: bool,
    /// When something was first written that is not visible; `None` if all is.
    unseen_since: Option<Instant>,
    /// When the checkpoints of others were last looked at.
    looked: Instant,
    /// When the index was last seen.
    seen: Instant,
    /// When something was last made visible; `None` once the index rests.
    busy: Option<Instant>,
}

impl Worker {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether a partition's events touch documents.
    fn is_searched(&self, partition: &Partition) -> bool {
        self.setting.documents.topics().contains(&partition.topic)
    }

    /// Waits for some work, unless this is stopped first: the work is dropped then.
    fn wait<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, SearchRunnerError>
    where
        SearchRunnerError: From<E>,
    {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // A runner that nobody holds any more is stopped, too.
                _ = stop.wait_for(|stop| *stop) => Err(SearchRunnerError::Stopped),
                outcome = work => Ok(outcome?),
            }
        })
    }

    /// Does nothing for a while, unless this is stopped first.
    fn pause(&self, pause: Duration) {
        let mut stop = self.stop.clone();
        // Either is good.
        let _stopped =
            self.runtime.block_on(async { tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() });
    }

    fn run(&self) {
        priority::lower();
        supervise(
            Backoff::new(PAUSE_FIRST, PAUSE_LONGEST),
            || self.stopped(),
            |pause| self.pause(pause),
            |progressed| self.tail(progressed),
            |interruption| self.report(interruption),
        );
    }

    fn report(&self, interruption: Interruption<SearchRunnerError>) {
        let error = match interruption {
            Interruption::Failed(SearchRunnerError::Stopped) => return,
            Interruption::Failed(error) => error,
            Interruption::Panicked => SearchRunnerError::Panic,
        };
        let chain = chain(&error);
        let domain = self.setting.generation.domain;
        tracing::warn!(error = chain, domain, "search of {domain} paused: {chain}");
        self.setting.search.note(|health| health.fail(chain, error.is_full()));
        if error.is_foreign() {
            self.setting.search.close();
        }
    }

    /// Opens the index, builds it if it was never built, and begins to follow the log.
    fn open(
        &self,
        mine: &[Partition],
        assignment: &watch::Receiver<Vec<Partition>>,
    ) -> Result<Tail, SearchRunnerError> {
        let is_first = mine.iter().any(|partition| partition.id == 0);
        let index = self.open_index(is_first)?;
        let mut reached = self.wait(bookkeeping::checkpoints(self.tables(), index.id()))?;
        self.setting.search.open(
            Arc::clone(&index),
            &self.setting.generation.within(self.setting.log.end(&self.setting.generation.topics)?),
        );
        // Before it is built from rows, its partitions would be read from their beginning.
        if reached.0.is_empty() {
            reached = self.build(&index, mine, assignment)?;
        }
        // Noted before it is shown: who has waited for the index finds that it is built.
        self.setting.search.note(|health| {
            health.heal();
            (health.building, health.is_built) = (None, true);
        });
        self.setting.search.show(&reached);
        let all = log::partitions(self.setting.log.as_ref());
        Ok(Tail {
            writer: self.writer(&index),
            index,
            next: Vector(mine.iter().map(|partition| (*partition, reached.next(*partition))).collect()),
            has_others: all.iter().filter(|it| self.is_searched(it)).any(|partition| !mine.contains(partition)),
            unseen_since: None,
            looked: Instant::now(),
            seen: Instant::now(),
            busy: Some(Instant::now()),
        })
    }

    /// Opens the index. One that does not hold what these tables have written to it is deleted first: the tables, or the
    /// index, were restored from another time.
    fn open_index(&self, is_first: bool) -> Result<Arc<dyn SearchIndex>, SearchRunnerError> {
        let (binding, store) = (self.setting.binding(), &self.setting.store);
        let index = self.wait(store.open(&binding))?;
        // Known first: both only grow.
        let known = self.wait(bookkeeping::newest(self.tables(), index.id()))?;
        let found = self.wait(index.newest())?;
        let applied = self.wait(checkpoints::read(self.tables()))?.count();
        let fault = if found > Some(applied) {
            "is newer than the tables"
        } else if found < known {
            "lacks documents that it had"
        } else {
            return Ok(index);
        };
        if !is_first {
            return Err(SearchRunnerError::OtherState(fault));
        }
        let place = index.describe();
        tracing::warn!(index = place, "the search index ({place}) {fault}: it is deleted and built anew");
        drop(index);
        self.wait(store.delete(&binding))?;
        self.wait(store.open(&binding))
    }

    fn writer(&self, index: &Arc<dyn SearchIndex>) -> Writer {
        let tables = Arc::clone(&self.setting.generation.tables);
        Writer::new(Arc::clone(index), Arc::clone(&self.setting.search), tables, Arc::clone(&self.setting.gate))
    }

    /// Follows the log until the assignment changes or something fails.
    fn tail(&self, progressed: &mut bool) -> Result<(), SearchRunnerError> {
        let mut assignment = self.setting.assignment.clone();
        let mine: Vec<Partition> =
            assignment.borrow_and_update().iter().copied().filter(|it| self.is_searched(it)).collect();
        let mut tail = self.open(&mine, &assignment)?;
        let generation = &self.setting.generation;
        let mut from = tail.next.clone();
        from.0.retain(|partition, next| !generation.ends_at(*partition, *next));
        let mut reader = if from.0.is_empty() { None } else { Some(self.setting.log.reader(&from)?) };
        while !self.stopped() && !assignment.has_changed().unwrap_or(false) {
            let awaited = self.setting.search.awaited(&tail.next);
            let wait = if awaited || tail.unseen_since.is_some() { WAIT_UNSEEN } else { WAIT_IDLE };
            match &mut reader {
                Some(reader) => {
                    let mut records =
                        reader.read(ReadLimits { records_max: RECORDS_MAX, bytes_max: BYTES_MAX, wait })?;
                    records.retain(|it| !generation.ends_at(it.position.partition, it.position.offset));
                    let mut reached = tail.next.clone();
                    reached.0.extend(generation.within(reader.reached()).0);
                    if reached != tail.next {
                        self.apply(&records, reached, &mut tail)?;
                        *progressed = true;
                    }
                }
                None => self.pause(wait),
            }
            let is_due = |since: Instant| awaited || since.elapsed() >= REFRESH;
            if tail.unseen_since.is_some_and(is_due) {
                self.make_visible(&mut tail)?;
            }
            if tail.unseen_since.is_none() && tail.busy.is_some_and(|since| since.elapsed() >= REST) {
                tail.index.rest();
                tail.busy = None;
            }
            if tail.seen.elapsed() >= LOOK {
                // One that was deleted or replaced is missed without a write, too.
                self.wait(tail.index.newest())?;
                tail.seen = Instant::now();
            }
            if tail.has_others && (awaited || tail.looked.elapsed() >= REFRESH) {
                self.look_at_others(&mut tail)?;
            }
        }
        if tail.unseen_since.is_some() && !self.stopped() { self.make_visible(&mut tail) } else { Ok(()) }
    }

    fn tables(&self) -> &dyn crate::tables::Tables {
        self.setting.generation.tables.as_ref()
    }

    /// Writes the documents that records touch, once the tables have reached the same vector.
    fn apply(&self, records: &[Record], reached: Vector, tail: &mut Tail) -> Result<(), SearchRunnerError> {
        let progress = &self.setting.generation.progress;
        self.wait(async {
            progress.wait_for(&reached).await;
            Ok::<_, TablesError>(())
        })?;
        self.wait(self.setting.documents.touched(self.tables(), records, &mut tail.writer))?;
        tail.next = reached;
        tail.unseen_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Makes what was written durable and visible, then moves the checkpoint.
    fn make_visible(&self, tail: &mut Tail) -> Result<(), SearchRunnerError> {
        self.advance(&mut tail.writer, &tail.next)?;
        tail.unseen_since = None;
        tail.busy = Some(Instant::now());
        self.setting.search.show(&tail.next);
        Ok(())
    }

    /// Makes all writes durable, then records that the index has reached `reached`, and the refused documents.
    fn advance(&self, writer: &mut Writer, reached: &Vector) -> Result<(), SearchRunnerError> {
        self.wait(writer.refresh())?;
        let newest = self.wait(writer.newest())?;
        self.keep_outcome(writer, reached, newest)
    }

    fn keep_outcome(
        &self,
        writer: &mut Writer,
        reached: &Vector,
        newest: Option<i64>,
    ) -> Result<(), SearchRunnerError> {
        let outcome = writer.take_outcome();
        for one in &outcome.refused {
            let (id, reason) = (one.id.as_str(), one.reason.as_str());
            tracing::warn!(document = id, reason, "document {id} refused by the search index: {reason}");
        }
        bookkeeping::advance(self.tables(), writer.index_id(), reached, newest, &outcome.refused)?;
        metrics().search_documents.with_label_values(&["refused"]).inc_by(outcome.refused.len() as u64);
        metrics().search_documents.with_label_values(&["written"]).inc_by(outcome.written);
        Ok(())
    }

    /// Reads the progress of other processes on the index.
    fn look_at_others(&self, tail: &mut Tail) -> Result<(), SearchRunnerError> {
        tail.looked = Instant::now();
        let reached = self.wait(bookkeeping::checkpoints(self.tables(), tail.index.id()))?;
        let visible = self.setting.search.visible();
        if !visible.reaches(&reached) {
            self.wait(tail.index.refresh())?;
            self.setting.search.show(&reached);
        }
        Ok(())
    }
}
