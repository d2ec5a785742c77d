//! Elasticsearch's answer to a search, read into what was found.

use std::collections::BTreeMap;

use serde::Deserialize;

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
    let answer: Answer = serde_json::from_str(text)
        .map_err(|error| SearchError::Unavailable(format!("a search's answer cannot be read: {error}")))?;
    if answer.timed_out {
        return Err(SearchError::Unavailable("the search took too long".to_owned()));
    }
    let by_relevance = request.sort.field == SortField::Relevance;
    let hit = |it: Scored| Hit { document: it.source.document, score: it.score.filter(|_| by_relevance) };
    let mut aggregations = answer.aggregations;
    let mut facet = |index: usize| {
        let buckets = aggregations.remove(&index.to_string()).map(|it| it.buckets).unwrap_or_default();
        buckets.into_iter().map(|bucket| (bucket.key, bucket.doc_count)).collect()
    };
    Ok(Found {
        total: answer.hits.total.value,
        facets: (0..request.facets.len()).map(&mut facet).collect(),
        hits: answer.hits.hits.into_iter().map(hit).collect(),
    })
}
