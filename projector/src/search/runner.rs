//! Keeps a generation's index beside its tables: reads the log behind them, and writes the documents that its events touch.
//!
//! One thread a process, at a lower priority than writers and reads. Guarantees: an index never runs ahead of the tables; its
//! checkpoint moves only once everything before it is durable in the index, so that nothing is skipped whatever is killed; an
//! index without a checkpoint is built from every row. Documents are made from rows as they are, so doing one twice does no
//! harm. It never gives up by itself, and holds one batch in memory however long the index is away.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use daybook_ingest::log::{self, EventLog, LogError, ReadLimits, Record};
use daybook_schemas::{
    codec,
    position::{Partition, Vector},
    topics::Topic,
};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{
    SearchError, SearchIndex, SearchStore, books,
    source::{Documents, Group, SourceError},
    state::Search,
    writer::Writer,
};
use crate::{
    generation::{self, Generation},
    metrics::metrics,
    priority,
    runner::chain,
    tables::TablesError,
};

/// Bounds of one batch.
const RECORDS_MAX: usize = 2048;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long what was written stays unseen, at most, unless somebody asks.
const REFRESH: Duration = Duration::from_secs(1);
/// How long records are waited for: with nothing to make visible, and with something.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(5));
/// Groups that wait for all their documents to be written, at most.
const GROUPS_MAX: usize = 10_000;
/// After this long without anything to write, the index gives back what only writing needs.
const REST: Duration = Duration::from_secs(3);
/// Pauses after failures: doubled from the first to the last.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

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
    #[error("cannot bring documents into the search index")]
    Source(#[from] SourceError),
    /// A panic.
    #[error("the search projector panicked")]
    Panic,
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
    /// Which partitions are this process' to bring into the index; none where it only looks how far others have come.
    pub assignment: watch::Receiver<Vec<Partition>>,
    /// What requests see.
    pub search: Arc<Search>,
}

/// A running search projector.
pub struct SearchRunner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SearchRunner {
    /// Starts the runner's thread. Must be called on a runtime.
    pub fn start(setting: Setting) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker { setting, stop: Arc::clone(&stop), runtime: Handle::current() };
        let thread = thread::Builder::new().name("search".to_owned()).spawn(move || worker.run())?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops after the batch under way. Blocks until the thread has ended.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the search projector's thread panicked");
        }
    }
}

impl Drop for SearchRunner {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    setting: Setting,
    stop: Arc<AtomicBool>,
    runtime: Handle,
}

/// An index and how far it has come.
struct Tail {
    index: Arc<dyn SearchIndex>,
    /// What the index holds, as far as it falls to this process.
    next: Vector,
    writer: Writer,
    /// Groups of which every document is still to be written.
    groups: BTreeSet<Group>,
    /// How long that last took.
    groups_took: Duration,
    /// When something was first written that is not visible; `None` if all is.
    unseen_since: Option<Instant>,
    /// When the checkpoints of others were last looked at.
    looked: Instant,
    /// When something was last made visible; `None` once the index rests.
    busy: Option<Instant>,
}

impl Tail {
    /// How long what was written stays unseen now. Large groups that change all the time take no more than half of the time.
    fn pace(&self, awaited: bool) -> Duration {
        let least = if awaited { Duration::ZERO } else { REFRESH };
        match self.groups.len() {
            0 | GROUPS_MAX.. => least,
            _ => least.max(self.groups_took),
        }
    }
}

impl Worker {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(&self) {
        priority::lower(priority::BACKGROUND);
        let mut pause = PAUSES.0;
        while !self.stopped() {
            let mut progressed = false;
            let tail = panic::catch_unwind(AssertUnwindSafe(|| self.tail(&mut progressed)));
            if let Err(error) = tail.unwrap_or(Err(SearchRunnerError::Panic)) {
                let chain = chain(&error);
                tracing::warn!(error = chain, "search paused: {chain}");
                self.setting.search.note(|health| health.failure = Some(chain));
            }
            if progressed {
                pause = PAUSES.0;
            }
            if !self.stopped() {
                thread::park_timeout(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Follows the log until the assignment changes or something fails.
    fn tail(&self, progressed: &mut bool) -> Result<(), SearchRunnerError> {
        let mut assignment = self.setting.assignment.clone();
        let mine: Vec<Partition> = assignment.borrow_and_update().iter().copied().filter(searched).collect();
        let index = self.runtime.block_on(self.setting.store.open(&self.setting.generation.schema))?;
        let reached = self.runtime.block_on(books::checkpoints(self.tables(), index.id()))?;
        self.setting.search.open(Arc::clone(&index), &self.setting.log.end()?);
        let first = mine.iter().any(|partition| partition.id == 0);
        let has_all = log::partitions(self.setting.log.as_ref()).iter().filter(|it| searched(it)).count() == mine.len();
        let reached = if reached.0.is_empty() && first { self.rebuild(&index)? } else { reached };
        self.setting.search.show(&reached);
        self.setting.search.note(|health| health.failure = None);
        let next = Vector(mine.iter().map(|partition| (*partition, reached.next(*partition))).collect());
        let mut reader = if mine.is_empty() { None } else { Some(self.setting.log.reader(&next)?) };
        let mut tail = Tail {
            writer: self.writer(&index),
            index,
            next,
            groups: BTreeSet::new(),
            groups_took: Duration::ZERO,
            unseen_since: None,
            looked: Instant::now(),
            busy: Some(Instant::now()),
        };
        while !self.stopped() && !assignment.has_changed().unwrap_or(false) {
            let awaited = self.setting.search.awaited();
            let wait = if awaited || tail.unseen_since.is_some() { WAITS.1 } else { WAITS.0 };
            match &mut reader {
                Some(reader) => {
                    let records = reader.read(ReadLimits { records_max: RECORDS_MAX, bytes_max: BYTES_MAX, wait })?;
                    if !records.is_empty() {
                        self.apply(&records, &mut tail)?;
                        *progressed = true;
                    }
                }
                None => thread::park_timeout(wait),
            }
            if tail.unseen_since.is_some_and(|since| since.elapsed() >= tail.pace(awaited)) {
                self.make_visible(&mut tail)?;
            } else if tail.writer.is_due() {
                self.runtime.block_on(tail.writer.refresh())?;
            }
            if tail.unseen_since.is_none() && tail.busy.is_some_and(|since| since.elapsed() >= REST) {
                tail.index.rest();
                tail.busy = None;
            }
            if !has_all && (awaited || tail.looked.elapsed() >= REFRESH) {
                self.look_at_others(&mut tail)?;
            }
        }
        // Groups may take long: who comes next begins before the events that touched them.
        if tail.unseen_since.is_some() && tail.groups.is_empty() { self.make_visible(&mut tail) } else { Ok(()) }
    }

    fn writer(&self, index: &Arc<dyn SearchIndex>) -> Writer {
        Writer::new(Arc::clone(index), Arc::clone(&self.setting.search), Arc::clone(&self.stop))
    }

    fn tables(&self) -> &dyn crate::tables::Tables {
        self.setting.generation.tables.as_ref()
    }

    /// Writes the documents that records touch, once the tables have applied them.
    fn apply(&self, records: &[Record], tail: &mut Tail) -> Result<(), SearchRunnerError> {
        let mut reached = Vector::default();
        for record in records {
            reached.0.insert(record.position.partition, record.position.offset + 1);
        }
        // What cannot be decoded is in the tables' quarantine, and touches no row.
        let events = records.iter().filter_map(|record| codec::decode(&record.value).ok().map(|it| it.event));
        let events: Vec<_> = events.collect();
        let progress = &self.setting.generation.progress;
        loop {
            let applied =
                self.runtime.block_on(async { tokio::time::timeout(WAITS.0, progress.wait_for(&reached)).await });
            if applied.is_ok() {
                break;
            }
            if self.stopped() {
                return Ok(());
            }
        }
        let (groups, writer) = (&mut tail.groups, &mut tail.writer);
        let documents = self.setting.documents.touched(self.tables(), &events, groups, writer);
        self.runtime.block_on(documents)?;
        tail.next.0.extend(reached.0);
        tail.unseen_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Writes the groups that wait, makes what was written durable and visible, then moves the checkpoint.
    fn make_visible(&self, tail: &mut Tail) -> Result<(), SearchRunnerError> {
        let began = Instant::now();
        let documents = self.setting.documents.of_groups(self.tables(), &tail.groups, &mut tail.writer);
        self.runtime.block_on(documents)?;
        self.settle(&mut tail.writer, &tail.next)?;
        if !tail.groups.is_empty() {
            (tail.groups, tail.groups_took) = (BTreeSet::new(), began.elapsed());
        }
        tail.unseen_since = None;
        tail.busy = Some(Instant::now());
        self.setting.search.show(&tail.next);
        Ok(())
    }

    /// Makes what was written durable, then notes that the index has come to `reached` and what it refused on the way. Returns
    /// how many documents were written.
    fn settle(&self, writer: &mut Writer, reached: &Vector) -> Result<u64, SearchRunnerError> {
        self.runtime.block_on(writer.refresh())?;
        let (refused, written) = writer.take_outcome();
        for one in &refused {
            let (id, reason) = (one.id.as_str(), one.reason.as_str());
            tracing::warn!(document = id, reason, "document {id} refused by the search index: {reason}");
        }
        books::settle(self.tables(), writer.index_id(), reached, &refused)?;
        metrics().search_documents.with_label_values(&["refused"]).inc_by(refused.len() as u64);
        metrics().search_documents.with_label_values(&["written"]).inc_by(written);
        Ok(written)
    }

    /// Looks how far other processes have brought the index.
    fn look_at_others(&self, tail: &mut Tail) -> Result<(), SearchRunnerError> {
        tail.looked = Instant::now();
        let reached = self.runtime.block_on(books::checkpoints(self.tables(), tail.index.id()))?;
        let visible = self.setting.search.visible();
        if !visible.reaches(&reached) {
            self.runtime.block_on(tail.index.refresh())?;
            self.setting.search.show(&reached);
        }
        Ok(())
    }

    /// Builds an index from every row. What changes meanwhile is in the log after the vector that this starts from.
    fn rebuild(&self, index: &Arc<dyn SearchIndex>) -> Result<Vector, SearchRunnerError> {
        let mut from = generation::checkpoints_blocking(self.tables())?;
        from.0.retain(|partition, _| searched(partition));
        let search = &self.setting.search;
        if from.0.values().any(|next| *next > 0) {
            tracing::info!(index = index.describe(), "building the search index from every row");
        }
        let mut writer = self.writer(index).of_rebuild();
        search.note(|health| health.rebuilding = Some(0));
        let began = Instant::now();
        self.runtime.block_on(self.setting.documents.all(self.tables(), &mut writer))?;
        let documents = self.settle(&mut writer, &from)?;
        search.note(|health| health.rebuilding = None);
        if documents > 0 {
            let seconds = began.elapsed().as_secs_f64();
            tracing::info!(documents, "search index built: {documents} documents in {seconds:.1} s");
        }
        Ok(from)
    }
}

/// Whether a partition's events touch documents.
fn searched(partition: &Partition) -> bool {
    partition.topic == Topic::Events
}
