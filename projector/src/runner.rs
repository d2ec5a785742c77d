//! Moves records from the log into a generation's tables: read, decode, fold, commit rows and checkpoints together.
//!
//! One thread per generation. Guarantees: rows and checkpoints commit in one transaction, guarded by compare-and-set on
//! the checkpoints (I3); a record that cannot be applied is quarantined and the rest flows (I9); after any failure the
//! runner starts again from what the tables say. It never gives up by itself.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use daybook_ingest::log::{EventLog, LogError, ReadLimits, Reader, Record};
use daybook_schemas::{
    Envelope, codec,
    position::{Partition, Vector},
    rules, topics,
};
use tokio::sync::watch;

use crate::{
    commit_listener::Notification,
    generation::{self, Generation, Quarantined},
    metrics::metrics,
    projection::{Decoded, Projection, Report},
    tables::{AtOnce, Column, TablesError},
};

/// Bounds of one batch. The wait is also how long a stop may take to be noticed.
const LIMITS: ReadLimits =
    ReadLimits { records_max: 4096, bytes_max: 8 * 1024 * 1024, wait: Duration::from_millis(200) };
/// Pauses after failures: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Why the runner stopped for a moment.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunnerError {
    /// The log failed.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The tables failed.
    #[error("cannot write the tables")]
    Tables(#[from] TablesError),
    /// The fold panicked.
    #[error("the projector panicked")]
    Panic,
}

/// What the runner is doing, for health and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it has come to where the log ended when it started.
    pub caught_up: bool,
    /// What it last failed on, until it next succeeds.
    pub failure: Option<String>,
}

/// A running projector of one generation.
pub struct Runner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    instance: String,
    generation: Arc<Generation>,
    projection: Arc<dyn Projection>,
    log: Arc<dyn EventLog>,
    assignment: watch::Receiver<Vec<Partition>>,
    stop: AtomicBool,
    health: Mutex<Health>,
}

impl Runner {
    /// Starts the runner's thread. `instance` names this process among its like, `assignment` says which partitions are its
    /// to apply.
    pub fn start(
        instance: String,
        generation: Arc<Generation>,
        projection: Arc<dyn Projection>,
        log: Arc<dyn EventLog>,
        assignment: watch::Receiver<Vec<Partition>>,
    ) -> std::io::Result<Self> {
        let (stop, health) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { instance, generation, projection, log, assignment, stop, health });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("projector".to_owned()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What it is doing.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops after the batch under way. Blocks until the thread has ended.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the projector's thread panicked");
        }
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
        let mut pause = PAUSES.0;
        while !self.stopped() {
            let mut progressed = false;
            // A panic is a bug, but one that must not leave the process alive and idle.
            let tail = panic::catch_unwind(AssertUnwindSafe(|| self.tail(&mut progressed)));
            match tail.unwrap_or(Err(RunnerError::Panic)) {
                Ok(()) => {}
                Err(RunnerError::Tables(TablesError::Conflict(reason))) => {
                    metrics().conflicts.inc();
                    tracing::debug!(reason, "another applier was there first: {reason}");
                }
                Err(error) => {
                    let chain = chain(&error);
                    tracing::warn!(error = chain, "projector paused: {chain}");
                    self.note(|health| health.failure = Some(chain));
                }
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

    /// Applies records from where the tables are, until the assignment changes or something fails.
    fn tail(&self, progressed: &mut bool) -> Result<(), RunnerError> {
        let mut assignment = self.assignment.clone();
        let assigned = assignment.borrow_and_update().clone();
        let reached = self.checkpoints()?;
        self.generation.note_reached(&reached);
        let mut next = Vector(assigned.iter().map(|partition| (*partition, reached.next(*partition))).collect());
        let goal = self.log.end()?;
        let mut reader = self.log.reader(&next)?;
        self.note(|health| health.failure = None);
        while !self.stopped() && !assignment.has_changed().unwrap_or(false) {
            if self.generation.progress.applied().reaches(&goal) {
                self.note(|health| health.caught_up = true);
            }
            let records = read(reader.as_mut())?;
            if !records.is_empty() {
                self.apply(&records, &mut next)?;
                *progressed = true;
            }
        }
        Ok(())
    }

    fn checkpoints(&self) -> Result<Vector, TablesError> {
        generation::checkpoints_blocking(self.generation.tables.as_ref())
    }

    /// Applies records in one transaction; one by one where the tables cannot store a value of one of them.
    fn apply(&self, records: &[Record], next: &mut Vector) -> Result<(), TablesError> {
        let (mut decoded, mut quarantined) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            match self.decode(record) {
                Ok(envelope) => decoded.push(Decoded { position: record.position, envelope }),
                Err(reason) => {
                    quarantined.push(Quarantined::new(record.position, reason, record.key.as_deref(), &record.value))
                }
            }
        }
        match self.commit(records, &decoded, quarantined, next) {
            Err(TablesError::Value { .. }) if records.len() > 1 => {
                records.chunks(1).try_for_each(|record| self.apply(record, next))
            }
            Err(TablesError::Value { reason, .. }) => {
                let poison = |record: &Record| {
                    let reason = format!("the tables cannot store it: {reason}");
                    Quarantined::new(record.position, reason, record.key.as_deref(), &record.value)
                };
                self.commit(records, &[], records.iter().map(poison).collect(), next)
            }
            outcome => outcome,
        }
    }

    fn commit(
        &self,
        records: &[Record],
        decoded: &[Decoded],
        mut quarantined: Vec<Quarantined>,
        next: &mut Vector,
    ) -> Result<(), TablesError> {
        let mut reached = Vector::default();
        for record in records {
            reached.0.insert(record.position.partition, record.position.offset + 1);
        }
        let timer = metrics().batch_seconds.start_timer();
        let report = match self.commit_at_once(decoded, &quarantined, next, &reached)? {
            AtOnce::Done => Report::default(),
            AtOnce::Declined => self.commit_in_steps(records, decoded, &mut quarantined, next, &reached)?,
        };
        timer.observe_duration();
        for entry in &quarantined {
            let (at, reason) = (entry.position, entry.reason.as_str());
            let (topic, partition) = (at.partition.topic.as_str(), at.partition.id);
            tracing::warn!(topic, partition, offset = at.offset, reason, "record {at} quarantined: {reason}");
        }
        metrics().batches.inc();
        metrics().records.with_label_values(&["quarantined"]).inc_by(quarantined.len() as u64);
        metrics().records.with_label_values(&["applied"]).inc_by((records.len() - quarantined.len()) as u64);
        self.generation.note_applied(next, &reached, report);
        next.0.extend(reached.0);
        Ok(())
    }

    /// Commits an ordinary batch in one round trip, if the tables can.
    fn commit_at_once(
        &self,
        decoded: &[Decoded],
        quarantined: &[Quarantined],
        next: &Vector,
        reached: &Vector,
    ) -> Result<AtOnce, TablesError> {
        if !quarantined.is_empty() || !self.generation.tables.runs_at_once() {
            return Ok(AtOnce::Declined);
        }
        let Some(batch) = self.projection.at_once(decoded) else { return Ok(AtOnce::Declined) };
        let mut arrays = generation::moves(next, reached);
        arrays.push(Column::texts([self.notification(reached)]));
        arrays.extend(batch.columns);
        self.generation.tables.run_at_once(batch.statement, &arrays)
    }

    /// Commits a batch statement by statement.
    fn commit_in_steps(
        &self,
        records: &[Record],
        decoded: &[Decoded],
        quarantined: &mut Vec<Quarantined>,
        next: &Vector,
        reached: &Vector,
    ) -> Result<Report, TablesError> {
        let mut transaction = self.generation.tables.begin()?;
        if !generation::move_checkpoints(transaction.as_mut(), next, reached)? {
            return Err(TablesError::Conflict(format!("checkpoints are not at {next}")));
        }
        let mut report = self.projection.apply(transaction.as_mut(), decoded)?;
        for entry in &report.unapplied {
            let record = records.iter().find(|record| record.position == entry.position);
            let (key, value) = record.map_or((None, [].as_slice()), |record| (record.key.as_deref(), &record.value));
            quarantined.push(Quarantined::new(entry.position, entry.reason.clone(), key, value));
        }
        generation::quarantine(transaction.as_mut(), quarantined)?;
        transaction.notify(&self.notification(reached))?;
        transaction.commit()?;
        report.doubtful.extend(quarantined.iter().map(|entry| entry.position));
        Ok(report)
    }

    /// What a commit tells the other processes.
    fn notification(&self, reached: &Vector) -> String {
        Notification { instance: self.instance.clone(), reached: reached.clone() }.to_string()
    }

    /// Decodes a record and checks the rules that need no tables.
    fn decode(&self, record: &Record) -> Result<Envelope, String> {
        let envelope = codec::decode(&record.value).map_err(|error| chain(&error))?;
        rules::check(&envelope.event).map_err(|broken| broken.to_string())?;
        rules::check_envelope(&envelope).map_err(|broken| broken.to_string())?;
        let key = envelope.event.key();
        if record.key.as_deref() != Some(key.as_bytes()) {
            return Err(format!("the record's key is not {key:?}, as its event demands"));
        }
        let here = record.position.partition;
        if here.topic != envelope.event.topic() {
            return Err(format!("a {} does not belong into topic {}", envelope.event.kind(), here.topic));
        }
        let partition = topics::partition_of(key.as_bytes(), self.log.partition_count(here.topic));
        let first_record = matches!(envelope.event, daybook_schemas::Event::LogCreated(_));
        if here.id != partition && !first_record {
            return Err(format!("its key belongs into partition {partition}"));
        }
        Ok(envelope)
    }
}

fn read(reader: &mut dyn Reader) -> Result<Vec<Record>, LogError> {
    reader.read(LIMITS)
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
