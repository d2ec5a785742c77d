//! A literal mapping: programs that read Elasticsearch themselves use its analysers and numbers, and a plan says what the
//! cluster has not.

use std::fs;

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    catalogue_revisions::{COLLECTION, put},
    define,
};

const FIELDS: &str = r#"
collection = "image"
key = "id"
[fields]
id = "text"
title = "text"
likes = "int"
"#;

/// A mapping whose title has an analyser, and whose number has a type.
fn mapping(analyzer: &str, number: &str) -> String {
    format!(
        r#"{FIELDS}
[index.mapping.properties]
title = {{ type = "text", analyzer = "{analyzer}" }}
likes = {{ type = "{number}" }}
[index.settings.analysis]
filter.colours = {{ type = "stop", stopwords = ["red", "blue"] }}
analyzer.plain = {{ type = "custom", tokenizer = "standard", filter = ["lowercase", "colours"] }}
"#
    )
}

/// Applies a definition: the status and the body of the answer.
async fn apply(server: &Server, definition: &str) -> (u16, Value) {
    let answer = server.api.send(Method::PUT, COLLECTION, Some(definition.to_owned()), &[]).await;
    (answer.status, answer.json())
}

/// Runs `daybook refresh` of the collection: its exit code, and what it printed and said.
fn refresh(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let output = server.command(&[&["refresh"], arguments, &["--collection", "image"]].concat());
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), text.concat())
}

/// The ids that a query finds through the alias of the live generation, the highest number first.
async fn read_through_alias(place: &Place, query: &Value) -> Vec<String> {
    let path = format!("/{}-collection.image/_search", place.topics().1);
    let body = json!({"query": query, "sort": [{"record.likes": "desc"}]});
    let (api, headers) = (Api::new(&services::elasticsearch()), [("content-type", "application/json")]);
    let answer = api.send(Method::POST, &path, Some(body.to_string()), &headers).await.json();
    let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["_source"]["document"]["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The ids that Daybook's own search finds.
async fn own(server: &Server, query: &str) -> Vec<String> {
    let answer = server.api.get_served(&format!("{COLLECTION}/search?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["record_id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_what_the_cluster_has_not_and_a_refresh_serves_the_mapping_beside_the_own_search() {
    let place = Place::new("mapping", Backend::Distributed);
    let server = Server::start(&place);
    let (status, refused) = apply(&server, &mapping("nosuch", "integer")).await;
    let fault = &refused["faults"][0];
    assert_eq!((status, &fault["field"]), (400, &json!("index.mapping")), "{refused}");
    assert!(fault["detail"].as_str().is_some_and(|detail| detail.contains("analyzer [nosuch]")), "{refused}");
    define(&server.api, "image", FIELDS).await;
    put(&server.api, "a", &json!({"title": "An old Pier", "likes": 7})).await;
    put(&server.api, "b", &json!({"title": "Pier", "likes": 40_000})).await;
    put(&server.api, "c", &json!({"title": "A boat"})).await;
    wait::until("all are found", async || own(&server, "").await.len() == 3).await;
    assert!(server.stop());

    // Where search is switched off, nobody can ask the cluster.
    let place = place.with_search(None);
    let server = Server::start(&place);
    let (status, applied) = apply(&server, &mapping("nosuch", "integer")).await;
    assert_eq!((status, &applied["revision"]), (201, &json!(2)), "{applied}");
    assert!(server.stop());

    let place = place.with_search(Some(services::elasticsearch()));
    let server = Server::start(&place);
    for arguments in [&["plan"][..], &["start"]] {
        let (code, said) = refresh(&server, arguments);
        assert!(code == Some(5) && said.contains("analyzer [nosuch]"), "{arguments:?}: {code:?} {said}");
    }
    wait::until("the live index is served all the same", async || own(&server, "q=pier").await.len() == 2).await;

    // A record that the cluster cannot index as it is mapped fails the refresh by its name.
    define(&server.api, "image", &mapping("plain", "short")).await;
    let (code, said) = refresh(&server, &["start", "--promote"]);
    assert!(code == Some(6) && said.contains("1 missing") && said.contains("the first is b"), "{code:?} {said}");

    define(&server.api, "image", &mapping("plain", "integer")).await;
    let (code, said) = refresh(&server, &["plan", "--json"]);
    assert!(code == Some(0) && said.contains("mapping has changed"), "{code:?} {said}");
    let (code, said) = refresh(&server, &["start", "--promote"]);
    assert_eq!(code, Some(0), "{said}");
    let parts = server.api.get("/api/v1/generations?domain=collection.image").await.json();
    let live = parts.as_array().into_iter().flatten().find(|it| it["state"] == "live").cloned().unwrap_or_default();
    assert!(live["tables"].as_str().is_some_and(|schema| schema.ends_with("_g0001")), "{live}: tables were built, too");
    // The cluster's analyser knows no colours, and folds case; Daybook's own words are as before.
    let words = json!({"match": {"record.title": {"query": "BLUE pier", "operator": "and"}}});
    wait::until("the alias leads to it", async || read_through_alias(&place, &words).await == ["b", "a"]).await;
    assert_eq!(own(&server, "q=blue+pier").await, [""; 0]);
    assert_eq!(own(&server, "q=pier&sort=likes").await, ["a", "b"]);
    put(&server.api, "d", &json!({"title": "Red pier", "likes": 50_000})).await;
    wait::until("what is written later is there, too", async || {
        read_through_alias(&place, &words).await == ["d", "b", "a"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_generation_waits_for_an_index_that_the_cluster_refuses_and_a_refresh_makes_another_one() {
    let place = Place::new("mappingfirst", Backend::Distributed).with_search(None);
    let server = Server::start(&place);
    define(&server.api, "image", &mapping("nosuch", "integer")).await;
    put(&server.api, "a", &json!({"title": "Pier"})).await;
    assert!(server.stop());

    let server = Server::start(&place.with_search(Some(services::elasticsearch())));
    wait::until("the status says why there is no search", async || {
        server.api.get("/api/v1/status").await.text.contains("analyzer [nosuch] has not been configured")
    })
    .await;
    assert_eq!(server.api.get(&format!("{COLLECTION}/search?q=pier")).await.status, 503);
    assert_eq!(server.api.get(&format!("{COLLECTION}/records/a")).await.json()["fields"]["title"], "Pier");
    define(&server.api, "image", &mapping("plain", "integer")).await;
    let (code, said) = refresh(&server, &["start", "--promote"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(own(&server, "q=pier").await, ["a"]);
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sends_the_content_of_a_mapping_file() {
    let place = Place::new("mappingfile", Backend::Distributed);
    let server = Server::start(&place);
    let file = |name: &str, text: &str| {
        let path = place.folder.0.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
        path.display().to_string()
    };
    let definition = format!("{FIELDS}[index]\nmapping_file = \"image.json\"\n");
    let path = file("image.toml", &definition);
    let run = |arguments: &[&str]| {
        let output = server.command(&[&["collection"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["apply", &path]);
    let beside = place.folder.0.join("image.json").display().to_string();
    assert!(code == Some(2) && said.contains("index.mapping_file") && said.contains(&beside), "{said}");
    file("image.json", "{");
    assert!(run(&["apply", &path]).1.contains("is no JSON object"));
    let properties = json!({"title": {"type": "text", "analyzer": "mine"}});
    let analysis = json!({"analyzer": {"mine": {"type": "custom", "tokenizer": "standard"}}});
    let content = json!({"mappings": {"properties": properties}, "settings": {"analysis": analysis}});
    file("image.json", &content.to_string());
    assert_eq!(run(&["apply", &path]).0, Some(0), "{}", run(&["apply", &path]).1);
    let applied = server.api.get(&format!("{COLLECTION}/definition")).await.json();
    let index = &applied["definition"]["index"];
    assert_eq!((&index["mapping"]["properties"], &index["settings"]["analysis"]), (&properties, &analysis), "{index}");
    let (status, refused) = apply(&server, &definition).await;
    let fault = &refused["faults"][0];
    assert_eq!((status, &fault["field"]), (400, &json!("index.mapping_file")), "{refused}");

    let embedded = Place::new("mappingfile", Backend::Embedded);
    let server = Server::start(&embedded);
    let (status, refused) = apply(&server, &mapping("plain", "integer")).await;
    assert_eq!(status, 400, "{refused}");
    let detail = refused["faults"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("needs Elasticsearch"), "{refused}");
}
