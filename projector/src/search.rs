//! The search port: documents beside rows, in an index that answers queries.
//!
//! An index is a projection of the tables: it can be rebuilt from their rows. Guarantees of every adapter:
//!
//! - **Revisions.** Of two writes of one document the one with the higher revision is kept, whatever their order.
//! - **Durability.** After [`SearchIndex::refresh`], all earlier writes are visible and survive a crash.
//! - **Refusals.** A document that cannot be stored is returned with the reason; the others are stored.
//! - **Meaning.** A request finds the same documents, in the same order, with the same totals and facets, on every
//!   engine; only the order by relevance depends on the engine.
//! - **Parents.** Inherited values are found by searching for parents first (`search/inherited.rs`).
//! - **Identity.** A recreated index has a new id; a deleted one is [`SearchError::Gone`].
//! - **Binding.** An index is kept with the log, domain and generation that it is of ([`binding`]). One of others, and
//!   one that Daybook has not made, is never changed or read: it is [`SearchError::Foreign`].
//! - **Empty.** Writing no documents does nothing; a search in an empty index finds nothing.

pub mod binding;
pub mod bookkeeping;
pub mod builds;
pub mod document;
pub mod elasticsearch;
pub mod highlight;
pub mod inherited;
pub mod query;
pub mod ranges;
pub mod request;
pub mod runner;
pub mod shape;
pub mod source;
pub mod state;
pub mod tantivy;
pub mod words;
mod writer;

use std::sync::Arc;

use daybook_ingest::log::BoxFuture;

use self::{
    binding::Binding,
    document::{Document, Stored},
    request::{Found, ParentsFound, ParentsRequest, Request},
    shape::IndexShape,
    source::{Sink, SourceError},
};
use crate::space::Space;

/// A document that an index does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: i64,
    /// Why.
    pub reason: String,
}

/// Why an operation on an index failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// It does not answer, or is overloaded. Retryable.
    #[error("search is unavailable: {0}")]
    Unavailable(String),
    /// There is no room for documents. Retryable: somebody may make room.
    #[error("there is no room for documents: {0}")]
    Full(String),
    /// The index was deleted. Opening it again recreates it.
    #[error("the search index is gone: {0}")]
    Gone(String),
    /// The index belongs to something else. Terminal: the configuration, or the index, has to change.
    #[error("the search index is not this installation's: {0}")]
    Foreign(String),
    /// What is at the address cannot be used: another product, an old version, or a refused login. Ends a start; retried
    /// later, because somebody may correct it meanwhile.
    #[error("search cannot be used: {0}")]
    Unusable(String),
    /// It cannot make an index of this shape. Terminal: the literal mapping, or the search server, has to change.
    #[error("the index cannot be made: {0}")]
    Unsupported(String),
    /// It refuses the request. Terminal: a bug, or a foreign index.
    #[error("search refused a request: {0}")]
    Refused(String),
}

impl SearchError {
    /// Whether another attempt can succeed although nobody changes anything in the index.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Unusable(_))
    }
}

/// How an index takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    /// Useful number of concurrent writes. If it is 1, a write blocks the caller's thread.
    pub concurrent_max: usize,
    /// Whether writes survive the failure of a later call; if not, they do only after a refresh.
    pub are_kept: bool,
}

/// One index: that of one generation.
pub trait SearchIndex: Send + Sync {
    /// Its id, which changes when the index is recreated.
    fn id(&self) -> &str;
    /// The shape that it was opened with.
    fn shape(&self) -> &Arc<IndexShape>;
    /// Writes documents. They are found, at the latest, after a `refresh`.
    fn write<'a>(&'a self, documents: &'a [Document]) -> BoxFuture<'a, Result<Vec<Refused>, SearchError>>;
    /// Makes everything written so far durable and visible to searches.
    fn refresh(&self) -> BoxFuture<'_, Result<(), SearchError>>;
    /// The highest [`Document::applied`] of what is durable; `None` without documents. [`SearchError::Gone`] if the
    /// index is no longer the one that was opened.
    fn newest(&self) -> BoxFuture<'_, Result<Option<i64>, SearchError>>;
    /// Searches what is visible.
    fn search(&self, request: Request) -> BoxFuture<'_, Result<Found, SearchError>>;
    /// Hands on every visible document, in any order. What becomes visible meanwhile may be left out.
    fn scan<'a>(&'a self, sink: &'a mut dyn Sink<Stored>) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Finds parents in what is visible, for each of the requests, in that order.
    fn parents(&self, requests: Vec<ParentsRequest>) -> BoxFuture<'_, Result<Vec<ParentsFound>, SearchError>>;
    /// How it takes writes.
    fn writes(&self) -> Writes;
    /// Readies it for searches by everybody, once it is built: settings that can be changed are as its shape says, and each
    /// part of it answers. What is short of that, and may remain so, is returned for people. Retryable while a part or a
    /// copy of it is on its way.
    fn finish(&self) -> BoxFuture<'_, Result<Option<String>, SearchError>> {
        Box::pin(async { Ok(None) })
    }
    /// Releases resources that only writes need, when no write is expected for a while.
    fn rest(&self) {}
    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
}

/// Where indexes live.
pub trait SearchStore: Send + Sync {
    /// Where the indexes are, for people.
    fn describe(&self) -> String;
    /// Whether the index of a binding may be used, or made. Changes nothing.
    fn check<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>>;
    /// Whether an index of a shape can be made: [`SearchError::Unsupported`] if not. Changes nothing.
    fn check_shape<'a>(&'a self, shape: &'a IndexShape) -> BoxFuture<'a, Result<(), SearchError>>;
    /// Opens the index of a binding, making it if there is none or if it has another fingerprint.
    fn open<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Arc<dyn SearchIndex>, SearchError>>;
    /// What the index of a binding takes, and what is free beside it.
    fn space<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Space, SearchError>>;
    /// Makes the name by which others find the live index of a domain lead to the index of a binding: an alias, or a link.
    fn point<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>>;
    /// Deletes the index of a binding with its documents, if it is there and may be used.
    fn delete<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>>;
}
