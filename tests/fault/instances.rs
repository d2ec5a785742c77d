//! Several instances on one place: one frozen past its lease that wakes up and writes, one that joins, one that leaves, one
//! that is killed; racing creations through two of them.

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    services,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Flows enough that every partition has some.
const FLOWS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_freeze_join_leave_and_die_lose_and_double_nothing() {
    let mut random = Random::seeded("instances");
    let place = Place::new("instances", Backend::Distributed);
    let (one, two) = (Server::start(&place), Server::start(&place));
    let mut steps = Vec::new();
    for flow in FLOWS {
        steps.push(Step::make(&one.api, flow).await);
    }
    let writers = Writers::start(&[&one.api, &two.api], &steps, 8, &mut random);
    writers.wait_for(200).await;

    // Frozen past its lease: the other takes its partitions over, and it wakes up in the middle of a batch.
    writers.go_on_with(&[&two.api]);
    one.signal("STOP");
    writers.wait_for(400).await;
    for flow in FLOWS {
        let answer = two.api.post(&format!("/flows/{flow}/run"), &json!({})).await;
        assert_eq!(answer.status, 200, "flow {flow} has no projector: {}", answer.text);
    }
    one.signal("CONT");
    writers.go_on_with(&[&one.api, &two.api]);
    writers.wait_for(200).await;

    // One joins, one leaves in order, one is killed.
    let three = Server::start(&place);
    writers.go_on_with(&[&one.api, &two.api, &three.api]);
    writers.wait_for(200).await;
    writers.go_on_with(&[&two.api, &three.api]);
    writers.wait_for(50).await;
    assert!(one.stop(), "the instance that left did not end well");
    writers.wait_for(200).await;
    writers.go_on_with(&[&three.api]);
    two.kill();
    writers.wait_for(400).await;

    let acknowledged = writers.stop().await;
    check(&place, &three, &acknowledged).await;
    check(&place, &Server::start(&place), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_postgres_wants_to_be_tried_again_are_tried_again() {
    let mut random = Random::seeded("serializable");
    // Under this isolation PostgreSQL ends transactions with SQLSTATE 40001 that others would let pass.
    let postgres = format!("{}?options[default_transaction_isolation]=serializable", services::postgres());
    let place = Place::on("serializable", &services::kafka(), &postgres);
    let (one, two) = (Server::start(&place), Server::start(&place));
    let mut steps = Vec::new();
    for flow in FLOWS {
        steps.push(Step::make(&one.api, flow).await);
    }
    let writers = Writers::start(&[&one.api, &two.api], &steps, 16, &mut random);
    let mut conflicts = 0.0;
    for _ in 0..60 {
        writers.wait_for(200).await;
        for server in [&one, &two] {
            conflicts += server.api.metric("daybook_projector_conflicts_total").await;
        }
        if conflicts > 0.0 {
            break;
        }
    }
    assert!(conflicts > 0.0, "nothing was tried again: this shows nothing");
    let acknowledged = writers.stop().await;
    for server in [&one, &two] {
        check(&place, server, &acknowledged).await;
    }
}

/// Sends one request fifty times at once, through both instances in turn; exactly one is told that it made the object.
async fn race(servers: [&Server; 2], path: &str, body: &Value) {
    let mut requests = JoinSet::new();
    for index in 0..50 {
        let (api, path, body) = (servers[index % 2].api.clone(), path.to_owned(), body.clone());
        requests.spawn(async move { api.post(&path, &body).await.status });
    }
    let mut statuses = requests.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, [409; 49].as_slice()), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_racing_creations_through_two_instances_one_wins_and_no_tag_is_lost() {
    let place = Place::new("races", Backend::Distributed);
    let servers = [&Server::start(&place), &Server::start(&place)];
    race(servers, "/flows/F", &json!({})).await;
    race(servers, "/flows/F/run", &json!({"run_number": "named"})).await;
    race(servers, "/flows/F/runs/named/steps/s/step", &json!({})).await;
    race(servers, "/flows/F/runs/named/steps/s/task", &json!({"task_id": "named"})).await;
    let mut requests = JoinSet::new();
    for index in 0..50 {
        let api = servers[index % 2].api.clone();
        requests.spawn(async move {
            let body = json!({"tags_to_add": [format!("tag-{index}")]});
            api.patch("/flows/F/runs/named/tag/mutate", &body).await.status
        });
    }
    assert_eq!(requests.join_all().await, vec![200; 50]);
    for server in servers {
        let run = server.api.get("/flows/F/runs/named").await.json();
        assert_eq!(run["tags"].as_array().map(Vec::len), Some(50), "{run}");
        let again = server.api.post("/flows/F/run", &json!({"run_number": "named"})).await;
        assert_eq!(again.status, 409);
    }
}
