//! Literal mappings: fields that programs search which read Elasticsearch themselves.

use std::sync::Arc;

use daybook_projector::search::{
    SearchError, SearchStore,
    document::Document,
    elasticsearch::ElasticsearchStore,
    query::parse,
    request::Request,
    shape::{IndexShape, LiteralMapping},
    tantivy::TantivyStore,
};
use daybook_tests::{
    api::Api,
    services::{self, Folder},
};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{address, binding, model::shapes};

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

/// A shape with a literal mapping.
fn shape(properties: Value, analysis: Value) -> Arc<IndexShape> {
    let [_, _, (_, shape)] = shapes();
    let literal = LiteralMapping { properties: object(properties), analysis: object(analysis) };
    Arc::new(IndexShape { literal: Some(literal), ..IndexShape::clone(&shape) })
}

fn book(id: &str, title: &str, pages: i64) -> Document {
    let mut book = Document::new(id.to_owned(), 1);
    book.set("sort_of", "book");
    book.set("title", title);
    book.set("pages", pages);
    book
}

/// An analyser of the cluster's own parts, which Daybook has not.
fn without_colours() -> Value {
    json!({
        "filter": {"colours": {"type": "stop", "stopwords": ["red", "blue"]}},
        "analyzer": {"plain": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase", "colours"]}},
    })
}

/// The store of a test, and its prefix.
fn store(test: &str) -> (ElasticsearchStore, String) {
    let (address, prefix) = address(test);
    (ElasticsearchStore::new(address).unwrap_or_else(|error| panic!("{error}")), prefix)
}

/// The ids that a query through an alias finds, in their order.
async fn found(alias: &str, query: &Value) -> Vec<String> {
    let (path, body) = (format!("/{alias}/_search"), json!({"query": query}).to_string());
    let headers = [("content-type", "application/json")];
    let answer = Api::new(&services::elasticsearch()).send(Method::POST, &path, Some(body), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["_id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_by_the_analysers_and_numbers_of_the_cluster_and_daybooks_own_search_does_not_change() {
    let properties = json!({
        "title": {"type": "text", "analyzer": "plain", "fields": {"raw": {"type": "keyword"}}},
        "pages": {"type": "short"},
        "notes": {"type": "text"},
    });
    let ((store, prefix), shape) = (store("literal"), shape(properties, without_colours()));
    store.check_shape(&shape).await.unwrap_or_else(|error| panic!("{error}"));
    let index = store.open(&binding(&shape)).await.unwrap_or_else(|error| panic!("{error}"));
    let long = book("long", "An old Pier", 300);
    let mut hidden = Document::new("hidden".to_owned(), 1);
    hidden.set("sort_of", "note");
    let documents = [book("short", "Pier", 3), long, hidden, book("refused", "Pier", 1_000_000)];
    let refused = index.write(&documents).await.unwrap_or_else(|error| panic!("{error}"));
    let named: Vec<_> = refused.iter().map(|it| it.id.as_str()).collect();
    assert!(named == ["refused"] && refused[0].reason.contains("record.pages"), "{refused:?}");
    index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    store.point(&binding(&shape)).await.unwrap_or_else(|error| panic!("{error}"));
    let alias = format!("{prefix}-domain");

    let words = json!({"match": {"record.title": {"query": "Blue PIER", "operator": "and"}}});
    let factor = json!({"field": "record.pages", "missing": 0});
    let ranked =
        |query| json!({"function_score": {"query": query, "field_value_factor": factor, "boost_mode": "replace"}});
    assert_eq!(found(&alias, &ranked(words)).await, ["long", "short"]);
    assert_eq!(found(&alias, &json!({"term": {"record.title.raw": "Pier"}})).await, ["short"]);
    assert_eq!(found(&alias, &json!({"bool": {"must_not": {"exists": {"field": "record.pages"}}}})).await, ["hidden"]);

    let own = async |query: &str| {
        let query = parse(&shape, query).unwrap_or_else(|error| panic!("{error}"));
        let found = index.search(Request { query, ..Request::all(&shape, 9) }).await;
        let found = found.unwrap_or_else(|error| panic!("{error}"));
        found.hits.into_iter().map(|hit| hit.document).collect::<Vec<_>>()
    };
    assert_eq!(own("blue pier").await, []);
    assert_eq!(own("title:old").await, [documents[1].clone()], "what is shown of a document has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_has_not_is_named_and_the_embedded_engine_has_none() {
    let (store, _) = store("literal-refused");
    let analyzer = |analyzer: &str| json!({"title": {"type": "text", "analyzer": analyzer}});
    let mine = json!({"analyzer": {"mine": {"type": "custom", "tokenizer": "nosuch_tokenizer"}}});
    for (properties, analysis, expected) in [
        (analyzer("nosuch"), json!({}), "analyzer [nosuch] has not been configured"),
        (analyzer("mine"), mine, "nosuch_tokenizer"),
        (json!({"title": {"type": "nosuch_type"}}), json!({}), "nosuch_type"),
    ] {
        let shape = shape(properties, analysis);
        let checked = store.check_shape(&shape).await;
        let opened = store.open(&binding(&shape)).await.map(|index| index.describe());
        for said in [checked.err(), opened.err()] {
            let is_named = matches!(&said, Some(SearchError::Unsupported(reason)) if reason.contains(expected));
            assert!(is_named, "{said:?} names no {expected}");
        }
    }
    let folder = Folder::new("literal-embedded");
    let (embedded, shape) = (TantivyStore::new(folder.0.clone()), shape(analyzer("simple"), json!({})));
    store.check_shape(&shape).await.unwrap_or_else(|error| panic!("{error}"));
    let opened = embedded.open(&binding(&shape)).await.map(|index| index.describe());
    for said in [embedded.check_shape(&shape).await.err(), opened.err()] {
        assert!(said.as_ref().is_some_and(|said| said.to_string().contains("needs Elasticsearch")), "{said:?}");
    }
}
