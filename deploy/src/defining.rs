//! Runs the domains that the events of another domain define: those that its live tables name and that do not run here
//! yet, at the start and while the process serves.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use daybook_projector::{backoff::Backoff, generation};
use daybook_query_api::app::{Defined, DomainParts};
use daybook_reindexer::lease::Folded;
use tokio::sync::watch;

use crate::{
    domains::Defines,
    running::{Base, Domains, Running},
    start::Start,
};

/// The first and the longest pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

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
}

impl Defining {
    /// Runs nothing yet.
    pub(crate) fn new(base: Base, domains: Domains, source: Arc<Running>, defines: Defines) -> Self {
        let (changed, changes) = watch::channel(());
        Self { base, domains, source, defines, changed, changes, heard: None }
    }

    /// Runs the domains that do not run yet, and calls `added` with each. One that fails holds up no other; the last
    /// failure is returned.
    pub(crate) async fn look(&mut self, start: &Start, added: &Added) -> Result<()> {
        let live = Arc::clone(&self.source.serving.borrow().live().generation);
        if self.heard.replace(live.number) != Some(live.number) {
            let changed = self.changed.clone();
            live.subscribe(Box::new(move |_| changed.send(()).is_ok()));
        }
        let known: Vec<&'static str> = self.domains.all().iter().map(|running| running.platform.domain()).collect();
        let mut failure = None;
        for defined in (self.defines.read)(&live, &known).await? {
            match self.run_defined(defined, start).await {
                Ok(Some(running)) => {
                    self.domains.push(Arc::clone(&running));
                    added(&running);
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Runs domains as they are defined, until the task is dropped.
    pub(crate) async fn follow(mut self, added: Added) {
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
            tokio::select! {
                _ = changes.changed() => {}
                _ = serving.changed() => {}
            }
        }
    }

    async fn run_defined(&mut self, defined: Defined, start: &Start) -> Result<Option<Arc<Running>>> {
        match self.choose(defined).await? {
            Some(parts) => self.run(parts, start).await.map(Some),
            None => Ok(None),
        }
    }

    /// The version that the live generation was built with; the newest if there is no generation, or none of these built
    /// it.
    async fn choose(&self, defined: Defined) -> Result<Option<DomainParts>> {
        let Some(domain) = defined.versions.first().map(|parts| parts.projection.domain()) else { return Ok(None) };
        let live = self.base.control.live(domain).await?;
        let entries = self.base.control.generations(domain).await?;
        let built = entries.iter().find(|entry| Some(entry.generation) == live).map(|entry| entry.fingerprint.as_str());
        let mut versions = defined.versions.into_iter();
        let newest = versions.next();
        for parts in newest.iter().cloned().chain(versions) {
            if built.is_none() || built == Some(generation::fingerprint(parts.projection.as_ref())?.as_str()) {
                return Ok(Some(parts));
            }
        }
        Ok(newest)
    }

    /// Runs a domain: its topics belong to the log, its generation is open and has caught up, and this process takes part
    /// in its partitions.
    async fn run(&mut self, parts: DomainParts, start: &Start) -> Result<Arc<Running>> {
        let domain = parts.projection.domain();
        let topics = parts.projection.topics();
        // What tables hold came from topics that are there.
        let is_new = self.base.control.generations(domain).await?.is_empty();
        self.base.log.add_topics(&topics, is_new).await?;
        let folded = Folded::of(parts.projection.as_ref(), self.base.log.as_ref())?;
        let running = Arc::new(self.base.open(parts, start).await?);
        if let Err(error) = self.complete(&running, folded, start).await {
            // The next attempt opens it again.
            self.base.lease.remove(domain);
            running.stop().await;
            return Err(error);
        }
        tracing::info!(domain, "{domain} runs from now on");
        Ok(running)
    }

    /// Completes what a domain needs after it was opened.
    async fn complete(&mut self, running: &Running, folded: Folded, start: &Start) -> Result<()> {
        let domain = folded.domain;
        let epoch = self.base.lease.add(folded).await?;
        let log = Arc::clone(&self.base.log);
        let end = tokio::task::spawn_blocking(move || log.end()).await??;
        let mut changes = self.base.control.changes();
        running.follow(&end, start).await?;
        running.catch_up(&end, start).await?;
        // Before that it must not answer; a generation of another version answers nothing here.
        while running.opened.is_live && !running.is_foreign() && !self.base.lease.has_applied(domain, epoch) {
            // Either is a reason to look.
            let _due = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        Ok(())
    }
}
