//! Moves records from the log into a generation's tables: read, decode, fold, commit rows and checkpoints together.
//!
//! One thread per generation, and while it is far from the end of the log a second one that reads and decodes ahead.
//! Guarantees: rows and checkpoints commit in one transaction, guarded by compare-and-set on
//! the checkpoints (I3); a record that cannot be applied is quarantined and the others are applied (I9); a partition
//! stops before its first record that a newer program wrote, and the others go on; after a failure the runner restarts
//! from the tables' checkpoints. It retries until it is stopped.

mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use daybook_ingest::log::{EventLog, LogError, ReadLimits, Reader, Record};
use daybook_schemas::position::{Offset, Partition, Vector};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use crate::{
    backoff::Backoff,
    batch::{self, Move},
    bookkeeping::{
        checkpoints::{self, Checkpoints, Hashes},
        quarantine::Quarantined,
    },
    commit_listener::Notification,
    error_chain::chain,
    generation::Generation,
    log_check::{self, CheckError, Mismatch, Unproven},
    metrics::metrics,
    projection::{Batch, NewerRecord, Projection, Rejected, Report},
    supervise::{Interruption, RunnerThread, supervise},
    tables::TablesError,
    throttle::Pauses,
};

/// Bounds of one batch. A stop is noticed after the wait, at the latest.
pub const LIMITS: ReadLimits =
    ReadLimits { records_max: 4096, bytes_max: 8 * 1024 * 1024, wait: Duration::from_millis(200) };
/// Records between the end of the log and those that were read, above which more are read ahead.
const READ_AHEAD_MIN: i64 = 4096;
/// Between two looks whether a pause shall end early.
const PAUSE_LOOK: Duration = Duration::from_millis(100);
/// The first and the longest pause after failures.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Why the runner was interrupted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunnerError {
    /// The log failed.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The tables failed.
    #[error("cannot write the tables")]
    Tables(#[from] TablesError),
    /// The log does not contain what the tables have applied.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A newer program wrote a record.
    #[error(transparent)]
    Newer(#[from] NewerRecord),
    /// The fold panicked.
    #[error("the projector panicked")]
    Panic,
    /// It is being stopped, or has other partitions to apply: no failure.
    #[error("the projector has something else to do")]
    Interrupted,
}

/// The generation of a domain that is live, as far as this process knows. The others apply no more than it has.
pub type LiveGeneration = watch::Receiver<Option<Arc<Generation>>>;

/// What the runner is doing, for health and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it has reached the end that the log had at its start.
    pub caught_up: bool,
    /// Records that it has applied.
    pub records: u64,
    /// The last failure, until the next success.
    pub failure: Option<String>,
}

/// A running projector of one generation.
pub struct Runner {
    shared: Arc<Shared>,
    thread: RunnerThread,
}

/// A partition that stops before a record that a newer program wrote.
struct Held {
    /// The checkpoint at which it stops. Offsets between it and the record have no records.
    checkpoint: Offset,
    record: NewerRecord,
}

/// Records as the fold sees them, unless a newer program wrote one of them.
type Decoded<'a> = Result<Box<dyn Batch + 'a>, NewerRecord>;

/// Records that were read.
struct Fetched<'a> {
    records: Vec<Record>,
    /// Where the reader went on.
    reached: Vector,
    /// The records, if they were decoded already.
    batch: Option<Decoded<'a>>,
}

struct Shared {
    instance: String,
    generation: Arc<Generation>,
    projection: Arc<dyn Projection>,
    log: Arc<dyn EventLog>,
    /// It has seen the assignment by which records are applied now.
    assignment: Mutex<watch::Receiver<Vec<Partition>>>,
    live: LiveGeneration,
    runtime: Handle,
    /// Whether its generation is live, as its checkpoints said last.
    is_live: AtomicBool,
    stop: AtomicBool,
    health: Mutex<Health>,
}

impl Runner {
    /// Starts the runner's thread. `instance` is the name of this process, `assignment` holds the partitions that it
    /// applies, and `live` the generation up to which it applies them while its own is not live. Must be called on a
    /// runtime.
    pub fn start(
        instance: String,
        generation: Arc<Generation>,
        projection: Arc<dyn Projection>,
        log: Arc<dyn EventLog>,
        assignment: watch::Receiver<Vec<Partition>>,
        live: LiveGeneration,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            instance,
            generation,
            projection,
            log,
            assignment: Mutex::new(assignment),
            live,
            runtime: Handle::current(),
            is_live: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            health: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = RunnerThread::start("projector", move || of_thread.run())?;
        Ok(Self { shared, thread })
    }

    /// What it is doing.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops after the current batch. Blocks until the thread has ended, for a bounded time: a commit that takes longer
    /// is abandoned.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn run(&self) {
        let (backoff, mut held) = (Backoff::new(PAUSE_FIRST, PAUSE_LONGEST), BTreeMap::new());
        supervise(
            backoff,
            || self.ended(),
            thread::park_timeout,
            |progressed| self.proven(self.tail(&mut held, progressed)),
            |interruption| self.report(interruption),
        );
    }

    fn report(&self, interruption: Interruption<RunnerError>) {
        let error = match interruption {
            Interruption::Failed(RunnerError::Tables(TablesError::Conflict(reason))) => {
                metrics().conflicts.inc();
                tracing::debug!(reason, "another process committed the batch first: {reason}");
                return;
            }
            Interruption::Failed(RunnerError::Interrupted) => return,
            Interruption::Failed(error) => error,
            Interruption::Panicked => RunnerError::Panic,
        };
        let chain = chain(&error);
        let domain = self.generation.domain;
        self.generation.note_full(matches!(error, RunnerError::Tables(TablesError::Full(_))));
        tracing::warn!(error = chain, domain, "projector of {domain} paused: {chain}");
        self.note(|health| health.failure = Some(chain));
    }

    /// Refuses the generation if work on it showed that the log does not contain what the tables have applied.
    fn proven(&self, outcome: Result<(), RunnerError>) -> Result<(), RunnerError> {
        let checked = match &outcome {
            Err(RunnerError::Log(LogError::OffsetGone(_))) => {
                log_check::check(self.log.as_ref(), self.generation.tables.as_ref())
            }
            Err(RunnerError::Log(error)) => Err(CheckError::Log(error.clone())),
            Err(RunnerError::Mismatch(mismatch)) => Err(CheckError::Mismatch(mismatch.clone())),
            _ => Ok(()),
        };
        match &checked {
            Err(CheckError::Log(error @ LogError::Damaged(_))) => self.generation.refuse_damaged(error),
            Err(CheckError::Mismatch(mismatch)) => self.generation.refuse(mismatch),
            _ => {}
        }
        outcome
    }

    fn assignment(&self) -> MutexGuard<'_, watch::Receiver<Vec<Partition>>> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is another assignment than the one by which records are applied.
    fn is_reassigned(&self) -> bool {
        self.assignment().has_changed().unwrap_or(false)
    }

    /// Whether this runner has nothing more to do.
    fn ended(&self) -> bool {
        self.stopped() || self.generation.refusal().is_some()
    }

    /// Applies records from the tables' checkpoints on, until the assignment changes, the tables go back, a partition ends
    /// or something fails. It does not read the partitions in `held`: only a newer program can apply their next record.
    fn tail(&self, held: &mut BTreeMap<Partition, Held>, progressed: &mut bool) -> Result<(), RunnerError> {
        let topics = self.projection.topics();
        let mut assigned = self.assignment().borrow_and_update().clone();
        assigned.retain(|partition| topics.contains(&partition.topic));
        let before = self.generation.progress.applied();
        let checkpoints = self.checkpoints()?;
        self.is_live.store(checkpoints.is_live, Ordering::Relaxed);
        let reached = &checkpoints.next;
        self.generation.note_read(&before, reached);
        held.retain(|partition, it| assigned.contains(partition) && reached.next(*partition) == it.checkpoint);
        let ends = |partition: &Partition, next| self.generation.ends_at(*partition, next);
        assigned.retain(|partition| !held.contains_key(partition) && !ends(partition, reached.next(*partition)));
        let mut next = Vector(assigned.iter().map(|partition| (*partition, reached.next(*partition))).collect());
        let goal = self.generation.within(self.log.end(&topics)?);
        let there: Vector = Vector(next.0.keys().map(|partition| (*partition, goal.next(*partition))).collect());
        let mut unproven = Unproven::new(&checkpoints, |partition| next.0.contains_key(partition));
        let mut reader = self.log.reader(&unproven.start(&next))?;
        let mut ahead: Option<Fetched<'_>> = None;
        let is_current = |next: &Vector| self.generation.progress.applied().reaches(next);
        while !self.ended() && !self.is_reassigned() && !self.has_passed(held) && is_current(&next) {
            if self.generation.progress.applied().reaches(&goal) {
                self.note(|health| health.caught_up = true);
            }
            let Fetched { mut records, reached: gone_on, batch } = match ahead.take() {
                Some(fetched) => fetched,
                None => self.fetch(reader.as_mut())?,
            };
            unproven.compare(&mut records, &gone_on, &next)?;
            let with_records: BTreeSet<Partition> = records.iter().map(|record| record.position.partition).collect();
            // Far from the end, the next records are read and decoded while these are committed.
            let is_far = unproven.is_empty() && gone_on.lag(&there) > READ_AHEAD_MIN;
            let newer = thread::scope(|scope| {
                let next_one = is_far.then(|| scope.spawn(|| self.fetch_decoded(reader.as_mut())));
                let newer = self.apply_known(records, batch, &mut next, progressed);
                if let Some(next_one) = next_one {
                    ahead = Some(next_one.join().map_err(|_| RunnerError::Panic)??);
                }
                newer
            })?;
            let first = newer.first().cloned();
            held.extend(newer.into_iter().map(|record| {
                let partition = record.position.partition;
                (partition, Held { checkpoint: next.next(partition), record })
            }));
            if let Some(first) = first {
                return Err(first.into());
            }
            self.skip(gone_on, &with_records, &mut next)?;
            // A failure is over once records are applied, or there are none: not by an answer to a read.
            if !with_records.is_empty() || next.reaches(&there) {
                let failure = held.values().next().map(|it| it.record.to_string());
                self.generation.note_full(false);
                self.note(|health| health.failure = failure);
            }
            if next.0.iter().any(|(partition, next)| ends(partition, *next)) {
                // The others go on with a reader of their own.
                break;
            }
        }
        Ok(())
    }

    /// Reads the next records, up to the generation's end.
    fn fetch(&self, reader: &mut dyn Reader) -> Result<Fetched<'_>, LogError> {
        let (mut records, reached) = (reader.read(LIMITS)?, self.generation.within(reader.reached()));
        records.retain(|record| !self.generation.ends_at(record.position.partition, record.position.offset));
        Ok(Fetched { records, reached, batch: None })
    }

    /// The same with the records decoded.
    fn fetch_decoded(&self, reader: &mut dyn Reader) -> Result<Fetched<'_>, LogError> {
        let fetched = self.fetch(reader)?;
        Ok(Fetched { batch: Some(self.decode(&fetched.records)), ..fetched })
    }

    fn decode(&self, records: &[Record]) -> Decoded<'_> {
        self.projection.batch(records, &|topic| self.log.partition_count(topic))
    }

    /// Moves checkpoints past offsets that have no records, in partitions of which none came. A gap after records is
    /// part of the next move.
    fn skip(&self, reached: Vector, with_records: &BTreeSet<Partition>, next: &mut Vector) -> Result<(), RunnerError> {
        let is_gap =
            |(partition, to): &(Partition, Offset)| !with_records.contains(partition) && *to > next.next(*partition);
        let to = Vector(reached.0.into_iter().filter(is_gap).collect());
        if to.0.is_empty() {
            return Ok(());
        }
        self.as_allowed(&to, || {
            let mut transaction = self.generation.tables.begin()?;
            if !checkpoints::skip(transaction.as_mut(), self.moved(next, &to))? {
                return Err(TablesError::Conflict(format!("checkpoints are not at {next}")).into());
            }
            transaction.notify(&self.notification(&to))?;
            Ok(transaction.commit()?)
        })?;
        self.generation.note_applied(next, &to, Report::default());
        next.0.extend(to.0);
        Ok(())
    }

    fn moved<'m>(&self, from: &'m Vector, to: &'m Vector) -> checkpoints::Move<'m> {
        checkpoints::Move { from, to, is_live: self.is_live.load(Ordering::Relaxed) }
    }

    /// Whether another process has applied a record at which a partition stops.
    fn has_passed(&self, held: &BTreeMap<Partition, Held>) -> bool {
        held.values().any(|it| self.generation.progress.applied().covers(it.record.position))
    }

    /// Applies records. In each partition it stops before the first record that a newer program wrote, and returns that
    /// record.
    fn apply_known(
        &self,
        mut records: Vec<Record>,
        mut batch: Option<Decoded<'_>>,
        next: &mut Vector,
        progressed: &mut bool,
    ) -> Result<Vec<NewerRecord>, RunnerError> {
        let mut newer = Vec::new();
        while !records.is_empty() {
            match self.apply(&records, batch.take(), next) {
                Ok(()) => {
                    *progressed = true;
                    break;
                }
                Err(RunnerError::Newer(first)) => {
                    let at = first.position;
                    records.retain(|it| it.position.partition != at.partition || it.position.offset < at.offset);
                    newer.push(first);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(newer)
    }

    fn checkpoints(&self) -> Result<Checkpoints, TablesError> {
        checkpoints::read_blocking(self.generation.tables.as_ref())
    }

    /// Applies records in one transaction; one by one if the tables cannot store a value of one of them.
    fn apply(&self, records: &[Record], batch: Option<Decoded<'_>>, next: &mut Vector) -> Result<(), RunnerError> {
        let batch = batch.unwrap_or_else(|| self.decode(records))?;
        let rejected = batch.rejected().iter().map(|rejected| quarantined(records, rejected)).collect();
        match self.commit(records, batch.as_ref(), rejected, next) {
            Err(RunnerError::Tables(TablesError::Value { .. })) if records.len() > 1 => {
                records.chunks(1).try_for_each(|record| self.apply(record, None, next))
            }
            Err(RunnerError::Tables(TablesError::Value { reason, .. })) => {
                let reason = format!("the tables cannot store it: {reason}");
                let poison = |record: &Record| {
                    quarantined(records, &Rejected { position: record.position, reason: reason.clone() })
                };
                let nothing = self.decode(&[])?;
                self.commit(records, nothing.as_ref(), records.iter().map(poison).collect(), next)
            }
            outcome => outcome,
        }
    }

    fn commit(
        &self,
        records: &[Record],
        batch: &dyn Batch,
        rejected: Vec<Quarantined>,
        next: &mut Vector,
    ) -> Result<(), RunnerError> {
        let mut last: BTreeMap<Partition, &Record> = BTreeMap::new();
        last.extend(records.iter().map(|record| (record.position.partition, record)));
        let reached = Vector(last.iter().map(|(partition, it)| (*partition, it.position.offset + 1)).collect());
        let hashes: Hashes = last.iter().map(|(partition, it)| (*partition, checkpoints::hash(it))).collect();
        let timer = metrics().batch_seconds.start_timer();
        let (tables, plans) = (self.generation.tables.as_ref(), &self.generation.plans);
        let entry = |entry: &Rejected| quarantined(records, entry);
        let (report, rejected, work) = self.as_allowed(&reached, || {
            let (checkpoints, notification) = (self.moved(next, &reached), self.notification(&reached));
            let (moved, mut rejected) = (Move { checkpoints, hashes: &hashes, notification }, rejected.clone());
            let began = Instant::now();
            let report = batch::commit(batch, &moved, tables, plans, &mut rejected, entry)?;
            Ok((report, rejected, began.elapsed()))
        })?;
        timer.observe_duration();
        for entry in &rejected {
            let (at, reason) = (entry.position, entry.reason.as_str());
            let (topic, partition) = (at.partition.topic.name(), at.partition.id);
            tracing::warn!(topic, partition, offset = at.offset, reason, "record {at} quarantined: {reason}");
        }
        self.generation.note_full(false);
        metrics().batches.inc();
        metrics().records.with_label_values(&["quarantined"]).inc_by(rejected.len() as u64);
        metrics().records.with_label_values(&["applied"]).inc_by((records.len() - rejected.len()) as u64);
        self.note(|health| health.records += records.len() as u64);
        self.generation.note_applied(next, &reached, report);
        next.0.extend(reached.0);
        self.rest(work);
        Ok(())
    }

    /// Pauses after some work if reads are slow and the generation is being filled.
    fn rest(&self, work: Duration) {
        let (pause, began) = (self.generation.pauses().after(work), Instant::now());
        while let Some(left) = pause.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            if self.ended() || self.is_reassigned() || self.generation.pauses() == Pauses::default() {
                break;
            }
            thread::park_timeout(left.min(PAUSE_LOOK));
        }
        if !pause.is_zero() {
            metrics().rebuild_paused.inc_by(began.elapsed().as_secs_f64());
        }
    }

    /// The notification that a commit sends to other processes.
    fn notification(&self, reached: &Vector) -> String {
        Notification { instance: self.instance.clone(), reached: reached.clone() }.to_string()
    }
}

/// The quarantine entry of one of these records.
fn quarantined(records: &[Record], rejected: &Rejected) -> Quarantined {
    let record = records.iter().find(|record| record.position == rejected.position);
    let (key, value) = record.map_or((None, [].as_slice()), |record| (record.key.as_deref(), &record.value));
    Quarantined::new(rejected.position, &rejected.reason, key, value)
}
