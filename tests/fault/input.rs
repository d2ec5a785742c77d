//! Input that is wrong, too much, too slow or never ends: a clear 4xx or a closed connection, bounded memory, nothing stored.

use std::{fmt::Write as _, time::Duration};

use daybook_tests::{
    fuzz::{corpus, mutate},
    process::{Backend, Place, Server},
    random::Random,
    services,
    writers::Step,
};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

fn authority(server: &Server) -> String {
    server.api.base.trim_start_matches("http://").to_owned()
}

/// Sends bytes and returns all that comes back before the server closes, or nothing if it closes at once.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(authority(server)).await.unwrap_or_else(|error| panic!("{error}"));
    // A server that refuses the head need not read the rest.
    let _refused = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(90), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server neither answers nor closes: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_wrong_get_a_4xx_that_names_the_fault_and_store_nothing() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("bodies", backend);
        let server = Server::start(&place);
        server.api.post("/flows/F", &json!({})).await;
        server.api.post("/flows/F/run", &json!({})).await;
        let (run, flow) = ("/flows/F/run", "/flows/G");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let wrong: Vec<(&str, Vec<u8>)> = vec![
            (flow, b"{".to_vec()),
            (flow, b"nonsense".to_vec()),
            (flow, b"[]".to_vec()),
            (flow, b"{\"user_name\": {}}".to_vec()),
            (flow, format!("{{\"user_name\": {deep}}}").into_bytes()),
            (flow, b"{\"tags\": [\"a\\u0000b\"]}".to_vec()),
            (flow, b"{\"tags\": [\"\\ud800\"]}".to_vec()),
            (flow, b"{\"user_name\": \"\xff\xfe\"}".to_vec()),
            (flow, b"{\"user_name\": \"a\\u0000b\"}".to_vec()),
            (flow, b"{\"user_name\": \"\\ud800\"}".to_vec()),
            (flow, deep.clone().into_bytes()),
            (flow, format!("{{\"tags\": {deep}}}").into_bytes()),
            (run, b"{\"run_number\": 7}".to_vec()),
            (run, b"{\"run_number\": \"7\"}".to_vec()),
            (run, format!("{{\"run_number\": \"{}\"}}", "n".repeat(2000)).into_bytes()),
            ("/flows/F/runs/1/steps/s/tasks/1/artifact", b"{}".to_vec()),
            ("/flows/F/runs/99999999999999999999/steps/s/tasks/1/metadata", b"[]".to_vec()),
            ("/flows/a%00b", b"{}".to_vec()),
        ];
        let before = place.events().len();
        for (path, body) in wrong {
            let shown = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
            let client = reqwest::Client::new();
            let sent = client.post(format!("{}{path}", server.api.base)).body(body).send().await;
            let answer = sent.unwrap_or_else(|error| panic!("{path} {shown}: {error}"));
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap_or_default();
            assert!((400..500).contains(&status), "{path} {shown}: {status} {text}");
            assert!(text.contains("message"), "{path} {shown}: {status} says nothing: {text}");
        }
        assert_eq!(place.events().len(), before, "something was stored");
        let long = format!("/flows/{}", "n".repeat(5_000));
        assert_eq!(server.api.post(&long, &json!({})).await.status, 413);
        assert!(server.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_flood_or_stall_are_refused_and_memory_stays_bounded() {
    let place = Place::new("heads", Backend::Embedded);
    let server = Server::start(&place);
    let mut many = "GET /ping HTTP/1.1\r\nHost: x\r\n".to_owned();
    (0..5_000).for_each(|index| {
        // Writing into a string cannot fail.
        let _infallible = write!(many, "X-{index}: y\r\n");
    });
    let huge = format!("GET /ping HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1024 * 1024));
    let line = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(1024 * 1024));
    for (name, head) in [("many headers", format!("{many}\r\n")), ("a huge header", huge), ("a huge path", line)] {
        let answer = raw(&server, head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    for (name, bytes) in [("no HTTP", "\0\u{1}\u{2}nonsense\r\n\r\n"), ("HTTP/0.9", "GET /\r\n\r\n")] {
        let answer = raw(&server, bytes.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    // A body that is announced and never comes, cut off by the client, leaves nothing behind.
    let half = "POST /flows/half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    let mut stream = TcpStream::connect(authority(&server)).await.unwrap_or_else(|error| panic!("{error}"));
    stream.write_all(half.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
    drop(stream);
    assert_eq!(server.api.get("/flows/half").await.status, 404);
    assert!(server.memory_kib("VmRSS") / 1024 < 200, "{} MiB resident", server.memory_kib("VmRSS") / 1024);
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_the_limit_is_read_and_one_over_it_is_refused_without_being_kept() {
    let place = Place::new("limit", Backend::Embedded);
    let server = Server::start_with(&place, &["--body-mib-max", "8"]);
    let body = format!("{{\"user_name\": \"{}\"}}", "x".repeat(9 * 1024 * 1024));
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (api, body) = (server.api.clone(), body.clone());
        requests.spawn(async move { api.try_send(Method::POST, "/flows/F", Some(body), &[]).await });
    }
    for answer in requests.join_all().await {
        // A server that has refused need not read on: the client may find the connection closed.
        let status = answer.map_or(413, |answer| answer.status);
        assert_eq!(status, 413);
    }
    assert_eq!(server.api.get("/flows/F").await.status, 404);
    assert!(server.memory_kib("VmRSS") / 1024 < 300, "{} MiB resident", server.memory_kib("VmRSS") / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_disturb_nobody() {
    let place = Place::new("idle", Backend::Embedded);
    let server = Server::start(&place);
    let before = server.memory_kib("VmRSS") / 1024;
    let mut idle = Vec::new();
    // From several addresses of loopback, as one has not enough ports to spare; as many as this process may open.
    for index in 0..10_000_u32 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap_or_else(|error| panic!("{error}"));
        let from = std::net::Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % 4).unwrap_or(2));
        socket.bind((from, 0).into()).unwrap_or_else(|error| panic!("{error}"));
        let to = authority(&server).parse().unwrap_or_else(|error| panic!("{error}"));
        match socket.connect(to).await {
            Ok(stream) => idle.push(stream),
            Err(error) if idle.len() > 400 => {
                eprintln!("idle: {} connections, then {error}", idle.len());
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    for index in 0..50 {
        assert_eq!(server.api.post(&format!("/flows/F{index}"), &json!({})).await.status, 200);
    }
    let grown = (server.memory_kib("VmRSS") / 1024).saturating_sub(before);
    assert!(grown < 400, "{} idle connections took {grown} MiB", idle.len());
    drop(idle);
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_reading_hold_nobody_up() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("slow", backend);
        let server = Server::start(&place);
        let step = daybook_tests::writers::Step::make(&server.api, "F").await;
        server.api.post(&format!("{}/task", step.path()), &json!({})).await;
        let fields: Vec<_> =
            (0..500).map(|index| json!({"field_name": format!("f{index}"), "value": "x".repeat(4_000)})).collect();
        for _ in 0..5 {
            let made = server.api.post(&format!("{}/tasks/1/metadata", step.path()), &json!(fields)).await;
            assert_eq!(made.status, 200, "{}", made.text);
        }
        let mut stalled = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(authority(&server)).await.unwrap_or_else(|error| panic!("{error}"));
            let request = format!("GET {}/tasks/1/metadata HTTP/1.1\r\nHost: x\r\n\r\n", step.path());
            stream.write_all(request.as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
            stalled.push(stream);
        }
        for _ in 0..50 {
            assert_eq!(server.api.post(&format!("{}/task", step.path()), &json!({})).await.status, 200);
            assert_eq!(server.api.get(&format!("{}/tasks/1", step.path())).await.status, 200);
        }
        assert!(server.memory_kib("VmRSS") / 1024 < 300, "{} MiB resident", server.memory_kib("VmRSS") / 1024);
    }
}

/// What random requests are made of.
const WORDS: [&str; 32] = [
    "flows",
    "F",
    "runs",
    "run",
    "1",
    "steps",
    "s",
    "step",
    "tasks",
    "task",
    "artifact",
    "artifacts",
    "metadata",
    "heartbeat",
    "tag",
    "mutate",
    "attempt",
    "0",
    "-1",
    "99999999999999999999",
    "%ff",
    "%2f",
    "%00",
    "a%20b",
    "..",
    "filtered_tasks",
    "api",
    "v1",
    "events",
    "status",
    "ü",
    "\u{1f600}",
];
const KEYS: [&str; 10] =
    ["_limit", "_cursor", "_tags", "_tags:any", "status", "ts_epoch:gt", "user:li", "pattern", "run_id:zz", "after"];
const VALUES: [&str; 14] = [
    "",
    "1",
    "-1",
    "0",
    "x",
    "null",
    "a,b",
    "%25",
    "(",
    "[",
    "a{1000000}",
    "%ff",
    "eyJ0IjoxfQ",
    "99999999999999999999",
];
const BODIES: [&str; 9] =
    ["", "{}", "[]", "null", "{\"tags_to_add\":[\"a\"]}", "[{\"name\":1}]", "\"", "[[[[", "{\"a\":1e999}"];

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_never_meet_a_server_error() {
    let mut random = Random::seeded("requests");
    let place = Place::new("random", Backend::Embedded);
    let server = Server::start(&place);
    server.api.post("/flows/F", &json!({})).await;
    for _ in 0..crate::rounds(400) {
        let path: String = (0..1 + random.below(10)).map(|_| format!("/{}", random.pick(&WORDS))).collect();
        let query: Vec<String> =
            (0..random.below(4)).map(|_| format!("{}={}", random.pick(&KEYS), random.pick(&VALUES))).collect();
        let method = random.pick(&["GET", "POST", "PATCH", "HEAD", "OPTIONS", "PUT", "DELETE"]);
        let (path, body) = (format!("{path}?{}", query.join("&")), random.pick(&BODIES).to_owned());
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        let answer = server.api.send(method.clone(), &path, Some(body.clone()), &[]).await;
        // 500 is what clients expect for a step or task of a run that is not there; its body says so.
        let expected = answer.status < 500 || answer.text.contains("'run_number'") || path.starts_with("/auth/token");
        assert!(expected, "{method} {path} {body}: {} {}", answer.status, answer.text);
    }
    assert!(server.logged().iter().all(|line| !line.contains("panicked")), "{:?}", server.logged());
    assert_eq!(server.api.get("/health/ready").await.status, 200);
}

/// A request of the corpus as bytes on the wire: a method, a target and a body, with spaces between.
fn on_the_wire(request: &[u8]) -> Vec<u8> {
    let mut parts = request.splitn(3, |byte| *byte == b' ');
    let [method, target, body] = [(); 3].map(|()| parts.next().unwrap_or_default());
    // The end of a line would end the head, and the server wait for another one.
    let line: Vec<u8> = [method, b" ", target].concat().into_iter().filter(|byte| !b"\r\n".contains(byte)).collect();
    let head = format!(" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [line.as_slice(), head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_corpus_and_what_is_made_of_them_never_meet_a_server_error() {
    let mut random = Random::seeded("corpus");
    let place = Place::new("corpus", Backend::Embedded);
    let server = Server::start(&place);
    Step::make(&server.api, "F").await;
    assert_eq!(server.api.post("/flows/F/runs/1/steps/s/task", &json!({})).await.status, 200);
    let corpus = corpus("requests");
    for round in 0..corpus.len() + crate::rounds(1_000) {
        let mut request = corpus[round % corpus.len()].clone();
        if round >= corpus.len() {
            mutate(&mut random, &mut request);
        }
        let answer = raw(&server, &on_the_wire(&request)).await;
        let shown = String::from_utf8_lossy(&request);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        // What is no HTTP at all may be left without an answer.
        let expected = status.is_none_or(|status| status < 500) || answer.contains("'run_number'");
        assert!(expected, "{shown:?}: {answer}");
        assert!(round >= corpus.len() || status.is_some(), "{shown:?} got no answer");
    }
    assert!(server.logged().iter().all(|line| !line.contains("panicked")), "{:?}", server.logged());
    assert_eq!(server.api.get("/health/ready").await.status, 200);
}

/// Routes under which clients expect 500 for a mistake of theirs, or that take no JSON.
const NOT_BY_SCHEMA: &str =
    r"(/auth/token|/step|/task|/api/v1/events|/records:bulk|/api/v1/collections/\{collection\})$";

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_leads_a_property_tester_to_no_server_error() {
    let place = Place::new("schema", Backend::Embedded);
    let server = Server::start(&place);
    let program = "from schemathesis.cli import schemathesis; schemathesis()";
    let output = tokio::process::Command::new(services::address("DAYBOOK_TEST_PYTHON"))
        .args(["-c", program, "run", &format!("{}/openapi.json", server.api.base), "--no-color"])
        .args(["--checks", "not_a_server_error", "--max-examples", "10", "--phases", "examples,coverage,fuzzing"])
        .args(["--exclude-path-regex", NOT_BY_SCHEMA, "--request-timeout", "60"])
        .current_dir(&place.folder.0)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("generated"), "nothing was tried: {said}");
    assert!(server.logged().iter().all(|line| !line.contains("panicked")), "{:?}", server.logged());
}
