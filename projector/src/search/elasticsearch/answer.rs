//! Elasticsearch's answer to a search, read into what was found.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{SEARCH_MAX, failure, is_good, schema::whole_name};
use crate::search::{
    SearchError,
    document::{Document, Stored},
    request::{Facet, Found, Hit, Parent, ParentsFound, ParentsRequest, Request},
    shape::{Field, IndexShape},
};

#[derive(Deserialize)]
struct Answer {
    timed_out: bool,
    hits: Hits<Scored>,
    #[serde(default)]
    aggregations: BTreeMap<String, Buckets>,
}

#[derive(Deserialize)]
struct Hits<T> {
    total: Total,
    #[serde(default = "Vec::new")]
    hits: Vec<T>,
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

/// One of several answers.
#[derive(Deserialize)]
struct OneOf {
    status: u16,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    timed_out: bool,
    hits: Option<Hits<Columns>>,
}

#[derive(Deserialize)]
struct Several {
    responses: Vec<OneOf>,
}

#[derive(Deserialize)]
struct Columns {
    #[serde(default)]
    fields: BTreeMap<String, Vec<String>>,
}

/// A page of a scan.
pub(super) struct Scanned {
    pub(super) documents: Vec<Stored>,
    /// Where the scan goes on; `None` without documents.
    pub(super) last: Option<Value>,
    pub(super) point_in_time: String,
}

#[derive(Deserialize)]
struct ScanAnswer {
    pit_id: String,
    timed_out: bool,
    #[serde(default)]
    hits: ScanHits,
}

#[derive(Default, Deserialize)]
struct ScanHits {
    #[serde(default)]
    hits: Vec<ScanHit>,
}

#[derive(Deserialize)]
struct ScanHit {
    #[serde(rename = "_source")]
    source: Source,
    sort: Value,
}

/// Reads the answer to a page of a scan.
pub(super) fn read_scanned(text: &str) -> Result<Scanned, SearchError> {
    let answer: ScanAnswer = serde_json::from_str(text).map_err(unreadable)?;
    if answer.timed_out {
        return Err(late());
    }
    let last = answer.hits.hits.last().map(|hit| hit.sort.clone());
    let documents = answer.hits.hits.into_iter().map(|hit| hit.source.document.into()).collect();
    Ok(Scanned { documents, last, point_in_time: answer.pit_id })
}

/// Reads the answer to requests for parents.
pub(super) fn read_parents(
    shape: &IndexShape,
    text: &str,
    requests: &[ParentsRequest],
) -> Result<Vec<ParentsFound>, SearchError> {
    let several: Several = serde_json::from_str(text).map_err(unreadable)?;
    if several.responses.len() != requests.len() {
        let count = several.responses.len();
        return Err(SearchError::Unavailable(format!("{count} of {} searches were answered", requests.len())));
    }
    let (own_id, inherited) = (whole_name(shape, Field::OwnId), whole_name(shape, Field::Inherited));
    let parent = |mut columns: Columns| {
        let id = columns.fields.remove(&own_id)?.into_iter().next()?;
        Some(Parent { id, values: columns.fields.remove(&inherited).unwrap_or_default() })
    };
    let found = several.responses.into_iter().map(|answer| {
        if !is_good(answer.status) {
            return Err(failure(answer.status, &serde_json::json!({"error": answer.error})));
        }
        if answer.timed_out {
            return Err(late());
        }
        let hits = answer.hits.ok_or_else(|| SearchError::Unavailable("a search has no hits".to_owned()))?;
        let parents = hits.hits.into_iter().filter_map(parent).collect();
        Ok(ParentsFound { total: hits.total.value, parents })
    });
    found.collect()
}

pub(super) fn unreadable(error: serde_json::Error) -> SearchError {
    // A stored document of another shape is not changed. A body that is not JSON is not from Elasticsearch.
    let kind = if error.is_data() { SearchError::Refused } else { SearchError::Unavailable };
    kind(format!("cannot read the answer to a search: {error}"))
}

fn late() -> SearchError {
    SearchError::Unavailable(format!("the search took longer than {SEARCH_MAX}"))
}

/// Reads the answer to a request.
pub(super) fn read(text: &str, request: &Request) -> Result<Found, SearchError> {
    let answer: Answer = serde_json::from_str(text).map_err(unreadable)?;
    if answer.timed_out {
        return Err(late());
    }
    let by_relevance = request.sort.field.is_none();
    let hit = |it: Scored| Hit { document: it.source.document, score: it.score.filter(|_| by_relevance) };
    let mut aggregations = answer.aggregations;
    let facet = |(index, facet): (usize, &Facet)| {
        let buckets = aggregations.remove(&index.to_string()).map(|it| it.buckets).unwrap_or_default();
        let takes = facet.takes();
        let taken = buckets.into_iter().filter(|bucket| takes(&bucket.key)).take(facet.values_max);
        taken.map(|bucket| (bucket.key, bucket.doc_count)).collect()
    };
    Ok(Found {
        total: answer.hits.total.value,
        facets: request.facets.iter().enumerate().map(facet).collect(),
        hits: answer.hits.hits.into_iter().map(hit).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::super::shape::example::library, *};

    fn answer(timed_out: bool, document: &str) -> String {
        let hit = format!(r#"{{"_id":"1","_score":1.5,"_source":{{"document":{document}}}}}"#);
        format!(r#"{{"took":1,"timed_out":{timed_out},"hits":{{"total":{{"value":7}},"hits":[{hit}]}}}}"#)
    }

    #[test]
    fn an_answer_is_read_or_says_why_not() {
        let request = Request::all(&library(), 1);
        let document = r#"{"id":"book/1","revision":1,"source":{"kind":"book"}}"#;
        let found = read(&answer(false, document), &request).unwrap_or_default();
        assert_eq!((found.total, found.hits[0].document.id.as_str(), found.hits[0].score), (7, "book/1", None));
        assert!(matches!(read(&answer(true, document), &request), Err(SearchError::Unavailable(_))));
        assert!(matches!(read(&answer(false, r#"{"type":"other"}"#), &request), Err(SearchError::Refused(_))));
        assert!(matches!(read("<html>", &request), Err(SearchError::Unavailable(_))));
    }

    #[test]
    fn parents_are_read_or_say_why_not() {
        let asked =
            ParentsRequest { matching: crate::search::query::Expression::Nothing, parents_max: 1, values: true };
        let read = |text: &str| read_parents(&library(), text, std::slice::from_ref(&asked));
        let good = r#"{"responses":[{"status":200,"timed_out":false,"hits":{"total":{"value":9},
            "hits":[{"_score":null,"fields":{"own_id":["shelf/1"],"inherited_whole":["a","b"]}}]}}]}"#;
        let found = read(good).unwrap_or_default();
        assert_eq!((found[0].total, found[0].parents[0].id.as_str()), (9, "shelf/1"));
        assert_eq!(found[0].parents[0].values, ["a", "b"]);
        let refused = r#"{"responses":[{"status":404,"error":{"type":"index_not_found_exception","reason":"r"}}]}"#;
        assert!(matches!(read(refused), Err(SearchError::Gone(_))));
        assert!(matches!(read(r#"{"responses":[]}"#), Err(SearchError::Unavailable(_))));
    }
}
