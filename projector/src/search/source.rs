//! Where documents come from: rows of tables.

use std::sync::Arc;

use daybook_ingest::log::{BoxFuture, Record};
use daybook_schemas::Topic;

use super::{SearchError, document::Document, ranges::KeyRange, shape::IndexShape};
use crate::tables::{Tables, TablesError};

/// Why documents could not be handed on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The tables failed.
    #[error("cannot read the documents' rows")]
    Tables(#[from] TablesError),
    /// The index failed.
    #[error("cannot write documents")]
    Search(#[from] SearchError),
}

/// Takes documents, a bounded number at a time.
pub trait Sink<D = Document>: Send {
    /// Takes some documents.
    fn take(&mut self, documents: Vec<D>) -> BoxFuture<'_, Result<(), SourceError>>;
}

/// A projection's documents: a pure function of its rows.
pub trait Documents: Send + Sync {
    /// The topics whose events touch documents.
    fn topics(&self) -> Vec<Topic>;
    /// Their shape.
    fn shape(&self) -> Arc<IndexShape>;
    /// Sends all documents that the events of some records change, from their current rows. Invariant: an event changes a
    /// bounded number of documents (I10).
    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        records: &'a [Record],
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Splits all documents by key into ranges of so many keys, parents before their children.
    fn ranges<'a>(&'a self, tables: &'a dyn Tables, keys: i64) -> BoxFuture<'a, Result<Vec<KeyRange>, TablesError>>;
    /// Hands on the documents of a range.
    fn of_range<'a>(
        &'a self,
        tables: &'a dyn Tables,
        range: &'a KeyRange,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}
