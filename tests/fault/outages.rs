//! Kafka and PostgreSQL killed and started again under writers: 503 meanwhile, reads go on where they can, all heals.

use std::process::Stdio;

use daybook_tests::{
    api::Answer,
    process::{Place, Server},
    random::Random,
    services::OwnServices,
    user::{User, said},
    wait,
    writers::{Step, Writers, check},
};
use serde_json::json;

use crate::rounds;

/// Waits until a path answers with a status.
async fn until(server: &Server, path: &str, status: u16) {
    for _ in 0..12_000 {
        if server.api.get(path).await.status == status {
            return;
        }
        tokio::time::interval_at(tokio::time::Instant::now() + PAUSE, PAUSE).tick().await;
    }
    panic!("{path} never answered {status}: {:#?}", server.logged().iter().rev().take(20).collect::<Vec<_>>());
}

/// Between two looks at a server.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// Brokers that replicate everything among themselves.
const BROKERS: [&str; 3] = ["broker1", "broker2", "broker3"];

/// Records that a server has applied.
const APPLIED: &str = "daybook_projector_records_total{outcome=\"applied\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_and_a_database_that_are_killed_and_come_back_lose_nothing_and_need_nobody() {
    let mut random = Random::seeded("outages");
    let own = OwnServices::start("kafka,postgres");
    let place = Place::on("outages", &own.url("kafka"), &own.url("postgres"));
    let server = Server::start(&place);
    let step = Step::make(&server.api, "F").await;
    let writers = Writers::start(&[&server.api], std::slice::from_ref(&step), 8, &mut random);
    writers.wait_for(200).await;

    own.kill("postgres");
    until(&server, "/health/ready", 503).await;
    assert_eq!(server.api.get("/health/live").await.status, 200);
    let refused = server.api.get("/flows/F").await;
    assert!(refused.status == 503 && !refused.header("retry-after").is_empty(), "{}: {}", refused.status, refused.text);
    // Without the end of the log if the broker took long to name it.
    let mut status = Answer::default();
    wait::until("the status has the end of the log", async || {
        status = server.api.get("/api/v1/status").await;
        status.json()["log"]["end"].is_string()
    })
    .await;
    let body = status.json();
    let generation = &body["generations"][0];
    assert_eq!((status.status, &generation["quarantined_records"]), (200, &json!(null)), "{body}");
    assert!(generation["failure"].is_string(), "{body}");
    let (shown, table) = server.command_on_terminal(&["status"]);
    assert!(shown && table.contains("quarantine  unknown"), "{table}");
    assert_eq!(server.api.get("/api/v1/quarantine").await.status, 503);
    writers.wait_for_refusal().await;
    own.start_again("postgres");
    until(&server, "/health/ready", 200).await;
    writers.wait_for(200).await;

    own.kill("kafka");
    until(&server, "/health/ready", 503).await;
    let seen = server.api.get(&format!("{}/tasks?_limit=5", step.path())).await;
    assert_eq!(seen.status, 200, "reads go on without the log: {}", seen.text);
    writers.wait_for_refusal().await;
    own.start_again("kafka");
    until(&server, "/health/ready", 200).await;
    writers.wait_for(200).await;

    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    assert_eq!(server.api.post("/flows/after", &json!({})).await.status, 200);
    assert!(server.stop(), "the server did not end well");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_replicate_may_be_killed_one_after_another_and_leaders_change() {
    let mut random = Random::seeded("leaders");
    let own = OwnServices::start("brokers,postgres");
    let place = Place::on("leaders", &own.url("broker1"), &own.url("postgres"));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await, Step::make(&server.api, "G").await];
    let writers = Writers::start(&[&server.api], &steps, 8, &mut random);
    let first = random.below(BROKERS.len());
    for turn in 0..rounds(2).min(BROKERS.len()) {
        let broker = BROKERS[(first + turn) % BROKERS.len()];
        writers.wait_for(100).await;
        own.kill(broker);
        // Two of three are enough: writers go on when the others lead.
        writers.wait_for(100).await;
        own.start_again(broker);
    }
    writers.wait_for(100).await;
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    assert!(server.stop(), "the server did not end well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_flow_runs_through_a_restart_of_the_broker_and_of_the_database() {
    let own = OwnServices::start("kafka,postgres");
    let place = Place::on("flow", &own.url("kafka"), &own.url("postgres"));
    let server = Server::start(&place);
    let user = User::new(&place, &server);
    let spawned = user.python(&["demo.py", "run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let flow = spawned.unwrap_or_else(|error| panic!("cannot run the flow: {error}"));
    for service in ["postgres", "kafka"] {
        // The flow is on its way when it has recorded some more.
        let before = server.api.metric(APPLIED).await;
        server.api.metric_reaches(APPLIED, before + 20.0).await;
        own.kill(service);
        own.start_again(service);
    }
    let output = tokio::task::spawn_blocking(move || flow.wait_with_output()).await;
    let output = output.ok().and_then(Result::ok).unwrap_or_else(|| panic!("the flow was lost"));
    assert!(output.status.success(), "the flow failed:\n{}", said(&output));
    let runs = server.api.get("/flows/DemoFlow/runs?status=completed").await.json();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
}
