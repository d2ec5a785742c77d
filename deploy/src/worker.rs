//! `daybook worker`: lends a process to the rebuilds of a deployment on network stores.

mod defined;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use daybook_reindexer::{
    lease::WORKER,
    worker::{Work, Worker},
};
use tokio::signal::unix::{SignalKind, signal};

use self::defined::Defined;
use crate::{
    config::{Config, Log, Tables},
    domains::Domain,
    exit::{Code, Failure},
    outage::Outage,
    running::Base,
    start::Start,
    wire::{self, Parts},
};

/// Between two looks for rebuilds, in case no notification comes.
const LOOK: Duration = Duration::from_millis(500);
/// How long every look may fail before the worker ends: its partitions are others' then.
const FAILURES_MAX: Duration = Duration::from_secs(30);
/// Between two reports of progress.
const REPORT: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Config, domains: &[Domain], until_idle: Option<Duration>) -> Result<()> {
    if matches!(config.log, Log::Embedded) || matches!(config.tables, Tables::Sqlite) {
        let text =
            "embedded stores are open in one process: a worker needs --log with Kafka and --tables with PostgreSQL";
        return Err(Failure::new(Code::Usage, text).into());
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (start, instance) = (Start::new(), wire::instance_name());
    let connect = Parts::connect(&config, domains, &instance, WORKER.to_owned(), &start);
    let parts = tokio::select! {
        parts = connect => parts?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let base = Base { projects: true, ..parts.base.clone() };
    let lent = |domain: &Domain| {
        let worker = Worker::new(base.platform_of(&domain.parts(&config.domains))?);
        Ok(Lent { worker, defined: domain.defines.map(|defines| Defined::new(base.clone(), defines)) })
    };
    let mut all: Vec<Lent> = domains.iter().map(lent).collect::<Result<_>>()?;
    let worked = async {
        check(&all).await?;
        tracing::info!("waiting for rebuilds");
        work(&parts, &mut all, until_idle).await
    };
    let ended = tokio::select! {
        ended = worked => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    tracing::info!("stopping");
    let limit = config.process.shutdown_max;
    let stopping = async {
        for lent in all {
            lent.worker.stop().await;
        }
        parts.stop(limit).await;
    };
    if tokio::time::timeout(limit, stopping).await.is_err() {
        tracing::warn!("stopped after {} ms with work in progress", limit.as_millis());
    }
    ended
}

/// What this process lends to the rebuilds of a domain.
struct Lent {
    worker: Worker,
    /// The domains that it defines, if it can define any.
    defined: Option<Defined>,
}

impl Lent {
    /// Takes part in the rebuilds of the domain. The workers of domains that it defines are added to `found`.
    async fn look(&mut self, found: &mut Vec<Worker>) -> Result<Vec<Work>> {
        let work = self.worker.look().await?;
        if let (Some(defined), Some(live)) = (&mut self.defined, self.worker.live()) {
            defined.look(&live, found).await?;
        }
        Ok(work)
    }
}

/// Fails if this process could not do its share.
async fn check(all: &[Lent]) -> Result<()> {
    for lent in all {
        if let Some(reason) = lent.worker.unfit().await? {
            return Err(Failure::new(Code::Usage, reason).into());
        }
    }
    Ok(())
}

/// Takes part in rebuilds until there was none for some time, or until it cannot any longer.
async fn work(parts: &Parts, all: &mut Vec<Lent>, until_idle: Option<Duration>) -> Result<()> {
    let (mut busy, mut outage, mut reports) = (Instant::now(), Outage::default(), BTreeMap::new());
    let mut changes = parts.base.control.changes();
    loop {
        changes.mark_unchanged();
        let (mut failure, mut found) = (None, Vec::new());
        for lent in all.iter_mut() {
            match lent.look(&mut found).await {
                Ok(work) => {
                    if work.iter().any(|work| !work.waits) {
                        busy = Instant::now();
                    }
                    work.into_iter().for_each(|work| report(work, &mut reports));
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "cannot take part in a rebuild: {error}");
                    (busy, failure) = (Instant::now(), Some(error));
                }
            }
        }
        if !found.is_empty() {
            all.extend(found.into_iter().map(|worker| Lent { worker, defined: None }));
            continue;
        }
        match failure {
            None => outage.note_success(),
            Some(failure) if outage.note_failure(Instant::now()) >= FAILURES_MAX => {
                return Err(Failure::new(Code::Unavailable, format!("cannot take part in rebuilds: {failure}")).into());
            }
            Some(_) => {}
        }
        if until_idle.is_some_and(|limit| busy.elapsed() >= limit) {
            tracing::info!("no rebuild is under way");
            return Ok(());
        }
        // Either is a reason to look.
        let _due = tokio::time::timeout(LOOK, changes.changed()).await;
    }
}

/// Logs the progress of a rebuild when its state or its failure changes, and every few seconds.
fn report(work: Work, reports: &mut BTreeMap<(&'static str, i64), (Work, Instant)>) {
    let key = (work.domain, work.generation);
    if let Some((before, at)) = reports.get(&key) {
        let is_same = before.state == work.state && before.failure == work.failure;
        let is_further = before.left != work.left || before.documents != work.documents;
        if is_same && (at.elapsed() < REPORT || !is_further) {
            return;
        }
    }
    let Work { domain, generation, state, records, left, documents, failure, .. } = &work;
    let (state, documents) = (state.as_str(), documents.unwrap_or(0));
    match failure {
        None => tracing::info!(
            domain,
            generation,
            state,
            records,
            left,
            documents,
            "generation {generation} of {domain} is {state}: {records} records applied here, {left} left, {documents} \
             documents written here"
        ),
        Some(failure) => {
            tracing::warn!(domain, generation, state, left, failure, "generation {generation} of {domain}: {failure}");
        }
    }
    reports.insert(key, (work, Instant::now()));
}
