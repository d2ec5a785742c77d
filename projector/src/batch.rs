//! Commits a batch: rows, checkpoints and other bookkeeping together (I3). An ordinary batch takes one round trip,
//! others go statement by statement. Both ways produce the same rows.

use std::{cell::Cell, collections::HashSet};

use daybook_schemas::position::Position;

use crate::{
    bookkeeping::{
        checkpoints::{self, Hashes},
        idempotency, numbers,
        quarantine::{self, Quarantined},
    },
    projection::{Batch, Decoded, Fold, Planned, Rejected, Report},
    tables::{Params, PlanOutcome, PlanShape, Step, Tables, TablesError, Transaction},
};

/// Records of a domain that were decoded.
pub(crate) struct EventBatch<'f, F: Fold> {
    fold: &'f F,
    decoded: Vec<Decoded<F::Event>>,
    rejected: Vec<Rejected>,
    /// The plan, until it is taken: it is made beside the commit of the batch before, where that is the slower one.
    planned: Cell<Option<Planned>>,
}

impl<'f, F: Fold> EventBatch<'f, F> {
    pub(crate) fn new(fold: &'f F, decoded: Vec<Decoded<F::Event>>, rejected: Vec<Rejected>) -> Self {
        let batch = Self { fold, decoded, rejected, planned: Cell::default() };
        batch.planned.set(batch.make_plan());
        batch
    }

    fn make_plan(&self) -> Option<Planned> {
        if idempotency::parts(&self.decoded).len() > 1 {
            return None;
        }
        let batch: Vec<&Decoded<F::Event>> = self.decoded.iter().collect();
        let mut planned = self.fold.plan(&batch)?;
        planned.steps.push(idempotency::step(&self.decoded, |_| true));
        planned.steps.push(numbers::step(&self.decoded));
        Some(planned)
    }
}

impl<F: Fold> Batch for EventBatch<'_, F> {
    fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    fn plan(&self) -> Option<Planned> {
        self.planned.take().or_else(|| self.make_plan())
    }

    fn apply(&self, transaction: &mut dyn Transaction) -> Result<Report, TablesError> {
        let mut report = Report::default();
        for part in idempotency::parts(&self.decoded) {
            let repeated = idempotency::repeated(transaction, part)?;
            let first: Vec<_> = part.iter().filter(|decoded| !repeated.contains(&decoded.position)).collect();
            let of_part = self.fold.apply(transaction, &first)?;
            let rejected: HashSet<Position> = of_part.rejected.iter().map(|rejected| rejected.position).collect();
            let left_out = [&repeated, &rejected, &of_part.lost];
            let applied = |position| !left_out.iter().any(|positions| positions.contains(&position));
            run(transaction, idempotency::step(part, applied))?;
            report.extend(of_part);
            report.read_back.extend(repeated);
        }
        run(transaction, numbers::step(&self.decoded))?;
        Ok(report)
    }
}

/// Runs a step, if it has rows.
fn run(transaction: &mut dyn Transaction, step: Step) -> Result<(), TablesError> {
    if step.columns.first().is_none_or(crate::tables::Column::is_empty) {
        return Ok(());
    }
    transaction.execute(step.statement, &Params::Many(step.columns)).map(|_| ())
}

/// The move of a batch's checkpoints.
pub struct Move<'b> {
    /// The move itself.
    pub checkpoints: checkpoints::Move<'b>,
    /// The hash of the last record of each partition.
    pub hashes: &'b Hashes,
    /// The notification for other processes.
    pub notification: String,
}

/// Commits a batch. `quarantined` holds its records that cannot be applied. The records that the fold rejects are added
/// to it by `entry`.
pub fn commit(
    batch: &dyn Batch,
    moved: &Move<'_>,
    tables: &dyn Tables,
    shape: &PlanShape,
    quarantined: &mut Vec<Quarantined>,
    entry: impl Fn(&Rejected) -> Quarantined,
) -> Result<Report, TablesError> {
    if quarantined.is_empty()
        && let Some(report) = commit_plan(batch, moved, tables, shape)?
    {
        return Ok(report);
    }
    let mut transaction = tables.begin()?;
    if !checkpoints::advance(transaction.as_mut(), moved.checkpoints, moved.hashes)? {
        return Err(TablesError::Conflict(format!("checkpoints are not at {}", moved.checkpoints.from)));
    }
    let mut report = batch.apply(transaction.as_mut())?;
    quarantined.extend(report.rejected.iter().map(entry));
    quarantine::insert(transaction.as_mut(), quarantined)?;
    transaction.notify(&moved.notification)?;
    transaction.commit()?;
    report.read_back.extend(quarantined.iter().map(|entry| entry.position));
    Ok(report)
}

/// Commits an ordinary batch in one round trip; for any other batch, returns `None` and changes nothing.
pub fn commit_plan(
    batch: &dyn Batch,
    moved: &Move<'_>,
    tables: &dyn Tables,
    shape: &PlanShape,
) -> Result<Option<Report>, TablesError> {
    let Some(mut planned) = batch.plan() else { return Ok(None) };
    planned.steps.push(checkpoints::step(moved.checkpoints, moved.hashes));
    let plan = shape.plan(planned.steps, Some(moved.notification.clone()))?;
    let committed = tables.commit_plan(&plan)? == PlanOutcome::Committed;
    Ok(committed.then(|| Report { changed: planned.changed, ..Report::default() }))
}
