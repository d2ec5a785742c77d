//! A crash between the commits of a switch of a collection with a further table on embedded files. A switch changes
//! three files, which commit one after the other: the tables of the former generation, control storage, the tables of
//! the new generation.

use daybook_tests::{
    api::Api,
    crashed_switches::{Committed, Switch, idle, leave},
    process::{Backend, Place, Server},
    random::Random,
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Duration};

use crate::{
    collection_harms::DOMAIN,
    records::{COLLECTION, OF_COLLECTION, Records, Shape, Target, Writers},
};

const PACE: Duration = Duration::from_millis(5);
/// Writes that are acknowledged before and after each switch.
const WRITES: usize = 100;
/// How long a promotion that was announced may take, in milliseconds.
const ANNOUNCED_MS: i64 = 10_000;

/// What the definition of a generation makes of records: the second one cleans titles.
fn shape(generation: i64) -> Shape {
    Shape { cleans: generation == 2, term: "bird" }
}

struct Stand {
    place: Place,
    apis: watch::Sender<Vec<Api>>,
    random: Random,
    records: Records,
}

impl Stand {
    /// Starts a process, and sends writes to it.
    fn start(&self) -> Server {
        let server = Server::start(&self.place);
        self.apis.send_replace(vec![server.api.clone()]);
        server
    }

    /// Writes a little, each of which is acknowledged.
    async fn write(&mut self) {
        let (target, records) = (Target(self.apis.subscribe()), std::mem::take(&mut self.records));
        let writers = Writers::go_on(&target, PACE, &mut self.random, records);
        writers.wait_for(WRITES).await;
        self.records = writers.stop().await;
    }

    /// A generation answers, and all is there: before and after more writes.
    async fn answers_from(&mut self, server: &Server, generation: i64) {
        for path in ["records?limit=1", "tables/audioset", "search?limit=1"] {
            let answer = server.api.get_served(&format!("{COLLECTION}/{path}"), &[]).await;
            assert_eq!(answer.header("daybook-generation"), generation.to_string(), "{path}: {}", answer.text);
        }
        self.records.check(&server.api, shape(generation)).await;
        self.write().await;
        self.records.check(&server.api, shape(generation)).await;
    }

    /// Starts after a crash: the generation that the control row names answers, all is there, and the way back, or the
    /// promotion that was not made, is open. Which generation was live.
    async fn recover(&mut self) -> i64 {
        let server = self.start();
        let live = idle(&self.place, DOMAIN).await.live.0;
        self.answers_from(&server, live).await;
        let other = if live == 1 { 2 } else { 1 };
        promote(&server.api, other).await;
        idle(&self.place, DOMAIN).await;
        self.answers_from(&server, other).await;
        stop(server).await;
        live
    }
}

/// Makes a generation live that is ready, or was live before.
async fn promote(api: &Api, generation: i64) {
    let path = format!("/api/v1/generations/{generation}/promote?{OF_COLLECTION}");
    until("the generation is promoted", async || {
        let answer = api.post(&path, &json!({})).await;
        // A candidate that did not catch up in time is not promoted, and is asked again.
        assert!([200, 409].contains(&answer.status), "{}", answer.text);
        answer.status == 200
    })
    .await;
}

/// Waits until both generations have applied all records, and stops.
async fn stop(server: Server) {
    until("both generations have applied all", async || {
        let listed = server.command(&["generations", "list", "--domain", DOMAIN, "--json"]);
        let all: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        all.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["lag_records"] == 0))
    })
    .await;
    assert!(server.stop(), "the server did not stop in order");
}

/// Crashes of a switch after each of its commits.
async fn crash(test: &str, switch: Switch) {
    let (random, place) = (Random::seeded(test), Place::new(test, Backend::Embedded));
    let (apis, records) = (watch::Sender::new(Vec::new()), Records::default());
    let mut stand = Stand { place, apis, random, records };
    let server = stand.start();
    let target = Target(stand.apis.subscribe());
    target.define(&mut stand.random, &shape(1).definition("")).await;
    stand.write().await;
    target.define(&mut stand.random, &shape(2).definition("")).await;
    let path = format!("/api/v1/rebuilds?{OF_COLLECTION}");
    target.send(&mut stand.random, Method::POST, &path, Some("{}"), &[202]).await;
    promote_once_ready(&server).await;
    stand.answers_from(&server, 2).await;
    stop(server).await;
    for (committed, deadline_ms, expected) in [
        (Committed::None, -1, Some(switch.from)),
        (Committed::Former, -1, Some(switch.from)),
        // It may still be made.
        (Committed::None, ANNOUNCED_MS, None),
        (Committed::Former, ANNOUNCED_MS, None),
        (Committed::Control, ANNOUNCED_MS, Some(switch.to)),
        (Committed::Control, -1, Some(switch.to)),
        (Committed::All, ANNOUNCED_MS, Some(switch.to)),
    ] {
        leave(&stand.place, DOMAIN, switch, committed, deadline_ms);
        let live = stand.recover().await;
        eprintln!("{switch:?}, {committed:?} committed, deadline in {deadline_ms} ms: generation {live} is live");
        assert!(expected.is_none_or(|expected| expected == live), "{committed:?}: generation {live} is live");
    }
}

/// Makes the second generation live once it is built.
async fn promote_once_ready(server: &Server) {
    let events = server.api.get("/api/v1/rebuilds/collection.image-2/events").await;
    assert_eq!(events.status, 200, "{}", events.text);
    promote(&server.api, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commits_of_a_promotion_of_a_collection_loses_no_record_row_or_document() {
    crash("collection_promotion", Switch { from: 1, to: 2, is_back: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commits_of_a_way_back_of_a_collection_loses_no_record_row_or_document() {
    crash("collection_way_back", Switch { from: 2, to: 1, is_back: true }).await;
}
