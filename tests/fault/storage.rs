//! Storage that fails: a full disk, embedded and under each server; a folder that cannot be written; a topic made anew.

use std::{fs, path::Path, process::Command};

use daybook_tests::{
    process::{Backend, Place, Server, binary},
    random::Random,
    services::{self, Folder, OwnServices},
    writers::{Step, Writers, check},
};
use serde_json::json;

/// A small file system of its own; unmounted when dropped.
pub(crate) struct Small(Folder);

impl Small {
    /// `None` where the tests may not mount anything.
    pub(crate) fn mount(kib: usize) -> Option<Self> {
        let folder = Folder::new("small");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "daybook-test"])
            .arg(&folder.0)
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.0
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.path().display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_turns_writers_away_loses_nothing_and_heals_when_there_is_room() {
    let Some(small) = Small::mount(6 * 1024) else {
        eprintln!("storage: this machine does not let tests mount a file system; the full disk was not tried");
        return;
    };
    let mut random = Random::seeded("full_disk");
    let folder = small.path().join("data");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    let place = Place::in_folder(Folder(folder));
    let server = Server::start(&place);
    let step = Step::make(&server.api, "F").await;
    let writers = Writers::start(&[&server.api], std::slice::from_ref(&step), 4, &mut random);
    writers.wait_for(100).await;
    // Somebody else fills the disk to the last byte.
    let ballast = small.path().join("ballast");
    let filled = fs::write(&ballast, vec![1; 16 * 1024 * 1024]);
    assert!(filled.is_err(), "the disk is larger than it should be");
    let big = json!([{"field_name": "f", "value": "x".repeat(900_000)}]);
    let task = server.api.post(&format!("{}/task", step.path()), &json!({})).await;
    let path = format!("{}/tasks/1/metadata", step.path());
    let refused = server.api.post(&path, &big).await;
    assert!(refused.status == 503 && !refused.header("retry-after").is_empty(), "{}: {}", refused.status, refused.text);
    assert!([200, 503].contains(&task.status), "{}: {}", task.status, task.text);
    fs::remove_file(&ballast).unwrap_or_else(|error| panic!("{error}"));
    writers.wait_for(100).await;
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    server.kill();
    check(&place, &Server::start(&place), &acknowledged).await;
}

/// Fills the disk under one service, frees it again, and starts the service anew if that was too much for it, as the
/// person would who freed the disk.
async fn fill_the_disk_under(service: &str, mib: usize) {
    let Some(small) = Small::mount(mib * 1024) else {
        eprintln!("storage: this machine does not let tests mount a file system; the full disk was not tried");
        return;
    };
    let mut random = Random::seeded(&format!("full_disk_{service}"));
    let own = OwnServices::start_in(small.path(), service);
    let (kafka, postgres) = match service {
        "kafka" => (own.url("kafka"), services::postgres()),
        _ => (services::kafka(), own.url("postgres")),
    };
    let place = Place::on("full", &kafka, &postgres);
    let server = Server::start_with(&place, &["--wait-ms-max", "2000"]);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(100).await;
    let ballast = small.path().join("ballast");
    assert!(fs::write(&ballast, vec![1; (mib + 1) * 1024 * 1024]).is_err(), "the disk is larger than it should be");
    let mut task = 0;
    let refused = loop {
        // What fits into blocks that were taken before is still recorded.
        let answer = server.api.post(&format!("{}/task", steps[0].path()), &json!({})).await;
        if answer.status != 200 {
            break answer;
        }
        task = answer.json()["task_id"].as_i64().unwrap_or(task);
        let entry = json!([{"field_name": "f", "value": "x".repeat(900_000)}]);
        let answer = server.api.post(&format!("{}/tasks/{task}/metadata", steps[0].path()), &entry).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert!(refused.status == 503 && !refused.header("retry-after").is_empty(), "{}: {}", refused.status, refused.text);
    fs::remove_file(&ballast).unwrap_or_else(|error| panic!("{error}"));
    if !own.runs(service) {
        eprintln!("storage: {service} did not survive its full disk");
        own.start_again(service);
    }
    writers.wait_for(100).await;
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    server.kill();
    check(&place, &Server::start(&place), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgres_turns_writers_away_and_loses_nothing() {
    fill_the_disk_under("postgres", 160).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_kafka_turns_writers_away_and_loses_nothing() {
    fill_the_disk_under("kafka", 160).await;
}

#[test]
fn a_data_directory_that_cannot_be_made_is_refused_and_told_why() {
    let folder = Folder::new("file");
    let file = folder.0.join("a-file");
    fs::write(&file, "not a folder").unwrap_or_else(|error| panic!("{error}"));
    let output =
        Command::new(binary()).args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(file.join("data")).output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("--data-dir cannot be used"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_recreated_under_the_tables_is_noticed_and_refused() {
    let place = Place::new("recreated", Backend::Distributed);
    let server = Server::start(&place);
    Step::make(&server.api, "F").await;
    assert!(server.stop());
    let other = Place::new("other", Backend::Distributed);
    assert!(Server::start(&other).stop());
    let (log, tables) = (other.options(), place.options());
    let output = Command::new(binary())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log",
            &log[1],
            "--tables",
            &tables[3],
            "--tables-schema",
            &tables[5],
        ])
        .output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("was built from log"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_recreated_under_a_running_server_is_noticed_and_no_write_is_acknowledged() {
    let place = Place::new("under", Backend::Distributed);
    let server = Server::start(&place);
    let step = Step::make(&server.api, "F").await;
    for _ in 0..20 {
        assert_eq!(server.api.post(&format!("{}/task", step.path()), &json!({})).await.status, 200);
    }
    let (bootstrap, prefix) = place.topics();
    for command in ["delete", "create"] {
        services::python("fault/topics.py", &[command, bootstrap, prefix]);
    }
    // Offsets begin again: a record of the new topic must not get the answer of an old one.
    for _ in 0..5 {
        let answer = server.api.post(&format!("{}/task", step.path()), &json!({})).await;
        assert_eq!(answer.status, 503, "{}", answer.text);
    }
    let ready = server.api.get("/health/ready").await;
    assert!(ready.status == 503 && ready.text.contains("recreated"), "{}: {}", ready.status, ready.text);
}
