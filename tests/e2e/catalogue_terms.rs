//! Term lists: revisions that definitions follow, what the filtered search leaves out, and rules that take their terms from
//! a list.

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::define;

const IMAGES: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
source = { type = "text", max_length = 80 }
title = "text"
tags = "json"
[verify]
max_records_emptied = "100 %"
[filtered]
terms = "sensitive@latest"
fields = ["title", "tags.name"]
"#;

const COLLECTION: &str = "/api/v1/collections/image";

async fn put(api: &Api, path: &str, body: &str) -> Answer {
    api.send(Method::PUT, path, Some(body.to_owned()), &[]).await
}

async fn set(api: &Api, list: &str, terms: &str) -> Value {
    let answer = put(api, &format!("/api/v1/term-lists/{list}"), terms).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The ids of the documents that a search finds, in order.
async fn found(api: &Api, query: &str) -> Vec<String> {
    let answer = api.get_served(&format!("{COLLECTION}/search?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = hits.iter().map(|hit| hit["id"].as_str().unwrap_or_default().to_owned()).collect();
    ids.sort();
    ids
}

fn refresh(server: &Server, code: i32, arguments: &[&str]) -> Value {
    let output = server.command(&[&["refresh"], arguments, &["--collection", "image"]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filtered_search_follows_a_term_list_and_the_tables_stay() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("terms", backend);
        let server = Server::start(&place);
        let api = &server.api;
        let refused = put(api, COLLECTION, IMAGES).await;
        assert_eq!(
            (refused.status, &refused.json()["faults"][0]["code"]),
            (400, &json!("no-term-list")),
            "{}",
            refused.text
        );
        let first = set(
            api,
            "sensitive",
            "running\r\nwater\n\nbird\nbird\nGrand Union Canal\nno such words\ncafé NOIR\nstraße\n",
        )
        .await;
        assert_eq!((&first["revision"], &first["terms"], &first["collections"]), (&json!(1), &json!(7), &json!([])));
        define(api, "image", IMAGES).await;
        for (id, title, tag) in [
            ("a", "Running shoes", ""),
            ("b", "Waterfall", ""),
            ("c", "birdsong", ""),
            ("d", "a tree", "Bird"),
            ("e", "Along the grand union canal", ""),
            ("f", "Union Canal, Grand", ""),
            ("g", "A pier", "boat"),
            ("k", "Cafe\u{301} noir", ""),
            ("l", "co\u{ad}op", "STRASSE"),
        ] {
            let fields = json!({"title": title, "tags": [{"name": tag}]});
            let written = put(api, &format!("{COLLECTION}/records/{id}"), &fields.to_string()).await;
            assert_eq!(written.status, 200, "{}", written.text);
        }
        let all = async || found(api, "").await.len() == 9;
        wait::until("all are indexed", all).await;
        assert_eq!(found(api, "sensitive=false").await, ["b", "c", "f", "g"], "{backend:?}");

        // The same terms are no new revision; others are one, of the list and of what follows it.
        assert_eq!(
            set(api, "sensitive", "running\nwater\nbird\nGrand Union Canal\nno such words\ncafé NOIR\nstraße").await["revision"],
            1
        );
        let second = set(api, "sensitive", "water\npier\nshoes\ncafe\u{301} noir\nstraße\n").await;
        assert_eq!((&second["revision"], &second["collections"]), (&json!(2), &json!(["image"])), "{second}");
        let shown = api.get(&format!("{COLLECTION}/definition")).await.json();
        assert_eq!(
            (&shown["revision"], &shown["definition"]["lists"]),
            (&json!(2), &json!({"sensitive": 2})),
            "{shown}"
        );
        assert_eq!(found(api, "sensitive=false").await, ["b", "c", "f", "g"], "the live generation changed");
        assert_eq!(refresh(&server, 0, &["plan", "--json"])["rebuilds"], json!(["search"]), "{backend:?}");
        refresh(&server, 0, &["start", "--promote"]);
        let answers = async || found(api, "sensitive=false").await == ["b", "c", "d", "e", "f"];
        wait::until("the new index answers", answers).await;
        let generations = api.get("/api/v1/generations?domain=collection.image").await.json();
        assert_eq!(generations[0]["tables"], generations[1]["tables"], "the tables were built anew: {generations}");
        let report = refresh(&server, 0, &["report"]);
        let kept = &report["conservation"];
        let counts = ["documents", "sensitive", "filtered"].map(|name| kept[name].as_u64());
        assert_eq!(counts, [Some(9), Some(4), Some(5)], "{report}");
        assert_eq!((&report["terms_without_hit"], &kept["holds"]), (&json!(["water"]), &json!(true)), "{report}");
        // Writes go on, and the way back is there.
        put(api, &format!("{COLLECTION}/records/h"), &json!({"title": "shoes for a bird"}).to_string()).await;
        refresh(&server, 0, &["rollback", "--yes"]);
        let answers =
            async || found(api, "sensitive=false").await == ["b", "c", "f", "g"] && found(api, "").await.len() == 10;
        wait::until("the former index answers", answers).await;
        assert!(server.stop());
        check_next_start(&place).await;
    }
}

/// The way back is there after a restart, and the tables go with the last generation that has them.
async fn check_next_start(place: &Place) {
    let server = Server::start(place);
    let api = &server.api;
    let answers = async || found(api, "sensitive=false").await == ["b", "c", "f", "g"];
    wait::until("the live index answers after a restart", answers).await;
    refresh(&server, 0, &["rollback", "--yes"]);
    let answers = async || found(api, "sensitive=false").await == ["b", "c", "d", "e", "f"];
    wait::until("the way back is there after a restart", answers).await;
    // The tables go with the last generation that has them.
    let retired = api.post("/api/v1/generations/1/retire?domain=collection.image", &json!({})).await;
    assert_eq!(retired.status, 200, "{}", retired.text);
    let written = put(api, &format!("{COLLECTION}/records/i"), &json!({"title": "still here"}).to_string()).await;
    assert_eq!(written.status, 200, "{}", written.text);
    let listed = api.get("/api/v1/term-lists").await.json();
    assert_eq!((&listed["lists"][0]["list"], &listed["lists"][0]["terms"]), (&json!("sensitive"), &json!(5)));
    let of_first = api.get("/api/v1/term-lists/sensitive?revision=1").await.json();
    assert_eq!(of_first["terms"][3], "Grand Union Canal", "{of_first}");
    assert_eq!(api.get("/api/v1/term-lists/other").await.status, 404);
    assert_eq!(put(api, "/api/v1/term-lists/Other", "x").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_takes_its_terms_from_a_list_and_a_new_revision_builds_tables() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("ruleterms", backend);
        let server = Server::start(&place);
        let api = &server.api;
        set(api, "bad-tags", "Spam\nStraße\nnoël").await;
        let definition =
            IMAGES.replace("[filtered]\nterms = \"sensitive@latest\"\nfields = [\"title\", \"tags.name\"]\n", "");
        let rules =
            "[clean]\nrules = [{ id = 'tags', kind = 'tags', field = 'tags', deny_exact = 'bad-tags@latest' }]\n";
        define(api, "image", &format!("{definition}{rules}")).await;
        let tags = json!({"tags": [
            {"name": "spam"}, {"name": "boat"}, {"name": "eggs"}, {"name": "STRASSE"}, {"name": "Noe\u{308}l"}
        ]});
        put(api, &format!("{COLLECTION}/records/a"), &tags.to_string()).await;
        let names = async || {
            let shown = api.get(&format!("{COLLECTION}/records/a")).await.json();
            let tags = shown["fields"]["tags"].as_array().cloned().unwrap_or_default();
            tags.iter().map(|tag| tag["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["boat", "eggs"], "{backend:?}");
        assert_eq!(set(api, "bad-tags", "spam\neggs\nSTRASSE\nNoe\u{308}l").await["collections"], json!(["image"]));
        refresh(&server, 0, &["start", "--promote"]);
        wait::until("the new rule is live", async || names().await == ["boat"]).await;
        let generations = api.get("/api/v1/generations?domain=collection.image").await.json();
        assert_ne!(generations[0]["tables"], generations[1]["tables"], "{generations}");
        let raw = api.get(&format!("{COLLECTION}/records/a?raw=true")).await.json();
        assert_eq!(raw["fields"]["tags"].as_array().map(Vec::len), Some(5), "what was written is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_definitions_that_are_set_together_name_the_newest_in_the_end() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("together", backend);
        let server = Server::start(&place);
        let api = &server.api;
        let rules = "[clean]\nrules = [{ id = 'tags', kind = 'tags', field = 'tags', deny_exact = 'bad@latest' }]\n";
        let definition =
            |field: usize| IMAGES.replace("title = \"text\"", &format!("title = \"text\"\nf{field} = \"int\"")) + rules;
        set(api, "sensitive", "bird").await;
        set(api, "bad", "spam").await;
        define(api, "image", &definition(0)).await;
        for round in 1..6 {
            let lists = ["sensitive", "bad"].map(|list| {
                let api = api.clone();
                tokio::spawn(async move { set(&api, list, &format!("{list} {round}")).await })
            });
            // Either may be asked to try again, while the other changes it.
            wait::until("the definition is applied", async || {
                put(api, COLLECTION, &definition(round)).await.status < 300
            })
            .await;
            for list in lists {
                assert_eq!(list.await.map(|set| set["failed"].clone()).ok(), Some(json!([])));
            }
            let newest = api.get(&format!("{COLLECTION}/definition")).await.json();
            let named = round + 1;
            assert_eq!(
                newest["definition"]["lists"],
                json!({"sensitive": named, "bad": named}),
                "{backend:?}: {newest}"
            );
            let field = &newest["definition"]["fields"][format!("f{round}")];
            assert_ne!(*field, Value::Null, "{backend:?}: a definition was replaced by an earlier one: {newest}");
        }
        // A key that a list was set with is not one of the collection of that name.
        let path = "/api/v1/term-lists/image";
        let keyed = api.send(Method::PUT, path, Some("x".to_owned()), &[("idempotency-key", "k")]).await;
        assert_eq!(keyed.status, 200, "{}", keyed.text);
        define(api, "image", &definition(7).replace("sensitive@latest", "image@latest")).await;
        let keyed = api.send(Method::PUT, path, Some("y".to_owned()), &[("idempotency-key", "k2")]).await;
        assert_eq!((keyed.status, &keyed.json()["collections"]), (200, &json!(["image"])), "{}", keyed.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_know_other_versions_apply_every_partition_of_tables_that_these_share() {
    let place = Place::new("sharedtables", Backend::Distributed);
    let first = Server::start(&place);
    set(&first.api, "sensitive", "bird").await;
    define(&first.api, "image", IMAGES).await;
    let second = Server::start(&place);
    set(&first.api, "sensitive", "boat").await;
    refresh(&first, 0, &["start", "--promote"]);
    // The second one is replaced while both versions have a generation, the third one begins with one of them.
    assert!(second.stop());
    let second = Server::start(&place);
    let retired = first.api.post("/api/v1/generations/1/retire?domain=collection.image", &json!({})).await;
    assert_eq!(retired.status, 200, "{}", retired.text);
    let third = Server::start(&place);
    for (index, server) in [&first, &second, &third].into_iter().enumerate() {
        for number in 0..12 {
            let path = format!("{COLLECTION}/records/s{index}r{number}");
            let written = put(&server.api, &path, &json!({"title": "a boat"}).to_string()).await;
            assert_eq!(written.status, 200, "{path}: {}", written.text);
        }
    }
    let counts = third.api.get(&format!("{COLLECTION}/counts")).await.json();
    assert_eq!(counts["counts"][0]["records"], 36, "{counts}");
    for server in [first, second, third] {
        assert!(server.stop());
    }
}
