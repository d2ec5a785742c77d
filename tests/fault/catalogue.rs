//! Faults under a collection: an Elasticsearch that refuses documents or takes them late, a broker that denies a topic, and
//! many who ask for a refresh at a time.

use daybook_tests::{
    api::Api,
    bulk_proxy::{BulkProxy, Harm},
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::define;

const IMAGES: &str = "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\n";
const COLLECTION: &str = "/api/v1/collections/image";
const OF_COLLECTION: &str = "domain=collection.image";
/// More than the proxy takes in one request.
const RECORDS: usize = 300;
/// How often some ask for a refresh at a time.
const TURNS: usize = 100;
/// How many they are, and in each turn of so many.
const CALLERS: usize = 2;
const CALLERS_MOST: usize = 24;
const TURNS_OF_MOST: usize = 25;

/// Writes records, and waits until they are found.
async fn fill(api: &Api) {
    let lines = (0..RECORDS).map(|number| json!({"id": format!("r{number:03}"), "title": "A pier"}).to_string());
    let lines: Vec<String> = lines.collect();
    let sent = api.post_text(&format!("{COLLECTION}/records:bulk"), &lines.join("\n")).await;
    assert_eq!(sent.json()["upserted"], RECORDS, "{}", sent.text);
    wait::until("all records are found", async || found(api, "").await == RECORDS).await;
}

/// A server that reaches Elasticsearch through a proxy, and whose collection has records.
struct Filled {
    proxy: BulkProxy,
    place: Place,
    server: Server,
}

impl Filled {
    async fn start(test: &str) -> Self {
        let proxy = BulkProxy::start(&services::elasticsearch(), Harm::Keep).await;
        let place = Place::new(test, Backend::Distributed).with_search(Some(proxy.url.clone()));
        let server = Server::start(&place);
        define(&server.api, COLLECTION, IMAGES).await;
        fill(&server.api).await;
        Self { proxy, place, server }
    }
}

/// How many records a search finds.
async fn found(api: &Api, query: &str) -> usize {
    let answer = api.get(&format!("{COLLECTION}/search?{query}")).await;
    answer.json()["total"].as_u64().and_then(|total| total.try_into().ok()).unwrap_or(usize::MAX)
}

/// Refreshes the collection until the refresh has ended; the state of its generation, and its report.
async fn refresh(api: &Api) -> (Value, Value) {
    let begun = api.post(&format!("/api/v1/rebuilds?{OF_COLLECTION}"), &json!({"promote": true})).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let number = begun.json()["generation"].clone();
    // The answer ends with the refresh.
    let events = api.get(&format!("/api/v1/rebuilds/collection.image-{number}/events")).await;
    assert_eq!(events.status, 200, "{}", events.text);
    let state = api.get(&format!("/api/v1/generations/{number}?{OF_COLLECTION}")).await.json();
    let report = api.get(&format!("/api/v1/generations/{number}/report?{OF_COLLECTION}")).await.json();
    (state, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_the_index_refuses_fails_the_refresh_that_names_it_and_the_next_one_has_it() {
    let Filled { proxy, place, server } = Filled::start("refuseddocument").await;
    let api = &server.api;
    proxy.set(Harm::Refuse("r007".to_owned()));
    let (state, report) = refresh(api).await;
    assert_eq!(state["state"], "failed", "{state}");
    let reason = state["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("r007"), "{reason}");
    let index = &report["index"];
    assert_eq!((&index["missing"], &report["passed"]), (&json!(["r007"]), &json!(false)), "{report}");
    assert_eq!(found(api, "").await, RECORDS, "a refresh that failed changed what is live");
    let is_empty = async || !place.parts().await.iter().any(|part| part.contains("_g0002"));
    wait::until("what was made for it is removed", is_empty).await;
    proxy.set(Harm::Keep);
    let (state, report) = refresh(api).await;
    assert_eq!((&state["state"], &report["passed"]), (&json!("live"), &json!(true)), "{report}");
    assert_eq!(found(api, "record_id=r007").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_on_an_overloaded_elasticsearch_has_every_document_in_the_end() {
    let Filled { proxy, place: _place, server } = Filled::start("overloadedrefresh").await;
    let api = &server.api;
    proxy.set(Harm::Overload);
    let (state, report) = refresh(api).await;
    assert_eq!((&state["state"], &report["passed"]), (&json!("live"), &json!(true)), "{state} {report}");
    assert_eq!(report["inspection"]["conservation"]["documents"], RECORDS, "{report}");
    let (whole, in_part) = proxy.refused();
    assert!(whole > 1 && in_part > 0, "{whole} requests were refused, {in_part} in part");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_ready_with_the_settings_of_its_definition_whatever_an_index_got_while_it_was_built() {
    let elasticsearch = Api::new(&services::elasticsearch());
    let Filled { proxy, place, server } = Filled::start("indexsettings").await;
    let api = &server.api;
    // A single server takes no copies: the index keeps its one for others to come.
    let definition = format!("{IMAGES}[index]\nreplicas = 1\nrefresh_interval = '3s'\n");
    define(api, COLLECTION, &definition).await;
    proxy.set(Harm::RefuseAll);
    let begun = api.post(&format!("/api/v1/rebuilds?{OF_COLLECTION}"), &json!({})).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let index = async || place.parts().await.into_iter().find(|part| part.contains('-') && part.ends_with("_g0002"));
    wait::until("the index is made", async || index().await.is_some()).await;
    let path = format!("/{}/_settings", index().await.unwrap_or_default());
    let by_hand = json!({"number_of_replicas": 0, "refresh_interval": "-1"}).to_string();
    let json = [("content-type", "application/json")];
    let set = elasticsearch.send(Method::PUT, &path, Some(by_hand), &json).await;
    assert_eq!(set.status, 200, "{}", set.text);
    proxy.set(Harm::Keep);
    let events = api.get("/api/v1/rebuilds/collection.image-2/events").await;
    assert_eq!(events.status, 200, "{}", events.text);
    let state = api.get(&format!("/api/v1/generations/2?{OF_COLLECTION}")).await.json();
    assert_eq!(state["state"], "ready", "{state}");
    let settings = elasticsearch.get(&path).await.text;
    for expected in [r#""number_of_replicas":"1""#, r#""refresh_interval":"3000ms""#] {
        assert!(settings.contains(expected), "{settings}");
    }
    let report = api.get(&format!("/api/v1/generations/2/report?{OF_COLLECTION}")).await.json();
    let warning = report["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.starts_with("copies of shards of ") && warning.ends_with(" without a server: 1"), "{report}");
    let printed = server.command(&["refresh", "report", "--collection", "image", "2", "--json"]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains(warning), "{printed:?}");
    // An index that is yellow for that reason alone can be promoted.
    let promoted = api.post(&format!("/api/v1/generations/2/promote?{OF_COLLECTION}"), &json!({})).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text);
    assert_eq!(found(api, "").await, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_request_that_comes_after_a_takedown_shows_nothing() {
    let Filled { proxy, place: _place, server } = Filled::start("latebulk").await;
    let api = &server.api;
    let ids: Vec<String> = (0..RECORDS / 2).map(|number| format!("r{number:03}")).collect();
    let down = api.post(&format!("{COLLECTION}/takedowns"), &json!({"ids": ids, "reason": "licence"})).await;
    assert_eq!(down.status, 200, "{}", down.text);
    let removed = api.send(Method::DELETE, &format!("{COLLECTION}/records/r299"), None, &[]).await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let shown = RECORDS - ids.len() - 1;
    wait::until("they are hidden", async || found(api, "").await == shown).await;
    let statuses = proxy.send_again().await;
    assert!(statuses.iter().filter(|status| **status == 409).count() > ids.len(), "{statuses:?}");
    // What has been written since is visible, and so is what the late requests have done.
    let written = api.send(Method::PUT, &format!("{COLLECTION}/records/new"), Some("{}".to_owned()), &[]).await;
    assert_eq!(written.status, 200, "{}", written.text);
    wait::until("the new record is found", async || found(api, "record_id=new").await == 1).await;
    assert_eq!(found(api, "").await, shown + 1, "a late request showed what is hidden");
    let (state, report) = refresh(api).await;
    assert_eq!((&state["state"], &report["passed"]), (&json!("live"), &json!(true)), "{report}");
}

/// Some ask for a refresh at a time, through several processes; the answers.
async fn ask(servers: &[Server], callers: usize) -> Vec<(u16, String)> {
    let mut asked = JoinSet::new();
    for caller in 0..callers {
        let api = servers[caller % servers.len()].api.clone();
        asked.spawn(async move {
            let answer = api.post(&format!("/api/v1/rebuilds?{OF_COLLECTION}"), &json!({})).await;
            (answer.status, answer.text)
        });
    }
    asked.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_refreshes_that_are_asked_for_at_a_time_one_runs_and_the_others_name_it() {
    for (backend, processes) in [(Backend::Embedded, 1), (Backend::Distributed, 2)] {
        let place = Place::new("manyrefreshes", backend);
        let servers: Vec<Server> = (0..processes).map(|_| Server::start(&place)).collect();
        for server in &servers {
            define(&server.api, COLLECTION, IMAGES).await;
        }
        fill(&servers[0].api).await;
        for turn in 0..TURNS {
            let generation = turn + 2;
            let callers = if turn.is_multiple_of(TURNS_OF_MOST) { CALLERS_MOST } else { CALLERS };
            let answers = ask(&servers, callers).await;
            let (begun, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 202);
            assert_eq!(begun.len(), 1, "{backend:?}, turn {turn}: {begun:?} {refused:?}");
            let holder = format!("generation {generation} of collection.image is ");
            let names_it = |(status, text): &(u16, String)| *status == 409 && text.contains(&holder);
            assert!(refused.iter().all(names_it), "{backend:?}, turn {turn}: {refused:?}");
            let path = format!("/api/v1/generations/{generation}/cancel?{OF_COLLECTION}");
            let cancelled = servers[0].api.post(&path, &json!({"reason": "the next turn"})).await;
            assert_eq!(cancelled.status, 200, "{}", cancelled.text);
        }
        let listed = servers[0].api.get(&format!("/api/v1/generations?{OF_COLLECTION}")).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(TURNS + 1), "{listed}");
        let left = async || place.parts().await.iter().any(|part| !part.contains("_g0001"));
        wait::until("what was made for them is removed", async || !left().await).await;
        for server in servers {
            assert!(server.stop());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_broker_denies_leaves_nothing_of_the_collection_and_the_answer_names_the_command() {
    let place = Place::new("denied", Backend::Distributed);
    let server = Server::start(&place);
    let (bootstrap, prefix) = place.topics();
    // Kafka denies a topic whose name differs from that of another one in dots and underscores alone.
    let other = format!("{prefix}_collection_image");
    services::python("fault/topics.py", &["create", bootstrap, prefix, &other]);
    let put = async || server.api.send(Method::PUT, COLLECTION, Some(IMAGES.to_owned()), &[]).await;
    for _ in 0..2 {
        let denied = put().await;
        assert_eq!(denied.status, 503, "{}", denied.text);
        let command =
            format!("kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {prefix}.collection.image");
        assert!(denied.text.contains(&command), "{}", denied.text);
    }
    assert_eq!(server.api.get(COLLECTION).await.status, 404);
    assert_eq!(server.api.get("/api/v1/collections").await.json()["collections"], json!([]));
    let defined = place.events().into_iter().filter(|event| event.to_string().contains("CollectionDefined")).count();
    assert_eq!(defined, 0, "a collection without a topic was recorded");
    services::python("fault/topics.py", &["delete", bootstrap, prefix, &other]);
    // 200 if the definition was recorded by a request that was answered before it was served.
    wait::until("the topic is allowed", async || [200, 201].contains(&put().await.status)).await;
    let written = server.api.send(Method::PUT, &format!("{COLLECTION}/records/a"), Some("{}".to_owned()), &[]).await;
    assert_eq!(written.status, 200, "{}", written.text);
    assert!(server.stop());
}
