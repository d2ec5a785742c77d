//! The versions of a domain that this process knows.
//!
//! A domain of the program's list has one. A domain that the events of another one define has one for each definition in
//! use: while a generation of the newest definition is built, the live one is that of an earlier definition. Each
//! generation is run with the version that has its fingerprint.

use std::sync::Arc;

use daybook_projector::{generation, parts, projection::Projection, search::source::Documents, tables::TablesError};
use tokio::sync::watch;

use crate::verify::inspect::Inspect;

/// How a domain's events become rows and documents.
#[derive(Clone)]
pub struct Version {
    /// The fold.
    pub projection: Arc<dyn Projection>,
    /// How rows become documents; none for a domain without search.
    pub documents: Option<Arc<dyn Documents>>,
    /// What the domain checks itself when a generation is verified.
    pub inspector: Option<Arc<dyn Inspect>>,
    /// The fingerprint of its generations.
    pub fingerprint: String,
    /// The fingerprint of their tables, which generations of another version may have, too.
    pub of_tables: String,
}

impl Version {
    /// A version of a projection's domain, which checks nothing itself.
    pub fn new(projection: Arc<dyn Projection>, documents: Option<Arc<dyn Documents>>) -> Result<Self, TablesError> {
        let fingerprint = generation::fingerprint(projection.as_ref())?;
        let of_tables = parts::tables(projection.as_ref())?;
        Ok(Self { projection, documents, inspector: None, fingerprint, of_tables })
    }
}

/// What there is for each version of one domain, at least one. Clones share it.
#[derive(Clone)]
pub struct Versions<V>(watch::Sender<Vec<(String, V)>>);

impl<V: Clone> Versions<V> {
    /// One version.
    pub fn of(fingerprint: &str, version: V) -> Self {
        Self(watch::Sender::new(vec![(fingerprint.to_owned(), version)]))
    }

    /// Adds a version, which is the newest from now on. One of the same fingerprint is replaced.
    pub fn add(&self, fingerprint: &str, version: V) {
        self.0.send_modify(|versions| {
            versions.retain(|(known, _)| known != fingerprint);
            versions.push((fingerprint.to_owned(), version));
        });
    }

    /// All of them, the newest last.
    pub fn all(&self) -> Vec<V> {
        self.0.borrow().iter().map(|(_, version)| version.clone()).collect()
    }

    /// The newest one: new generations are built with it.
    pub fn newest(&self) -> V {
        self.all().pop().expect("there is one from the beginning, and none is removed")
    }

    /// The one of a fingerprint.
    pub fn find(&self, fingerprint: &str) -> Option<V> {
        let versions = self.0.borrow();
        versions.iter().find(|(known, _)| known == fingerprint).map(|(_, version)| version.clone())
    }

    /// Waits until the newest one is as it is expected.
    pub async fn until_newest(&self, is_expected: impl Fn(&V) -> bool) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as this.
        let _found = changes.wait_for(|versions| versions.last().is_some_and(|(_, newest)| is_expected(newest))).await;
    }
}
