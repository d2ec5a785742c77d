//! A request as a body of Elasticsearch's search API.

use serde_json::{Value, json};

use crate::{
    run_status::Status,
    search::{
        document::Kind,
        query::{Expression, Field},
        request::{Facet, Filter, Request, SortField, SortValue, Start},
    },
};

/// The body of a search.
pub(super) fn search(request: &Request) -> Value {
    let mut body = json!({
        "query": matching(request),
        "size": request.hits_max,
        "track_total_hits": true,
    });
    let key = json!({"key": "asc"});
    body["sort"] = match sorted(request.sort.field) {
        None => json!(["_score", key]),
        Some(field) => json!([{field: if request.sort.descending { "desc" } else { "asc" }}, key]),
    };
    match &request.start {
        Start::First => {}
        Start::Skip(count) => body["from"] = json!(count),
        Start::After { value: SortValue::Int(value), key } => body["search_after"] = json!([value, key]),
        Start::After { value: SortValue::Text(value), key } => body["search_after"] = json!([value, key]),
    }
    if !request.facets.is_empty() {
        let facets = request.facets.iter().enumerate().map(|(index, it)| (index.to_string(), facet(it)));
        body["aggs"] = Value::Object(facets.collect());
    }
    body
}

/// Which documents match. That all do is said as such: Elasticsearch then knows their number without counting.
fn matching(request: &Request) -> Value {
    let filter = conditions(&request.filter);
    match &request.query {
        None if filter.is_empty() => json!({"match_all": {}}),
        None => json!({"bool": {"filter": filter}}),
        Some(query) => json!({"bool": {"must": [expression(query)], "filter": filter}}),
    }
}

/// The field that hits are sorted by; `None` by relevance.
const fn sorted(field: SortField) -> Option<&'static str> {
    match field {
        SortField::Relevance => None,
        SortField::CreatedAt => Some("created_at"),
        SortField::Run => Some("run"),
        SortField::Flow => Some("whole.flow"),
        SortField::Type => Some("whole.type"),
        SortField::User => Some("user_or_empty"),
        SortField::Status => Some("status_or_empty"),
    }
}

fn expression(query: &Expression) -> Value {
    let all = |parts: &[Expression]| parts.iter().map(expression).collect::<Vec<_>>();
    match query {
        Expression::Words { field, terms, prefix } => words(*field, terms, *prefix),
        Expression::All(parts) => json!({"bool": {"must": all(parts)}}),
        Expression::Any(parts) => json!({"bool": {"should": all(parts), "minimum_should_match": 1}}),
        Expression::Not(inner) => json!({"bool": {"must_not": [expression(inner)]}}),
        Expression::Nothing => json!({"match_none": {}}),
    }
}

fn words(field: Field, terms: &[String], prefix: bool) -> Value {
    let name = format!("terms.{}", field.as_str());
    match terms {
        [] => json!({"match_none": {}}),
        [one] if prefix => json!({"prefix": {name: {"value": one}}}),
        [one] => json!({"term": {name: {"value": one}}}),
        [before @ .., last] if prefix => {
            let parts = [words(field, before, false), words(field, std::slice::from_ref(last), true)];
            // A prefix has no score of its own: nor does what comes before it in the same word.
            json!({"constant_score": {"filter": {"bool": {"filter": parts}}}})
        }
        several => json!({"match_phrase": {name: {"query": several.join(" ")}}}),
    }
}

fn conditions(filter: &Filter) -> Vec<Value> {
    let kinds: Vec<&str> = filter.kinds.iter().copied().map(Kind::as_str).collect();
    let statuses: Vec<&str> = filter.statuses.iter().copied().map(Status::as_str).collect();
    let any_of = [
        ("whole.type", kinds),
        ("whole.status", statuses),
        ("whole.flow", filter.flows.iter().map(String::as_str).collect()),
        ("whole.user", filter.users.iter().map(String::as_str).collect()),
    ];
    let wanted = any_of.into_iter().filter(|(_, values)| !values.is_empty());
    let mut conditions: Vec<Value> = wanted.map(|(field, values)| json!({"terms": {field: values}})).collect();
    conditions.extend(filter.tags.iter().map(|tag| json!({"term": {"whole.tag": {"value": tag}}})));
    if filter.from.is_some() || filter.to.is_some() {
        let mut range = json!({});
        if let Some(from) = filter.from {
            range["gte"] = json!(from);
        }
        if let Some(to) = filter.to {
            range["lt"] = json!(to);
        }
        conditions.push(json!({"range": {"created_at": range}}));
    }
    conditions
}

fn facet(facet: &Facet) -> Value {
    let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
    let field = format!("whole.{}", facet.field.as_str());
    let mut terms = json!({"field": field, "size": facet.values_max, "order": order});
    if !facet.prefix.is_empty() {
        terms["include"] = json!(format!("{}.*", escape(&facet.prefix)));
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
