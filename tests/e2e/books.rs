//! A second domain beside Metaflow, made of the same parts and named nowhere in the core: `tests/books`.

use daybook_tests::{
    process::{Backend, Place, Server},
    services,
};
use reqwest::Method;
use serde_json::{Value, json};

fn places(test: &str) -> [Place; 2] {
    [Backend::Embedded, Backend::Distributed].map(|backend| Place::new(test, backend).with_program("daybook-books"))
}

async fn add(server: &Server, key: &str, title: &str) -> (Value, String) {
    let body = json!({"title": title, "author": "Knuth"}).to_string();
    let answer =
        server.api.send(Method::POST, "/shelves/Algorithms/books", Some(body), &[("idempotency-key", key)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("metadata_service_version"), "", "Metaflow's header is on another domain's answer");
    (answer.json(), answer.header("daybook-position").to_owned())
}

async fn titles(server: &Server, query: &str, position: &str) -> Vec<Value> {
    let path = format!("/api/books/search?sort=added_at&{query}");
    let answer = server.api.get_served(&path, &[("daybook-min-position", position)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["title"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_beside_metaflow_is_written_read_searched_and_replayed() {
    for place in places("books") {
        let server = Server::start(&place);
        let (first, _) = add(&server, "1", "Fundamental Algorithms").await;
        let (again, position) = add(&server, "1", "Fundamental Algorithms").await;
        assert_eq!(first, again, "a repeated key makes no second book");
        let (second, last) = add(&server, "2", "Sorting and Searching").await;
        assert!(position.starts_with("books/"), "{position}");
        assert!(second["book_id"].as_i64() > first["book_id"].as_i64());
        let path = format!("/shelves/Algorithms/books/{}", second["book_id"]);
        assert_eq!(server.api.get(&path).await.json(), second);
        assert_eq!(server.api.get("/shelves/Algorithms/books/999").await.status, 404);
        let refused = server.api.post("/shelves/Algorithms/books", &json!({"title": ""})).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        // A number is one sequence's alone: Metaflow's begin where they begin without books.
        server.api.post("/flows/F", &json!({})).await;
        assert_eq!(server.api.post("/flows/F/run", &json!({})).await.json()["run_number"], 1);
        assert_eq!(titles(&server, "q=sorting", &last).await, ["Sorting and Searching"]);
        assert_eq!(titles(&server, "author=Knuth", &last).await.len(), 2);
        assert_eq!(titles(&server, "q=fundamental+-searching", &last).await, ["Fundamental Algorithms"]);
        let found = server.api.get_served("/api/books/search?q=sorting", &[]).await.json();
        let shown =
            server.command(&["search", "--domain", "books", "--filter", "shelf=Algorithms", "--sort", "added_at"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        assert_eq!(shown["hits"][0]["title"], "Fundamental Algorithms", "{shown}");
        for wrong in [["--domain", "nothing"], ["--filter", "shelf=Algorithms"]] {
            let refused = server.command(&[&["search"], &wrong[..]].concat());
            assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {refused:?}");
        }
        assert_eq!(found["hits"][0]["path"], json!(path), "a hit's path is not where it is served");
        let status = server.api.get("/api/v1/status").await.json();
        let domains: Vec<_> = status["generations"].as_array().into_iter().flatten().map(|it| &it["domain"]).collect();
        assert_eq!(domains, ["books", "catalogue", "metaflow"], "{status}");
        let metrics = server.api.get("/metrics").await.text;
        assert!(metrics.contains("daybook_query_api_request_seconds_count{domain=\"books\""), "{metrics}");
        assert!(server.stop());
        let events = place.events();
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "BookAdded").count(), 2, "{kinds:?}");
        if place.backend == Backend::Embedded {
            std::fs::remove_file(place.folder.0.join("books_g0001.db")).unwrap_or_else(|error| panic!("{error}"));
            std::fs::remove_file(place.folder.0.join("control.db")).unwrap_or_else(|error| panic!("{error}"));
        }
        let server = Server::start(&place);
        assert_eq!(server.api.get(&path).await.json(), second, "another start serves something else");
        let (third, _) = add(&server, "3", "Combinatorial Algorithms").await;
        assert!(third["book_id"].as_i64() > second["book_id"].as_i64(), "a number is given out twice: {third}");
    }
}

/// Registers flows whose names spread over all partitions.
async fn register_flows(server: &Server, prefix: &str) {
    for index in 0..12 {
        let answer = server.api.post(&format!("/flows/{prefix}{index}"), &json!({})).await;
        assert_eq!(answer.status, 200, "{prefix}{index}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_comes_to_a_place_and_leaves_it_and_nothing_is_lost() {
    for place in places("comes") {
        let server = Server::start(&place);
        let (book, _) = add(&server, "1", "Fundamental Algorithms").await;
        register_flows(&server, "with").await;
        assert!(server.stop());
        let place = place.with_program("daybook");
        let server = Server::start(&place);
        assert_eq!(
            server.api.get("/shelves/Algorithms/books/1").await.status,
            404,
            "a program without books serves them"
        );
        register_flows(&server, "without").await;
        assert!(server.stop());
        let place = place.with_program("daybook-books");
        let server = Server::start(&place);
        assert_eq!(server.api.get(&format!("/shelves/Algorithms/books/{}", book["book_id"])).await.json(), book);
        assert_eq!(server.api.get("/flows").await.json().as_array().map(Vec::len), Some(24));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_other_domains_work_side_by_side() {
    let place = Place::new("side_by_side", Backend::Distributed);
    let (one, two) = (Server::start(&place), Server::start(&place));
    let newer = place.through(&services::kafka(), &services::postgres()).with_program("daybook-books");
    let newer = Server::start(&newer);
    for (server, prefix) in [(&one, "a"), (&two, "b"), (&newer, "c")] {
        register_flows(server, prefix).await;
    }
    let (first, _) = add(&newer, "1", "Fundamental Algorithms").await;
    assert!(one.stop() && two.stop());
    register_flows(&newer, "d").await;
    let (second, _) = add(&newer, "2", "Sorting and Searching").await;
    assert!(second["book_id"].as_i64() > first["book_id"].as_i64());
    assert_eq!(newer.api.get("/flows").await.json().as_array().map(Vec::len), Some(48));
}
