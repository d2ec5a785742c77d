//! Runs searches on the indexes of both generations, and compares what they find: totals, and the ids of all documents.
//! Their order is not compared.

use std::collections::BTreeMap;

use daybook_projector::{
    bookkeeping::checkpoints,
    search::{
        SearchError, SearchIndex, inherited, query,
        request::{Request, conditions},
        shape::IndexShape,
    },
};

use super::{
    ATTEMPTS, CanaryReport, VerifyError,
    documents::{Indexed, note},
    ranges::{Comparison, judge},
    wait::wait_for_index,
};

/// Documents of one page.
const PAGE: usize = 500;
/// Documents that a search may find, at most, for their ids to be compared.
const IDS_MAX: u64 = 10_000;

/// A search that verification runs on both generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// In which domain.
    pub domain: String,
    /// The query; every document matches an empty one.
    pub query: String,
    /// Fields with values that they must have.
    pub filters: Vec<(String, String)>,
}

impl Canary {
    /// The request to an index, or why there is none.
    pub fn request(&self, shape: &IndexShape) -> Result<Request, String> {
        let query = query::parse(shape, &self.query).map_err(|error| error.to_string())?;
        let filter = conditions(shape, &self.filters).map_err(|error| format!("{}: {error}", error.field))?;
        Ok(Request { query, filter, ..Request::all(shape, PAGE) })
    }
}

/// What a search has found.
struct Found {
    total: u64,
    /// All ids; `None` if there are too many.
    ids: Option<BTreeMap<String, ()>>,
}

/// Runs the searches of the domain.
pub(super) async fn compare(
    comparison: &mut Comparison<'_>,
    indexed: &Indexed<'_>,
) -> Result<Vec<CanaryReport>, VerifyError> {
    let mut reports = Vec::new();
    for canary in indexed.canaries_of(comparison.live.domain) {
        let filters = canary.filters.iter().map(|(field, value)| format!("{field}={value}")).collect();
        let mut report = CanaryReport { query: canary.query.clone(), filters, ..CanaryReport::default() };
        report.not_compared = match compare_found(comparison, indexed, canary, &mut report).await {
            Ok(reason) => reason,
            Err(VerifyError::Search(error)) if !error.is_retryable() => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        reports.push(report);
        comparison.steps.add(1);
    }
    Ok(reports)
}

/// Runs a search until each id is known to be found by both, by one only, or to change all the time. Returns why ids are
/// not compared, if they are not.
async fn compare_found(
    comparison: &Comparison<'_>,
    indexed: &Indexed<'_>,
    canary: &Canary,
    report: &mut CanaryReport,
) -> Result<Option<String>, VerifyError> {
    let Some(live) = indexed.live else {
        return Ok(Some("the index of the live generation is not open here".to_owned()));
    };
    let requests = (canary.request(live.shape()), canary.request(indexed.index.shape()));
    let (of_live, of_candidate) = match requests {
        (Ok(of_live), Ok(of_candidate)) => (of_live, of_candidate),
        (Err(reason), _) => return Ok(Some(reason)),
        (Ok(_), Err(reason)) => {
            report.is_refused = true;
            return Ok(Some(reason));
        }
    };
    let mut changing = None;
    for _ in 0..ATTEMPTS {
        let before = find(live, &of_live).await?;
        let wanted = checkpoints::read(comparison.live.tables.as_ref()).await?;
        wait_for_index(comparison.candidate, indexed.index, indexed.documents, &wanted).await?;
        let found = find(indexed.index, &of_candidate).await.inspect_err(|_| report.is_refused = true)?;
        let wanted = checkpoints::read(comparison.candidate.tables.as_ref()).await?;
        match wait_for_index(comparison.live, live, indexed.documents, &wanted).await {
            // A new index for the same tables may take the place of one that is stuck.
            Err(error @ VerifyError::Behind { .. }) if comparison.has_same_tables() => {
                return Ok(Some(error.to_string()));
            }
            reached => reached?,
        }
        let after = find(live, &of_live).await?;
        (report.live_total, report.candidate_total) = (after.total, found.total);
        // What is written meanwhile is no difference.
        let (least, most) = (before.total.min(after.total), before.total.max(after.total));
        report.total_differences = found.total.abs_diff(found.total.clamp(least, most));
        let (Some(before), Some(found), Some(after)) = (before.ids, found.ids, after.ids) else {
            return Ok(Some(format!("more than {IDS_MAX} documents match: only totals are compared")));
        };
        let judged = judge(&before, &found, &after, changing.as_ref());
        for id in judged.differing {
            match found.contains_key(&id) {
                true => note(&mut report.only_candidate, &mut report.only_candidate_count, id),
                false => note(&mut report.only_live, &mut report.only_live_count, id),
            }
        }
        let is_done = judged.changing.is_empty();
        changing = Some(judged.changing);
        if is_done {
            break;
        }
    }
    report.changing_count = changing.map_or(0, |ids| ids.len() as u64);
    Ok(None)
}

/// Searches page by page.
async fn find(index: &dyn SearchIndex, request: &Request) -> Result<Found, SearchError> {
    let (mut request, mut ids) = (request.clone(), BTreeMap::new());
    loop {
        let found = inherited::search(index, request.clone()).await?.found;
        let (total, is_last) = (found.total, found.hits.len() < request.hits_max);
        let after = found.hits.last().and_then(|last| request.sort.after(index.shape(), &last.document));
        let read = ids.len();
        ids.extend(found.hits.into_iter().map(|hit| (hit.document.id, ())));
        // A document whose time was altered could lead back: then the pages have no end.
        let (Some(after), false, true) = (after, is_last, ids.len() > read) else {
            return Ok(Found { total, ids: Some(ids) });
        };
        if total > IDS_MAX || ids.len() as u64 > IDS_MAX {
            return Ok(Found { total, ids: None });
        }
        request.start = after;
    }
}
