//! Kill -9 of the process at random moments under concurrent writers, again and again.

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    writers::{Acknowledged, Step, Writers, check},
};

use crate::rounds;

/// Rounds after which the writers go on with other runs, so that none gathers tags without end.
const ROUNDS_OF_A_RUN: usize = 20;

async fn kill_again_and_again(backend: Backend, short: usize) {
    let mut random = Random::seeded("kills");
    let place = Place::new("kills", backend);
    let mut server = Server::start(&place);
    let (mut acknowledged, mut done) = (Acknowledged::default(), 0);
    while done < rounds(short) {
        let steps = [Step::make(&server.api, "F").await, Step::make(&server.api, "G").await];
        let writers = Writers::start(&[&server.api], &steps, 8, &mut random);
        for _ in 0..ROUNDS_OF_A_RUN.min(rounds(short) - done) {
            writers.wait_for(1 + random.below(150)).await;
            server.kill();
            server = Server::start(&place);
            let task = writers.newest();
            writers.go_on_with(&[&server.api]);
            if let Some(task) = task {
                assert_eq!(server.api.get(&task).await.status, 200, "{task} was acknowledged before the kill");
            }
            done += 1;
        }
        writers.wait_for(50).await;
        acknowledged.merge(writers.stop().await);
        eprintln!("kills: {done} of {} rounds, {} turned away", rounds(short), acknowledged.turned_away);
    }
    assert!(acknowledged.turned_away > 0, "no writer noticed anything");
    check(&place, &server, &acknowledged).await;
    // What the next process shows is the same.
    server.kill();
    check(&place, &Server::start(&place), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_again_and_again_loses_and_doubles_nothing_embedded() {
    kill_again_and_again(Backend::Embedded, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_again_and_again_loses_and_doubles_nothing_on_kafka_and_postgres() {
    kill_again_and_again(Backend::Distributed, 4).await;
}
