//! An index is bound to one generation of one domain of one log, on every engine.

use std::{fs, sync::Arc};

use daybook_metaflow::projection::Metaflow;
use daybook_projector::search::{
    SearchError, SearchIndex, SearchStore, binding::Binding, document::Document, elasticsearch::ElasticsearchStore,
    request::Request, source::Documents, tantivy::TantivyStore,
};
use daybook_tests::{
    api::Api,
    services::{self, Folder},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Engine, address, all_revisions, binding, engines};

/// A document that was read when so many records were applied.
fn document(number: i64, applied: i64) -> Document {
    let mut document = Document::new(format!("run/F/{number}"), 1);
    document.set("type", "run");
    document.set("created_at", number);
    document.applied = applied;
    document
}

async fn refusal(store: &dyn SearchStore, binding: &Binding) -> String {
    let outcomes =
        [store.check(binding).await.err(), store.open(binding).await.err(), store.delete(binding).await.err()];
    let [Some(SearchError::Foreign(reason)), Some(SearchError::Foreign(_)), Some(SearchError::Foreign(_))] = outcomes
    else {
        panic!("not refused as foreign: {outcomes:?}");
    };
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_log_or_domain_is_refused_and_left_alone() {
    let shape = Metaflow.shape();
    for engine in engines("foreign", &shape).await {
        engine.write(&[document(1, 1)]).await;
        let (before, ours) = (all_revisions(engine.index.as_ref()).await, binding(&shape));
        let Engine { name, store, index, _folder } = engine;
        let id = index.id().to_owned();
        drop(index);
        let other_log = Binding { log_id: "log-b".to_owned(), ..ours.clone() };
        let reason = refusal(store.as_ref(), &other_log).await;
        assert!(reason.contains(&ours.log_id) && reason.contains("log-b"), "{name}: {reason}");
        let remedy = if name == "tantivy" { "data directory" } else { "--search" };
        assert!(reason.contains(remedy), "{name}: {reason}");
        let other_domain = Binding { domain: "books".to_owned(), ..ours.clone() };
        let reason = refusal(store.as_ref(), &other_domain).await;
        assert!(reason.contains("domain books") && reason.contains(&ours.domain), "{name}: {reason}");
        let again = store.open(&ours).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((again.id(), all_revisions(again.as_ref()).await), (id.as_str(), before), "{name}");
        // Tables of another fold make other documents.
        drop(again);
        let other_fold = Binding { fingerprint: "another".to_owned(), ..ours };
        let made = store.open(&other_fold).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(made.id() != id && all_revisions(made.as_ref()).await.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_says_how_new_it_is_and_when_it_is_gone() {
    let shape = Metaflow.shape();
    for engine in engines("newest", &shape).await {
        let newest = async || engine.index.newest().await.map_err(|error| error.to_string());
        assert_eq!(newest().await, Ok(None), "{}", engine.name);
        engine.write(&[document(1, 70), document(2, 20)]).await;
        engine.write(&[document(3, 50)]).await;
        assert_eq!(newest().await, Ok(Some(70)), "{}", engine.name);
        engine.store.delete(&binding(&shape)).await.unwrap_or_else(|error| panic!("{}: {error}", engine.name));
        let gone = engine.index.newest().await;
        assert!(matches!(gone, Err(SearchError::Gone(_))), "{}: {gone:?}", engine.name);
        let again = engine.store.open(&binding(&shape)).await;
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", engine.name));
        assert_ne!(again.id(), engine.index.id(), "{}", engine.name);
        // It has the same name, and is not the index that was opened first.
        let gone = engine.index.newest().await;
        assert!(matches!(gone, Err(SearchError::Gone(_))), "{}: {gone:?}", engine.name);
        assert_eq!(again.newest().await.ok(), Some(None), "{}", engine.name);
    }
}

/// A store on Elasticsearch, and the path of what would be its index.
fn elasticsearch(test: &str) -> (ElasticsearchStore, Api, String) {
    let (address, prefix) = address(test);
    let store = ElasticsearchStore::new(address).unwrap_or_else(|error| panic!("{error}"));
    (store, Api::new(&services::elasticsearch()), format!("/{prefix}-domain_g0001"))
}

async fn call(api: &Api, method: Method, path: &str, body: Value) {
    let answer = api.send(method, path, Some(body.to_string()), &[("content-type", "application/json")]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_aliases_of_others_are_refused_and_left_alone() {
    let ours = binding(&Metaflow.shape());
    // Made by hand or by another program; made by an earlier version.
    for body in
        [json!({}), json!({"mappings": {"_meta": {"by": 1}}}), json!({"mappings": {"_meta": {"fingerprint": "0"}}})]
    {
        let (store, api, index) = elasticsearch("by_hand");
        call(&api, Method::PUT, &index, body).await;
        let reason = refusal(&store, &ours).await;
        assert!(reason.contains(&index[1..]) && reason.contains("no log that it names"), "{reason}");
        assert_eq!(api.get(&index).await.status, 200);
    }
    // The name of the index, or of its alias, leads to an index of somebody else.
    for suffix in ["", "-live"] {
        let (store, api, index) = elasticsearch("alias");
        let (other, name) = (format!("{index}-other"), format!("{}{suffix}", &index[1..]));
        call(&api, Method::PUT, &other, json!({"aliases": {(&*name): {}}})).await;
        let reason = refusal(&store, &ours).await;
        assert!(reason.contains(&other[1..]) && reason.contains("--search"), "{reason}");
        assert_eq!(api.get(&other).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_was_taken_away_is_given_again() {
    let ours = binding(&Metaflow.shape());
    let (store, api, index) = elasticsearch("no_alias");
    let first = store.open(&ours).await.unwrap_or_else(|error| panic!("{error}"));
    let alias = format!("{index}/_alias/{}-live", &index[1..]);
    assert_eq!(api.send(Method::DELETE, &alias, None, &[]).await.status, 200);
    let lost = first.write(&[document(1, 1)]).await;
    assert!(matches!(lost, Err(SearchError::Gone(_))), "{lost:?}");
    let again: Arc<_> = store.open(&ours).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.id(), first.id());
    assert_eq!(again.write(&[document(1, 1)]).await.ok(), Some(Vec::new()));
}

/// How many documents a search finds.
async fn total(index: &dyn SearchIndex) -> Result<u64, SearchError> {
    index.search(Request::all(index.shape(), 10)).await.map(|found| found.total)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_where_the_alias_led_instead_does_not_count_as_written() {
    let ours = binding(&Metaflow.shape());
    let (store, api, index) = elasticsearch("led_away");
    let opened = store.open(&ours).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(opened.write(&[document(1, 1)]).await.ok(), Some(Vec::new()));
    opened.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    let (other, alias) = (format!("{index}-other"), format!("{}-live", &index[1..]));
    call(&api, Method::PUT, &other, json!({})).await;
    let add = json!({"add": {"index": &other[1..], "alias": alias}});
    let remove = |index: &str| json!({"remove": {"index": index, "alias": alias}});
    // To two indexes, and then to the other one alone.
    for actions in [json!([add]), json!([remove(&index[1..])])] {
        call(&api, Method::POST, "/_aliases", json!({"actions": actions})).await;
        for refused in [opened.write(&[document(2, 2)]).await.err(), opened.newest().await.err()] {
            let is_named = matches!(&refused, Some(SearchError::Foreign(reason)) if reason.contains("--search"));
            assert!(is_named, "{refused:?}");
        }
        assert_eq!(total(opened.as_ref()).await.ok(), Some(1), "a search answers from another index");
    }
    let back = json!([remove(&other[1..]), {"add": {"index": &index[1..], "alias": alias}}]);
    call(&api, Method::POST, "/_aliases", json!({"actions": back})).await;
    assert_eq!(opened.newest().await.ok(), Some(Some(1)));
    assert_eq!(opened.write(&[document(2, 2)]).await.ok(), Some(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_index_is_waited_for_until_it_is_open_again() {
    let ours = binding(&Metaflow.shape());
    let (store, api, index) = elasticsearch("closed");
    let opened = store.open(&ours).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(api.send(Method::POST, &format!("{index}/_close"), None, &[]).await.status, 200);
    for refused in [
        opened.write(&[document(1, 1)]).await.err(),
        opened.refresh().await.err(),
        opened.newest().await.err(),
        total(opened.as_ref()).await.err(),
    ] {
        assert!(matches!(&refused, Some(SearchError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(api.send(Method::POST, &format!("{index}/_open"), None, &[]).await.status, 200);
    let again = store.open(&ours).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.id(), opened.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_for_others_leads_to_one_index_and_never_takes_another_s_place() {
    let shape = Metaflow.shape();
    let first = binding(&shape);
    let second = Binding { index: "domain_g0002".to_owned(), ..first.clone() };
    let (store, api, index) = elasticsearch("outside");
    for binding in [&first, &second] {
        store.open(binding).await.unwrap_or_else(|error| panic!("{error}"));
    }
    // `/<prefix>-domain_g0001`
    let (prefix, _) = index.split_once("-domain_g").unwrap_or((&index, ""));
    let alias = format!("{prefix}-domain");
    for binding in [&first, &second, &first, &first] {
        store.point(binding).await.unwrap_or_else(|error| panic!("{error}"));
        let found = api.get(&alias).await.json();
        let names: Vec<&String> = found.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        assert_eq!(names, [&format!("{}-{}", &prefix[1..], binding.index)], "{found}");
    }
    store.delete(&first).await.unwrap_or_else(|error| panic!("{error}"));
    let foreign = api.send(Method::PUT, &alias, None, &[]).await;
    assert_eq!(foreign.status, 200, "{}", foreign.text);
    let refused = store.point(&second).await;
    assert!(matches!(refused, Err(SearchError::Foreign(_))), "{refused:?}");

    let folder = Folder::new("outside");
    let store = TantivyStore::new(folder.0.clone());
    let link = folder.0.join("domain-live");
    for binding in [&first, &second, &first] {
        store.open(binding).await.unwrap_or_else(|error| panic!("{error}"));
        store.point(binding).await.unwrap_or_else(|error| panic!("{error}"));
        let target = fs::read_link(&link).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(target.to_str(), Some(binding.index.as_str()));
        assert!(fs::read_dir(&link).is_ok(), "the link leads nowhere");
    }
    fs::remove_file(&link).and_then(|()| fs::create_dir(&link)).unwrap_or_else(|error| panic!("{error}"));
    let refused = store.point(&second).await;
    assert!(matches!(refused, Err(SearchError::Foreign(_))), "{refused:?}");
}
