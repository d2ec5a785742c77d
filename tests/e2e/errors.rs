//! Errors of routing, decoding and limits have the documented shape, as all others have.

use std::time::{Duration, Instant};

use daybook_tests::{
    process::{Backend, Place, Server},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Sends a request whose path no client library would let pass; returns head and body of the answer.
async fn raw(server: &Server, method: &str, path: &str, body: &str) -> (String, Value) {
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let authority = server.api.base.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(authority).await.unwrap_or_else(|error| panic!("{error}"));
    stream.write_all(request.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn check(shown: &str, head: &str, body: &Value) {
    let keys: Vec<_> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["field", "message", "request_id"], "{shown}: {head}\n{body}");
    assert!(head.contains("content-type: application/json"), "{shown}: {head}");
    assert!(head.contains(&format!("x-request-id: {}", body["request_id"].as_str().unwrap_or("-"))), "{shown}: {head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_json_with_a_message_and_the_request_s_id() {
    let place = Place::new("errors", Backend::Embedded).with_program("daybook-books");
    let server = Server::start_with(&place, &["--body-mib-max", "1"]);
    let long = format!("/flows?_cursor={}", "x".repeat(61 * 1024));
    let large = "x".repeat(1024 * 1024 + 1);
    for (method, path, body, status) in [
        ("GET", "/nothing", "", 404),
        ("GET", "//flows", "", 404),
        ("GET", "/ping/", "", 404),
        ("GET", "/flows//runs", "", 404),
        ("POST", "/flows//runs", "{}", 404),
        ("GET", "/%ff", "", 404),
        ("GET", "*", "", 404),
        ("POST", "/ping", "{}", 405),
        ("BREW", "/flows/F", "", 405),
        ("DELETE", "/api/v1/status", "", 405),
        ("PUT", "/health/live", "", 405),
        ("GET", "/flows/%ff", "", 400),
        ("GET", "/api/v1/generations/%ff", "", 400),
        ("GET", "/api/v1/rebuilds/%ff/events", "", 400),
        ("GET", "/flows/a%00b", "", 400),
        ("GET", "/flows/F/runs/%c3%28/steps", "", 400),
        ("POST", "/flows/%f0%9f", "{}", 400),
        ("GET", "/shelves/S/books/seven", "", 400),
        ("GET", "/shelves/S/books/99999999999999999999", "", 400),
        ("GET", "/flows?x=%ff", "", 400),
        ("GET", "/flows?x=%00", "", 400),
        ("GET", "/api/v1/quarantine?after=x", "", 400),
        ("POST", "/flows/F", "{", 400),
        ("POST", "/flows/F", "", 400),
        ("POST", "/flows/F", "[]", 400),
        ("POST", "/flows/F", large.as_str(), 413),
        ("GET", "/api/v1/search?q=%28", "", 400),
        ("GET", long.as_str(), "", 400),
    ] {
        let shown = format!("{method} {}", &path[..path.len().min(60)]);
        let (head, error) = raw(&server, method, path, body).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {head}\n{error}");
        check(&shown, &head, &error);
        assert!(status != 405 || head.contains("\r\nallow: "), "{shown}: {head}");
    }
    // What is no percent-encoding stands for itself.
    assert_eq!(server.api.send(Method::POST, "/flows/100%25", Some("{}".to_owned()), &[]).await.status, 200);
    let (head, flow) = raw(&server, "GET", "/flows/100%", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && flow["flow_id"] == json!("100%"), "{head}\n{flow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_says_what_for_in_health_and_status() {
    let place = Place::new("waits", Backend::Embedded);
    let nobody = ["--log", "kafka://127.0.0.1:1", "--tables", "postgres://127.0.0.1:1/x", "--search", "off"];
    let server = Server::begin(&place, &nobody);
    let is_waiting = async || server.api.get("/health/ready").await.text.contains("starting: waiting for the tables");
    until("it waits for the tables", is_waiting).await;
    let status = server.api.get("/api/v1/status").await;
    let shown = status.json();
    assert_eq!((status.status, &shown["ready"], &shown["generations"]), (200, &json!(false), &json!([])), "{shown}");
    assert!(shown["tables"]["place"].as_str().is_some_and(|place| place.contains("127.0.0.1:1/x")), "{shown}");
    let (done, table) = server.command_on_terminal(&["status"]);
    assert!(done && table.contains("not ready: starting: waiting for the tables"), "{table}");
    assert_eq!(server.api.get("/metrics").await.status, 200);
    let (head, error) = raw(&server, "POST", "/flows/F", "{}").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after"), "{head}");
    check("a request during the start", &head, &error);
    for path in ["", "/", "/subjects", "/schemas/ids/1"] {
        let answer = server.api.get(&format!("/api/v1/schema-registry{path}")).await;
        let error = answer.json();
        assert_eq!((answer.status, &error["error_code"]), (503, &json!(503)), "{path}: {error}");
        assert_eq!(error.as_object().map(serde_json::Map::len), Some(2), "{path}: {error}");
        assert_eq!(answer.header("content-type"), "application/vnd.schemaregistry.v1+json", "{path}");
    }
}

/// A server that takes connections, and answers none of them. Each is closed immediately, unless it is `silent`.
async fn mute_server(silent: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let port = listener.local_addr().unwrap_or_else(|error| panic!("{error}")).port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.extend(Some(stream).filter(|_| silent));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_its_log_names_the_reason_of_each_broker() {
    let closed = mute_server(false).await;
    for (brokers, named) in [
        ("no-such-broker.invalid:9092".to_owned(), "no-such-broker.invalid".to_owned()),
        // It is no broker.
        (format!("127.0.0.1:{closed}"), "closed without an answer".to_owned()),
        ("127.0.0.1:1".to_owned(), "refused".to_owned()),
    ] {
        let place = Place::on("brokers", &format!("kafka://{brokers}"), &daybook_tests::services::postgres());
        let server = Server::begin(&place, &[]);
        let reasons = async || server.api.get("/api/v1/status").await.json()["reasons"].to_string();
        until("the reason is named", async || {
            let reasons = reasons().await;
            reasons.contains("the log on Kafka: ") && reasons.contains(&named)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elasticsearch_that_says_nothing_holds_up_no_start_and_is_named() {
    let place = Place::new("silent_search", Backend::Embedded).with_program("daybook-books");
    let search = format!("http://127.0.0.1:{}", mute_server(true).await);
    let began = Instant::now();
    let server = Server::start_with(&place, &["--search", &search]);
    // Each domain waited for 15 s.
    assert!(began.elapsed() < Duration::from_secs(25), "the start took {:?}", began.elapsed());
    assert_eq!(server.api.send(Method::POST, "/flows/F", Some("{}".to_owned()), &[]).await.status, 200);
    let is_named = async || server.api.get("/api/v1/status").await.text.contains("Elasticsearch does not answer");
    until("it is named", is_named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_its_tables_names_the_refused_connection() {
    let place = Place::on("refused", &daybook_tests::services::kafka(), "postgres://127.0.0.1:1/x");
    let server = Server::begin(&place, &[]);
    let reasons = async || server.api.get("/api/v1/status").await.json()["reasons"].to_string();
    let is_waiting = async || reasons().await.contains("waiting for the tables (postgres, 127.0.0.1:1/x");
    until("it waits for the tables", is_waiting).await;
    until("the connection is refused", async || reasons().await.to_lowercase().contains("connection refused")).await;
    assert!(!reasons().await.contains("pool"), "{}", reasons().await);
}
