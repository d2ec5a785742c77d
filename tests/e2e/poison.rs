//! Poison records: what somebody else put into the log and no event can be made of is quarantined, the rest flows, and a
//! replay treats it the same (I9).

use std::{path::Path, sync::Arc};

use daybook_ingest::log::{
    EventLog, NewRecord,
    embedded::EmbeddedLog,
    kafka::{Address, KafkaLog},
};
use daybook_schemas::{
    Envelope, Event, codec,
    events::{FlowRegistered, RunStarted},
    ids::{FlowId, RunNumber},
    topics::{Topic, partition_of},
};
use daybook_tests::process::{Backend, Place, Server};
use serde_json::{Value, json};

async fn open(place: &Place) -> Arc<dyn EventLog> {
    let options = place.options();
    match place.backend {
        Backend::Embedded => {
            Arc::new(EmbeddedLog::open(Path::new(&options[1])).unwrap_or_else(|error| panic!("{error}")))
        }
        Backend::Distributed => {
            let address = Address::parse(&options[1], str::to_owned).unwrap_or_else(|error| panic!("{error}"));
            Arc::new(KafkaLog::open(address, true).await.unwrap_or_else(|error| panic!("{error}")))
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
        let partition = partition_of(b"F", log.partition_count(Topic::Events));
        let mut expected = Vec::new();
        for (value, reason) in values() {
            let record = NewRecord { topic: Topic::Events, partition, key: "F".to_owned(), value, headers: None };
            let position = log.append(vec![record]).await.unwrap_or_else(|error| panic!("{error}"))[0];
            expected.extend(reason.map(|reason| (position.to_string(), reason)));
        }
        drop(log);
        let server = Server::start(&place);
        let quarantined = check(&server, &expected).await;
        check_commands(&place, &server, &expected);
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
fn check_commands(place: &Place, server: &Server, expected: &[(String, &str)]) {
    let run = |arguments: &[&str]| {
        let output = place.command(&[&["quarantine"], arguments, &["--url", &server.api.base]].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (listed, lines) = run(&["list"]);
    assert!(listed && lines.lines().count() == expected.len(), "{lines}");
    for (position, reason) in expected {
        assert!(lines.lines().any(|line| line.starts_with(position) && line.contains(reason)), "{position}: {lines}");
        let (shown, text) = run(&["show", position]);
        assert!(shown && text.contains(reason), "{position}: {text}");
    }
    assert!(!run(&["show", "events/0@999999"]).0, "a record that is not in quarantine is shown");
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
    assert_eq!(status["generations"][0]["quarantined_records"], json!(expected.len()));
    found
}
