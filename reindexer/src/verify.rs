//! Compares a candidate generation with the live one, and the candidate's index with its tables.
//!
//! Both go on applying meanwhile, and no snapshot is held. Ranges of keys are compared by digests, which the engine
//! computes; a range that differs is narrowed down to its keys (`ranges`). A key that differs may only show that one
//! generation is behind the other, so it is read again after each has passed what the other had applied. What still
//! differs counts. A row or a document that changes during all of these reads cannot be judged: it is counted as
//! changing, and blocks nothing.

mod canaries;
mod constraints;
mod documents;
pub mod inspect;
mod ranges;
mod report;
mod wait;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use daybook_projector::{
    bookkeeping::{self, checkpoints, quarantine},
    comparison::{self, Comparable, Reader},
    generation::Generation,
    projection::Projection,
    search::{SearchError, source::SourceError},
    tables::TablesError,
    throttle::Throttle,
};
use daybook_schemas::position::Vector;

pub use self::{
    canaries::Canary,
    documents::Indexed,
    report::{
        CanaryReport, CheckpointDifference, CheckpointsReport, ConstraintsReport, Difference, IndexCounts, IndexReport,
        Limited, Limits, NewlyQuarantined, QuarantineReport, Report, TableReport,
    },
};
use self::{ranges::Comparison, wait::wait_for};

/// How often what differs is read again.
const ATTEMPTS: usize = 3;
/// Differences of one kind that are listed; the others are only counted.
const LISTED_MAX: usize = 100;

/// Why generations could not be compared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// The tables failed.
    #[error("cannot read the tables")]
    Tables(#[from] TablesError),
    /// The index failed.
    #[error("cannot read the index")]
    Search(#[from] SearchError),
    /// Documents could not be made of rows.
    #[error("cannot make documents to compare the index with")]
    Source(#[from] SourceError),
    /// A part does not go on applying. Retryable.
    #[error("{part} has not reached {wanted} within {seconds} s: it is at {reached}")]
    Behind {
        /// Which part.
        part: String,
        /// The vector that was waited for.
        wanted: String,
        /// The vector that it has reached.
        reached: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A table that is declared is not in the candidate, or not with its key. Terminal: a bug.
    #[error("table {table} of the candidate has no column {column}")]
    Undeclared {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

impl VerifyError {
    /// Whether another attempt can succeed although nobody changes anything.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Tables(error) | Self::Source(SourceError::Tables(error)) => error.is_retryable(),
            Self::Search(error) | Self::Source(SourceError::Search(error)) => error.is_retryable(),
            Self::Behind { .. } => true,
            Self::Undeclared { .. } => false,
        }
    }
}

/// Counts ranges, and says how many are done.
struct Steps<'a> {
    done: AtomicU64,
    all: u64,
    progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Steps<'_> {
    fn add(&self, done: u64) {
        // What is written meanwhile makes ranges that were not counted.
        let done = (self.done.fetch_add(done, Ordering::Relaxed) + done).min(self.all);
        (self.progress)(done, self.all);
    }

    fn end(&self) {
        self.add(self.all);
    }
}

/// A table to be compared, by the columns that both generations have.
struct Table {
    reader: Reader,
    left_out: Vec<String>,
    /// Ranges that it is expected to have.
    ranges: u64,
}

/// Compares; `progress` is called with (ranges done, ranges in all). It pauses for `throttle`.
pub async fn verify(
    live: &Arc<Generation>,
    candidate: &Arc<Generation>,
    projection: &Arc<dyn Projection>,
    indexed: Option<Indexed<'_>>,
    limits: &Limits,
    progress: &(dyn Fn(u64, u64) + Sync),
    throttle: &Throttle,
) -> Result<Report, VerifyError> {
    let began = Instant::now();
    let at = checkpoints::read(live.tables.as_ref()).await?;
    wait_for(candidate, &at).await?;
    let warnings = match &indexed {
        Some(indexed) => documents::finish(indexed.index).await?.into_iter().collect(),
        None => Vec::new(),
    };
    let mut report = Report { at: at.to_string(), warnings, ..Report::default() };
    let steps = Steps { done: AtomicU64::new(0), all: 0, progress };
    let mut comparison = Comparison { live, candidate, steps, throttle };
    let mut tables = Vec::new();
    // Of one and the same tables, there is nothing to compare.
    let has_same_tables = comparison.has_same_tables();
    let declared = projection.comparable().into_iter().chain(bookkeeping::comparable());
    for declared in declared.filter(|_| !has_same_tables) {
        match comparison.table(declared).await? {
            Ok(table) => tables.push(table),
            Err(left_out) => report.tables.push(left_out),
        }
    }
    let of_quarantine = Reader::new(bookkeeping::comparable_quarantine())?;
    let documents = match &indexed {
        Some(indexed) => documents::expected(indexed.index).await? + indexed.canaries_of(live.domain).count() as u64,
        None => 0,
    };
    comparison.steps.all = tables.iter().map(|table| table.ranges).sum::<u64>() + 1 + documents;
    comparison.steps.add(0);
    for Table { reader, left_out, .. } in &tables {
        let mut compared = comparison.compare(reader).await?;
        compared.left_out.clone_from(left_out);
        report.tables.push(compared);
    }
    report.tables.sort_by(|one, other| one.name.cmp(&other.name));
    if has_same_tables {
        let count = quarantine::count(live.tables.as_ref()).await?.unsigned_abs();
        report.quarantine = QuarantineReport { live: count, candidate: count, ..QuarantineReport::default() };
    } else {
        report.quarantine = quarantined(comparison.compare(&of_quarantine).await?);
        report.checkpoints = compare_checkpoints(live, candidate).await?;
        report.constraints = constraints::compare(live, candidate).await?;
        if live.fingerprint == candidate.fingerprint {
            report.warnings.extend(report.constraints.warnings());
        }
    }
    if let Some(indexed) = &indexed {
        report.index = Some(documents::compare(&mut comparison, indexed).await?);
        report.canaries = canaries::compare(&mut comparison, indexed).await?;
    }
    comparison.steps.end();
    // Its documents are those of the tables: what searches find otherwise is a fault of the live index.
    let canaries = limits.canaries.filter(|_| !has_same_tables);
    report.judge(&Limits { canaries, ..*limits });
    report.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

impl Comparison<'_> {
    /// Whether the candidate is another index for the live tables.
    fn has_same_tables(&self) -> bool {
        self.candidate.schema == self.live.schema
    }

    /// A declared table with the columns that both generations have; an entry of the report if it cannot be compared.
    async fn table(&self, mut declared: Comparable) -> Result<Result<Table, TableReport>, VerifyError> {
        let name = declared.table.clone();
        let mut of_live = columns(self.live, &name).await?;
        let is_new = of_live.is_empty();
        if self.live.fingerprint != self.candidate.fingerprint {
            of_live.retain(|column| declared.of_fold.iter().all(|of_fold| &**of_fold != column));
        }
        let of_candidate = columns(self.candidate, &name).await?;
        let all = declared.columns.iter().chain(&declared.shown);
        if let Some(column) = all.into_iter().find(|column| !of_candidate.contains(&***column)) {
            return Err(VerifyError::Undeclared { table: name.into_owned(), column: column.to_string() });
        }
        let left_out: Vec<String> =
            declared.columns.iter().filter(|it| !of_live.contains(&***it)).map(ToString::to_string).collect();
        if let Some(column) = declared.key.iter().find(|column| left_out.iter().any(|it| it == &***column)) {
            let reason = if is_new {
                "the live generation has no such table".to_owned()
            } else if declared.of_fold.contains(column) {
                "its rows depend on the definition, and the live generation has another".to_owned()
            } else {
                format!("its key has the column {column}, which the live generation does not have")
            };
            let (name, columns) = (name.into_owned(), Vec::new());
            return Ok(Err(TableReport { name, columns, left_out, not_compared: Some(reason), ..Default::default() }));
        }
        declared.columns.retain(|column| of_live.contains(&**column));
        declared.shown.retain(|column| of_live.contains(&**column));
        let reader = Reader::new(declared)?;
        let ranges = self.ranges(&reader).await?;
        Ok(Ok(Table { reader, left_out, ranges }))
    }
}

async fn columns(generation: &Generation, table: &str) -> Result<BTreeSet<String>, TablesError> {
    Ok(comparison::columns(generation.tables.as_ref(), table).await?.into_iter().collect())
}

/// What the comparison of the quarantine says of it: the rows that only the candidate has.
fn quarantined(compared: TableReport) -> QuarantineReport {
    let text = |value: &serde_json::Value, name: &str| match &value[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let only_in_candidate = compared.differing.iter().filter(|difference| difference.live.is_none());
    let newly = only_in_candidate.filter_map(|difference| difference.candidate.as_ref()).map(|row| NewlyQuarantined {
        position: format!("{}/{}@{}", text(row, "topic"), row["partition_id"], row["record_offset"]),
        reason: text(row, "reason"),
    });
    QuarantineReport {
        live: compared.live_rows,
        candidate: compared.candidate_rows,
        newly_quarantined_count: compared.extra_count,
        newly_quarantined: newly.collect(),
    }
}

/// Compares the last records of the partitions in which both generations have applied the same one last.
async fn compare_checkpoints(live: &Generation, candidate: &Generation) -> Result<CheckpointsReport, TablesError> {
    let of_live = checkpoints::read_with_last(live.tables.as_ref()).await?;
    let of_candidate = checkpoints::read_with_last(candidate.tables.as_ref()).await?;
    let mut report = CheckpointsReport::default();
    for (partition, last) in &of_live.last {
        let Some(other) = of_candidate.last.get(partition).filter(|other| other.offset == last.offset) else {
            continue;
        };
        report.compared += 1;
        if other.hash != last.hash {
            let position = Vector([(*partition, last.offset)].into()).to_string();
            let (live, candidate) = (last.hash.clone(), other.hash.clone());
            report.differing.push(CheckpointDifference { position, live, candidate });
        }
    }
    Ok(report)
}
