//! One generation as a request sees it: its tables, and loaders that read rows by key for many requests at once.

use std::{ops::Deref, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use daybook_projector::{
    generation::Generation,
    statement,
    tables::{Cell, Chunks, Params, Render, Row, Statement, TablesError},
};

use crate::{error::ApiError, loader::Loader};

pub(crate) const FLOW: Statement = statement!("view/flow", split);
pub(crate) const RUN: Statement = statement!("view/run", split);
pub(crate) const RUN_BY_NAME: Statement = statement!("view/run_by_name", split);
pub(crate) const STEP: Statement = statement!("view/step", split);
pub(crate) const TASK: Statement = statement!("view/task", split);
pub(crate) const TASK_BY_NAME: Statement = statement!("view/task_by_name", split);
pub(crate) const OUTCOME: Statement = statement!("view/outcome", split);
pub(crate) const REQUEST: Statement = statement!("view/request", split);

/// A generation and its loaders; a clone is one count.
#[derive(Clone)]
pub struct View(Arc<Loaders>);

/// What a view holds.
pub struct Loaders {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Flows by name.
    pub flows: Loader,
    /// Runs by number and flow.
    pub runs: Loader,
    /// Runs by name and flow.
    pub runs_by_name: Loader,
    /// Steps by run number, name and flow.
    pub steps: Loader,
    /// Tasks by number, flow, run number and step.
    pub tasks: Loader,
    /// Tasks by run number, step, name and flow.
    pub tasks_by_name: Loader,
    /// What became of records that were not applied as a whole, by topic, partition and offset.
    pub outcomes: Loader,
    /// First events by flow and idempotency key.
    pub requests: Loader,
}

impl View {
    /// A view of a generation. Must be called on a runtime.
    pub fn new(generation: Arc<Generation>) -> Self {
        let loader = |statement| Loader::start(&generation.tables, statement);
        Self(Arc::new(Loaders {
            flows: loader(&FLOW),
            runs: loader(&RUN),
            runs_by_name: loader(&RUN_BY_NAME),
            steps: loader(&STEP),
            tasks: loader(&TASK),
            tasks_by_name: loader(&TASK_BY_NAME),
            outcomes: loader(&OUTCOME),
            requests: loader(&REQUEST),
            generation,
        }))
    }
}

impl Loaders {
    /// The rows of a statement.
    pub(crate) async fn read(&self, statement: &'static Statement, params: Vec<Cell>) -> Result<Vec<Row>, TablesError> {
        self.generation.tables.read(statement, Params::One(params)).await
    }

    /// The rows of a statement as they are rendered, in chunks.
    pub(crate) fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks {
        self.generation.tables.stream(statement, params, render)
    }
}

impl Deref for View {
    type Target = Loaders;

    fn deref(&self) -> &Loaders {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for View {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let view = parts.extensions.get::<Self>().cloned();
        view.ok_or_else(|| ApiError::Internal("a request has no generation".to_owned()))
    }
}
