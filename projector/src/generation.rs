//! A generation: one complete build of a domain, with its tables, its checkpoints and its progress.
//!
//! Two generations can have the same tables, and differ in their index only. Then they have one progress.
//!
//! A request takes a generation's handle once and uses no other (I4).

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use daybook_ingest::log::LogError;
use daybook_schemas::{
    Topic,
    position::{Offset, Partition, Position, Vector},
};
use sha2::{Digest, Sha256};

use crate::{
    bookkeeping::{self, checkpoints},
    log_check::{self, Mismatch},
    parts,
    progress::Progress,
    projection::{EntityKey, Projection, Report},
    tables::{PlanShape, SchemaDefinition, Tables, TablesError},
    throttle::Pauses,
};

/// One generation of a domain. Clones share its progress.
#[derive(Clone)]
pub struct Generation {
    /// The domain.
    pub domain: &'static str,
    /// The topics that it is built from.
    pub topics: Arc<[Topic]>,
    /// Its number, from 1.
    pub number: i64,
    /// The schema of its tables.
    pub schema: String,
    /// The name of its index.
    pub index: String,
    /// What shapes it.
    pub fingerprint: String,
    /// Its tables.
    pub tables: Arc<dyn Tables>,
    /// The plans that commit ordinary batches.
    pub plans: Arc<PlanShape>,
    /// Their progress.
    pub progress: Arc<Progress>,
    /// Where it ends; `None` for one that follows the log.
    pub end: Option<Vector>,
    /// Why its tables must not be used any more.
    refusal: Arc<OnceLock<String>>,
    /// Which log and tables they are, for refusals.
    places: String,
    /// The takeover by a server after which its checkpoints were read, as [`Tables::takeovers`] counts them.
    read_after: Arc<AtomicU64>,
    /// What work on it pauses for, in percent.
    pauses: Arc<AtomicU32>,
    /// Whether there was no room for what was written last.
    is_full: Arc<AtomicBool>,
    subscribers: Arc<RwLock<Vec<Subscriber>>>,
}

/// What changed in the tables.
#[derive(Debug, Clone, Copy)]
pub enum Changes<'a> {
    /// These entities, as in [`Report::changed`].
    Of(&'a [EntityKey]),
    /// Unknown entities, which other processes changed.
    Unknown,
}

/// Called with changes. Must not block. Returns whether it wants more of them.
pub type Subscriber = Box<dyn Fn(Changes<'_>) -> bool + Send + Sync>;

impl Generation {
    /// A generation of a projection's domain whose tables are open. Its index has the name of its schema.
    pub fn new(
        projection: &dyn Projection,
        number: i64,
        schema: String,
        tables: Arc<dyn Tables>,
    ) -> Result<Self, TablesError> {
        let (domain, fingerprint) = (projection.domain(), fingerprint(projection)?);
        let plans = Arc::new(plan_shape(projection)?);
        let (progress, refusal, subscribers) = (Arc::default(), Arc::default(), Arc::default());
        let (index, read_after) = (schema.clone(), Arc::new(AtomicU64::new(tables.takeovers())));
        Ok(Self {
            domain,
            topics: projection.topics().into(),
            number,
            schema,
            index,
            fingerprint,
            tables,
            plans,
            progress,
            end: None,
            refusal,
            places: String::new(),
            read_after,
            pauses: Arc::default(),
            is_full: Arc::default(),
            subscribers,
        })
    }

    /// Another generation with the same tables and another index.
    #[must_use]
    pub fn with_index(&self, number: i64, index: String) -> Self {
        Self { number, index, pauses: Arc::default(), ..self.clone() }
    }

    /// The same as another version of the domain builds it, whose tables are the same.
    #[must_use]
    pub fn of_fingerprint(self, fingerprint: String) -> Self {
        Self { fingerprint, ..self }
    }

    /// The same with further connections to its tables.
    #[must_use]
    pub fn through(&self, tables: Arc<dyn Tables>) -> Self {
        Self { tables, ..self.clone() }
    }

    /// The same with a text that says which log and which tables these are.
    #[must_use]
    pub fn at(self, places: String) -> Self {
        Self { places, ..self }
    }

    /// The same, which ends at a vector: it applies nothing after it.
    #[must_use]
    pub fn ending_at(self, end: Option<Vector>) -> Self {
        Self { end, ..self }
    }

    /// As much of a vector as it can reach.
    pub fn within(&self, mut vector: Vector) -> Vector {
        if let Some(end) = &self.end {
            vector.0.iter_mut().for_each(|(partition, next)| *next = (*next).min(end.next(*partition)));
        }
        vector
    }

    /// Whether it ends at this offset of a partition.
    pub fn ends_at(&self, partition: Partition, next: Offset) -> bool {
        self.end.as_ref().is_some_and(|end| next >= end.next(partition))
    }

    /// Notes whether there was room for what was written last.
    pub(crate) fn note_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether there was no room for what this process wrote last.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// From now on those who fill it pause like this.
    pub fn set_pauses(&self, pauses: Pauses) {
        self.pauses.store(pauses.percent(), Ordering::Relaxed);
    }

    /// How long those who fill it pause.
    pub fn pauses(&self) -> Pauses {
        Pauses::of(self.pauses.load(Ordering::Relaxed))
    }

    /// From now on it serves nobody and applies nothing, until the process restarts: the log does not contain what its
    /// tables have applied.
    pub fn refuse(&self, mismatch: &Mismatch) {
        let (domain, number) = (self.domain, self.number);
        let places = if mismatch.is_healed_by_empty_tables() { self.places.as_str() } else { "" };
        let reason = format!("generation {number} of {domain} does not belong to this log{places}: {mismatch}");
        self.set_refusal(reason);
    }

    /// Why its tables are not those that were opened any more, if they are not.
    pub fn lost(&self) -> Option<String> {
        self.tables.failure().map(|reason| format!("tables of {}: {reason}", self.domain))
    }

    /// Refuses it in the same way, if its tables are lost.
    pub fn refuse_if_lost(&self) {
        if let Some(reason) = self.lost() {
            self.set_refusal(reason);
        }
    }

    /// The same if the log is damaged.
    pub fn refuse_damaged(&self, error: &LogError) {
        self.set_refusal(error.to_string());
    }

    fn set_refusal(&self, reason: String) {
        let (domain, number) = (self.domain, self.number);
        if self.refusal.set(reason.clone()).is_ok() {
            tracing::error!(domain, reason, "generation {number} of {domain} is not served any more: {reason}");
        }
    }

    /// Refuses it if the log gave new records positions that its tables had applied when the append began; false then.
    pub fn check_appended(&self, applied: &Vector, positions: &[Position]) -> bool {
        let checked = log_check::check_appended(applied, positions);
        checked.inspect_err(|mismatch| self.refuse(mismatch)).is_ok()
    }

    /// Why it must not be used any more.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Calls `subscriber` with all changes from now on, before any writer that waits for them wakes: so no answer uses
    /// outdated cached values.
    pub fn subscribe(&self, subscriber: Subscriber) {
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    }

    fn notify(&self, changes: Changes<'_>) {
        let mut wants_more = true;
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            wants_more &= subscriber(changes);
        }
        if !wants_more {
            // The others are notified twice, which does no harm.
            self.subscribers.write().unwrap_or_else(PoisonError::into_inner).retain(|subscriber| subscriber(changes));
        }
    }

    /// Records that other processes have advanced the tables to `reached`.
    pub fn note_reached(&self, reached: &Vector) {
        if !self.progress.applied().reaches(reached) {
            self.notify(Changes::Unknown);
            self.progress.advance(reached);
        }
    }

    /// Records what the tables say that they have reached. `before` is the progress before they were asked: if they are
    /// behind it, another server has taken over, and lacks commits that the log still has.
    pub fn note_read(&self, before: &Vector, reached: &Vector) {
        if self.progress.take_back(before, reached) {
            let domain = self.domain;
            tracing::warn!(
                domain,
                "the tables of {domain} went back from {before} to {reached}: applying the log again"
            );
            self.notify(Changes::Unknown);
        }
        self.note_reached(reached);
    }

    /// Reads what the tables have reached.
    pub async fn look(&self) -> Result<(), TablesError> {
        let (before, takeovers) = (self.progress.applied(), self.tables.takeovers());
        let reached = checkpoints::read(self.tables.as_ref()).await?;
        self.note_read(&before, &reached);
        if self.tables.takeovers() == takeovers {
            self.read_after.fetch_max(takeovers, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The takeover by the server that the tables are read from, once what they have reached there is known. Whoever reads
    /// from them must find the same afterwards; else it has read from tables that may lack what was acknowledged.
    pub async fn takeover(&self) -> Result<u64, TablesError> {
        let read_after = || self.read_after.load(Ordering::SeqCst);
        if self.tables.takeovers() != read_after() {
            self.look().await?;
        }
        let takeover = read_after();
        self.check_takeover(takeover)?;
        Ok(takeover)
    }

    /// Fails if another server has taken over since.
    pub fn check_takeover(&self, takeover: u64) -> Result<(), TablesError> {
        let changes = || TablesError::Unavailable("another server of PostgreSQL has taken over; try again".to_owned());
        if self.tables.takeovers() == takeover { Ok(()) } else { Err(changes()) }
    }

    /// Records that this process has advanced the tables from one vector to another.
    pub fn note_applied(&self, from: &Vector, reached: &Vector, report: Report) {
        if !report.changed.is_empty() {
            self.notify(Changes::Of(&report.changed));
        }
        self.progress.advance_own(from, reached, report.read_back);
    }
}

/// The definition of a generation's schema: the tables of bookkeeping and of the projection.
pub fn definition(projection: &dyn Projection) -> Result<SchemaDefinition, TablesError> {
    let mut ddl = vec![bookkeeping::tables()];
    ddl.extend(projection.ddl());
    Ok(SchemaDefinition { ddl, plans: plan_shape(projection)? })
}

fn plan_shape(projection: &dyn Projection) -> Result<PlanShape, TablesError> {
    let statements = bookkeeping::PLANNED_BEFORE.iter().chain(projection.plan_statements());
    PlanShape::new(statements.chain(&bookkeeping::PLANNED_AFTER).copied())
}

/// A hash of what shapes a generation: its schema, the meaning of the fold, and the shape of its documents.
pub fn fingerprint(projection: &dyn Projection) -> Result<String, TablesError> {
    let SchemaDefinition { ddl, plans } = definition(projection)?;
    let mut hash = Sha256::new();
    hash.update(projection.version().to_be_bytes());
    for topic in projection.topics() {
        hash.update(topic.name());
        hash.update([0]);
    }
    for script in &ddl {
        hash.update(script.postgres.as_bytes());
        hash.update(script.sqlite.as_bytes());
    }
    hash.update(plans.digest());
    if let Some(shape) = projection.index_shape() {
        hash.update(parts::mapping(&shape));
    }
    Ok(hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}
