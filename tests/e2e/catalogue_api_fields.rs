//! Fields that the API owns: they are set by requests, and no upsert, refresh, rollback or removal changes them.

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::catalogue_revisions::{COLLECTION, begin, change, define, put, shown, until};

const IMAGES: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
title = "text"
views = { type = "int", owner = "api", default = 0 }
note = { type = "text", owner = "api", max_length = 5 }
"#;

const RULE: &str = "[clean]\nrules = [{ id = 'titles', kind = 'sanitize-text', fields = ['title'] }]\n";

/// Sets fields of a record; what it is then.
async fn set(api: &Api, record_id: &str, fields: &Value) -> Value {
    let answer = api.patch(&format!("{COLLECTION}/records/{record_id}"), fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// How often fields were set, by the history of a record.
async fn recorded(api: &Api, record_id: &str) -> Vec<Value> {
    let history = api.get(&format!("{COLLECTION}/records/{record_id}/history")).await.json();
    let events = history["events"].as_array().cloned().unwrap_or_default();
    let is_set = |it: &Value| it["type"].as_str().is_some_and(|kind| kind.ends_with("RecordFieldsSet"));
    events.into_iter().filter(is_set).map(|it| it["event"]["fields"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_fields_that_the_api_owns_are_set_and_only_what_changes_is_recorded() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("apifields", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, IMAGES).await;
        put(api, "a", &json!({"title": "A"})).await;
        let send = async |record_id: &str, body: &str, key: &str| {
            let path = format!("{COLLECTION}/records/{record_id}");
            api.send(Method::PATCH, &path, Some(body.to_owned()), &[("idempotency-key", key)]).await
        };
        for (number, (body, code, field)) in [
            (r#"{"views": 5, "title": "B"}"#, "owned-by-upstream", "title"),
            (r#"{"id": "a"}"#, "owned-by-upstream", "id"),
            (r#"{"views": 5, "x": 1}"#, "unknown-field", "x"),
            (r#"{"views": "many"}"#, "not-an-integer", "views"),
            (r#"{"note": "too long"}"#, "too-long", "note"),
            (r#"{"note": "a\u0000b"}"#, "nul-character", "note"),
            (r#"{"views": 1, "views": 2}"#, "duplicate-key", "views"),
            ("[]", "not-an-object", "body"),
        ]
        .into_iter()
        .enumerate()
        {
            let refused = send("a", body, &format!("refused-{number}")).await;
            let said = refused.json();
            assert_eq!((refused.status, &said["code"], &said["field"]), (400, &json!(code), &json!(field)), "{said}");
        }
        assert_eq!(send("absent", r#"{"views": 5}"#, "absent").await.status, 404);
        assert_eq!(recorded(api, "a").await, [""; 0]);
        let first = send("a", r#"{"views": 5}"#, "first").await;
        let expected = json!({"id": "a", "title": "A", "views": 5, "note": null});
        assert_eq!((first.status, &first.json()["fields"]), (200, &expected), "{}", first.text);
        assert_eq!((&first.json()["changed"], &first.json()["revision"]), (&json!(true), &json!(2)));
        for key in ["first", "again"] {
            let again = send("a", r#"{"views": 5}"#, key).await.json();
            assert_eq!((&again["changed"], &again["revision"]), (&json!(false), &json!(2)), "{key}: {again}");
        }
        assert_eq!(set(api, "a", &json!({})).await["changed"], false);
        assert_eq!(recorded(api, "a").await, [r#"{"views":5}"#]);
        let removal =
            api.send(Method::DELETE, &format!("{COLLECTION}/records/a"), None, &[("idempotency-key", "first")]).await;
        assert_eq!(removal.status, 422, "{}", removal.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_has_set_is_there_after_upserts_refreshes_rollbacks_and_removals() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("apikept", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, IMAGES).await;
        put(api, "a", &json!({"title": "An  old pier"})).await;
        set(api, "a", &json!({"views": 5})).await;
        let upserted = put(api, "a", &json!({"title": "A  new pier", "views": 0})).await;
        assert_eq!((&upserted["ignored_fields"], &upserted["fields"]["views"]), (&json!(["views"]), &json!(5)));
        let line = json!({"id": "a", "title": "A  newer pier", "views": 0}).to_string();
        assert_eq!(api.post_text(&format!("{COLLECTION}/records:bulk"), &line).await.json()["upserted"], 1);

        define(api, &format!("{IMAGES}{RULE}")).await;
        let generation = begin(api, true).await;
        until(api, generation, "live").await;
        let is = async |title: &str, views: u64, generation: &str| {
            let expected = json!({"id": "a", "title": title, "views": views, "note": null});
            assert_eq!(shown(api, "a").await, (expected, generation.to_owned()), "{backend:?}");
        };
        wait::until("it answers from the new generation", async || shown(api, "a").await.1 == "2").await;
        is("A newer pier", 5, "2").await;
        let found = api.get_served(&format!("{COLLECTION}/search?q=newer"), &[]).await.json();
        assert_eq!(found["hits"][0]["views"], 5, "{found}");
        set(api, "a", &json!({"views": 6})).await;
        assert_eq!(change(api, 1, "rollback").await.status, 200);
        is("A  newer pier", 6, "1").await;
        set(api, "a", &json!({"views": 7})).await;
        assert_eq!(change(api, 2, "promote").await.status, 200);
        is("A newer pier", 7, "2").await;

        let removed = api.send(Method::DELETE, &format!("{COLLECTION}/records/a"), None, &[]).await;
        assert_eq!(removed.status, 200, "{}", removed.text);
        put(api, "a", &json!({"title": "A pier"})).await;
        is("A pier", 7, "2").await;
        let expected = [r#"{"views":5}"#, r#"{"views":6}"#, r#"{"views":7}"#];
        assert_eq!(recorded(api, "a").await, expected);
        assert!(server.stop());
        let events = place.events();
        let of_log = events.iter().filter(|it| it.to_string().contains("RecordFieldsSet")).count();
        assert_eq!(of_log, expected.len(), "daybook log cat shows {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_adds_and_drops_fields_of_the_api_is_refreshed() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("apichange", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, IMAGES).await;
        put(api, "a", &json!({"title": "A"})).await;
        set(api, "a", &json!({"views": 5, "note": "old"})).await;
        let without_note: String =
            IMAGES.lines().filter(|line| !line.starts_with("note")).collect::<Vec<_>>().join("\n");
        define(api, &format!("{without_note}\nlikes = {{ type = \"int\", owner = \"api\" }}\n")).await;
        set(api, "a", &json!({"likes": 3})).await;
        let generation = begin(api, true).await;
        until(api, generation, "live").await;
        let expected = json!({"id": "a", "title": "A", "views": 5, "likes": 3});
        wait::until("it answers from the new generation", async || shown(api, "a").await.1 == "2").await;
        assert_eq!(shown(api, "a").await.0, expected, "{backend:?}");
    }
}
