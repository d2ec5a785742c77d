//! The canaries of a definition: searches whose answer is known, on the candidate.

use daybook_projector::search::{
    SearchIndex, inherited, query,
    request::{Request, Sort, conditions},
    shape::IndexShape,
};
use daybook_reindexer::verify::VerifyError;
use serde_json::{Value, json};

use crate::{
    definition::verify::{Canary, CanaryIndex, Expectation},
    records::documents::SENSITIVE,
};

/// Hits among which an expected record has to be.
const TOP: usize = 10;

/// What a canary has found.
pub(super) struct Found {
    query: String,
    hits: u64,
    top: Vec<String>,
    /// Why the candidate must not be promoted.
    pub(super) reason: Option<String>,
}

impl Found {
    /// Runs a canary.
    pub(super) async fn of(canary: &Canary, index: &dyn SearchIndex) -> Result<Self, VerifyError> {
        let query = canary.query.clone();
        let request = match request(canary, index.shape()) {
            Ok(request) => request,
            Err(reason) => {
                let reason = Some(format!("the canary {query:?} cannot be run: {reason}"));
                return Ok(Self { query, hits: 0, top: Vec::new(), reason });
            }
        };
        let found = inherited::search(index, request).await?.found;
        let top: Vec<String> = found.hits.into_iter().map(|hit| hit.document.id).collect();
        let reason = judge(canary, found.total, &top);
        Ok(Self { query, hits: found.total, top, reason })
    }

    pub(super) fn show(&self) -> Value {
        let Self { query, hits, top, reason } = self;
        json!({"query": query, "hits": hits, "top": top, "held": reason.is_none()})
    }
}

fn request(canary: &Canary, shape: &IndexShape) -> Result<Request, String> {
    let parsed = query::parse(shape, &canary.query).map_err(|error| error.to_string())?;
    let is_filtered = canary.index == CanaryIndex::Filtered && shape.find(SENSITIVE, |field| field.facet).is_some();
    let given: Vec<(String, String)> =
        if is_filtered { vec![(SENSITIVE.to_owned(), false.to_string())] } else { Vec::new() };
    let filter = conditions(shape, &given).map_err(|error| error.to_string())?;
    let sort = if parsed.is_some() { Sort::relevance() } else { Sort::newest(shape) };
    Ok(Request { query: parsed, filter, sort, ..Request::all(shape, TOP) })
}

/// What is not as the canary expects it.
fn judge(canary: &Canary, hits: u64, top: &[String]) -> Option<String> {
    let Canary { query, expect: Expectation { min_hits, top_contains }, .. } = canary;
    if let Some(least) = min_hits.filter(|least| hits < *least) {
        return Some(format!("the canary {query:?} finds {hits} documents, at least {least} are expected"));
    }
    let missing = top_contains.as_ref().filter(|id| !top.contains(id));
    missing.map(|id| format!("the canary {query:?} does not find {id} among the first {TOP}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_names_what_is_not_as_expected() {
        let canary = |min_hits, top_contains: Option<&str>| Canary {
            index: CanaryIndex::Main,
            query: "pier".to_owned(),
            expect: Expectation { min_hits, top_contains: top_contains.map(str::to_owned) },
        };
        let top = ["a".to_owned(), "b".to_owned()];
        assert_eq!(judge(&canary(Some(2), Some("b")), 2, &top), None);
        let few = "the canary \"pier\" finds 1 documents, at least 2 are expected";
        assert_eq!(judge(&canary(Some(2), None), 1, &top).as_deref(), Some(few));
        let absent = "the canary \"pier\" does not find c among the first 10";
        assert_eq!(judge(&canary(None, Some("c")), 9, &top).as_deref(), Some(absent));
    }
}
