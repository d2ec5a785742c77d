//! Another producer writes to the topics in transactions: markers and aborted records are no lag and hold nobody up.

use daybook_tests::{
    api::of_metaflow,
    comparison::compare_all,
    model::Model,
    process::{Backend, Place, Projector, Server},
    services,
    writers::Step,
};
use serde_json::{Value, json};

/// Waits until a process reports no lag, neither of the tables nor of search; returns its status.
async fn without_lag(server: &Server) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let status = server.api.get("/api/v1/status").await.json();
        let generation = of_metaflow(&status);
        if generation["lag_records"] == json!(0) && generation["search"]["lag_records"] == json!(0) {
            return status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:#}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_another_producer_hold_up_no_write_no_start_and_no_reader() {
    let place = Place::new("transactions", Backend::Distributed);
    let server = Server::start(&place);
    let step = Step::make(&server.api, "F").await;
    let (bootstrap, prefix) = place.topics();
    let transact = |outcome: &str| services::python("kit/transactions.py", &[outcome, bootstrap, prefix]);
    let mut server = server;
    // The last transactions leave nothing but markers in most partitions.
    for outcome in ["commit", "abort", "abort"] {
        transact(outcome);
        let made = server.api.post(&format!("{}/task", step.path()), &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
        without_lag(&server).await;
        transact(outcome);
        assert!(server.stop());
        server = Server::start(&place);
        let made = server.api.post(&format!("{}/task", step.path()), &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
    // What was committed is no event; what was aborted is not there.
    let status = without_lag(&server).await;
    assert_eq!(of_metaflow(&status)["quarantined_records"], json!(2 * 2 * 4), "{status:#}");

    // Whoever applies nothing learns of the checkpoints from the one who does.
    assert!(server.stop());
    transact("abort");
    let projector = Projector::start(&place);
    let api = Server::start_with(&place, &["--roles", "api"]);
    transact("abort");
    let made = api.api.post(&format!("{}/task", step.path()), &json!({})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    without_lag(&api).await;
    // It comes to the end, too.
    let events = place.events();
    compare_all(&api.api, &Model::of(&events)).await;
    drop(projector);
}
