//! The domains that another domain defines, as a worker finds them: in the live tables of that one.

use std::collections::BTreeMap;

use anyhow::Result;
use daybook_projector::generation::Generation;
use daybook_query_api::app::{self, DomainParts};
use daybook_reindexer::{lease::Folded, worker::Worker};

use crate::{
    defining::{Chosen, add_versions},
    domains::Defines,
    running::{Base, DomainVersions},
};

/// The domains that one domain defines.
pub(super) struct Defined {
    base: Base,
    defines: Defines,
    /// The newest known revision of each domain.
    known: BTreeMap<String, i64>,
    versions: BTreeMap<String, DomainVersions>,
}

impl Defined {
    /// Knows none yet.
    pub(super) fn new(base: Base, defines: Defines) -> Self {
        Self { base, defines, known: BTreeMap::new(), versions: BTreeMap::new() }
    }

    /// Finds the domains and the versions that are not known yet, in the live generation of the domain that defines them.
    /// The workers of new domains are added. One that fails holds up no other; the last failure is returned.
    pub(super) async fn look(&mut self, live: &Generation, workers: &mut Vec<Worker>) -> Result<()> {
        let mut failure = None;
        for app::Defined { domain, newest, versions } in (self.defines.read)(live, &self.known).await? {
            match self.find(&domain, versions, workers).await {
                Ok(true) => drop(self.known.insert(domain, newest)),
                Ok(false) => {}
                Err(error) => failure = Some(error.context(domain)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Takes part in the rebuilds of a domain with these versions, too. Whether it could: it cannot before the first
    /// generation is there.
    async fn find(&mut self, domain: &str, versions: Vec<DomainParts>, workers: &mut Vec<Worker>) -> Result<bool> {
        if let Some(all) = self.versions.get(domain) {
            add_versions(&self.base, all, &versions).await?;
            return Ok(true);
        }
        // Of one that this program does not understand, further revisions are waited for.
        let Some(chosen) = Chosen::of(&self.base, versions).await? else { return Ok(true) };
        if chosen.is_new {
            return Ok(false);
        }
        if let Err(error) = self.join(&chosen).await {
            // No switch waits for this process.
            self.base.lease.remove(chosen.opened.projection.domain());
            return Err(error);
        }
        workers.push(Worker::new(self.base.platform(chosen.opened, &chosen.all.folds)));
        self.versions.insert(domain.to_owned(), chosen.all);
        Ok(true)
    }

    /// Takes part in the assignment of a domain's partitions.
    async fn join(&self, chosen: &Chosen) -> Result<()> {
        self.base.log.add_topics(&chosen.opened.projection.topics(), false).await?;
        for version in chosen.all.folds.all() {
            self.base.lease.add(Folded::of(version.projection.as_ref(), self.base.log.as_ref())?).await?;
        }
        Ok(())
    }
}
