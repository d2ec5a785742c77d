//! One verification of a candidate.

use daybook_projector::bookkeeping::checkpoints;

use crate::{
    running::{Open, Platform},
    verify::{
        self, Indexed, Limits, Report, VerifyError,
        inspect::{Inspected, Side},
    },
};

/// Compares a candidate with the live generation. The report, and what is different, if anything is.
pub(super) async fn verified(
    platform: &Platform,
    live: &Open,
    open: &Open,
    limits: &Limits,
) -> Result<Report, VerifyError> {
    let index_of = |open: &Open| open.search.as_ref().and_then(|search| search.index());
    let (index, of_live) = (index_of(open), index_of(live));
    let indexed = index.as_deref().zip(platform.version.documents.as_deref()).map(|(index, documents)| Indexed {
        index,
        documents,
        live: of_live.as_deref(),
        canaries: &platform.settings.canaries,
    });
    let (live, candidate, throttle) = (&live.generation, &open.generation, platform.lease.throttle());
    let projection = &platform.version.projection;
    let mut report = verify::verify(live, candidate, projection, indexed, limits, &|_, _| {}, throttle).await?;
    if let Some(inspector) = &platform.version.inspector {
        let documents = platform.version.documents.as_deref();
        let mut live = Side { generation: live, index: of_live.as_deref() };
        let candidate = Side { generation: candidate, index: index.as_deref() };
        let since = checkpoints::read(candidate.generation.tables.as_ref()).await?;
        candidate.catch_up(documents).await?;
        match live.catch_up(documents).await {
            // A new one may take its place because of that.
            Err(VerifyError::Behind { .. } | VerifyError::Search(_)) => live.index = None,
            reached => reached?,
        }
        let refused = report.index.as_ref().map_or(0, |index| index.counts.refused);
        report.add(inspector.inspect(Inspected { live, candidate, since, refused, throttle }).await?);
    }
    Ok(report)
}
