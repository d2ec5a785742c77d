//! Processes: kill and restart, orderly stop, several instances on one place, refusals at start.

use std::process::{Command, Stdio};

use daybook_tests::{
    api::Api,
    comparison::compare_all,
    model::Model,
    process::{Backend, Place, Projector, Server, binary},
    services,
    wait::until,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::on_both;

/// Makes a flow with one run and one step; returns the step's path.
async fn step(api: &Api) -> String {
    api.post("/flows/F", &json!({})).await;
    let run = api.post("/flows/F/run", &json!({})).await.json()["run_number"].clone();
    let step = format!("/flows/F/runs/{run}/steps/s");
    assert_eq!(api.post(&format!("{step}/step"), &json!({})).await.status, 200);
    step
}

/// Creates tasks until the server is gone; returns the ids that were acknowledged.
async fn create_until_gone(api: Api, path: String) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    loop {
        let answer = api.try_send(reqwest::Method::POST, &path, Some("{}".to_owned()), &[]).await;
        match answer {
            Ok(answer) if answer.status == 200 => acknowledged.extend(answer.json()["task_id"].as_i64()),
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => panic!("{}: {}", answer.status, answer.text),
            Err(_) => return acknowledged,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_ids_go_on() {
    on_both("kill", |place, server| async move {
        let path = format!("{}/task", step(&server.api).await);
        let mut acknowledged = Vec::new();
        let mut server = server;
        for _ in 0..3 {
            let mut writers = JoinSet::new();
            for _ in 0..8 {
                writers.spawn(create_until_gone(server.api.clone(), path.clone()));
            }
            // Enough answers have come when the log has grown by some hundred records.
            let before = place.events().len();
            until("300 events", async || place.events().len() >= before + 300).await;
            server.kill();
            acknowledged.extend(writers.join_all().await.concat());
            server = Server::start(&place);
        }
        let model = Model::of(&place.events());
        let mut unique = acknowledged.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), acknowledged.len(), "an id was given out twice");
        let lost: Vec<_> = unique.iter().filter(|id| !model.tasks.contains_key(&("F".to_owned(), **id))).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let tasks = server.api.get(path.replace("/task", "/tasks").as_str()).await.json();
        assert_eq!(tasks.as_array().map(Vec::len), Some(model.tasks.len()));
        let next = server.api.post(&path, &json!({})).await.json()["task_id"].as_i64().unwrap_or_default();
        assert!(unique.last().is_some_and(|last| next > *last), "{next} does not go on after {:?}", unique.last());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_fails_no_request_that_is_under_way() {
    on_both("stop", |place, server| async move {
        let path = format!("{}/task", step(&server.api).await);
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            writers.spawn(create_until_gone(server.api.clone(), path.clone()));
        }
        let before = place.events().len();
        until("200 events", async || place.events().len() >= before + 200).await;
        assert!(server.stop(), "the server did not end well");
        let acknowledged = writers.join_all().await.concat();
        let model = Model::of(&place.events());
        // Each request that reached the log was answered: an orderly stop leaves no doubt.
        assert_eq!(acknowledged.len(), model.tasks.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_and_projector_work_as_two_processes() {
    let place = Place::new("roles", Backend::Distributed);
    let projector = Projector::start(&place);
    let api = Server::start_with(&place, &["--roles", "api"]);
    let path = step(&api.api).await;
    assert_eq!(api.api.post(&format!("{path}/task"), &json!({})).await.status, 200);
    compare_all(&api.api, &Model::of(&place.events())).await;
    drop(projector);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_one_instance_is_seen_through_the_other_at_once() {
    let place = Place::new("instances", Backend::Distributed);
    let (one, other) = (Server::start(&place), Server::start(&place));
    let path = step(&one.api).await;
    let mut ids = Vec::new();
    for round in 0..40 {
        let (write, read) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let posted = write.api.post(&format!("{path}/task"), &json!({})).await;
        assert_eq!(posted.status, 200, "{}", posted.text);
        let id = posted.json()["task_id"].as_i64().unwrap_or_default();
        assert_eq!(read.api.get(&format!("{path}/tasks/{id}")).await.status, 200, "task {id} is not seen");
        ids.push(id);
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id was given out twice");
    one.kill();
    assert_eq!(other.api.post(&format!("{path}/task"), &json!({})).await.status, 200, "the other takes over");
    compare_all(&other.api, &Model::of(&place.events())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_lost_are_built_again_from_the_log() {
    let place = Place::new("rebuilt", Backend::Embedded);
    let server = Server::start(&place);
    let path = step(&server.api).await;
    for _ in 0..5 {
        server.api.post(&format!("{path}/task"), &json!({})).await;
    }
    assert!(server.stop());
    for file in std::fs::read_dir(&place.folder.0).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("control.db") || name.starts_with("metaflow") {
            std::fs::remove_file(file.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    let server = Server::start(&place);
    compare_all(&server.api, &Model::of(&place.events())).await;
    let next = server.api.post(&format!("{path}/task"), &json!({})).await.json()["task_id"].as_i64();
    assert_eq!(next, Some(6), "task ids go on after the log's highest");
}

fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.arg("serve").args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap_or_else(|error| panic!("cannot start daybook: {error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn faults_of_the_configuration_are_told_all_at_once_with_exit_2() {
    let (code, said) = refused(&["--listen", "x", "--roles", "cook"], &[("DAYBOOK_WAIT_MS_MAX", "soon")]);
    assert_eq!(code, Some(2), "{said}");
    for fault in ["--listen", "cook", "--wait-ms-max"] {
        assert!(said.contains(fault), "{fault} is not named: {said}");
    }
    let (code, said) = refused(&["--tables", "postgres://localhost/x"], &[]);
    assert!(code == Some(2) && said.contains("local log under network tables"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_data_directory_is_refused_and_told_why() {
    let place = Place::new("second", Backend::Embedded);
    let _first = Server::start(&place);
    let options = place.options();
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--listen", "127.0.0.1:0"]).collect();
    let (code, said) = refused(&options, &[]);
    assert!(code == Some(1) && said.contains("another daybook process has the data directory"), "{code:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_log_are_refused_and_told_why() {
    let (place, other) = (Place::new("other_log", Backend::Embedded), Place::new("other_logs", Backend::Embedded));
    for place in [&place, &other] {
        assert!(Server::start(place).stop());
    }
    // The newest records may be beside the file.
    for name in ["log.db", "log.db-wal", "log.db-shm"] {
        let (from, to) = (other.folder.0.join(name), place.folder.0.join(name));
        let replaced = if from.exists() { std::fs::copy(from, to).map(|_| ()) } else { std::fs::remove_file(to) };
        assert!(replaced.is_ok() || name != "log.db", "{replaced:?}");
    }
    let options = place.options();
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--listen", "127.0.0.1:0"]).collect();
    let (code, said) = refused(&options, &[]);
    assert!(code == Some(1) && said.contains("was built from log"), "{code:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metaflow_s_own_variables_are_honoured() {
    let place = Place::new("variables", Backend::Distributed);
    let url = services::postgres();
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
    let options = place.options();
    let log = options[1].clone();
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", &log, "--tables-schema", &options[5]]);
    command.env("MF_METADATA_DB_HOST", "127.0.0.1").env("MF_METADATA_DB_PORT", &port);
    command.env("MF_METADATA_DB_USER", "postgres").env("MF_METADATA_DB_NAME", "postgres");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot start daybook: {error}"));
    let stderr = child.stderr.take().unwrap_or_else(|| panic!("stderr is piped"));
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stderr)).map_while(Result::ok);
    let ready = lines.into_iter().any(|line| line.contains("ready after"));
    drop(Projector::of(child));
    assert!(ready, "it did not become ready on Metaflow's variables");
}
