//! What Metaflow's routes need of a generation: loaders that read rows by key, one query for many requests, and caches.

use std::{ops::Deref, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use daybook_projector::{
    generation::Generation,
    statements,
    tables::{FromRow, TablesError},
};
use daybook_query_api::{error::ApiError, live::Live, loader::Loader};
use daybook_schemas::position::Position;

use super::{
    facts::Facts,
    rows::{FlowRow, RunByNameRow, RunRow, SkippedRow, StepRow, TaskByNameRow, TaskRow},
    run_tags::{RunTags, Tags},
};

statements! {
    pub(super) STATEMENTS;
    FLOW = "view/flow", split, keyed FlowRow;
    RUN = "view/run", split, keyed RunRow;
    RUN_BY_NAME = "view/run_by_name", split, keyed RunByNameRow;
    STEP = "view/step", split, keyed StepRow;
    TASK = "view/task", split, keyed TaskRow;
    TASK_BY_NAME = "view/task_by_name", split, keyed TaskByNameRow;
    SKIPPED = "view/skipped", split, keyed SkippedRow;
}

/// Loaders and caches of one generation.
pub(super) struct Loaders {
    /// Flows by name.
    pub(super) flows: Loader,
    /// Runs by number and flow.
    pub(super) runs: Loader,
    /// Runs by name and flow.
    pub(super) runs_by_name: Loader,
    /// Steps by run number, name and flow.
    pub(super) steps: Loader,
    /// Tasks by number, flow, run number and step.
    pub(super) tasks: Loader,
    /// Tasks by run number, step, name and flow.
    pub(super) tasks_by_name: Loader,
    /// How many artifacts of a record existed already, by partition and offset.
    skipped: Loader,
    /// Cached facts.
    pub(super) facts: Facts,
    /// Cached tags of runs.
    run_tags: Arc<RunTags>,
}

impl Loaders {
    /// The loaders of a generation. Must be called on a Tokio runtime.
    pub(super) fn new(generation: &Arc<Generation>) -> Self {
        let run_tags = Arc::new(RunTags::default());
        // Tables can outlive a generation: others may have them, too.
        let of_generation = Arc::downgrade(&run_tags);
        generation.subscribe(Box::new(move |changes| {
            let run_tags = of_generation.upgrade();
            run_tags.is_some_and(|run_tags| {
                run_tags.note(changes);
                true
            })
        }));
        let loader = |statement| Loader::start(&generation.tables, statement);
        Self {
            flows: loader(&FLOW),
            runs: loader(&RUN),
            runs_by_name: loader(&RUN_BY_NAME),
            steps: loader(&STEP),
            tasks: loader(&TASK),
            tasks_by_name: loader(&TASK_BY_NAME),
            skipped: loader(&SKIPPED),
            facts: Facts::default(),
            run_tags,
        }
    }
}

/// The live generation with its loaders, as a request takes it at its start.
#[derive(Clone)]
pub(super) struct View {
    /// The generation.
    pub(super) live: Live,
    loaders: Arc<Loaders>,
}

impl View {
    /// The current tags of a run that exists.
    pub(super) async fn run_tags(&self, flow: &str, run_number: i64) -> Result<Arc<Tags>, ApiError> {
        let cache = &self.loaders.run_tags;
        if let Some(tags) = cache.get(run_number, flow) {
            return Ok(tags);
        }
        let epoch = cache.epoch();
        let row = self.runs.load(vec![run_number.into(), flow.into()]).await?;
        let row = row.ok_or_else(|| ApiError::Internal(format!("run {flow}/{run_number} has no row")))?;
        let run = RunRow::read(&row)?.run;
        let tags = Arc::new(Tags { tags: run.tags.to_owned(), system_tags: run.system_tags.to_owned() });
        cache.insert(epoch, run_number, flow, Arc::clone(&tags));
        Ok(tags)
    }

    /// How many artifacts of a record existed already.
    pub(super) async fn skipped(&self, position: Position) -> Result<i64, TablesError> {
        let row = self.skipped.load(vec![i64::from(position.partition.id).into(), position.offset.into()]).await?;
        row.as_ref().map_or(Ok(0), |row| SkippedRow::read(row).map(|row| row.entries))
    }
}

impl Deref for View {
    type Target = Loaders;

    fn deref(&self) -> &Loaders {
        &self.loaders
    }
}

impl<S: Sync> FromRequestParts<S> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let live = Live::from_request_parts(parts, state).await?;
        let loaders = live.view::<Loaders>()?;
        Ok(Self { live, loaders })
    }
}
