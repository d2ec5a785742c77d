//! The live generation of a domain as a request sees it: a request takes it once, at its start, and uses no other (I4).

use std::{any::Any, ops::Deref, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use daybook_projector::{
    generation::Generation,
    search::state::Search,
    tables::{Cell, Chunks, Params, Render, Row, Statement, TablesError},
};
use daybook_reindexer::running::{Open, Reading};

use crate::{error::ApiError, idempotency::IdempotencyKeys, outcome::Outcomes};

/// Creates what a domain's routes need for a generation: loaders and caches, which live as long as its handle. Called
/// on a Tokio runtime.
pub type NewView = Arc<dyn Fn(&Arc<Generation>) -> Arc<dyn Any + Send + Sync> + Send + Sync>;

/// A generation with what requests need of it. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<LiveParts>);

/// What a [`Live`] holds.
pub struct LiveParts {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Its search, unless that is switched off.
    pub search: Option<Arc<Search>>,
    open: Open,
    /// Outcomes of records that were not applied completely.
    pub(crate) outcomes: Outcomes,
    /// First events by idempotency key.
    pub(crate) idempotency_keys: IdempotencyKeys,
    view: Arc<dyn Any + Send + Sync>,
}

impl Live {
    /// A generation for requests. Must be called on a Tokio runtime.
    pub fn new(open: Open, new_view: &NewView) -> Self {
        let (generation, search) = (Arc::clone(&open.generation), open.search.clone());
        let (outcomes, idempotency_keys) = (Outcomes::start(&generation), IdempotencyKeys::start(&generation));
        let view = new_view(&generation);
        Self(Arc::new(LiveParts { generation, search, open, outcomes, idempotency_keys, view }))
    }

    /// Counts a request that reads the generation, until that is dropped.
    pub(crate) fn begin(&self) -> Reading {
        self.open.begin()
    }

    /// What the domain's routes need of the generation.
    pub fn view<V: Any + Send + Sync>(&self) -> Result<Arc<V>, ApiError> {
        let wrong = |_| ApiError::Internal("the route belongs to another domain".to_owned());
        Arc::downcast(Arc::clone(&self.0.view)).map_err(wrong)
    }

    /// The rows of a statement.
    pub async fn read(&self, statement: &'static Statement, params: Vec<Cell>) -> Result<Vec<Row>, TablesError> {
        self.generation.tables.read(statement, Params::One(params)).await
    }

    /// The rows of a statement as they are rendered, in chunks.
    pub fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks {
        self.generation.tables.stream(statement, params, render)
    }
}

impl Deref for Live {
    type Target = LiveParts;

    fn deref(&self) -> &LiveParts {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Live {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let live = parts.extensions.get::<Self>().cloned();
        live.ok_or_else(|| ApiError::Internal("a request has no generation".to_owned()))
    }
}
