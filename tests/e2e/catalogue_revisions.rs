//! Revisions of a definition: the live generation keeps the one that it was built with, a rebuild takes the newest one, and
//! a process runs generations of both.

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

const FIRST: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
source = { type = "text", max_length = 80 }
title = { type = "text", max_length = 200 }
width = "int"
"#;

/// Adds a field, drops one, and adds a rule.
const SECOND: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
source = { type = "text", max_length = 80 }
title = { type = "text", max_length = 200 }
height = "int"
[clean]
rules = [{ id = "titles", kind = "sanitize-text", fields = ["title"] }]
"#;

pub(super) const COLLECTION: &str = "/api/v1/collections/image";

pub(super) async fn define(api: &Api, definition: &str) {
    crate::define(api, "image", definition).await;
}

pub(super) async fn put(api: &Api, record_id: &str, fields: &Value) -> Value {
    let path = format!("{COLLECTION}/records/{record_id}");
    let answer = api.send(Method::PUT, &path, Some(fields.to_string()), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The fields of a record, and the generation that they are from.
pub(super) async fn shown(api: &Api, record_id: &str) -> (Value, String) {
    let answer = api.get(&format!("{COLLECTION}/records/{record_id}")).await;
    (answer.json()["fields"].clone(), answer.header("daybook-generation").to_owned())
}

pub(super) async fn begin(api: &Api, promote: bool) -> i64 {
    let answer = api.post("/api/v1/rebuilds?domain=collection.image", &json!({"promote": promote})).await;
    let generation = answer.json()["generation"].as_i64();
    generation.unwrap_or_else(|| panic!("no rebuild begins: {}", answer.text))
}

pub(super) async fn until(api: &Api, generation: i64, state: &str) {
    let path = format!("/api/v1/generations/{generation}?domain=collection.image");
    let mut last = Value::Null;
    wait::until("the generation goes on", async || {
        last = api.get(&path).await.json();
        assert_ne!(last["state"], "failed", "{last}");
        last["state"] == state
    })
    .await;
}

pub(super) async fn change(api: &Api, generation: i64, change: &str) -> Answer {
    api.post(&format!("/api/v1/generations/{generation}/{change}?domain=collection.image"), &json!({})).await
}

async fn found(api: &Api, query: &str, after: &Value) -> u64 {
    let position = after["position"].as_str().unwrap_or_default().to_owned();
    let headers: Vec<(&str, &str)> =
        if position.is_empty() { vec![] } else { vec![("daybook-min-position", &position)] };
    let answer = api.get_served(&format!("{COLLECTION}/search?{query}"), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["total"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_the_newest_revision_and_the_way_back_loses_nothing() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("revisions", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, FIRST).await;
        put(api, "a", &json!({"title": "An  old   pier", "width": 3, "source": "eol"})).await;
        put(api, "down", &json!({"title": "hidden"})).await;
        let taken = api.post(&format!("{COLLECTION}/takedowns"), &json!({"ids": ["down"], "reason": "licence"})).await;
        assert_eq!(taken.status, 200, "{}", taken.text);
        define(api, SECOND).await;
        // Records are read by the newest revision, and the live generation keeps what its own says.
        let written = put(api, "b", &json!({"title": "A  boat", "width": 4, "height": 5})).await;
        assert_eq!(written["ignored_fields"], json!([]), "{written}");
        let of_first = json!({"id": "b", "source": null, "title": "A  boat", "width": 4});
        assert_eq!(shown(api, "b").await, (of_first.clone(), "1".to_owned()));
        let plan = api.get("/api/v1/rebuilds/plan?domain=collection.image").await.json();
        assert!(plan["reasons"].to_string().contains("has changed since generation 1"), "{plan}");

        let generation = begin(api, true).await;
        until(api, generation, "live").await;
        // The process follows the switch by itself.
        wait::until("it answers from the new generation", async || shown(api, "a").await.1 == "2").await;
        let of_second = |title: &str, height: Value, source: Value| json!({"id": null, "title": title, "height": height, "source": source});
        let check = async |record_id: &str, mut expected: Value, generation: &str| {
            expected["id"] = record_id.into();
            assert_eq!(shown(api, record_id).await, (expected, generation.to_owned()), "{backend:?}");
        };
        check("a", of_second("An old pier", Value::Null, "eol".into()), "2").await;
        check("b", of_second("A boat", 5.into(), Value::Null), "2").await;
        assert_eq!(api.get(&format!("{COLLECTION}/records/down")).await.status, 410);
        assert_eq!((found(api, "q=pier", &Value::Null).await, found(api, "q=hidden", &Value::Null).await), (1, 0));
        put(api, "c", &json!({"title": "A  heron", "height": 6})).await;
        check("c", of_second("A heron", 6.into(), Value::Null), "2").await;

        // The previous one has applied it, too.
        let back = change(api, 1, "rollback").await;
        assert_eq!(back.status, 200, "{}", back.text);
        let of_first = json!({"id": "c", "source": null, "title": "A  heron", "width": null});
        assert_eq!(shown(api, "c").await, (of_first, "1".to_owned()));
        put(api, "d", &json!({"title": "A  quay", "height": 7})).await;
        let forth = change(api, 2, "promote").await;
        assert_eq!(forth.status, 200, "{}", forth.text);
        check("d", of_second("A quay", 7.into(), Value::Null), "2").await;
        assert!(server.stop());

        let server = Server::start(&place);
        let api = &server.api;
        let (fields, generation) = shown(api, "d").await;
        assert_eq!((&fields["height"], generation.as_str()), (&json!(7), "2"), "{backend:?}: after a restart");
        assert_eq!(put(api, "e", &json!({"height": 8})).await["fields"]["height"], 8);
        assert_eq!(change(api, 1, "retire").await.status, 200);
        assert_eq!(shown(api, "e").await.0["height"], 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_rebuild_to_another_revision_loses_nothing() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("revisionkills", backend);
        let server = Server::start(&place);
        define(&server.api, FIRST).await;
        let lines = (0..2000).map(|number| json!({"id": format!("r{number:04}"), "width": number, "height": number}));
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        let sent = server.api.post_text(&format!("{COLLECTION}/records:bulk"), &lines.join("\n")).await;
        assert_eq!(sent.json()["upserted"], 2000, "{}", sent.text);
        define(&server.api, SECOND).await;
        let generation = begin(&server.api, false).await;
        server.kill();
        let server = Server::start(&place);
        until(&server.api, generation, "ready").await;
        put(&server.api, "r0001", &json!({"height": 1})).await;
        server.kill();
        let server = Server::start(&place);
        assert_eq!(change(&server.api, generation, "promote").await.status, 200);
        let (fields, of) = shown(&server.api, "r0001").await;
        assert_eq!((&fields["height"], of), (&json!(1), generation.to_string()), "{backend:?}");
        let counts = server.api.get(&format!("{COLLECTION}/counts")).await.json();
        assert_eq!(counts["counts"][0]["records"], 2000, "{backend:?}: {counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_take_a_collection_to_another_revision_and_back() {
    let place = Place::new("revisionpair", Backend::Distributed);
    let servers = [Server::start(&place), Server::start(&place)];
    define(&servers[0].api, FIRST).await;
    put(&servers[0].api, "a", &json!({"width": 1})).await;
    wait::until("the second process serves it", async || shown(&servers[1].api, "a").await.0["width"] == 1).await;
    define(&servers[1].api, SECOND).await;
    put(&servers[1].api, "b", &json!({"height": 2})).await;
    let generation = begin(&servers[0].api, true).await;
    for server in &servers {
        // Each process follows the switch by itself.
        wait::until("it answers from the new generation", async || shown(&server.api, "b").await.1 == "2").await;
        assert_eq!(shown(&server.api, "b").await.0["height"], 2);
    }
    for (writer, record_id) in servers.iter().zip(["c", "d"]) {
        put(&writer.api, record_id, &json!({"height": 3})).await;
        for server in &servers {
            assert_eq!(shown(&server.api, record_id).await.0["height"], 3);
        }
    }
    assert_eq!(change(&servers[1].api, 1, "rollback").await.status, 200);
    for server in &servers {
        put(&server.api, "e", &json!({"title": "x"})).await;
        // Each process follows the way back by itself.
        wait::until("it answers from the former generation", async || shown(&server.api, "e").await.1 == "1").await;
    }
    let [one, two] = servers;
    one.kill();
    // What the killed one had is the other one's.
    put(&two.api, "f", &json!({"height": 4})).await;
    assert_eq!(change(&two.api, generation, "promote").await.status, 200);
    assert_eq!(shown(&two.api, "f").await.0["height"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_earlier_records_do_not_fit_is_refused() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("successors", backend);
        let server = Server::start(&place);
        define(&server.api, FIRST).await;
        let other = FIRST.replace("width = \"int\"", "width = \"text\"").replace("key = \"id\"", "key = \"title\"");
        for path in [COLLECTION.to_owned(), format!("{COLLECTION}?dry_run=true")] {
            let refused = server.api.send(Method::PUT, &path, Some(other.clone()), &[]).await;
            let faults = refused.json()["faults"].as_array().cloned().unwrap_or_default();
            let faults: Vec<_> = faults.iter().map(|fault| (fault["field"].clone(), fault["code"].clone())).collect();
            let expected = [("key", "key-changed"), ("fields.width.type", "type-changed")];
            let expected = expected.map(|(field, code)| (json!(field), json!(code)));
            assert_eq!((refused.status, faults), (400, expected.to_vec()), "{}", refused.text);
        }
        let newest = server.api.get(COLLECTION).await.json();
        assert_eq!(newest["revision"], 1, "{newest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_may_be_longer_as_soon_as_the_newest_definition_allows_it() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("limits", backend);
        let server = Server::start(&place);
        define(&server.api, FIRST).await;
        let long = "x".repeat(300);
        let path = format!("{COLLECTION}/records/a");
        let put = async || server.api.send(Method::PUT, &path, Some(json!({"title": long}).to_string()), &[]).await;
        assert_eq!(put().await.status, 400, "the title is too long");
        define(&server.api, &FIRST.replace("200", "400")).await;
        wait::until("the longer title is taken", async || put().await.status == 200).await;
        assert_eq!(shown(&server.api, "a").await.0["title"], long);
    }
}
