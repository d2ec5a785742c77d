//! PostgreSQL whose tables are locked: a start can be stopped in time, and the failure is shown until the tables can be
//! written.

use std::time::{Duration, Instant};

use daybook_tests::{
    process::{Backend, Place, Server},
    wait::until,
    writers::Step,
};
use reqwest::Method;

/// Milliseconds that a process gets for its shutdown.
const SHUTDOWN_MS_MAX: u64 = 1_000;

/// Records a task that the tables do not have to apply for the answer.
async fn record_task(server: &Server, step: &Step) {
    let headers = [("prefer", "respond-async")];
    let path = format!("{}/task", step.path());
    let answer = server.api.send(Method::POST, &path, Some("{}".to_owned()), &headers).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_while_it_starts_ends_in_time_though_its_tables_are_locked() {
    let place = Place::new("stopping", Backend::Distributed);
    let server = Server::start(&place);
    let step = Step::make(&server.api, "F").await;
    let locked = place.lock();
    record_task(&server, &step).await;
    server.kill();
    let server = Server::begin(&place, &["--shutdown-ms-max", &SHUTDOWN_MS_MAX.to_string()]);
    let is_catching_up = async || {
        assert_eq!(server.api.get("/health/live").await.status, 200);
        server.logged().iter().any(|line| line.contains("is catching up"))
    };
    until("it catches up", is_catching_up).await;
    assert_eq!(server.api.get("/health/ready").await.status, 503);
    let began = Instant::now();
    assert!(server.stop(), "the process did not end well");
    let taken = began.elapsed();
    assert!(taken < Duration::from_millis(SHUTDOWN_MS_MAX + 10_000), "it took {taken:?} to stop");
    drop(locked);
    let server = Server::start(&place);
    assert_eq!(server.api.get(&format!("{}/tasks", step.path())).await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_shown_until_the_tables_can_be_written_again() {
    let place = Place::new("locked", Backend::Distributed);
    let server = Server::start_with(&place, &["--tables-timeout-ms", "1000"]);
    let step = Step::make(&server.api, "F").await;
    let locked = place.lock();
    record_task(&server, &step).await;
    until("a failure", async || server.api.get("/health/ready").await.status != 200).await;
    // Several more attempts fail in that time.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let answer = server.api.get("/health/ready").await;
        assert!(answer.status == 503 && answer.text.contains("projector of metaflow"), "{}", answer.text);
    }
    drop(locked);
    until("readiness", async || server.api.get("/health/ready").await.status == 200).await;
    assert_eq!(server.api.get(&format!("{}/tasks", step.path())).await.json().as_array().map(Vec::len), Some(1));
}
