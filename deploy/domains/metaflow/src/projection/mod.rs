//! The Metaflow projection: flows, runs, steps, tasks, artifacts and metadata, as Metaflow's metadata API shows them.
//!
//! One file per kind: its rows, their duplicates, their insert, and how a missing parent is found. Rules of the fold,
//! in the order in which kinds are applied:
//!
//! - flows, runs, steps, tasks, artifacts, metadata: a parent precedes its child in the log, else the child's record is
//!   rejected; the first of several registrations of one name or number wins, later ones change nothing;
//! - outcomes: the metadata of a run's `end` step decide the run's outcome;
//! - tags: changes of a run's tags apply in order;
//! - heartbeats: the last of a run or a task wins, whatever its time.

mod artifacts;
mod comparable;
mod documents;
mod flows;
mod fold;
mod heartbeats;
mod items;
mod metadata;
mod outcomes;
pub(crate) mod run_status;
mod run_tags;
pub(crate) mod runs;
mod steps;
mod tasks;

use std::sync::Arc;

use daybook_projector::{
    comparison::Comparable,
    ddl,
    projection::{self, Decoded, Planned, Report},
    search::{shape::IndexShape, source::Documents},
    tables::{Ddl, PlanStatement, Statement, TablesError, Transaction},
};
use daybook_schemas::Topic;

use self::{fold::Fold, items::Sorted};
use crate::events::{Event, TOPICS};

/// The Metaflow projection.
pub struct Metaflow;

/// The statements of ordinary batches, parents before children.
static PLANNED: [PlanStatement; 10] = [
    flows::PLANNED,
    runs::PLANNED,
    steps::PLANNED,
    tasks::PLANNED,
    artifacts::PLANNED[0],
    artifacts::PLANNED[1],
    metadata::PLANNED,
    heartbeats::PLANNED[0],
    heartbeats::PLANNED[1],
    heartbeats::PLANNED[2],
];

impl Metaflow {
    /// Every statement of the projection, so that a test can run each on every engine.
    pub fn statements() -> Vec<&'static Statement> {
        [
            flows::STATEMENTS,
            runs::STATEMENTS,
            steps::STATEMENTS,
            tasks::STATEMENTS,
            artifacts::STATEMENTS,
            metadata::STATEMENTS,
            outcomes::STATEMENTS,
            run_tags::STATEMENTS,
            heartbeats::STATEMENTS,
            documents::STATEMENTS,
        ]
        .concat()
    }
}

impl projection::Fold for Metaflow {
    type Event = Event;

    fn domain(&self) -> &'static str {
        "metaflow"
    }

    fn topics(&self) -> Vec<Topic> {
        TOPICS.to_vec()
    }

    fn ddl(&self) -> Vec<Ddl> {
        vec![ddl!("sql/tables", split)]
    }

    fn version(&self) -> u32 {
        2
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Event>]) -> Result<Report, TablesError> {
        let (mut fold, sorted) = (Fold::new(transaction), Sorted::new(batch));
        fold.insert(&flows::KIND, &sorted.flows)?;
        fold.insert(&runs::KIND, &sorted.runs)?;
        fold.insert(&steps::KIND, &sorted.steps)?;
        fold.insert(&tasks::KIND, &sorted.tasks)?;
        artifacts::apply(&mut fold, &sorted.artifacts)?;
        metadata::apply(&mut fold, &sorted.metadata)?;
        outcomes::apply(&mut fold, &sorted.metadata)?;
        run_tags::apply(&mut fold, &sorted.tags)?;
        heartbeats::apply(&mut fold, &sorted.tasks, &sorted.heartbeats)?;
        Ok(fold.report)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        &PLANNED
    }

    /// A batch is ordinary if no two items have the same key, and no event depends on rows, as changes of tags and
    /// metadata that affect an outcome do.
    fn plan(&self, batch: &[&Decoded<Event>]) -> Option<Planned> {
        let sorted = Sorted::new(batch);
        if !sorted.tags.is_empty() || sorted.metadata.iter().any(|item| outcomes::affects_outcome(item.event)) {
            return None;
        }
        let mut steps = vec![
            flows::KIND.step(&sorted.flows)?,
            runs::KIND.step(&sorted.runs)?,
            steps::KIND.step(&sorted.steps)?,
            tasks::KIND.step(&sorted.tasks)?,
            artifacts::step(&sorted.artifacts)?,
            artifacts::attempts(sorted.artifacts.iter()),
            metadata::step(&sorted.metadata),
        ];
        steps.extend(heartbeats::steps(sorted.tasks.iter(), &sorted.heartbeats));
        Some(Planned { steps, changed: Vec::new() })
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        Some(Documents::shape(self))
    }

    fn comparable(&self) -> Vec<Comparable> {
        comparable::tables()
    }
}
