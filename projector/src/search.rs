//! The search port: documents beside rows, in an index that answers queries.
//!
//! An index is a projection of the tables: whatever is in it can be made anew from their rows. Promises of every adapter:
//!
//! - **Revisions.** Of two writes of one document the one of the higher revision stays, in whatever order they come.
//! - **Durability.** What [`SearchIndex::write`] took and [`SearchIndex::refresh`] followed survives a crash and is found.
//! - **Refusals.** A document that cannot be stored is named with the reason; the others are stored all the same.
//! - **Meaning.** One request finds the same documents, in the same order, with the same totals and facets, on every
//!   engine; only the order by relevance is an engine's own.
//! - **Identity.** An index that was made anew has another id; one that was deleted is [`SearchError::Gone`].
//! - **Empty.** Writing no documents does nothing; a search in an empty index finds nothing.

pub mod books;
pub mod document;
pub mod elasticsearch;
pub mod highlight;
pub mod query;
pub mod request;
pub mod runner;
pub mod source;
pub mod state;
pub mod tantivy;
pub mod words;
mod writer;

use daybook_ingest::log::BoxFuture;

use self::{
    document::Document,
    request::{Found, Request},
};

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

/// Why an index did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// It does not answer, or is overloaded. Retryable.
    #[error("search is unavailable: {0}")]
    Unavailable(String),
    /// The index is not there any more. To be opened again, which makes it anew.
    #[error("the search index is gone: {0}")]
    Gone(String),
    /// It refuses the request. Terminal: a bug, or an index that is not ours.
    #[error("search refused a request: {0}")]
    Refused(String),
}

/// One index: that of one generation.
pub trait SearchIndex: Send + Sync {
    /// Tells it from one that is made anew in its place.
    fn id(&self) -> &str;
    /// Writes documents. They are found, at the latest, after a `refresh`.
    fn write<'a>(&'a self, documents: &'a [Document]) -> BoxFuture<'a, Result<Vec<Refused>, SearchError>>;
    /// Makes everything written so far durable and visible to searches.
    fn refresh(&self) -> BoxFuture<'_, Result<(), SearchError>>;
    /// Searches what is visible.
    fn search(&self, request: Request) -> BoxFuture<'_, Result<Found, SearchError>>;
    /// Writes that go on at once are of use up to this many; where it is 1, a write blocks the caller's thread.
    fn writes_max(&self) -> usize;
    /// Whether what was written stays written when a later call fails; else it stays only once it was refreshed.
    fn keeps_writes(&self) -> bool;
    /// Gives back what only writing needs: nothing is to be written for a while.
    fn rest(&self) {}
    /// A short description for people: kind and place, never a secret.
    fn describe(&self) -> String;
}

/// Where indexes live.
pub trait SearchStore: Send + Sync {
    /// Opens the index of a generation's schema, making it if there is none or if it was made by another fingerprint.
    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<std::sync::Arc<dyn SearchIndex>, SearchError>>;
}
