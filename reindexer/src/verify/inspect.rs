//! What a domain itself checks of a candidate, beside what verification compares for every domain.

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    bookkeeping::checkpoints,
    generation::Generation,
    search::{SearchIndex, source::Documents},
    throttle::Throttle,
};
use daybook_schemas::position::Vector;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    Report, VerifyError,
    wait::{wait_for, wait_for_index},
};

/// Counts what the generations of a domain hold, and holds the candidate to the domain's limits.
pub trait Inspect: Send + Sync {
    /// Looks at the candidate and at the live generation, to which it is compared. Both go on applying meanwhile.
    fn inspect<'a>(&'a self, inspected: Inspected<'a>) -> BoxFuture<'a, Result<Inspection, VerifyError>>;
}

/// A generation and its index, if it is open.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The generation.
    pub generation: &'a Generation,
    /// Its index.
    pub index: Option<&'a dyn SearchIndex>,
}

impl Side<'_> {
    /// Waits until its tables have applied what those of another one have now.
    pub(crate) async fn follow(&self, other: &Self) -> Result<(), VerifyError> {
        wait_for(self.generation, &checkpoints::read(other.generation.tables.as_ref()).await?).await
    }

    /// Waits until its index shows what its tables hold now.
    pub(crate) async fn catch_up(&self, documents: Option<&dyn Documents>) -> Result<(), VerifyError> {
        let Some((index, documents)) = self.index.zip(documents) else { return Ok(()) };
        let now = checkpoints::read(self.generation.tables.as_ref()).await?;
        wait_for_index(self.generation, index, documents, &now).await
    }
}

/// What is inspected.
pub struct Inspected<'a> {
    /// The live generation.
    pub live: Side<'a>,
    /// The candidate.
    pub candidate: Side<'a>,
    /// How rows become documents; `None` without search.
    pub documents: Option<&'a dyn Documents>,
    /// What the candidate's tables had applied before anything was counted.
    pub since: Vector,
    /// Documents that the candidate's index has refused, as the live one's did: known once rows and documents
    /// are compared.
    pub refused: oneshot::Receiver<u64>,
    /// Slows it down while reads are slow.
    pub throttle: &'a Throttle,
}

impl Inspected<'_> {
    /// Waits until the candidate and its index hold all that the live generation holds now.
    pub async fn catch_up(&self) -> Result<(), VerifyError> {
        self.candidate.follow(&self.live).await?;
        self.candidate.catch_up(self.documents).await
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// As the report shows it.
    pub content: Value,
    /// Why the candidate must not be promoted; empty if it may be.
    pub reasons: Vec<String>,
}

impl Report {
    /// Adds what a domain has found itself.
    pub fn add(&mut self, inspection: Inspection) {
        let Inspection { content, reasons } = inspection;
        self.inspection = Some(content);
        self.passed &= reasons.is_empty();
        self.reasons.extend(reasons);
    }
}
