//! Poison records: what somebody else put into the log and no event can be made of is quarantined, the rest flows, and a
//! replay treats it the same (I9).

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use daybook_ingest::log::{
    EventLog, NewRecord,
    embedded::EmbeddedLog,
    kafka::{Address, KafkaLog},
};
use daybook_metaflow::events::{
    EVENTS, Event, FlowRegistered, RunStarted, TOPICS,
    ids::{FlowId, RunNumber},
};
use daybook_schemas::{Envelope, codec, position::Position, topics::partition_of};
use daybook_tests::{
    api::of_metaflow,
    process::{Backend, Place, Server},
    wait::until,
};
use serde_json::{Value, json};

async fn open(place: &Place) -> Arc<dyn EventLog> {
    let options = place.options();
    match place.backend {
        Backend::Embedded => {
            Arc::new(EmbeddedLog::open(Path::new(&options[1]), &TOPICS).unwrap_or_else(|error| panic!("{error}")))
        }
        Backend::Distributed => {
            let address = Address::parse(&options[1], str::to_owned).unwrap_or_else(|error| panic!("{error}"));
            Arc::new(KafkaLog::open(address, &TOPICS, true).await.unwrap_or_else(|error| panic!("{error}")))
        }
    }
}

fn encoded(event: Event) -> Vec<u8> {
    codec::encode(&Envelope::new(1_700_000_000_000, event)).unwrap_or_else(|error| panic!("{error}"))
}

fn flow(name: &str) -> Event {
    let (flow_id, user_name, tags, system_tags) = (FlowId::from(name), None, vec![], vec![]);
    Event::FlowRegistered(FlowRegistered { flow_id, user_name, tags, system_tags })
}

fn run(flow: &str, number: i64) -> Event {
    let (flow_id, run_number, run_id, user_name) = (FlowId::from(flow), RunNumber(number), None, None);
    let (tags, system_tags, heartbeat) = (vec![], vec![], false);
    Event::RunStarted(RunStarted { flow_id, run_number, run_id, user_name, tags, system_tags, heartbeat })
}

/// Bad values under the key of a good flow, each with a part of the reason that is told, and good ones between them.
fn values() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let mut cut = encoded(run("F", 3));
    cut.truncate(30);
    vec![
        (encoded(flow("F")), None),
        (b"garbage".to_vec(), Some("Confluent wire format")),
        (vec![], Some("Confluent wire format")),
        (vec![0, 0, 0, 9, 9, 1], Some("unknown schema id")),
        (encoded(run("F", 1)), None),
        (cut, Some("do not follow schema")),
        (encoded(run("F", -5)), Some("run_number is -5")),
        (encoded(flow("nul\0")), Some("NUL")),
        (encoded(flow("Other")), Some("key is not")),
        (vec![0xff; 5 * 1024 * 1024], Some("Confluent wire format")),
        (encoded(run("F", 2)), None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_poison_is_quarantined_with_its_reason_the_rest_flows_and_a_replay_does_the_same() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("poison", backend);
        let log = open(&place).await;
        let partition = partition_of(b"F", log.partition_count(EVENTS));
        let mut expected = Vec::new();
        for (value, reason) in values() {
            let record = NewRecord { topic: EVENTS, partition, key: "F".to_owned(), value, headers: None };
            let position = log.append(vec![record]).await.unwrap_or_else(|error| panic!("{error}"))[0];
            expected.extend(reason.map(|reason| (position.to_string(), reason)));
        }
        drop(log);
        let server = Server::start(&place);
        let quarantined = check(&server, &expected).await;
        check_commands(&server, &expected);
        // A writer goes on after all that.
        assert_eq!(server.api.post("/flows/F/run", &json!({})).await.json()["run_number"], 3);
        assert!(server.stop());
        if backend == Backend::Embedded {
            for file in ["control.db", "metaflow_g0001.db"] {
                std::fs::remove_file(place.folder.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            }
            let replayed = check(&Server::start(&place), &expected).await;
            assert_eq!(replayed, quarantined, "a replay quarantines otherwise");
        }
    }
}

/// The command line shows the same.
fn check_commands(server: &Server, expected: &[(String, &str)]) {
    let (listed, table) = server.command_on_terminal(&["quarantine", "list"]);
    assert!(listed && table.lines().count() == 1 + expected.len(), "{table}");
    let listed = server.command(&["quarantine", "list"]).stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert_eq!(listed.lines().count(), expected.len(), "{listed}");
    for (position, reason) in expected {
        assert!(table.lines().any(|line| line.starts_with(position) && line.contains(reason)), "{position}: {table}");
        let entry = listed.lines().find(|line| line.starts_with(&format!("{{\"position\":\"{position}\"")));
        assert!(entry.is_some_and(|entry| entry.contains(reason)), "{position}: {listed}");
        let (shown, text) = server.command_on_terminal(&["quarantine", "show", position]);
        assert!(shown && text.contains(reason), "{position}: {text}");
        let shown = server.command(&["quarantine", "show", position]).stdout;
        let shown: Value = serde_json::from_slice(&shown).unwrap_or_default();
        assert_eq!(shown["position"], json!(position));
    }
    let missing = server.command(&["quarantine", "show", "metaflow/0@999999"]);
    assert_eq!(missing.status.code(), Some(3), "a record that is not in quarantine: {missing:?}");
}

async fn check(server: &Server, expected: &[(String, &str)]) -> Value {
    let found = server.api.get("/api/v1/quarantine").await.json();
    let entries = found.as_array().cloned().unwrap_or_default();
    let positions: Vec<_> = entries.iter().map(|entry| entry["position"].clone()).collect();
    assert_eq!(positions, expected.iter().map(|(position, _)| json!(position)).collect::<Vec<_>>(), "{entries:#?}");
    for (entry, (position, reason)) in entries.iter().zip(expected) {
        assert!(entry["reason"].as_str().is_some_and(|text| text.contains(reason)), "{position}: {}", entry["reason"]);
    }
    let runs = server.api.get("/flows/F/runs").await.json();
    assert!(runs.as_array().is_some_and(|runs| runs.len() >= 2), "the rest did not flow: {runs}");
    let status = server.api.get("/api/v1/status").await.json();
    assert_eq!(of_metaflow(&status)["quarantined_records"], json!(expected.len()));
    found
}

/// A record of a schema version that is not released yet, in the range of Metaflow's schema ids.
fn newer(flow: &str) -> Vec<u8> {
    let mut value = encoded(run(flow, 9));
    value[4] = 199;
    value
}

/// Appends values under the key of a flow; returns their positions.
async fn append(log: &dyn EventLog, flow: &str, values: Vec<Vec<u8>>) -> Vec<Position> {
    let partition = partition_of(flow.as_bytes(), log.partition_count(EVENTS));
    let record = |value| NewRecord { topic: EVENTS, partition, key: flow.to_owned(), value, headers: None };
    let records = values.into_iter().map(record).collect();
    log.append(records).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the process says that it is not ready because of a record, and asserts that it goes on to say so.
async fn check_not_ready(server: &Server, position: Position) {
    let reason = format!("projector of metaflow: record {position} was written by a newer program");
    until(&reason, async || server.api.get("/health/ready").await.text.contains(&reason)).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let ready = server.api.get("/health/ready").await;
        assert!(ready.status == 503 && ready.text.contains(&reason), "{}", ready.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_newer_program_wrote_stops_its_partition_and_no_other() {
    let place = Place::new("newer", Backend::Distributed);
    let server = Server::start(&place);
    let log = open(&place).await;
    let count = log.partition_count(EVENTS);
    let mut others = (0..).map(|index| format!("G{index}"));
    let other = others.find(|name| partition_of(name.as_bytes(), count) != partition_of(b"F", count));
    let other = other.unwrap_or_default();
    let values = vec![encoded(flow("F")), encoded(run("F", 7)), newer("F"), encoded(run("F", 8))];
    let positions = append(log.as_ref(), "F", values).await;
    check_not_ready(&server, positions[2]).await;
    assert_eq!(server.api.get("/flows/F/runs/7").await.status, 200, "a record before it was not applied");
    assert_eq!(server.api.get("/flows/F/runs/8").await.status, 404, "a record after it was applied");
    for path in [format!("/flows/{other}"), format!("/flows/{other}/run")] {
        let answer = server.api.post(&path, &json!({})).await;
        assert_eq!(answer.status, 200, "another partition stopped: {}", answer.text);
    }
    check_not_ready(&server, positions[2]).await;
    assert_eq!(server.api.get("/api/v1/quarantine").await.text, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_start_for_a_newer_record_names_it() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("newer_start", backend);
        let log = open(&place).await;
        let positions = append(log.as_ref(), "F", vec![encoded(flow("F")), newer("F"), encoded(run("F", 8))]).await;
        drop(log);
        let server = Server::begin(&place, &[]);
        check_not_ready(&server, positions[1]).await;
        let answer = server.api.get("/flows/F").await;
        assert!(answer.status == 503 && answer.text.contains("starting"), "{}", answer.text);
        assert!(server.stop(), "it did not stop well during its start");
    }
}
