//! Where documents come from: rows of tables.

use std::collections::BTreeSet;

use daybook_ingest::log::BoxFuture;
use daybook_schemas::Event;

use super::{SearchError, document::Document};
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
pub trait Sink: Send {
    /// Takes some documents.
    fn take(&mut self, documents: Vec<Document>) -> BoxFuture<'_, Result<(), SearchError>>;
}

/// Documents that show something in common, which an event can change for all of them: a number and a name.
pub type Group = (i64, String);

/// A projection's documents: a pure function of its rows.
pub trait Documents: Send + Sync {
    /// Hands on, as their rows are now, all documents that the events touch; where these are all of a group, adds it to
    /// `groups` instead.
    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        events: &'a [Event],
        groups: &'a mut BTreeSet<Group>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Hands on every document of some groups.
    fn of_groups<'a>(
        &'a self,
        tables: &'a dyn Tables,
        groups: &'a BTreeSet<Group>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Hands on every document.
    fn all<'a>(&'a self, tables: &'a dyn Tables, sink: &'a mut dyn Sink) -> BoxFuture<'a, Result<(), SourceError>>;
}
