//! Clients that keep the server waiting: they hold no place that others need, and are given up after a while.

use std::time::Duration;

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than the server waits for any client.
const GIVEN_UP: Duration = Duration::from_secs(90);
/// How often others ask while bodies do not come.
const TURNS: usize = 50;

async fn connect(server: &Server) -> TcpStream {
    let authority = server.api.base.trim_start_matches("http://").to_owned();
    TcpStream::connect(authority).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends bytes on a connection that stays open.
async fn begin(server: &Server, text: &str) -> TcpStream {
    let mut stream = connect(server).await;
    stream.write_all(text.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
    stream
}

/// All that comes before the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(GIVEN_UP, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server does not close: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_hold_nobody_up_and_are_answered_408() {
    tokio::join!(bodies_that_do_not_come(Backend::Embedded), bodies_that_do_not_come(Backend::Distributed));
}

async fn bodies_that_do_not_come(backend: Backend) {
    let place = Place::new("unsent", backend);
    let server = Server::start_with(&place, &["--requests-max", "10"]);
    let mut stalled = Vec::new();
    for index in 0..10 {
        for path in [format!("/flows/stalled{index}"), "/api/v1/events".to_owned()] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{");
            stalled.push((path, begin(&server, &head).await));
        }
    }
    // One that sends in parts is answered as any other: a part now, one after each turn, and the last one.
    let length = TURNS + 2;
    let head =
        format!("POST /flows/parts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{{");
    let mut parts = begin(&server, &head).await;
    for index in 0..TURNS {
        for path in ["/health/live", "/health/ready", "/metrics", "/api/v1/status", "/flows"] {
            let answer = server.api.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        let made = server.api.post(&format!("/flows/F{index}"), &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
        parts.write_all(b" ").await.unwrap_or_else(|error| panic!("{error}"));
    }
    parts.write_all(b"}").await.unwrap_or_else(|error| panic!("{error}"));
    assert!(rest(parts).await.starts_with("HTTP/1.1 200"));
    for (path, stream) in stalled {
        let answer = rest(stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 408") && head.contains("connection: close"), "{path}: {answer}");
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!(body["field"], "body", "{path}: {answer}");
    }
    assert!(server.api.metric("daybook_query_api_body_bytes").await.abs() < 0.5, "bytes are still held");
    assert_eq!(server.api.get("/flows/stalled0").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_beyond_the_limit_on_descriptors_keep_nobody_out() {
    // Each takes as long as the server waits for an idle connection.
    tokio::join!(idle_connections(Backend::Embedded), idle_connections(Backend::Distributed));
}

async fn idle_connections(backend: Backend) {
    let place = Place::new("idle", backend);
    let server = Server::start_with_descriptors(&place, 256);
    let beginnings = ["", "GET /flows HTTP/1.1\r\nHost: x\r\n", "POST /flows/F HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"];
    let mut flood = Vec::new();
    for index in 0..600 {
        flood.push(begin(&server, beginnings[index % beginnings.len()]).await);
        if index % 50 != 49 {
            continue;
        }
        for path in ["/health/live", "/health/ready", "/metrics", "/flows"] {
            // On a connection of its own.
            let answer = Api::new(&server.api.base).get(path).await;
            assert_eq!(answer.status, 200, "{index}: {path}: {}", answer.text);
        }
    }
    let made = Api::new(&server.api.base).post("/flows/Made", &json!({})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert!(server.api.metric("daybook_query_api_closed_connections_total").await > 0.5);
    // The first ones were closed: at once, or with a body that did not come in time.
    for mut stream in flood.drain(..100) {
        let mut read = Vec::new();
        let _reset = stream.read_to_end(&mut read).await;
        let read = String::from_utf8_lossy(&read);
        assert!(read.is_empty() || read.starts_with("HTTP/1.1 408"), "{read}");
    }
    assert!(!server.logged().iter().any(|line| line.contains("cannot accept")), "{:?}", server.logged());
}

/// Sends a chunk of a body.
async fn send(stream: &mut TcpStream, part: &str) {
    if let Err(error) = stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await {
        let mut read = String::new();
        let _reset = stream.read_to_string(&mut read).await;
        panic!("{error}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_pauses_leaves_its_place_and_goes_on() {
    let place = Place::new("pausing", Backend::Embedded);
    let server = Server::start_with(&place, &["--requests-max", "1"]);
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut import = begin(&server, head).await;
    for index in 0..20 {
        let line = json!({"type": "FlowRegistered", "event": {"flow_id": format!("F{index}")}}).to_string() + "\n";
        let (first, second) = line.split_at(line.len() / 2);
        send(&mut import, first).await;
        // The import has begun, and waits for the end of the line without a place.
        server.api.metric_reaches("daybook_query_api_body_bytes", 1.0).await;
        while server.api.get("/flows").await.status != 200 {}
        send(&mut import, second).await;
    }
    import.write_all(b"0\r\n\r\n").await.unwrap_or_else(|error| panic!("{error}"));
    let answer = rest(import).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"accepted\":20"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answer_loses_its_connection() {
    let place = Place::new("unread", Backend::Embedded);
    let server = Server::start(&place);
    let value = "v".repeat(1024 * 1024);
    for path in ["/flows/F", "/flows/F/run", "/flows/F/runs/1/steps/s/step", "/flows/F/runs/1/steps/s/task"] {
        assert_eq!(server.api.post(path, &json!({})).await.status, 200, "{path}");
    }
    let metadata = "/flows/F/runs/1/steps/s/tasks/1/metadata";
    let fields: Vec<Value> = (0..32).map(|index| json!({"field_name": index.to_string(), "value": value})).collect();
    let made = server.api.send(Method::POST, metadata, Some(json!(fields).to_string()), &[]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    // A page is one answer in memory, and larger than what the two ends of a connection buffer.
    let head = format!("GET {metadata}?_limit=32 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = begin(&server, &head).await;
    let length = made.text.len() + fields.len() * value.len();
    // Nothing is read until the server has closed: then, writing to it fails.
    let closed = async {
        while stream.write_all(b" ").await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    assert!(tokio::time::timeout(GIVEN_UP, closed).await.is_ok(), "the server waits on");
    let mut read = Vec::new();
    // What had arrived can be read, or the connection is reset.
    let _reset = stream.read_to_end(&mut read).await;
    assert!(read.len() < length, "{} bytes were read", read.len());
}
