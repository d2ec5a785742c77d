//! Words with the same stem, and the rank of records, in searches of collections.

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::catalogue_revisions::{COLLECTION, define, until};

const DOMAIN: &str = "domain=collection.image";

const PRESET: &str = r#"
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = "text"
title = "text"
creator = "text"
provider = { type = "text", max_length = 80 }
tags = "json"
standardized_popularity = "double"
"#;

const PLAIN: &str = r#"
collection = "image"
key = "identifier"
[fields]
identifier = "text"
title = "text"
words = "text[]"
likes = "int"
"#;

/// Writes records, and returns the positions after them.
async fn write(api: &Api, records: &[Value]) -> String {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let written = api.send(Method::POST, &format!("{COLLECTION}/records:bulk"), Some(lines.join("\n")), &[]).await;
    assert_eq!(written.status, 200, "{}", written.text);
    written.header("daybook-position").to_owned()
}

/// The ids that a search finds, in their order.
async fn found(api: &Api, positions: &str, query: &str) -> Vec<String> {
    let path = format!("{COLLECTION}/search?{query}");
    let found = api.get_served(&path, &[("daybook-min-position", positions)]).await;
    assert_eq!(found.status, 200, "{query}: {}", found.text);
    let hits = found.json()["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["record_id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Builds the newest definition, or its index alone, and makes it live.
async fn refresh(api: &Api, generation: i64, only: &str) {
    let asked = json!({"only": only, "promote": true});
    let begun = api.post(&format!("/api/v1/rebuilds?{DOMAIN}"), &asked).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    until(api, generation, "live").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_finds_words_of_one_stem_and_another_preset_is_a_change_of_the_index_alone() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("stems", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, PRESET).await;
        let positions = write(
            api,
            &[
                json!({"identifier": "a", "title": "Boats of the harbours", "creator": "Running Bear"}),
                json!({"identifier": "b", "title": "A boat's wake", "tags": [{"name": "Sailing"}]}),
                json!({"identifier": "c", "title": "Animals"}),
                json!({"identifier": "d", "title": "wild animals"}),
            ],
        )
        .await;
        for (query, ids) in [
            ("q=boat", vec!["a", "b"]),
            ("q=boats harbour", vec!["a"]),
            ("q=sail", vec!["b"]),
            ("q=tags:sails", vec!["b"]),
            ("q=title:sails", vec![]),
            // These very words.
            ("q=\"boats\"", vec!["a"]),
            ("q=-boat", vec!["c", "d"]),
            // Names have no stems.
            ("q=runs", vec![]),
            ("q=running", vec!["a"]),
            // As in Openverse, capitals miss the stem that is given to a word.
            ("q=animal", vec!["d"]),
        ] {
            let mut sorted = found(api, &positions, query).await;
            sorted.sort();
            assert_eq!(sorted, ids, "{query}, {backend:?}");
        }
        let path = format!("{COLLECTION}/search?q=harbour");
        let hit = api.get_served(&path, &[("daybook-min-position", &positions)]).await.json();
        assert_eq!(hit["hits"][0]["highlights"][0]["text"], "Boats of the <em>harbours</em>", "{hit}");
        define(api, &PRESET.replace("openverse-image", "openverse-image-2")).await;
        refresh(api, 2, "search").await;
        wait::until("capitals have the stem, too", async || {
            let mut animals = found(api, &positions, "q=animal").await;
            animals.sort();
            animals == ["c", "d"]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relevance_grows_with_the_rank() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("rank", backend);
        let server = Server::start(&place);
        let api = &server.api;
        define(api, &format!("{PLAIN}[index]\nrank = \"likes\"\n")).await;
        let record = |id: &str, likes: Value| json!({"identifier": id, "title": "old pier", "likes": likes});
        let likes = [("a", json!(3)), ("b", json!(80)), ("c", Value::Null), ("d", json!(-5)), ("e", json!(9000))];
        let records: Vec<Value> = likes.into_iter().map(|(id, likes)| record(id, likes)).collect();
        let positions = write(api, &records).await;
        for query in ["q=pier", "q=old pier", "q=pi*", "q=pier -boat"] {
            let ids = found(api, &positions, &format!("{query}&sort=relevance")).await;
            assert_eq!(ids[..3], ["e", "b", "a"], "{query}, {backend:?}");
            assert_eq!(ids.len(), 5, "{query}, {backend:?}");
        }
        let page = found(api, &positions, "q=pier&sort=relevance&limit=2").await;
        assert_eq!(page, ["e", "b"]);
        assert_eq!(found(api, &positions, "sort=-rank&limit=2").await, ["e", "b"]);
        // A field that is no number has no rank, and neither has one that is not declared.
        for rank in ["title", "absent"] {
            let definition = format!("{PLAIN}[index]\nrank = \"{rank}\"\n");
            let refused = api.send(Method::PUT, COLLECTION, Some(definition), &[]).await;
            assert_eq!(refused.status, 400, "{}", refused.text);
            assert_eq!(refused.json()["faults"][0]["field"], "index.rank", "{}", refused.text);
        }
        // Stems as soon as a definition asks for them.
        assert_eq!(found(api, &positions, "q=piers").await, [""; 0]);
        define(api, &format!("{PLAIN}[index]\nlanguage = \"english\"\n")).await;
        refresh(api, 2, "").await;
        wait::until("words have stems", async || found(api, &positions, "q=piers").await.len() == 5).await;
    }
}
