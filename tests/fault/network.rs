//! Between Daybook and its servers, search too: connections cut, answers swallowed after the work was done, packets held back, delays.

use std::time::Duration;

use daybook_tests::{
    api::Api,
    process::{Place, Server},
    proxy::{Harm, Proxy},
    random::Random,
    services::{self, OwnServices},
    wait::until,
    writers::{Acknowledged, Step, Writers, check},
};
use serde_json::json;

use crate::rounds;

/// Rounds after which the writers go on with other runs, so that none grows without end.
const ROUNDS_OF_A_RUN: usize = 100;

/// Tries to make a step, at most, and between two of them: a harm just before may still turn some away.
const TRIES: usize = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// Writers on two runs of their own.
async fn start_writers(api: &Api, random: &mut Random) -> Writers {
    let steps = [step(api, "F").await, step(api, "G").await];
    Writers::start(&[api], &steps, 8, random)
}

/// A step, tried again as a client does it where that is asked for.
async fn step(api: &Api, flow: &str) -> Step {
    let mut pace = tokio::time::interval(PAUSE);
    for _ in 0..TRIES {
        pace.tick().await;
        match Step::try_make(api, flow).await {
            Ok(step) => return step,
            Err(refused) => assert_eq!(refused.status, 503, "{}", refused.text),
        }
    }
    panic!("no step is made")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_cuts_swallows_holds_and_delays_loses_and_doubles_nothing() {
    let mut random = Random::seeded("network");
    let own = OwnServices::start("kafka,postgres");
    let kafka = Proxy::start(own.port("kafka", "proxied"), own.port("kafka", "behind")).await;
    let postgres = Proxy::start(0, own.port("postgres", "port")).await;
    let elasticsearch = services::elasticsearch();
    let search = Proxy::start(0, services::port_of(&elasticsearch)).await;
    let plain = Place::on("network", &own.url("kafka"), &own.url("postgres"));
    let proxied = plain.through(
        &format!("kafka://127.0.0.1:{}", kafka.port),
        &format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port),
    );
    let proxied = proxied.with_search(Some(format!("http://127.0.0.1:{}", search.port)));
    let server = Server::start_with(&proxied, &["--tables-timeout-ms", "2000"]);
    let mut acknowledged = Acknowledged::default();
    let mut writers = start_writers(&server.api, &mut random).await;
    for round in 1..=rounds(12) {
        writers.wait_for(20 + random.below(60)).await;
        let proxy = random.pick(&[&kafka, &postgres, &search]);
        match random.below(4) {
            0 => proxy.cut(),
            1 => {
                // What was asked is done, and nobody is told: COMMIT and append after which the answer is lost.
                proxy.set(Harm::Mute);
                tokio::task::yield_now().await;
                proxy.set(Harm::None);
            }
            2 => {
                proxy.set(Harm::Mute);
                until("an answer", async || server.api.get("/health/live").await.status == 200).await;
                proxy.set(Harm::Cut);
                proxy.set(Harm::None);
            }
            _ => {
                proxy.set(Harm::Delay(Duration::from_millis(5)));
                writers.wait_for(20).await;
                proxy.set(Harm::None);
            }
        }
        if round % ROUNDS_OF_A_RUN == 0 {
            eprintln!("network: {round} of {} rounds", rounds(12));
            acknowledged.merge(writers.stop().await);
            writers = start_writers(&server.api, &mut random).await;
        }
    }
    writers.wait_for(50).await;
    // A network that drops everything: nobody waits for ever, and what was silent is given up without being told.
    postgres.set(Harm::Hold);
    let read = server.api.get("/flows/F").await;
    assert!(read.status == 503 && !read.header("retry-after").is_empty(), "{}: {}", read.status, read.text);
    postgres.set(Harm::None);
    writers.wait_for(50).await;
    kafka.set(Harm::Hold);
    let write = server.api.post("/flows/H", &json!({})).await;
    assert!(write.status == 503 && !write.header("retry-after").is_empty(), "{}: {}", write.status, write.text);
    until("reads go on without the log", async || server.api.get("/flows/F").await.status == 200).await;
    kafka.set(Harm::None);
    writers.wait_for(50).await;
    acknowledged.merge(writers.stop().await);
    check(&plain, &server, &acknowledged).await;
}
