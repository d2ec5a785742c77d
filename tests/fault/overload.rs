//! Overload: more clients than can be served. The surplus is turned away, memory stays bounded, and it is over when they
//! have gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_tests::{
    process::{Backend, Place, Server},
    writers::Step,
};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

/// Requests that may be refused once the clients have gone.
const REFUSED_AFTER_MAX: usize = 20_000;

/// How long the clients press on: six seconds, a minute where long faults are asked for.
fn press_for() -> Duration {
    Duration::from_secs(crate::rounds(6).min(60) as u64)
}

async fn press(backend: Backend) {
    let place = Place::new("overload", backend);
    let server = Server::start_with(&place, &["--requests-max", "256"]);
    let step = Step::make(&server.api, "F").await;
    let (served, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (mut clients, began, press) = (JoinSet::new(), Instant::now(), press_for());
    for _ in 0..2_000 {
        let (api, path) = (server.api.clone(), format!("{}/task", step.path()));
        let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
        clients.spawn(async move {
            while began.elapsed() < press {
                match api.try_send(Method::POST, &path, Some("{}".to_owned()), &[]).await {
                    Ok(answer) if answer.status == 200 => served.fetch_add(1, Ordering::Relaxed),
                    Ok(answer) if answer.status == 503 && !answer.header("retry-after").is_empty() => {
                        refused.fetch_add(1, Ordering::Relaxed)
                    }
                    Ok(answer) => panic!("{}: {}", answer.status, answer.text),
                    // The test's own machine may run out of ports or handles.
                    Err(_) => 0,
                };
            }
        });
    }
    clients.join_all().await;
    let (served, refused) = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert!(served > 0 && refused > 0, "{served} served, {refused} turned away");
    let kib = server.memory_kib("VmHWM");
    assert!(kib < 700 * 1024, "{kib} KiB at the most");
    // Back to normal soon, and every acknowledged task is there. Requests of clients that have given up may still be in
    // progress.
    let (mut after, mut refused_after) = (0, 0);
    while after < 20 {
        let answer = server.api.post(&format!("{}/task", step.path()), &json!({})).await;
        match answer.status {
            200 => after += 1,
            503 if after == 0 && refused_after < REFUSED_AFTER_MAX => refused_after += 1,
            status => panic!("{status} after {after} tasks and {refused_after} refusals: {}", answer.text),
        }
    }
    let tasks = server.api.get(&format!("{}/tasks", step.path())).await.json();
    assert!(tasks.as_array().map_or(0, Vec::len) >= served + 20);
    eprintln!("overload: {served} served, {refused} turned away, {kib} KiB at the most");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_clients_are_served_or_turned_away_and_leave_nothing_behind_embedded() {
    press(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_clients_are_served_or_turned_away_and_leave_nothing_behind_on_kafka_and_postgres() {
    press(Backend::Distributed).await;
}
