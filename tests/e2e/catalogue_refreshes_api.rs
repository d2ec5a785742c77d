//! Refreshes over the API: planned, begun, watched, promoted, cancelled, begun again, and the way back.

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    catalogue_revisions::{COLLECTION, define, put},
    on_both,
};

const IMAGES: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
title = "text"
[filtered]
terms = "sensitive@latest"
fields = ["title"]
"#;
const REFRESHES: &str = "/api/v1/refreshes";

async fn set_terms(api: &Api, terms: &str) {
    let answer = api.send(Method::PUT, "/api/v1/term-lists/sensitive", Some(terms.to_owned()), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// The path of the refresh that an answer has begun.
fn begun(answer: &Answer, generation: i64) -> String {
    assert_eq!((answer.status, &answer.json()["generation"]), (202, &json!(generation)), "{}", answer.text);
    let path = format!("{REFRESHES}/collection.image-{generation}");
    assert_eq!(answer.header("location"), path);
    path
}

async fn start(api: &Api, asked: &Value) -> Answer {
    let mut body = json!({"collection": "image"});
    for (name, value) in asked.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    api.post(REFRESHES, &body).await
}

/// The last state that the events of a refresh show; they end then.
async fn last_state(api: &Api, path: &str) -> Value {
    let events = api.get(&format!("{path}/events")).await;
    assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"), "{}", events.text);
    let last = events.text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
    serde_json::from_str::<Value>(last).unwrap_or_default()["state"].clone()
}

/// What is live: the values of some fields.
async fn live<const N: usize>(api: &Api, fields: [&str; N]) -> [Value; N] {
    let answer = api.get(&format!("{COLLECTION}/live")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = answer.json();
    assert!(shown["since"].is_i64() && shown["vector"].is_string(), "{shown}");
    fields.map(|field| shown[field].clone())
}

/// The generations and states of refreshes.
async fn listed(api: &Api, query: &str) -> Vec<(i64, String)> {
    let answer = api.get(&format!("{REFRESHES}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let all = answer.json();
    let state = |it: &Value| it["state"].as_str().unwrap_or_default().to_owned();
    all.as_array().into_iter().flatten().map(|it| (it["generation"].as_i64().unwrap_or_default(), state(it))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_refreshes_a_collection_without_a_choice_of_what_is_built() {
    on_both("refreshesapi", |_place, server| async move {
        let api = &server.api;
        set_terms(api, "pier\n").await;
        define(api, IMAGES).await;
        put(api, "a", &json!({"title": "A pier"})).await;
        put(api, "b", &json!({"title": "A boat"})).await;
        let shown = ["generation", "label", "revision", "lists", "previous"];
        let list = |revision: i64| json!([{"list": "sensitive", "revision": revision}]);
        assert_eq!(live(api, shown).await, [json!(1), json!(""), json!(1), list(1), Value::Null]);
        let tables = live(api, ["tables"]).await;

        // Only what the documents are made of changes, and a plan begins nothing.
        set_terms(api, "boat\n").await;
        for (asked, rebuilds) in [
            (json!({"dry_run": true}), json!(["search"])),
            (json!({"dry_run": true, "only": "filtered"}), json!(["search"])),
            (json!({"dry_run": true, "only": "all"}), json!(["tables", "search"])),
        ] {
            let plan = start(api, &asked).await;
            assert_eq!((plan.status, &plan.json()["rebuilds"]), (200, &rebuilds), "{asked}: {}", plan.text);
        }
        assert!(listed(api, "").await.is_empty(), "a refresh has begun");

        let refresh = begun(&start(api, &json!({"label": "boats"})).await, 2);
        for refused in [start(api, &json!({})).await, api.post(&format!("{refresh}/retry"), &json!({})).await] {
            assert_eq!(refused.status, 409, "{}", refused.text);
        }
        let other = start(api, &json!({})).await.text;
        assert!(other.contains("generation 2 of collection.image is "), "{other}");
        assert_eq!(last_state(api, &refresh).await, "ready");
        let progress = api.get(&refresh).await;
        assert_eq!((progress.status, progress.header("daybook-generation")), (200, ""), "{}", progress.text);
        let report = api.get(&format!("{refresh}/report")).await;
        assert_eq!((report.status, &report.json()["passed"]), (200, &json!(true)), "{}", report.text);
        let promoted = api.post(&format!("{refresh}/promote"), &json!({"reason": "counts are right"})).await;
        assert_eq!((promoted.status, &promoted.json()["state"]), (200, &json!("live")), "{}", promoted.text);
        assert_eq!(live(api, shown).await, [json!(2), json!("boats"), json!(2), list(2), json!(1)]);
        assert_eq!(live(api, ["tables"]).await, tables, "the tables were built anew");
        assert!(server.stop());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_cancelled_is_begun_again_and_the_way_back_is_there() {
    on_both("refreshesretry", |_place, server| async move {
        let api = &server.api;
        set_terms(api, "pier\n").await;
        define(api, &format!("{IMAGES}[refresh]\npromote = 'auto'\n")).await;
        put(api, "a", &json!({"title": "A pier"})).await;
        let first = begun(&start(api, &json!({"promote": "never"})).await, 2);
        let cancelled = api.post(&format!("{first}/cancel"), &json!({"reason": "too early"})).await;
        assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")), "{}", cancelled.text);
        assert_eq!(last_state(api, &first).await, "cancelled");

        // The definition says that it is promoted.
        let second = begun(&api.post(&format!("{first}/retry"), &json!({"label": "again"})).await, 3);
        assert_eq!(last_state(api, &second).await, "live");
        assert_eq!(api.post(&format!("{second}/retry"), &json!({})).await.status, 409);
        assert_eq!(listed(api, "").await, [(3, "live".to_owned()), (2, "cancelled".to_owned())]);
        assert_eq!(listed(api, "?collection=image&state=cancelled").await, [(2, "cancelled".to_owned())]);
        assert_eq!(live(api, ["generation", "label", "previous"]).await, [json!(3), json!("again"), json!(1)]);

        let back = api.post(&format!("{COLLECTION}/rollback"), &json!({"reason": "to try it"})).await;
        assert_eq!((back.status, &back.json()["reason"]), (200, &json!("to try it")), "{}", back.text);
        assert_eq!(live(api, ["generation", "previous"]).await, [json!(1), json!(3)]);
        let tables = live(api, ["tables"]).await;
        let output = server.command(&["refresh", "start", "--collection", "image", "--only", "filtered", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(live(api, ["generation", "previous"]).await, [json!(4), json!(1)]);
        assert_eq!(live(api, ["tables"]).await, tables, "the tables were built anew");
        assert!(server.stop());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_request_about_refreshes_is_named() {
    on_both("refresheserrors", |_place, server| async move {
        let api = &server.api;
        set_terms(api, "pier\n").await;
        define(api, IMAGES).await;
        for (body, status, field) in [
            (json!({}), 400, json!("collection")),
            (json!({"collection": 5}), 400, json!("collection")),
            (json!({"collection": "No such"}), 400, json!("collection")),
            (json!({"collection": "other"}), 404, Value::Null),
            (json!({"collection": "image", "colour": "red"}), 400, json!("colour")),
            (json!({"collection": "image", "only": "tables"}), 400, json!("only")),
            (json!({"collection": "image", "promote": true}), 400, json!("promote")),
            (json!({"collection": "image", "promote": "now"}), 400, json!("promote")),
            (json!({"collection": "image", "label": ["x"]}), 400, json!("label")),
            (json!({"collection": "image", "label": "\0"}), 400, json!("label")),
            (json!({"collection": "image", "dry_run": "yes"}), 400, json!("dry_run")),
            (json!([]), 400, json!("body")),
        ] {
            let answer = api.post(REFRESHES, &body).await;
            assert_eq!((answer.status, &answer.json()["field"]), (status, &field), "{body}: {}", answer.text);
        }
        assert!(listed(api, "").await.is_empty(), "a refresh has begun");
        for (path, status) in [
            ("/api/v1/refreshes?state=done", 400),
            ("/api/v1/refreshes?collection=other", 404),
            ("/api/v1/refreshes/collection.image-1", 404),
            ("/api/v1/refreshes/collection.image-2", 404),
            ("/api/v1/refreshes/collection.image-2/report", 404),
            ("/api/v1/refreshes/collection.image-2/events", 404),
            ("/api/v1/refreshes/collection.other-2", 404),
            ("/api/v1/refreshes/metaflow-1", 404),
            ("/api/v1/refreshes/image", 404),
            ("/api/v1/collections/other/live", 404),
        ] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
        for (path, body, status) in [
            (format!("{REFRESHES}/collection.image-2/retry"), json!({}), 404),
            (format!("{REFRESHES}/collection.image-2/promote"), json!({}), 404),
            ("/api/v1/collections/other/rollback".to_owned(), json!({}), 404),
            (format!("{COLLECTION}/rollback"), json!({"why": "x"}), 400),
            (format!("{COLLECTION}/rollback"), json!({}), 409),
        ] {
            let answer = api.post(&path, &body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
        assert!(server.stop());
    })
    .await;
}

/// Sends one request through each server at the same time; the statuses.
async fn through_both(servers: [&Server; 2], path: &str) -> [u16; 2] {
    let [one, other] = servers.map(|server| server.api.clone());
    let body = json!({});
    let (one, other) = tokio::join!(one.post(path, &body), other.post(path, &body));
    [one.status, other.status]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_asked_for_through_two_processes_is_one_and_the_way_back_stays() {
    let place = Place::new("askedtwice", Backend::Distributed);
    let servers = [Server::start(&place), Server::start(&place)];
    let [one, other] = [&servers[0], &servers[1]];
    set_terms(&one.api, "bird\n").await;
    define(&one.api, IMAGES).await;
    wait::until("the other process serves it", async || other.api.get(COLLECTION).await.status == 200).await;
    for generation in [2, 3] {
        let begun = one.api.post("/api/v1/refreshes", &json!({"collection": "image", "promote": "never"})).await;
        assert_eq!((begun.status, &begun.json()["generation"]), (202, &json!(generation)), "{}", begun.text);
        let path = format!("/api/v1/refreshes/collection.image-{generation}");
        wait::until("it is ready", async || one.api.get(&path).await.json()["state"] == "ready").await;
        let answers = through_both([one, other], &format!("{path}/promote")).await;
        assert!(answers.contains(&200) && answers.iter().all(|status| [200, 409].contains(status)), "{answers:?}");
        let live = one.api.get("/api/v1/collections/image/live").await.json();
        assert_eq!((&live["generation"], &live["previous"]), (&json!(generation), &json!(generation - 1)), "{live}");
    }
    let answers = through_both([one, other], "/api/v1/generations/2/rollback?domain=collection.image").await;
    assert!(answers.contains(&200) && answers.iter().all(|status| [200, 409].contains(status)), "{answers:?}");
    let live = one.api.get("/api/v1/collections/image/live").await.json();
    assert_eq!((&live["generation"], &live["previous"]), (&json!(2), &json!(3)), "{live}");
}
