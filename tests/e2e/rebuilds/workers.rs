//! `daybook worker`.

use daybook_tests::{
    process::{Backend, Place, Server, run},
    random::Random,
    wait::until,
    writers::{Step, Writers, check},
};

use super::said;

/// Rebuilds until the server has heard of the worker, at most.
const REBUILDS_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn workers_take_part_in_a_rebuild_one_is_killed_and_the_other_ends_when_there_is_nothing_to_do() {
    let place = Place::new("workers", Backend::Distributed);
    let server = Server::start(&place);
    let mut random = Random::seeded("workers");
    let mut steps = Vec::new();
    for flow in 0..12 {
        steps.push(Step::make(&server.api, &format!("F{flow}")).await);
    }
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(300).await;
    let (killed, idle) = (Server::start_worker(&place, &[]), Server::start_worker(&place, &["--until-idle", "20s"]));
    let begun = server.spawn(&["rebuild", "--promote", "--json"]);
    let ended = tokio::task::spawn_blocking(move || begun.wait_with_output());
    writers.wait_for(50).await;
    killed.kill();
    let ended = ended.await;
    assert!(matches!(&ended, Ok(Ok(output)) if output.status.success()), "{ended:?}");
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    let applied = |line: &String| line.contains("records applied here") && !line.contains(": 0 records applied here");
    until("the worker has taken part", async || idle.logged().iter().any(applied)).await;
    assert!(idle.wait(), "the worker did not end well");
    // One that could not write the index would hold up the rebuild.
    let mut options = place.options();
    options.truncate(options.len() - 1);
    let options: Vec<&str> = ["worker"].into_iter().chain(options.iter().map(String::as_str)).chain(["off"]).collect();
    let refused = run(&options);
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--search"), "{refused:?}");
    let embedded = Place::new("worker", Backend::Embedded);
    let options = embedded.options();
    let refused = run(&[&["worker"], options.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(said(&refused).contains("a worker needs"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_part_in_the_build_of_an_index_for_the_live_tables() {
    let place = Place::new("worker_index", Backend::Distributed);
    let (server, mut random) = (Server::start(&place), Random::seeded("worker_index"));
    let mut steps = Vec::new();
    for flow in 0..4 {
        steps.push(Step::make(&server.api, &format!("F{flow}")).await);
    }
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(100).await;
    let worker = Server::start_worker(&place, &["--until-idle", "20s"]);
    let built = |line: &String| line.contains("search index built, ") && !line.contains(" 0 ranges");
    let took_part = || worker.logged().iter().any(built);
    for _ in 0..REBUILDS_MAX {
        let rebuilt = server.command(&["rebuild", "--only", "search", "--promote"]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        if took_part() {
            break;
        }
    }
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    // The last line may be on its way.
    until("the worker has taken part", async || took_part()).await;
    assert!(worker.wait(), "the worker did not end well");
}
