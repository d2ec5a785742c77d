//! Elasticsearch killed, blocked as on a full disk, red, overloaded, frozen, and emptied by hand: nothing is skipped, and
//! Metaflow's API does not notice. A load that changes tags all the time: the index keeps up, and the process stops in time.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use daybook_tests::{
    api::{Api, of_metaflow},
    bulk_proxy::{BulkProxy, Harm},
    documents::{compare_documents, last_positions},
    model::Model,
    process::{Backend, Place, Server},
    random::Random,
    services::{self, OwnServices},
    wait::until,
    writers::{Acknowledged, Step, Writers, check},
};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

/// Blocks writes to every index, as a node does whose disk is about to be full, or lets them again.
pub(crate) async fn block(elasticsearch: &Api, blocks: bool) {
    let body = json!({"index.blocks.read_only_allow_delete": blocks.then_some(true)}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = elasticsearch.send(Method::PUT, "/_all/_settings", Some(body), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Waits until the status tells that search fails, for a reason that holds `part`.
pub(crate) async fn wait_for_failure(api: &Api, part: &str) {
    loop {
        let status = api.get("/api/v1/status").await.json();
        let failure = of_metaflow(&status)["search"]["failure"].as_str().unwrap_or_default().to_owned();
        if !failure.is_empty() && failure.contains(part) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elasticsearch_that_is_killed_blocked_and_emptied_skips_nothing_and_disturbs_no_writer() {
    let mut random = Random::seeded("search");
    let own = OwnServices::start("elasticsearch");
    let url = own.url("elasticsearch");
    let (place, elasticsearch) =
        (Place::new("search", Backend::Distributed).with_search(Some(url.clone())), Api::new(&url));
    let server = Server::start(&place);
    let mut acknowledged = Acknowledged::default();
    for fault in ["killed", "blocked", "emptied"] {
        // Runs of its own, so that each round begins with few tags.
        let steps = [Step::make(&server.api, "F").await, Step::make(&server.api, "G").await];
        let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
        writers.wait_for(30).await;
        match fault {
            "killed" => {
                own.kill("elasticsearch");
                wait_for_failure(&server.api, "").await;
                let search = server.api.get("/api/v1/search?q=x").await;
                assert!(search.status == 503 && !search.header("retry-after").is_empty(), "{}", search.text);
            }
            "blocked" => {
                block(&elasticsearch, true).await;
                wait_for_failure(&server.api, "cluster_block").await;
            }
            _ => place.delete_index().await,
        }
        writers.wait_for(60).await;
        assert_eq!(server.api.get("/health/ready").await.status, 200, "search is no reason not to serve");
        match fault {
            "killed" => own.start_again("elasticsearch"),
            "blocked" => block(&elasticsearch, false).await,
            _ => {}
        }
        writers.wait_for(30).await;
        let done = writers.stop().await;
        assert_eq!(done.turned_away, 0, "{fault}: writers were turned away");
        acknowledged.merge(done);
        check(&place, &server, &acknowledged).await;
    }
}

/// Lets some clients write to a run of their own for a while.
async fn write(api: &Api, random: &mut Random) -> Acknowledged {
    let steps = [Step::make(api, "F").await];
    let writers = Writers::start(&[api], &steps, 4, random);
    writers.wait_for(60).await;
    writers.stop().await
}

/// Starts Elasticsearch again with the shards of an index in another folder.
fn start_with_shards(own: &OwnServices, from: &Path, to: &Path) {
    own.kill("elasticsearch");
    // What it made in their place holds nothing.
    let _none = fs::remove_dir_all(to);
    fs::rename(from, to).unwrap_or_else(|error| panic!("cannot move {}: {error}", from.display()));
    own.start_again("elasticsearch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_red_is_waited_for_until_its_shards_are_back() {
    let mut random = Random::seeded("red");
    let own = OwnServices::start("elasticsearch");
    let url = own.url("elasticsearch");
    let place = Place::new("red", Backend::Distributed).with_search(Some(url.clone()));
    let server = Server::start(&place);
    let mut acknowledged = write(&server.api, &mut random).await;
    until("search", async || server.api.get("/api/v1/search?limit=0").await.status == 200).await;
    let index = Api::new(&url).get(&place.index()).await.json()[&place.index()[1..]].clone();
    let folder = own.shards_of(index["settings"]["index"]["uuid"].as_str().unwrap_or_default());
    let (shard, aside) = (folder.join("0"), folder.with_extension("aside"));
    start_with_shards(&own, &shard, &aside);
    // A client of its own each time: connections from before ended with the node.
    let health = Api::new(&url).get("/_cluster/health").await.json();
    assert_eq!(health["status"], "red", "{health}");
    acknowledged.merge(write(&server.api, &mut random).await);
    wait_for_failure(&server.api, "").await;
    let search = server.api.get("/api/v1/search?q=x").await;
    assert!(search.status == 503 && !search.header("retry-after").is_empty(), "{}", search.text);
    start_with_shards(&own, &aside, &shard);
    acknowledged.merge(write(&server.api, &mut random).await);
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    check(&place, &server, &acknowledged).await;
    let after = Api::new(&url).get(&place.index()).await.json()[&place.index()[1..]].clone();
    assert_eq!(after["settings"], index["settings"], "the index was made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elasticsearch_that_refuses_requests_and_items_has_every_document_in_the_end() {
    let mut random = Random::seeded("overloaded");
    let overloaded = BulkProxy::start(&services::elasticsearch(), Harm::Overload).await;
    let place = Place::new("overloaded", Backend::Distributed).with_search(Some(overloaded.url.clone()));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(300).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    check(&place, &server, &acknowledged).await;
    // A search that is refused is tried again, and its client notices nothing.
    overloaded.set(Harm::RefuseSearches);
    for _ in 0..4 {
        let found = server.api.get("/api/v1/search?q=F").await;
        assert_eq!(found.status, 200, "{}", found.text);
    }
    overloaded.set(Harm::Overload);
    let (whole, in_part) = overloaded.refused();
    assert!(whole > 1 && in_part > 0, "{whole} requests were refused, {in_part} in part");
    // A rebuild sends what is refused again, too; verification compares each document.
    let rebuilt = server.command(&["rebuild", "--promote"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    let (whole_after, in_part_after) = overloaded.refused();
    assert!(whole_after > whole && in_part_after > in_part, "no request of the rebuild was refused");
    check(&place, &server, &acknowledged).await;
}

/// How long requests under way get in these tests; a process has some seconds more to end in.
const SHUTDOWN: Duration = Duration::from_secs(2);
const SHUTDOWN_OPTIONS: [&str; 2] = ["--shutdown-ms-max", "2000"];

/// Stops a server and asserts that it does so in time.
fn stop_in_time(server: Server, what: &str) {
    let began = Instant::now();
    assert!(server.stop(), "{what}: the server did not stop in order");
    let took = began.elapsed();
    assert!(took <= SHUTDOWN + Duration::from_secs(8), "{what}: stopping took {took:?}");
    eprintln!("{what}: stopped after {took:?}");
}

/// Creates tasks of one run and changes its tags in turn until `end`, each change with tags that go and tags that come.
async fn change_tags(api: Api, step: Step, writer: usize, end: Instant) {
    let run = step.path().trim_end_matches("/steps/s").to_owned();
    let mut turn = 0;
    while Instant::now() < end {
        let created = api.post(&format!("{}/task", step.path()), &json!({})).await;
        assert_eq!(created.status, 200, "{}", created.text);
        let tag = |turn: u64| format!("w{writer}-{}", turn % 20);
        let body = json!({"tags_to_add": [tag(turn)], "tags_to_remove": [tag(turn + 10)]});
        let changed = api.patch(&format!("{run}/tag/mutate"), &body).await;
        // Another writer may have changed the same run in between.
        assert!(matches!(changed.status, 200 | 409 | 503), "{} {}", changed.status, changed.text);
        turn += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_stops_in_time_under_a_load_of_changed_tags_and_its_index_catches_up() {
    const WRITERS: usize = 6;
    const LOAD: Duration = Duration::from_secs(12);
    let place = Place::new("tags_load", Backend::Embedded);
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    let mut steps = Vec::new();
    for _ in 0..2 {
        steps.push(Step::make(&server.api, "F").await);
    }
    let (mut writers, end) = (JoinSet::new(), Instant::now() + LOAD);
    for writer in 0..WRITERS {
        writers.spawn(change_tags(server.api.clone(), steps[writer % steps.len()].clone(), writer, end));
    }
    writers.join_all().await;
    stop_in_time(server, "under load");
    let began = Instant::now();
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    let events = place.events();
    compare_documents(&server.api, &Model::of(&events), &last_positions(&events)).await;
    let (took, resident) = (began.elapsed(), server.memory_kib("VmRSS") / 1024);
    eprintln!("{} events: caught up and compared after {took:?}, {resident} MiB resident", events.len());
    assert!(took < Duration::from_secs(60), "search took {took:?} to catch up");
    assert!(resident < 300, "{resident} MiB are resident");
    assert!(server.stop(), "the server did not stop in order");
    // The index is built anew from the rows, and that is interrupted.
    place.delete_index().await;
    stop_in_time(Server::start_with(&place, &SHUTDOWN_OPTIONS), "while the index is built");
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    compare_documents(&server.api, &Model::of(&events), &last_positions(&events)).await;
    stop_in_time(server, "at rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_stops_in_time_while_elasticsearch_is_frozen_or_away() {
    let mut random = Random::seeded("stop");
    let own = OwnServices::start("elasticsearch");
    let place = Place::new("stop", Backend::Distributed).with_search(Some(own.url("elasticsearch")));
    let pid = own.of("elasticsearch")["pid"].to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to Elasticsearch");
    };
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    let mut acknowledged = write(&server.api, &mut random).await;
    signal("STOP");
    acknowledged.merge(write(&server.api, &mut random).await);
    stop_in_time(server, "frozen");
    signal("CONT");
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    check(&place, &server, &acknowledged).await;
    own.kill("elasticsearch");
    acknowledged.merge(write(&server.api, &mut random).await);
    wait_for_failure(&server.api, "").await;
    stop_in_time(server, "away");
    own.start_again("elasticsearch");
    let server = Server::start_with(&place, &SHUTDOWN_OPTIONS);
    check(&place, &server, &acknowledged).await;
}
