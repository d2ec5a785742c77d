//! One verification of a candidate.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use daybook_projector::{
    bookkeeping::checkpoints,
    search::{SearchError, SearchIndex},
};
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use crate::{
    running::{Open, Platform},
    verify::{
        self, Indexed, Limits, Report, VerifyError,
        inspect::{Inspected, Inspection, Side},
    },
};

/// How long the index of a candidate may take to open.
const OPENED_MAX: Duration = Duration::from_secs(60);

/// Compares a candidate with the live generation. The report, and what is different, if anything is.
///
/// What a domain checks itself reads every record, as the comparison does. Both go on at the same time, so that each can
/// have a processor of its own; the first one that fails ends both.
pub(super) async fn verified(
    platform: &Platform,
    live: &Open,
    open: &Open,
    limits: &Limits,
) -> Result<Report, VerifyError> {
    let (tell_refused, refused) = oneshot::channel();
    let (of_platform, of_live, of_candidate) = (platform.clone(), live.clone(), open.clone());
    // Ends with this.
    let mut inspecting = JoinSet::new();
    inspecting.spawn(async move { inspected(&of_platform, &of_live, &of_candidate, refused).await });
    let compared = async {
        let report = compared(platform, live, open, limits).await?;
        // Nobody asks without an inspector.
        let _notified = tell_refused.send(report.index.as_ref().map_or(0, |index| index.counts.refused));
        Ok(report)
    };
    let (mut report, inspection) = tokio::try_join!(compared, outcome(&mut inspecting))?;
    inspection.into_iter().for_each(|inspection| report.add(inspection));
    Ok(report)
}

/// What the one task of a set comes to; a panic goes on here.
async fn outcome(
    inspecting: &mut JoinSet<Result<Option<Inspection>, VerifyError>>,
) -> Result<Option<Inspection>, VerifyError> {
    match inspecting.join_next().await {
        Some(Ok(inspection)) => inspection,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The process ends.
            Err(_) => Err(SearchError::Unavailable("the inspection was cut off".to_owned()).into()),
        },
        None => Ok(None),
    }
}

/// The index of a candidate, once it is open; `None` only where search is switched off.
async fn index_of_candidate(open: &Open) -> Result<Option<Arc<dyn SearchIndex>>, VerifyError> {
    match &open.search {
        Some(search) => {
            let late = |_| SearchError::Unavailable(format!("the index is not open after {} s", OPENED_MAX.as_secs()));
            Ok(Some(timeout(OPENED_MAX, search.opened()).await.map_err(late)??))
        }
        None => Ok(None),
    }
}

/// The index of the live generation, if it is open.
fn index_of_live(open: &Open) -> Option<Arc<dyn SearchIndex>> {
    open.search.as_ref().and_then(|search| search.index())
}

/// Compares rows and documents.
async fn compared(platform: &Platform, live: &Open, open: &Open, limits: &Limits) -> Result<Report, VerifyError> {
    let (index, of_live) = (index_of_candidate(open).await?, index_of_live(live));
    let indexed = index.as_deref().zip(platform.version.documents.as_deref()).map(|(index, documents)| Indexed {
        index,
        documents,
        live: of_live.as_deref(),
        canaries: &platform.settings.canaries,
    });
    let (live, candidate, throttle) = (&live.generation, &open.generation, platform.lease.throttle());
    let projection = &platform.version.projection;
    verify::verify(live, candidate, projection, indexed, limits, &|_, _| {}, throttle).await
}

/// What the domain itself finds; `None` if it checks nothing.
async fn inspected(
    platform: &Platform,
    live: &Open,
    open: &Open,
    refused: oneshot::Receiver<u64>,
) -> Result<Option<Inspection>, VerifyError> {
    let Some(inspector) = &platform.version.inspector else { return Ok(None) };
    let (index, of_live) = (index_of_candidate(open).await?, index_of_live(live));
    let (documents, throttle) = (platform.version.documents.as_deref(), platform.lease.throttle());
    let mut live = Side { generation: &live.generation, index: of_live.as_deref() };
    let candidate = Side { generation: &open.generation, index: index.as_deref() };
    match live.catch_up(documents).await {
        // A new one may take its place because of that.
        Err(VerifyError::Behind { .. } | VerifyError::Search(_)) => live.index = None,
        reached => reached?,
    }
    candidate.follow(&live).await?;
    let since = checkpoints::read(candidate.generation.tables.as_ref()).await?;
    inspector.inspect(Inspected { live, candidate, documents, since, refused, throttle }).await.map(Some)
}
