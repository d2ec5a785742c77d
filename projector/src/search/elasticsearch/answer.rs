//! Elasticsearch's answer to a search, read into what was found.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SEARCH_MAX;
use crate::search::{
    SearchError,
    document::Document,
    request::{Found, Hit, Request, SortField},
};

#[derive(Deserialize)]
struct Answer {
    timed_out: bool,
    hits: Hits,
    #[serde(default)]
    aggregations: BTreeMap<String, Buckets>,
}

#[derive(Deserialize)]
struct Hits {
    total: Total,
    #[serde(default)]
    hits: Vec<Scored>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Scored {
    #[serde(rename = "_score")]
    score: Option<f32>,
    #[serde(rename = "_source")]
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    document: Document,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    key: String,
    doc_count: u64,
}

/// Reads the answer to a request.
pub(super) fn read(text: &str, request: &Request) -> Result<Found, SearchError> {
    let answer: Answer = serde_json::from_str(text).map_err(|error| {
        // A stored document of another shape stays as it is; what is no JSON is not Elasticsearch's word.
        let kind = if error.is_data() { SearchError::Refused } else { SearchError::Unavailable };
        kind(format!("cannot read the answer to a search: {error}"))
    })?;
    if answer.timed_out {
        return Err(SearchError::Unavailable(format!("the search took longer than {SEARCH_MAX}")));
    }
    let by_relevance = request.sort.field == SortField::Relevance;
    let hit = |it: Scored| Hit { document: it.source.document, score: it.score.filter(|_| by_relevance) };
    let mut aggregations = answer.aggregations;
    let facet = |index: usize| {
        let buckets = aggregations.remove(&index.to_string()).map(|it| it.buckets).unwrap_or_default();
        buckets.into_iter().map(|bucket| (bucket.key, bucket.doc_count)).collect()
    };
    Ok(Found {
        total: answer.hits.total.value,
        facets: (0..request.facets.len()).map(facet).collect(),
        hits: answer.hits.hits.into_iter().map(hit).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(timed_out: bool, document: &str) -> String {
        let hit = format!(r#"{{"_id":"1","_score":1.5,"_source":{{"document":{document}}}}}"#);
        format!(r#"{{"took":1,"timed_out":{timed_out},"hits":{{"total":{{"value":7}},"hits":[{hit}]}}}}"#)
    }

    #[test]
    fn an_answer_is_read_or_says_why_not() {
        let (request, flow) = (Request::all(1), r#"{"type":"flow","revision":1,"created_at":0,"flow":"F"}"#);
        let found = read(&answer(false, flow), &request).unwrap_or_default();
        assert_eq!((found.total, found.hits[0].document.flow.as_str(), found.hits[0].score), (7, "F", None));
        assert!(matches!(read(&answer(true, flow), &request), Err(SearchError::Unavailable(_))));
        assert!(matches!(read(&answer(false, r#"{"type":"other"}"#), &request), Err(SearchError::Refused(_))));
        assert!(matches!(read("<html>", &request), Err(SearchError::Unavailable(_))));
    }
}
