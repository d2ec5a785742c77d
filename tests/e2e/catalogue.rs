//! Collections: they are defined while the server runs, and each is a domain with a topic and tables of its own.

use daybook_tests::{
    api::Answer,
    process::{Backend, Place, Server},
};
use reqwest::Method;
use serde_json::{Value, json};

const IMAGES: &str = r#"
collection = "image"
key = "identifier"
[fields]
identifier = { type = "text", required = true }
source = { type = "text", max_length = 80 }
title = { type = "text", max_length = 12, on_long = "truncate" }
width = "int"
order = "long"
ratio = "double"
created_on = "timestamp"
id = "uuid"
tags = "json"
words = "text[]"
is_open = "bool"
"#;

fn places(test: &str) -> [Place; 2] {
    [Backend::Embedded, Backend::Distributed].map(|backend| Place::new(test, backend))
}

async fn define(server: &Server, collection: &str, definition: &str) -> Answer {
    let path = format!("/api/v1/collections/{collection}");
    server.api.send(Method::PUT, &path, Some(definition.to_owned()), &[]).await
}

async fn put(server: &Server, record_id: &str, fields: &Value) -> Answer {
    let path = format!("/api/v1/collections/image/records/{record_id}");
    server.api.send(Method::PUT, &path, Some(fields.to_string()), &[]).await
}

async fn show(server: &Server, path: &str) -> Answer {
    server.api.get(&format!("/api/v1/collections/image{path}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_applied_once_and_every_mistake_is_named() {
    for place in places("defined") {
        let server = Server::start(&place);
        let refused =
            define(&server, "image", "collection = \"image\"\nkey = \"absent\"\n[fields]\nx = \"txt\"\n").await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let faults = refused.json()["faults"].as_array().cloned().unwrap_or_default();
        let fields: Vec<_> = faults.iter().filter_map(|fault| fault["field"].as_str()).collect();
        assert!(fields.contains(&"key") && fields.contains(&"fields.x.type"), "{fields:?}");
        assert_eq!(define(&server, "video", IMAGES).await.status, 400, "the path names another collection");
        assert_eq!(server.api.get("/api/v1/collections").await.json()["collections"], json!([]));
        assert_eq!(show(&server, "/records/a").await.status, 404, "there is no such collection yet");
        let applied = define(&server, "image", IMAGES).await;
        assert_eq!((applied.status, &applied.json()["revision"]), (201, &json!(1)), "{}", applied.text);
        let again = define(&server, "image", &format!("{IMAGES}\n# a comment\n")).await;
        assert_eq!((again.status, &again.json()["revision"]), (200, &json!(1)), "{}", again.text);
        let next = define(&server, "image", &format!("{IMAGES}height = \"int\"\n")).await;
        assert_eq!((next.status, &next.json()["revision"]), (201, &json!(2)), "{}", next.text);
        let shown = server.api.get("/api/v1/collections/image/definition?revision=1").await.json();
        assert_eq!(shown["definition"]["fields"]["width"]["type"], "int", "{shown}");
        assert_eq!(shown["definition"]["fields"]["height"], Value::Null, "{shown}");
        let listed = server.api.get("/api/v1/collections").await.json();
        assert_eq!(listed["collections"][0]["revision"], 2, "{listed}");
        assert_eq!(server.api.get("/api/v1/collections/video").await.status, 404);
        // Records are as the revision says with which the live generation was built.
        assert_eq!(put(&server, "a", &json!({"width": 3})).await.status, 200);
        assert!(server.stop());
        let server = Server::start(&place);
        assert_eq!(show(&server, "/records/a").await.json()["fields"]["width"], 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_read_and_found_by_the_next_process() {
    for place in places("records") {
        let server = Server::start(&place);
        assert_eq!(define(&server, "image", IMAGES).await.status, 201);
        let given = json!({
            "source": "flickr",
            "title": "A very long title",
            "width": -7,
            "order": 9_007_199_254_740_993_i64,
            "ratio": 0.1,
            "created_on": "2018-11-09 10:31:06.91+01",
            "id": "8969E5BD-0000-4000-8000-000000000001",
            "tags": [{"name": "b", "n": 1.5}, null],
            "words": ["one", "two \"quoted\"", "{}"],
            "is_open": true,
        });
        let answer = put(&server, "a", &given).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.header("daybook-position").starts_with("collection.image/"), "{}", answer.text);
        let expected = json!({
            "identifier": "a",
            "source": "flickr",
            "title": "A very long ",
            "width": -7,
            "order": 9_007_199_254_740_993_i64,
            "ratio": 0.1,
            "created_on": "2018-11-09T09:31:06.910000Z",
            "id": "8969e5bd-0000-4000-8000-000000000001",
            "tags": [{"name": "b", "n": 1.5}, null],
            "words": ["one", "two \"quoted\"", "{}"],
            "is_open": true,
        });
        let shown = show(&server, "/records/a").await.json();
        assert_eq!(shown["fields"], expected, "{:?}", place.backend);
        assert_eq!((&shown["revision"], &answer.json()["changed"]), (&json!(1), &json!(true)));
        assert_eq!(put(&server, "a", &given).await.json()["changed"], false, "the same content is recorded again");
        let refused = put(&server, "a", &json!({"width": "wide"})).await;
        assert_eq!((refused.status, &refused.json()["field"]), (400, &json!("width")), "{}", refused.text);
        let merged = "/api/v1/collections/image/records/a?merge=true";
        let merged = server.api.send(Method::PUT, merged, Some(json!({"width": 8}).to_string()), &[]).await;
        assert_eq!((&merged.json()["revision"], &merged.json()["fields"]["source"]), (&json!(2), &json!("flickr")));
        let raw = show(&server, "/records/a?raw=true").await.json();
        assert_eq!((&raw["fields"]["width"], &raw["revision"]), (&json!(8), &json!(2)));
        let removed = server.api.send(Method::DELETE, "/api/v1/collections/image/records/a", None, &[]).await;
        assert_eq!(removed.status, 200, "{}", removed.text);
        assert_eq!(show(&server, "/records/a").await.status, 404);
        assert_eq!(put(&server, "a", &given).await.json()["revision"], 4, "a revision was used again");
        assert!(server.stop());
        let server = Server::start(&place);
        let again = show(&server, "/records/a").await.json();
        assert_eq!(
            (&again["fields"], &again["revision"]),
            (&expected, &json!(4)),
            "another start serves something else"
        );
        let events = place.events();
        assert!(events.iter().any(|event| event["type"] == "CollectionDefined"), "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_together_and_each_refused_one_is_named() {
    for place in places("lines") {
        let server = Server::start(&place);
        assert_eq!(define(&server, "image", IMAGES).await.status, 201);
        let mut lines: Vec<String> = (0..1200)
            .map(|number| {
                let source = if number % 3 == 0 { "eol" } else { "flickr" };
                json!({"identifier": format!("r{number:04}"), "source": source, "width": number}).to_string()
            })
            .collect();
        lines.push(lines[0].clone());
        lines.push(json!({"source": "eol"}).to_string());
        lines.push("{\"identifier\": \"x\", \"identifier\": \"y\"}".to_owned());
        let bulk = async |query: &str| {
            let path = format!("/api/v1/collections/image/records:bulk{query}");
            server.api.send(Method::POST, &path, Some(lines.join("\n")), &[]).await
        };
        let answer = bulk("").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let body = answer.json();
        let counted = |body: &Value| ["read", "upserted", "unchanged", "rejected"].map(|name| body[name].as_u64());
        assert_eq!(counted(&body), [Some(1203), Some(1200), Some(1), Some(2)], "{body}");
        assert_eq!((&body["rejects"][0]["line"], &body["rejects"][0]["code"]), (&json!(1202), &json!("key-missing")));
        assert_eq!(body["rejects"][1]["code"], "duplicate-key", "{body}");
        assert_eq!(counted(&bulk("").await.json()), [Some(1203), Some(0), Some(1201), Some(2)]);
        assert_eq!(bulk("?max_rejects=1").await.status, 422);
        let counts = show(&server, "/counts?by=source").await.json();
        let expected = json!([{"source": "eol", "records": 400}, {"source": "flickr", "records": 800}]);
        assert_eq!(counts["counts"], expected, "{:?}", place.backend);
        let (mut after, mut found) = (String::new(), Vec::new());
        loop {
            let page = show(&server, &format!("/records?limit=500&after={after}")).await.json();
            let records = page["records"].as_array().cloned().unwrap_or_default();
            found.extend(records.iter().map(|record| record["record_id"].as_str().unwrap_or_default().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            next.clone_into(&mut after);
        }
        assert_eq!(found, (0..1200).map(|number| format!("r{number:04}")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_taken_down_is_hidden_from_later_upserts_until_it_is_reinstated() {
    for place in places("takedown") {
        let server = Server::start(&place);
        assert_eq!(define(&server, "image", IMAGES).await.status, 201);
        put(&server, "a", &json!({"title": "old"})).await;
        let take = async |body: Value| server.api.post("/api/v1/collections/image/takedowns", &body).await;
        assert_eq!(take(json!({"ids": ["a"]})).await.json()["code"], "reason-required");
        let dry = take(json!({"ids": ["a"], "reason": "licence", "dry_run": true})).await;
        assert_eq!((&dry.json()["taken_down"], show(&server, "/records/a").await.status), (&json!(1), 200));
        assert_eq!(take(json!({"ids": ["a"], "reason": "licence", "expect": 5})).await.status, 409);
        let taken = take(json!({"ids": ["a", "later"], "reason": "licence", "expect": 2})).await;
        assert_eq!(taken.status, 200, "{}", taken.text);
        assert_eq!(show(&server, "/records/a").await.status, 410);
        let hidden = put(&server, "a", &json!({"title": "new"})).await;
        assert_eq!((hidden.status, &hidden.json()["taken_down"]), (200, &json!(true)), "{}", hidden.text);
        put(&server, "later", &json!({"title": "late"})).await;
        assert!(server.stop());
        let server = Server::start(&place);
        for record_id in ["a", "later"] {
            assert_eq!(show(&server, &format!("/records/{record_id}")).await.status, 410, "{record_id}");
        }
        assert_eq!(show(&server, "/records").await.json()["records"], json!([]));
        let reinstated = server.api.send(Method::DELETE, "/api/v1/collections/image/takedowns/a", None, &[]).await;
        assert_eq!(reinstated.status, 200, "{}", reinstated.text);
        let shown = show(&server, "/records/a").await.json();
        assert_eq!((&shown["fields"]["title"], &shown["revision"]), (&json!("new"), &json!(4)), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_serves_a_collection_that_the_first_one_defined() {
    let place = Place::new("second", Backend::Distributed);
    let (one, two) = (Server::start(&place), Server::start(&place));
    let applied = define(&one, "image", IMAGES).await;
    assert_eq!(applied.status, 201, "{}", applied.text);
    // The same definition again waits until the process that is asked serves the collection.
    assert_eq!(define(&two, "image", IMAGES).await.status, 200);
    for number in 0..20 {
        let (writer, reader) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let record_id = format!("r{number}");
        let written = put(writer, &record_id, &json!({"width": number})).await;
        assert_eq!(written.status, 200, "{}", written.text);
        let path = format!("/api/v1/collections/image/records/{record_id}");
        let position = written.header("daybook-position").to_owned();
        let seen = reader.api.send(Method::GET, &path, None, &[("daybook-min-position", &position)]).await;
        assert_eq!(seen.json()["fields"]["width"], number, "{}", seen.text);
    }
    assert!(one.stop());
    let written = put(&two, "alone", &json!({"width": 1})).await;
    assert_eq!(written.status, 200, "{}", written.text);
}
