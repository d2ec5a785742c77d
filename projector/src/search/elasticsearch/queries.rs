//! A request as a body of Elasticsearch's search API.

use serde_json::{Value, json};

use super::schema::{composed_name, sorted_name, terms_name, whole_name};
use crate::search::{
    query::Expression,
    request::{Facet, ParentsRequest, Request, Sort, SortValue, Start},
    shape::{Field, IndexShape, RANK_MAX},
    words::canonical::{comparable, composed, invariable},
};

/// Values of a facet that each of several shards sends, and that are compared with a prefix, at most.
const VALUES_READ_MAX: usize = 10_000;
/// Characters of a prefix that Elasticsearch sees, at most: a pattern has at most a thousand, of which each takes two.
const PATTERN_MAX: usize = 400;

/// The body of a search.
pub(super) fn search(shape: &IndexShape, request: &Request) -> Value {
    let matching = matching(shape, request);
    let mut body = json!({
        "query": if request.sort.field.is_none() { ranked(shape, matching) } else { matching },
        "size": request.hits_max,
        "track_total_hits": true,
        "sort": sorted(shape, request.sort),
    });
    match &request.start {
        Start::First => {}
        Start::Skip(count) => body["from"] = json!(count),
        Start::After { value: SortValue::Int(value), key } => body["search_after"] = json!([value, key]),
        Start::After { value: SortValue::Text(value), key } => body["search_after"] = json!([value, key]),
    }
    if !request.facets.is_empty() {
        let facets = request.facets.iter().enumerate().map(|(index, it)| (index.to_string(), facet(shape, it)));
        body["aggs"] = Value::Object(facets.collect());
    }
    body
}

/// A query whose scores grow with the rank of documents.
fn ranked(shape: &IndexShape, query: Value) -> Value {
    let Some(rank) = shape.rank else { return query };
    let grows = json!({"field": sorted_name(shape, rank), "factor": 1.0 / RANK_MAX as f64});
    let functions = json!([{"weight": 1}, {"field_value_factor": grows}]);
    json!({"function_score": {"query": query, "functions": functions, "score_mode": "sum", "boost_mode": "multiply"}})
}

/// The body of a search for parents: columns of them, and no documents.
pub(super) fn parents(shape: &IndexShape, request: &ParentsRequest) -> Value {
    let mut columns = vec![whole_name(shape, Field::OwnId)];
    if request.values {
        columns.push(whole_name(shape, Field::Inherited));
    }
    json!({
        "query": {"bool": {"filter": [expression(shape, &request.matching)]}},
        "size": request.parents_max,
        "track_total_hits": true,
        "sort": sorted(shape, Sort::newest(shape)),
        "_source": false,
        "stored_fields": "_none_",
        "docvalue_fields": columns,
    })
}

fn sorted(shape: &IndexShape, sort: Sort) -> Value {
    let key = json!({"key": "asc"});
    match sort.field {
        None => json!(["_score", key]),
        Some(field) => json!([{sorted_name(shape, field): if sort.descending { "desc" } else { "asc" }}, key]),
    }
}

/// Which documents match. That all do is said as such: Elasticsearch then knows their number without counting.
fn matching(shape: &IndexShape, request: &Request) -> Value {
    let filter: Vec<Value> = request.filter.iter().map(|condition| expression(shape, condition)).collect();
    match &request.query {
        None if filter.is_empty() => json!({"match_all": {}}),
        None => json!({"bool": {"filter": filter}}),
        Some(query) => json!({"bool": {"must": [expression(shape, query)], "filter": filter}}),
    }
}

fn expression(shape: &IndexShape, query: &Expression) -> Value {
    let all = |parts: &[Expression]| parts.iter().map(|part| expression(shape, part)).collect::<Vec<_>>();
    match query {
        Expression::Words { field, terms, prefix } => words(&terms_name(shape, *field), terms, *prefix),
        Expression::Value { field, one_of } => value(shape, *field, one_of),
        Expression::Time { from, to } => {
            let mut span = json!({});
            if let Some(from) = from {
                span["gte"] = json!(from);
            }
            if let Some(to) = to {
                span["lt"] = json!(to);
            }
            json!({"range": {sorted_name(shape, shape.time_field): span}})
        }
        Expression::All(parts) => json!({"bool": {"must": all(parts)}}),
        Expression::Any(parts) => json!({"bool": {"should": all(parts), "minimum_should_match": 1}}),
        Expression::Not(inner) => json!({"bool": {"must_not": [expression(shape, inner)]}}),
        Expression::Nothing => json!({"match_none": {}}),
    }
}

/// Documents with one of some whole values.
fn value(shape: &IndexShape, field: Field, one_of: &[String]) -> Value {
    let whole = whole_name(shape, field);
    let Some(other) = composed_name(shape, field) else { return json!({"terms": {whole: one_of}}) };
    let compared: Vec<_> = one_of.iter().map(|value| comparable(value)).collect();
    json!({"bool": {"should": [{"terms": {whole: compared}}, {"terms": {other: compared}}], "minimum_should_match": 1}})
}

fn words(name: &str, terms: &[String], prefix: bool) -> Value {
    match terms {
        [] => json!({"match_none": {}}),
        [one] if prefix => json!({"prefix": {name: {"value": one}}}),
        [one] => json!({"term": {name: {"value": one}}}),
        [before @ .., last] if prefix => {
            let parts = [words(name, before, false), words(name, std::slice::from_ref(last), true)];
            // A prefix has no score of its own: nor does what comes before it in the same word.
            json!({"constant_score": {"filter": {"bool": {"filter": parts}}}})
        }
        several => json!({"match_phrase": {name: {"query": several.join(" ")}}}),
    }
}

fn facet(shape: &IndexShape, facet: &Facet) -> Value {
    let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
    let mut terms = json!({"field": whole_name(shape, facet.field), "size": facet.values_max, "order": order});
    if shape.storage.shards > 1 {
        // Exact where a shard has no more values than this.
        terms["shard_size"] = json!(VALUES_READ_MAX.max(facet.values_max));
    }
    if !facet.prefix.is_empty() {
        // Values are not composed, so this takes more of them than the facet does: the answer is filtered.
        terms["size"] = json!(VALUES_READ_MAX.max(facet.values_max));
        let prefix: String = invariable(&composed(&facet.prefix)).chars().take(PATTERN_MAX).collect();
        if !prefix.is_empty() {
            terms["include"] = json!(format!("{}.*", escape(&prefix)));
        }
    }
    json!({"terms": terms})
}

/// A text as a regular expression of Lucene's that means just it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if !c.is_alphanumeric() && c.is_ascii() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
