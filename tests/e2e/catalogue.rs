//! Collections: they are defined while the server runs, and each is a domain with a topic and tables of its own.

use daybook_tests::{
    api::Answer,
    process::{Backend, Place, Server},
    random::Random,
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
        // Records are shown as the revision says with which the live generation was built.
        let fields = json!({"width": 3, "height": 4});
        let written = put(&server, "a", &fields).await;
        assert_eq!((written.status, &written.json()["ignored_fields"]), (200, &json!([])), "{}", written.text);
        assert!(server.stop());
        let server = Server::start(&place);
        assert_eq!(put(&server, "b", &fields).await.json()["ignored_fields"], json!([]));
        for path in ["/records/a", "/records/a?raw=true", "/records/b", "/records/b?raw=true"] {
            let shown = show(&server, path).await.json();
            assert_eq!(
                (&shown["fields"]["width"], shown["fields"].get("height")),
                (&json!(3), None),
                "{path}: {shown}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_read_and_found_by_the_next_process() {
    for place in places("records") {
        let server = Server::start(&place);
        crate::define(&server.api, "image", IMAGES).await;
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
        check_history(&server).await;
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
        let of_records = events.iter().filter(|event| event["type"] == "RecordUpserted" && event["key"] == "a").count();
        assert_eq!(of_records, 3, "the log shows the records of the collection: {events:?}");
    }
}

/// The events of the record, of which others are between them in the log.
async fn check_history(server: &Server) {
    put(server, "b", &json!({"width": 1})).await;
    let types = |page: &Value| {
        let events = page["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let whole = show(server, "/records/a/history").await.json();
    let expected = ["RecordUpserted", "RecordUpserted", "RecordRemoved", "RecordUpserted"];
    assert_eq!((types(&whole), &whole["next"]), (expected.map(str::to_owned).to_vec(), &Value::Null), "{whole}");
    let first = show(server, "/records/a/history?limit=3").await.json();
    let rest = show(server, &format!("/records/a/history?from={}", first["next"])).await.json();
    assert_eq!((types(&first).len(), types(&rest)), (3, vec!["RecordUpserted".to_owned()]), "{first}, {rest}");
    assert_eq!(show(server, "/records/a/history?from=x").await.status, 400);
    assert_eq!(show(server, "/records/never/history").await.json()["events"], json!([]));
    let down = json!({"ids": ["b"], "reason": "licence"});
    assert_eq!(server.api.post("/api/v1/collections/image/takedowns", &down).await.status, 200);
    assert_eq!(show(server, "/records/b/history").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_together_and_each_refused_one_is_named() {
    for place in places("lines") {
        let server = Server::start(&place);
        crate::define(&server.api, "image", IMAGES).await;
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
        crate::define(&server.api, "image", IMAGES).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_tried_without_being_applied_and_only_over_the_expected_one() {
    for place in places("expected") {
        let server = Server::start(&place);
        let send = async |query: &str, definition: &str, headers: &[(&str, &str)]| {
            let path = format!("/api/v1/collections/image{query}");
            server.api.send(Method::PUT, &path, Some(definition.to_owned()), headers).await
        };
        let next = format!("{IMAGES}height = \"int\"\n");
        let tried = send("?dry_run=true", IMAGES, &[]).await;
        assert_eq!((tried.status, &tried.json()["revision"]), (200, &json!(1)), "{}", tried.text);
        assert_eq!(tried.json()["changed"], true, "{}", tried.text);
        assert_eq!(server.api.get("/api/v1/collections/image").await.status, 404, "a trial was applied");
        assert_eq!(send("?dry_run=true", "collection = \"image\"", &[]).await.status, 400);
        assert_eq!(send("?dry_run=perhaps", IMAGES, &[]).await.status, 400);
        assert_eq!(send("", IMAGES, &[("if-match", "1")]).await.status, 412, "there is no revision 1 yet");
        let key = [("idempotency-key", "first")];
        let first = send("", IMAGES, &key).await;
        assert_eq!((first.status, &first.json()["revision"]), (201, &json!(1)), "{}", first.text);
        let tried = send("?dry_run=true", IMAGES, &[]).await.json();
        assert_eq!((&tried["changed"], &tried["revision"]), (&json!(false), &json!(1)), "{tried}");
        for other in ["2", "\"abc\""] {
            let refused = send("", &next, &[("if-match", other)]).await;
            let body = refused.json();
            assert_eq!((refused.status, &body["code"]), (412, &json!("other-revision")), "{body}");
            assert_eq!(body["request_id"], refused.header("x-request-id"), "{body}");
            assert!(body["message"].is_string() && body.get("field") == Some(&Value::Null), "{body}");
        }
        let hash = first.json()["hash"].as_str().unwrap_or_default().to_owned();
        let second = send("", &next, &[("if-match", &hash)]).await;
        assert_eq!((second.status, &second.json()["revision"]), (201, &json!(2)), "{}", second.text);
        for (method, path, status) in [
            (Method::GET, "nope", 404),
            (Method::POST, "records/", 404),
            (Method::DELETE, "search/", 404),
            (Method::GET, "/search", 404),
            (Method::POST, "counts", 405),
            (Method::GET, "takedowns", 405),
            (Method::GET, "%ff", 400),
        ] {
            let path = format!("/api/v1/collections/image/{path}");
            let refused = server.api.send(method, &path, None, &[]).await;
            let body = refused.json();
            assert_eq!(refused.status, status, "{path}: {body}");
            let keys: Vec<_> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, ["field", "message", "request_id"], "{path}: {body}");
            assert!(status != 400 || body["field"] == "path", "{path}: {body}");
        }
        // A retry gets the answer to the first request, although another revision came after it.
        let again = send("", IMAGES, &key).await;
        assert_eq!((again.status, &again.json()["revision"]), (200, &json!(1)), "{}", again.text);
        let newest = server.api.get("/api/v1/collections/image").await.json();
        assert_eq!(newest["revision"], 2, "{newest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takedown_that_is_answered_took_effect_and_its_retry_undoes_no_reinstatement() {
    for place in places("keys") {
        let server = Server::start(&place);
        crate::define(&server.api, "image", IMAGES).await;
        let send = async |method: Method, path: &str, body: Option<Value>, key: &str| {
            let (path, body) = (format!("/api/v1/collections/image{path}"), body.map(|body| body.to_string()));
            server.api.send(method, &path, body, &[("idempotency-key", key)]).await
        };
        let take = async |ids: Value, key: &str| {
            send(Method::POST, "/takedowns", Some(json!({"ids": ids, "reason": "licence"})), key).await
        };
        assert_eq!(send(Method::PUT, "/records/a", Some(json!({"width": 1})), "k").await.status, 200);
        put(&server, "b", &json!({"width": 1})).await;
        let refused = take(json!(["a"]), "k").await;
        assert_eq!((refused.status, show(&server, "/records/a").await.status), (422, 200), "{}", refused.text);
        let taken = take(json!(["a", "b", "a"]), "t").await;
        assert_eq!((taken.status, &taken.json()["ids"]), (200, &json!(["a", "b"])), "{}", taken.text);
        assert_eq!(show(&server, "/records/a").await.status, 410);
        assert_eq!(send(Method::DELETE, "/takedowns/b", None, "r").await.status, 200);
        let again = take(json!(["a", "b"]), "t").await;
        assert_eq!((again.status, &again.json()["taken_down"]), (200, &json!(0)), "{}", again.text);
        assert_eq!(show(&server, "/records/b").await.status, 200, "a retry took a record down again");
        let anew = take(json!(["b"]), "u").await;
        assert_eq!((anew.status, show(&server, "/records/b").await.status), (200, 410), "{}", anew.text);
        let early = server.api.send(
            Method::POST,
            "/api/v1/collections/image/takedowns",
            Some(json!({"ids": ["c", "d"], "reason": "licence"}).to_string()),
            &[("prefer", "respond-async")],
        );
        let early = early.await;
        assert_eq!(early.json()["positions"].as_array().map(Vec::len), Some(2), "{}", early.text);
        assert_eq!((early.status, early.header("preference-applied")), (202, "respond-async"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_read_with_the_type_of_the_key() {
    let (upper, lower) = ("8969E5BD-0000-4000-8000-00000000000A", "8969e5bd-0000-4000-8000-00000000000a");
    for place in places("ids") {
        let server = Server::start(&place);
        for (collection, kind, given, normal, wrong) in
            [("by_uuid", "uuid", upper, lower, "x"), ("by_number", "int", "007", "7", "seven")]
        {
            let text = format!("collection = \"{collection}\"\nkey = \"id\"\n[fields]\nid = \"{kind}\"\nn = \"int\"\n");
            crate::define(&server.api, collection, &text).await;
            let send = async |method: Method, path: &str, body: Option<Value>| {
                let path = format!("/api/v1/collections/{collection}{path}");
                server.api.send(method, &path, body.map(|body| body.to_string()), &[]).await
            };
            let record = format!("/records/{given}");
            let written = send(Method::PUT, &record, Some(json!({"n": 1}))).await;
            assert_eq!((written.status, &written.json()["record_id"]), (200, &json!(normal)), "{}", written.text);
            assert_eq!(send(Method::GET, &record, None).await.json()["record_id"], normal);
            let taken = json!({"ids": [given, normal], "reason": "licence"});
            let taken = send(Method::POST, "/takedowns", Some(taken)).await;
            assert_eq!((taken.status, &taken.json()["ids"]), (200, &json!([normal])), "{}", taken.text);
            assert_eq!(send(Method::GET, &format!("/records/{normal}"), None).await.status, 410);
            assert_eq!(send(Method::DELETE, &format!("/takedowns/{given}"), None).await.status, 200);
            assert_eq!(send(Method::DELETE, &record, None).await.status, 200);
            for id in [wrong, "a\0", &"9".repeat(300)] {
                let refused = send(Method::POST, "/takedowns", Some(json!({"ids": [id], "reason": "licence"}))).await;
                assert_eq!((refused.status, &refused.json()["field"]), (400, &json!("ids")), "{}", refused.text);
            }
            let refused = send(Method::GET, &format!("/records/{wrong}"), None).await;
            assert!(refused.status == 400 && refused.text.contains(wrong), "{}", refused.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nothing_changes_counts_only_after_every_write_before_it() {
    for place in places("early") {
        let server = Server::start(&place);
        crate::define(&server.api, "image", IMAGES).await;
        let early = async |record_id: &str, fields: Value| {
            let path = format!("/api/v1/collections/image/records/{record_id}");
            let answer =
                server.api.send(Method::PUT, &path, Some(fields.to_string()), &[("prefer", "respond-async")]).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            answer.header("daybook-position").to_owned()
        };
        assert_eq!(put(&server, "a", &json!({"width": -1})).await.status, 200);
        for number in 0..20 {
            let position = early("a", json!({"width": number})).await;
            let written = if number % 2 == 0 {
                put(&server, "a", &json!({"width": -1})).await
            } else {
                let line = json!({"identifier": "a", "width": -1}).to_string();
                server.api.post_text("/api/v1/collections/image/records:bulk", &line).await
            };
            assert_eq!(written.status, 200, "{}", written.text);
            let path = "/api/v1/collections/image/records/a";
            let shown = server.api.send(Method::GET, path, None, &[("daybook-min-position", &position)]).await;
            assert_eq!(shown.json()["fields"]["width"], -1, "a write was skipped: {}", shown.text);
            let record_id = format!("r{number}");
            early(&record_id, json!({"width": number})).await;
            let path = format!("/api/v1/collections/image/records/{record_id}");
            let removed = server.api.send(Method::DELETE, &path, None, &[]).await;
            assert_eq!(removed.status, 200, "{record_id}: {}", removed.text);
        }
        let missing = "/api/v1/collections/image/records/missing";
        assert_eq!(server.api.send(Method::DELETE, missing, None, &[]).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_recorded_ends_no_request_and_dropped_fields_are_named() {
    for place in places("dropped") {
        let server = Server::start(&place);
        crate::define(&server.api, "image", IMAGES).await;
        let given = json!({"title": "A very long title", "height": 3});
        let written = put(&server, "a", &given).await.json();
        assert_eq!((&written["ignored_fields"], &written["truncated"]), (&json!(["height"]), &json!(["title"])));
        // Its numbers are longer in their normal form.
        let large = format!("{{\"identifier\": \"b\", \"tags\": [{}]}}", vec!["1e5"; 200_000].join(","));
        let lines = [
            json!({"identifier": "c", "title": "A very long title", "height": 3, "depth": 1}).to_string(),
            large,
            json!({"identifier": "d", "height": 3}).to_string(),
        ];
        let path = "/api/v1/collections/image/records:bulk";
        let answer = server.api.post_text(path, &lines.join("\n")).await;
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["upserted"], &body["rejected"]),
            (200, &json!(2), &json!(1)),
            "{}",
            answer.text
        );
        assert_eq!((&body["rejects"][0]["line"], &body["rejects"][0]["record_id"]), (&json!(2), &json!("b")), "{body}");
        assert_eq!(body["ignored_fields"], json!({"height": 2, "depth": 1}), "{body}");
        assert_eq!(body["truncated"], json!({"title": 1}), "{body}");
        assert_eq!(server.api.post_text(&format!("{path}?max_rejects=0"), &lines.join("\n")).await.status, 422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_source_without_a_bound_is_stored_and_counted_on_both_engines() {
    let mut random = Random::seeded("sources");
    // Texts that compress well fit into an index all the same.
    let long: String =
        (0..4096).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[random.below(36)])).collect();
    for place in places("sources") {
        let server = Server::start(&place);
        let definition = "collection = \"image\"\nkey = \"id\"\n[fields]\nid = \"text\"\nsource = \"text\"\n";
        crate::define(&server.api, "image", definition).await;
        assert_eq!(put(&server, "a", &json!({"source": long})).await.status, 200, "{:?}", place.backend);
        let lines = ["B", "a", "b"].map(|source| json!({"id": source, "source": source}).to_string());
        let lines = [lines.join("\n"), json!({"id": "c", "source": long}).to_string(), json!({"id": "d"}).to_string()];
        let answer = server.api.post_text("/api/v1/collections/image/records:bulk", &lines.join("\n")).await;
        assert_eq!(answer.json()["upserted"], 5, "{}", answer.text);
        let counts = show(&server, "/counts").await.json();
        let counts = counts["counts"].as_array().cloned().unwrap_or_default();
        let mut sources = vec!["B", "a", "b", long.as_str()];
        sources.sort_unstable();
        let expected: Vec<Value> = [Value::Null].into_iter().chain(sources.into_iter().map(Value::from)).collect();
        assert_eq!(counts.iter().map(|count| count["source"].clone()).collect::<Vec<_>>(), expected);
    }
}
