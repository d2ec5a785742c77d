//! `daybook worker`: lends a process to the rebuilds of a deployment on network stores.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use daybook_projector::chain;
use daybook_reindexer::{
    lease::WORKER,
    worker::{Work, Worker},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{Config, Log, Tables},
    domains::Domain,
    exit::{Code, Failure},
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
    let worker = |domain: &Domain| Ok(Worker::new(base.platform_of(&domain.parts(&config.domains))?));
    let mut workers: Vec<Worker> = domains.iter().map(worker).collect::<Result<_>>()?;
    let worked = async {
        check(&workers).await?;
        tracing::info!("waiting for rebuilds");
        work(&parts, &mut workers, until_idle).await
    };
    let ended = tokio::select! {
        ended = worked => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    tracing::info!("stopping");
    let limit = config.process.shutdown_max;
    let stopping = async {
        for worker in workers {
            worker.stop().await;
        }
        parts.stop(limit).await;
    };
    if tokio::time::timeout(limit, stopping).await.is_err() {
        tracing::warn!("stopped after {} ms with work in progress", limit.as_millis());
    }
    ended
}

/// Fails if this process could not do its share.
async fn check(workers: &[Worker]) -> Result<()> {
    for worker in workers {
        if let Some(reason) = worker.unfit().await? {
            return Err(Failure::new(Code::Usage, reason).into());
        }
    }
    Ok(())
}

/// Takes part in rebuilds until there was none for some time, or until it cannot any longer.
async fn work(parts: &Parts, workers: &mut [Worker], until_idle: Option<Duration>) -> Result<()> {
    let (mut busy, mut well, mut reports) = (Instant::now(), Instant::now(), BTreeMap::new());
    let mut changes = parts.base.control.changes();
    loop {
        changes.mark_unchanged();
        let mut failure = None;
        for worker in workers.iter_mut() {
            match worker.look().await {
                Ok(all) => {
                    if all.iter().any(|work| !work.waits) {
                        busy = Instant::now();
                    }
                    all.into_iter().for_each(|work| report(work, &mut reports));
                }
                Err(error) => {
                    let chain = chain(&error);
                    tracing::warn!(error = chain, "cannot take part in a rebuild: {chain}");
                    (busy, failure) = (Instant::now(), Some(chain));
                }
            }
        }
        match failure {
            None => well = Instant::now(),
            Some(failure) if well.elapsed() >= FAILURES_MAX => {
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
