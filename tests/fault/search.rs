//! Elasticsearch killed, blocked as on a full disk, red, overloaded, and emptied by hand: nothing is skipped, and Metaflow's API
//! does not notice.

use std::{fs, path::Path};

use daybook_tests::{
    api::Api,
    overloaded::Overloaded,
    process::{Backend, Place, Server},
    random::Random,
    services::{self, OwnServices},
    writers::{Acknowledged, Step, Writers, check},
};
use reqwest::Method;
use serde_json::json;

/// Blocks writes to every index, as a node does whose disk is about to be full, or lets them again.
async fn block(elasticsearch: &Api, blocks: bool) {
    let body = json!({"index.blocks.read_only_allow_delete": blocks.then_some(true)}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = elasticsearch.send(Method::PUT, "/_all/_settings", Some(body), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Waits until the status tells that search fails, for a reason that holds `part`.
async fn wait_for_failure(api: &Api, part: &str) {
    loop {
        let status = api.get("/api/v1/status").await.json();
        let failure = status["generations"][0]["search"]["failure"].as_str().unwrap_or_default().to_owned();
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
        // Runs of its own, as a run that gathers tags without end makes every document of it large.
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
    while server.api.get("/api/v1/search?limit=0").await.status != 200 {}
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
    let overloaded = Overloaded::start(&services::elasticsearch()).await;
    let place = Place::new("overloaded", Backend::Distributed).with_search(Some(overloaded.url.clone()));
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, &mut random);
    writers.wait_for(300).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    check(&place, &server, &acknowledged).await;
    let (whole, in_part) = overloaded.refused();
    assert!(whole > 1 && in_part > 0, "{whole} requests were refused, {in_part} in part");
}
