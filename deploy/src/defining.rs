//! Runs the domains that the events of another domain define: those that its live tables name and that do not run here
//! yet, at the start and while the process serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use daybook_projector::backoff::Backoff;
use daybook_query_api::app::{Defined, DomainApi, DomainParts};
use daybook_reindexer::{lease::Folded, version::Version};
use tokio::sync::watch;

use crate::{
    domains::Defines,
    running::{Base, DomainVersions, Domains, Running, version_of},
    start::Start,
};

/// The first and the longest pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Between two looks whether a generation is live that this process does not know.
const FOREIGN_LOOK: Duration = Duration::from_secs(1);

/// Between two looks whether a control row is applied.
const LOOK: Duration = Duration::from_millis(50);

/// Called with a domain that runs from now on.
pub(crate) type Added = Arc<dyn Fn(&Running) + Send + Sync>;

/// Runs the domains that one domain defines.
pub(crate) struct Defining {
    base: Base,
    domains: Domains,
    /// The domain whose tables name the others.
    source: Arc<Running>,
    defines: Defines,
    /// Changes with the tables of a generation of the source. It has a receiver for as long as this lives.
    changed: watch::Sender<()>,
    changes: watch::Receiver<()>,
    /// The generation whose changes are heard.
    heard: Option<i64>,
    /// The newest revision of each domain that runs.
    known: BTreeMap<String, i64>,
    /// The last live generation of each domain whose version was not known.
    foreign: BTreeMap<&'static str, i64>,
}

/// The versions with which a domain begins to run.
pub(crate) struct Chosen {
    api: DomainApi,
    /// The version whose generation is opened: the live one, if it is known.
    pub(crate) opened: Version,
    pub(crate) all: DomainVersions,
    /// Whether it has no generation yet.
    pub(crate) is_new: bool,
}

impl Chosen {
    /// The versions that the generations of a domain were built with, and the newest one; `None` if there is none.
    pub(crate) async fn of(base: &Base, versions: Vec<DomainParts>) -> Result<Option<Self>> {
        let mut newest_first = versions.into_iter().rev();
        let Some(newest) = newest_first.next() else { return Ok(None) };
        let domain = newest.projection.domain();
        let live = base.control.live(domain).await?;
        let entries = base.control.generations(domain).await?;
        let kept = entries.iter().filter(|entry| !entry.is_gone());
        let kept: BTreeSet<&str> = kept.map(|entry| entry.fingerprint.as_str()).collect();
        let mut used = vec![newest.clone()];
        for parts in newest_first {
            if kept.contains(version_of(&parts)?.fingerprint.as_str()) {
                used.push(parts);
            }
        }
        used.reverse();
        let all = DomainVersions::of(&used[0])?;
        for parts in used.iter().skip(1) {
            all.add(parts)?;
        }
        let built = entries.iter().find(|entry| Some(entry.generation) == live);
        let opened = built.and_then(|built| all.folds.find(&built.fingerprint)).unwrap_or_else(|| all.folds.newest());
        Ok(Some(Self { api: newest.api, opened, all, is_new: entries.is_empty() }))
    }
}

/// Lets this process take part in the generations of further versions of a domain.
pub(crate) async fn add_versions(base: &Base, all: &DomainVersions, versions: &[DomainParts]) -> Result<()> {
    // Another process may have begun a generation of each of them.
    for parts in versions {
        let (version, domain) = (version_of(parts)?, parts.projection.domain());
        if all.folds.find(&version.fingerprint).is_none() {
            let folded = Folded::of(parts.projection.as_ref(), base.log.as_ref())?;
            base.lease.add(folded).await?;
        }
        let fingerprint = all.add(parts)?;
        tracing::debug!(domain, fingerprint, "{domain} has another definition: {fingerprint} runs here, too");
    }
    base.control.wake();
    Ok(())
}

impl Defining {
    /// Runs nothing yet.
    pub(crate) fn new(base: Base, domains: Domains, source: Arc<Running>, defines: Defines) -> Self {
        let (changed, changes) = watch::channel(());
        Self {
            base,
            domains,
            source,
            defines,
            changed,
            changes,
            heard: None,
            known: BTreeMap::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// Runs the domains and the versions that do not run yet, and calls `added` with each domain. One that fails holds up no
    /// other; the last failure is returned.
    pub(crate) async fn look(&mut self, start: &Start, added: &Added) -> Result<()> {
        let live = Arc::clone(&self.source.serving.borrow().live().generation);
        if self.heard.replace(live.number) != Some(live.number) {
            let changed = self.changed.clone();
            live.subscribe(Box::new(move |_| changed.send(()).is_ok()));
        }
        let mut failure = None;
        for Defined { domain, newest, versions } in (self.defines.read)(&live, &self.known).await? {
            match self.run_versions(&domain, versions, start, added).await {
                Ok(()) => drop(self.known.insert(domain, newest)),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn run_versions(
        &mut self,
        domain: &str,
        versions: Vec<DomainParts>,
        start: &Start,
        added: &Added,
    ) -> Result<()> {
        if let Some(running) = self.domains.find(domain) {
            return add_versions(&self.base, &running.versions, &versions).await;
        }
        if let Some(chosen) = Chosen::of(&self.base, versions).await? {
            let running = self.run(chosen, start).await?;
            self.domains.push(Arc::clone(&running));
            added(&running);
        }
        Ok(())
    }

    /// Lets all definitions of a domain be read again, once, if a generation is live whose version this process has not
    /// kept.
    fn forget_foreign(&mut self) {
        for running in self.domains.all().iter().filter(|running| running.is_foreign()) {
            let (domain, number) = (running.platform.domain(), running.serving.borrow().current.generation.number);
            if self.foreign.insert(domain, number) != Some(number) {
                self.known.remove(domain);
            }
        }
    }

    /// Runs domains as they are defined, until the task is dropped.
    pub(crate) async fn follow(mut self, added: Added) {
        // The start is over: what is wrong with search holds up no domain.
        self.base.is_search_checked.store(true, Ordering::Relaxed);
        let (mut changes, mut serving) = (self.changes.clone(), self.source.serving.clone());
        let (start, mut backoff) = (Start::new(), Backoff::new(PAUSE_FIRST, PAUSE_LONGEST));
        loop {
            changes.mark_unchanged();
            serving.mark_unchanged();
            match self.look(&start, &added).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    let source = self.source.platform.domain();
                    tracing::warn!(
                        domain = source,
                        error = format!("{error:#}"),
                        "cannot run a domain that {source} defines: {error:#}"
                    );
                    tokio::time::sleep(backoff.pause()).await;
                    continue;
                }
            }
            self.forget_foreign();
            tokio::select! {
                _ = changes.changed() => {}
                _ = serving.changed() => {}
                () = tokio::time::sleep(FOREIGN_LOOK) => {}
            }
        }
    }

    /// Runs a domain: its topics belong to the log, its generation is open and has caught up, and this process takes part
    /// in its partitions.
    async fn run(&mut self, chosen: Chosen, start: &Start) -> Result<Arc<Running>> {
        let Chosen { api, opened, all, is_new } = chosen;
        // What tables hold came from topics that are there.
        self.base.log.add_topics(&opened.projection.topics(), is_new).await?;
        let domain = opened.projection.domain();
        let running = Arc::new(self.base.open(api, opened, all, start).await?);
        if let Err(error) = self.complete(&running, start).await {
            // The next attempt opens it again.
            self.base.lease.remove(domain);
            running.stop().await;
            return Err(error);
        }
        tracing::info!(domain, "{domain} runs from now on");
        Ok(running)
    }

    /// Completes what a domain needs after it was opened.
    async fn complete(&mut self, running: &Running, start: &Start) -> Result<()> {
        let (domain, mut epoch) = (running.platform.domain(), None);
        for version in running.versions.folds.all() {
            let folded = Folded::of(version.projection.as_ref(), self.base.log.as_ref())?;
            epoch = Some(self.base.lease.add(folded).await?);
        }
        let (log, topics) = (Arc::clone(&self.base.log), running.platform.version.projection.topics());
        let end = tokio::task::spawn_blocking(move || log.end(&topics)).await??;
        let mut changes = self.base.control.changes();
        running.follow(&end, start).await?;
        running.catch_up(&end, start).await?;
        // Before that it must not answer; a generation of another version answers nothing here.
        let is_applied = || epoch.is_none_or(|epoch| self.base.lease.has_applied(domain, epoch));
        while running.opened.is_live && !running.is_foreign() && !is_applied() {
            // Either is a reason to look.
            let _due = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        Ok(())
    }
}
