//! Topics that somebody has changed: more partitions than the tables know, history that was cut off, settings that would
//! lose it, a transaction that nobody ends. Each is named, and no write is acknowledged that later is not there.

use daybook_tests::{
    comparison::compare_all,
    model::Model,
    process::{Backend, Place, Server, run},
    services, wait,
};
use serde_json::{Value, json};

/// As many flows as leave records in each partition.
const FLOWS: usize = 40;

async fn make_flows(server: &Server, name: &str) {
    for number in 0..FLOWS {
        let made = server.api.post(&format!("/flows/{name}{number}"), &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
}

/// Changes a topic of a place.
fn alter(place: &Place, command: &str, topic: &str, number: &str) {
    let (bootstrap, prefix) = place.topics();
    services::python("kit/alter_topic.py", &[command, bootstrap, &format!("{prefix}.{topic}"), number]);
}

/// The exit code of a process that must not start, and what it says.
fn refusal(options: &[String]) -> (Option<i32>, String) {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let output = run(&[&["serve", "--listen", "127.0.0.1:0"], options.as_slice()].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until a process is ready, or is not and says why.
async fn until(server: &Server, status: u16, named: &str) {
    wait::until(&format!("{status} with {named:?}"), async || {
        let ready = server.api.get("/health/ready").await;
        ready.status == status && ready.text.contains(named)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_more_partitions_is_refused_at_the_start_and_a_running_process_goes_on_with_its_own() {
    for topic in ["metaflow", "metaflow.heartbeats"] {
        let place = Place::new("grown", Backend::Distributed).with_search(None);
        let server = Server::start(&place);
        make_flows(&server, "Before").await;
        alter(&place, "grow", topic, "7");
        make_flows(&server, "After").await;
        until(&server, 200, "").await;
        compare_all(&server.api, &Model::of(&place.events())).await;
        assert!(server.stop());
        for _ in 0..2 {
            let (code, said) = refusal(&place.options());
            let counts = format!("topic {topic} has 7 partitions, but the tables were built from 4");
            assert!(code == Some(2) && said.contains(&counts), "{code:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_was_cut_off_in_any_partition_ends_service_and_every_start() {
    let place = Place::new("cut", Backend::Distributed).with_search(None);
    let server = Server::start(&place);
    let reader = Server::start_with(&place, &["--roles", "api"]);
    make_flows(&server, "F").await;
    alter(&place, "cut", "metaflow", "2");
    for it in [&server, &reader] {
        until(it, 503, "metaflow/2 begins at offset").await;
        wait::until("it serves nothing", async || it.api.get("/flows/F0").await.status == 503).await;
        for answer in [it.api.get("/flows/F0").await, it.api.post("/flows/G", &json!({})).await] {
            assert!(answer.status == 503 && answer.text.contains("metaflow/2"), "{}: {}", answer.status, answer.text);
        }
    }
    server.kill();
    reader.kill();
    // Other tables, which are empty, cannot be filled.
    let mut emptied = place.options();
    emptied[5] = services::unique("emptied");
    for options in [place.options(), emptied] {
        let (code, said) = refusal(&options);
        assert!(code == Some(1) && said.contains("metaflow/2 begins at offset"), "{code:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_history_that_was_cut_off_fails_and_names_the_partition() {
    let place = Place::new("cut_rebuild", Backend::Distributed).with_search(None);
    let server = Server::start(&place);
    make_flows(&server, "F").await;
    alter(&place, "cut", "metaflow", "3");
    let begun = server.api.post("/api/v1/rebuilds", &json!({})).await;
    if begun.status != 202 {
        // It was noticed before.
        assert!(begun.status >= 500, "{}: {}", begun.status, begun.text);
        let ready = server.api.get("/health/ready").await;
        assert!(ready.status == 503 && ready.text.contains("metaflow/3"), "{}", ready.text);
        return;
    }
    let path = format!("/api/v1/generations/{}", begun.json()["generation"]);
    let mut shown = Value::Null;
    wait::until("the rebuild fails", async || {
        shown = server.api.get(&path).await.json();
        shown["state"] == "failed"
    })
    .await;
    assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("metaflow/3")), "{shown:#}");
}

#[test]
fn a_topic_whose_settings_would_lose_history_is_a_fault_of_the_configuration_and_no_other_one_is_created() {
    let place = Place::new("settings", Backend::Distributed).with_search(None);
    let (bootstrap, prefix) = place.topics();
    // The script creates topics that are kept whole: these are not compacted.
    let heartbeats = format!("{prefix}.metaflow.heartbeats");
    services::python("fault/topics.py", &["create", bootstrap, prefix, &heartbeats]);
    for _ in 0..2 {
        let (code, said) = refusal(&place.options());
        assert!(code == Some(2) && said.contains("cleanup.policy=delete"), "{code:?}: {said}");
    }
    // It would fail if the topic were there.
    services::python("fault/topics.py", &["create", bootstrap, prefix, &format!("{prefix}.metaflow")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_ends_is_named_by_readiness_until_the_broker_ends_it() {
    let place = Place::new("open_transaction", Backend::Distributed).with_search(None);
    let server = Server::start_with(&place, &["--wait-ms-max", "1000"]);
    let (bootstrap, prefix) = place.topics();
    services::python("kit/transactions.py", &["open", bootstrap, prefix]);
    let written = server.api.post("/flows/F", &json!({})).await;
    assert_eq!(written.status, 503, "{}", written.text);
    until(&server, 503, "a transaction of another producer is open").await;
    until(&server, 200, "").await;
    wait::until("what was appended is applied", async || server.api.get("/flows/F").await.status == 200).await;
}
