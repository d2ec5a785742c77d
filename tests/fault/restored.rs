//! A log that was put back to an older state under its tables, at a start and under a running server: it is refused, and
//! no write is acknowledged that later is not there.

use std::{fs, path::Path};

use daybook_ingest::log::WAYS_OUT;
use daybook_tests::{
    api::Api,
    comparison::compare_all,
    model::Model,
    process::{Backend, Place, Server, run},
    services::{self, Folder, OwnServices},
};
use serde_json::json;

/// The files of the embedded log, and those of the tables.
const LOG: [&str; 1] = ["log.db"];
const TABLES: [&str; 2] = ["control.db", "metaflow"];

/// Removes the files and folders of a folder whose names begin so.
fn remove(folder: &Path, names: &[&str]) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if names.iter().any(|name| file.file_name().to_string_lossy().starts_with(name)) {
            fs::remove_file(file.path()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Replaces the files of a folder whose names begin so by those of another.
fn replace(folder: &Path, other: &Path, names: &[&str]) {
    remove(folder, names);
    for file in fs::read_dir(other).into_iter().flatten().flatten() {
        if names.iter().any(|name| file.file_name().to_string_lossy().starts_with(name)) {
            fs::copy(file.path(), folder.join(file.file_name())).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

async fn make_runs(api: &Api, count: usize) {
    api.post("/flows/F", &json!({})).await;
    for _ in 0..count {
        let made = api.post("/flows/F/run", &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
}

/// Makes runs in a process of its own.
async fn make_runs_at(place: &Place, count: usize) {
    let server = Server::start(place);
    make_runs(&server.api, count).await;
    assert!(server.stop());
}

/// What a process says that must not start.
fn refusal(place: &Place) -> String {
    let options = place.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let output = run(&[&["serve", "--listen", "127.0.0.1:0"], options.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(WAYS_OUT), "{:?}: {said}", output.status);
    assert!(said.contains("to empty the tables, remove "), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_log_put_back_to_an_older_state_is_refused_until_it_is_complete_or_the_tables_are_empty() {
    let (place, older, newer) = (Place::new("put_back", Backend::Embedded), Folder::new("older"), Folder::new("newer"));
    // The log's creation, a flow and three runs.
    make_runs_at(&place, 3).await;
    replace(&older.0, &place.folder.0, &LOG);
    make_runs_at(&place, 20).await;
    replace(&newer.0, &place.folder.0, &LOG);

    replace(&place.folder.0, &older.0, &LOG);
    for _ in 0..2 {
        let said = refusal(&place);
        assert!(said.contains("metaflow/0 up to offset 25, but the log ends at 5"), "{said}");
        let folder = place.folder.0.display();
        assert!(said.contains(&format!("{folder}/log.db")) && said.contains(&format!("{folder}/control.db")), "{said}");
    }
    replace(&place.folder.0, &newer.0, &LOG);
    let server = Server::start(&place);
    compare_all(&server.api, &Model::of(&place.events())).await;
    assert!(server.stop());

    replace(&place.folder.0, &older.0, &LOG);
    remove(&place.folder.0, &TABLES);
    let server = Server::start_with(&place, &["--search", "off"]);
    make_runs(&server.api, 1).await;
    let model = Model::of(&place.events());
    assert_eq!(model.runs.len(), 4, "what the log does not have is lost");
    compare_all(&server.api, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_log_put_back_and_written_on_past_the_checkpoint_is_refused_by_its_last_record() {
    for others in [20, 30] {
        let place = Place::new("written_on", Backend::Embedded);
        let (older, tables) = (Folder::new("older"), Folder::new("tables"));
        make_runs_at(&place, 3).await;
        replace(&older.0, &place.folder.0, &LOG);
        make_runs_at(&place, 20).await;
        replace(&tables.0, &place.folder.0, &TABLES);

        replace(&place.folder.0, &older.0, &LOG);
        remove(&place.folder.0, &TABLES);
        make_runs_at(&place, others).await;
        replace(&place.folder.0, &tables.0, &TABLES);
        let said = refusal(&place);
        assert!(said.contains("another record at metaflow/0@24"), "{others}: {said}");
    }
}

/// Waits until a process reports a status and a text.
async fn until(server: &Server, is_so: impl Fn(u16, &str) -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(300);
    loop {
        let ready = server.api.get("/health/ready").await;
        if is_so(ready.status, &ready.text) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}: {}", ready.status, ready.text);
        tokio::task::yield_now().await;
    }
}

/// Replaces the data of a broker, which is started again with it.
fn put_back(own: &OwnServices, from: &Path, to: &Path) {
    own.kill("kafka");
    let _none = fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", from.display());
    own.start_again("kafka");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_put_back_to_an_older_state_ends_service_and_every_start_until_it_is_complete() {
    let (own, kept) = (OwnServices::start("kafka"), Folder::new("kept"));
    let (data, older, newer) = (own.data_of("kafka"), kept.0.join("older"), kept.0.join("newer"));
    let place = Place::on("put_back", &own.url("kafka"), &services::postgres()).with_search(None);
    let server = Server::start(&place);
    let reader = Server::start_with(&place, &["--roles", "api"]);
    make_runs(&server.api, 3).await;
    put_back(&own, &data, &older);
    for it in [&server, &reader] {
        until(it, |status, _| status == 200).await;
    }
    make_runs(&server.api, 20).await;
    put_back(&own, &data, &newer);

    put_back(&own, &older, &data);
    for it in [&server, &reader] {
        until(it, |status, text| status == 503 && text.contains("does not belong to this log")).await;
        for answer in [it.api.get("/flows/F/runs").await, it.api.post("/flows/F/run", &json!({})).await] {
            assert!(answer.status == 503 && answer.text.contains(WAYS_OUT), "{}: {}", answer.status, answer.text);
        }
        assert_eq!(it.api.get("/api/v1/status").await.json()["ready"], json!(false));
    }
    // A process that does not serve does not come back by itself, and no other one starts.
    server.kill();
    reader.kill();
    assert!(refusal(&place).contains("but the log ends at"));

    put_back(&own, &newer, &data);
    let server = Server::start(&place);
    let model = Model::of(&place.events());
    assert_eq!(model.runs.len(), 23);
    compare_all(&server.api, &model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_were_deleted_beside_their_tables_are_not_created_again() {
    let place = Place::new("deleted_topics", Backend::Distributed).with_search(None);
    make_runs_at(&place, 3).await;
    let (bootstrap, prefix) = place.topics();
    services::python("fault/topics.py", &["delete", bootstrap, prefix]);
    for _ in 0..2 {
        let said = refusal(&place);
        assert!(said.contains(&format!("topic {prefix}.")) && said.contains("does not exist"), "{said}");
        assert!(said.contains(&format!("prefix {prefix}")) && said.contains(&format!("schema {prefix}")), "{said}");
    }
    // No topic was made: now another program can make them, as a restore does.
    services::python("fault/topics.py", &["create", bootstrap, prefix]);
    let said = refusal(&place);
    assert!(said.contains(&format!("prefix {prefix}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_log_that_is_replaced_or_removed_under_a_running_server_takes_no_write() {
    for replaced in [true, false] {
        let place = Place::new("replaced-log", Backend::Embedded);
        make_runs_at(&place, 2).await;
        let aside = Folder::new("replaced-log-aside");
        fs::copy(place.folder.0.join("log.db"), aside.0.join("log.db")).unwrap_or_else(|error| panic!("{error}"));
        let server = Server::start(&place);
        make_runs(&server.api, 1).await;
        remove(&place.folder.0, &LOG);
        if replaced {
            replace(&place.folder.0, &aside.0, &LOG);
        }
        for _ in 0..2 {
            let answer = server.api.post("/flows/F/run", &json!({})).await;
            assert_eq!(answer.status, 503, "replaced: {replaced}: {}", answer.text);
        }
        assert_eq!(server.api.get("/health/ready").await.status, 503);
    }
}
