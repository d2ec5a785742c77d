//! The versions of a domain that this process knows.
//!
//! A domain of the program's list has one. A domain that the events of another one define has one for each definition in
//! use: while a generation of the newest definition is built, the live one is that of an earlier definition. Each
//! generation is run with the version that has its fingerprint.

use std::sync::Arc;

use daybook_projector::{generation, projection::Projection, search::source::Documents, tables::TablesError};
use tokio::sync::watch;

use crate::{settings::VersionSettings, verify::inspect::Inspect};

/// How a domain's events become rows and documents.
#[derive(Clone)]
pub struct Version {
    /// The fold.
    pub projection: Arc<dyn Projection>,
    /// How rows become documents; none for a domain without search.
    pub documents: Option<Arc<dyn Documents>>,
    /// What the domain checks itself when a generation is verified.
    pub inspector: Option<Arc<dyn Inspect>>,
    /// What it decides in place of the deployment.
    pub settings: VersionSettings,
    /// The fingerprint of its generations.
    pub fingerprint: String,
}

impl Version {
    /// A version of a projection's domain, which checks and decides nothing itself.
    pub fn new(projection: Arc<dyn Projection>, documents: Option<Arc<dyn Documents>>) -> Result<Self, TablesError> {
        let fingerprint = generation::fingerprint(projection.as_ref())?;
        Ok(Self { projection, documents, inspector: None, settings: VersionSettings::default(), fingerprint })
    }
}

/// What there is for each version of one domain, at least one, in the order of their revisions. Clones share it.
#[derive(Clone)]
pub struct Versions<V>(watch::Sender<Vec<Known<V>>>);

/// A version that this process knows.
#[derive(Clone)]
struct Known<V> {
    /// The number of the definition that it is made from; 0 if the program contains it.
    revision: i64,
    fingerprint: String,
    version: V,
}

impl<V: Clone> Versions<V> {
    /// One version.
    pub fn of(revision: i64, fingerprint: &str, version: V) -> Self {
        Self(watch::Sender::new(vec![Known { revision, fingerprint: fingerprint.to_owned(), version }]))
    }

    /// Adds a version. Of one fingerprint, the one of the greatest revision is kept.
    pub fn add(&self, revision: i64, fingerprint: &str, version: V) {
        self.0.send_if_modified(|all| {
            if all.iter().any(|known| known.fingerprint == fingerprint && known.revision >= revision) {
                return false;
            }
            all.retain(|known| known.fingerprint != fingerprint);
            all.push(Known { revision, fingerprint: fingerprint.to_owned(), version });
            all.sort_by_key(|known| known.revision);
            true
        });
    }

    /// All of them, the newest last.
    pub fn all(&self) -> Vec<V> {
        self.0.borrow().iter().map(|known| known.version.clone()).collect()
    }

    /// The newest one: new generations are built with it.
    pub fn newest(&self) -> V {
        self.all().pop().expect("there is one from the beginning, and none is removed")
    }

    /// The one of a fingerprint.
    pub fn find(&self, fingerprint: &str) -> Option<V> {
        let all = self.0.borrow();
        all.iter().find(|known| known.fingerprint == fingerprint).map(|known| known.version.clone())
    }

    /// Waits until the newest one is as it is expected.
    pub async fn until_newest(&self, is_expected: impl Fn(&V) -> bool) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as this.
        let _found = changes.wait_for(|all| all.last().is_some_and(|newest| is_expected(&newest.version))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_revision_is_the_newest_in_whatever_order_they_come() {
        let versions = Versions::of(2, "b", "2");
        for (revision, fingerprint, version) in [(4, "d", "4"), (1, "a", "1"), (3, "b", "3"), (2, "b", "2 again")] {
            versions.add(revision, fingerprint, version);
        }
        assert_eq!(versions.all(), ["1", "3", "4"]);
        assert_eq!((versions.newest(), versions.find("b"), versions.find("c")), ("4", Some("3"), None));
    }
}
