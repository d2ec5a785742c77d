//! Kill -9 in the middle of refreshes of a collection that change its definition, under upserts, takedowns,
//! reinstatements and removals: every record is as a model says, in the tables and in the search, after each switch
//! and way back.

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    wait,
};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Duration, interval},
};

use crate::{
    records::{COLLECTION, OF_COLLECTION, PAUSE, Shape, Target, Writers, serve},
    rounds,
};

/// Between two writes of a writer: as fast as they are answered.
const PACE: Duration = Duration::from_nanos(1);
/// Writes that may be acknowledged between a request for a change and the kill.
const WRITES_MAX: usize = 60;

/// What the definition of a revision makes of records.
fn shape(revision: usize) -> Shape {
    Shape { cleans: revision % 2 == 1, term: "bird" }
}

/// The definition of a revision: a field comes and goes, and so does a rule.
fn definition(revision: usize) -> String {
    shape(revision).definition(["", "height = 'int'"][revision % 2])
}

struct Stand {
    place: Place,
    servers: Vec<Server>,
    apis: watch::Sender<Vec<Api>>,
    target: Target,
    writers: Writers,
    random: Random,
}

impl Stand {
    /// Kills one of the processes without warning, after some more writes, and starts it again.
    async fn kill(&mut self) {
        self.writers.wait_for(self.random.below(WRITES_MAX)).await;
        let who = self.random.below(self.servers.len());
        self.servers.remove(who).kill();
        self.servers.insert(who, Server::start(&self.place));
        self.apis.send_replace(self.servers.iter().map(|server| server.api.clone()).collect());
    }

    async fn generation(&mut self, number: i64) -> Value {
        let path = format!("/api/v1/generations/{number}?{OF_COLLECTION}");
        self.target.send(&mut self.random, Method::GET, &path, None, &[200]).await.json()
    }

    /// Asks for a switch; it may have been made already, or not be possible now.
    async fn change(&mut self, number: i64, change: &str) {
        let path = format!("/api/v1/generations/{number}/{change}?{OF_COLLECTION}");
        self.target.send(&mut self.random, Method::POST, &path, Some("{}"), &[200, 409]).await;
    }

    /// Begins a refresh with the newest definition, kills processes meanwhile, and waits until it is live.
    async fn refresh(&mut self) -> i64 {
        let path = format!("/api/v1/rebuilds?{OF_COLLECTION}");
        let body = Some("{\"promote\": true}");
        // One whose answer was lost is under way.
        self.target.send(&mut self.random, Method::POST, &path, body, &[202, 409]).await;
        let listed = self.target.send(&mut self.random, Method::GET, &path, None, &[200]).await.json();
        let newest = listed.as_array().and_then(|all| all.last().cloned()).unwrap_or_default();
        let number = newest["generation"].as_i64().unwrap_or_else(|| panic!("no refresh: {listed}"));
        self.kill().await;
        if self.random.one_in(2) {
            self.kill().await;
        }
        let mut last = Value::Null;
        for _ in 0..3 {
            let mut pace = interval(PAUSE);
            let is_live = async {
                loop {
                    pace.tick().await;
                    last = self.generation(number).await;
                    assert_ne!(last["state"], "failed", "{last}");
                    if last["state"] == "live" {
                        return;
                    }
                }
            };
            if tokio::time::timeout(Duration::from_secs(60), is_live).await.is_ok() {
                return number;
            }
        }
        panic!("the refresh does not end: {last}");
    }
}

async fn refreshes(backend: Backend, processes: usize) {
    let place = Place::new("refreshes", backend);
    let mut random = Random::seeded("refreshes");
    let servers: Vec<Server> = (0..processes).map(|_| Server::start(&place)).collect();
    let apis = watch::Sender::new(servers.iter().map(|server| server.api.clone()).collect::<Vec<Api>>());
    let target = Target(apis.subscribe());
    target.define(&mut random, &definition(0)).await;
    serve(&servers).await;
    let writers = Writers::start(&target, PACE, &mut random);
    let mut stand = Stand { place, servers, apis, target, writers, random };
    // The last one is as the first one: fields that come and go are not known of every record.
    let count = rounds(2).next_multiple_of(2);
    for revision in 1..=count {
        stand.target.define(&mut stand.random, &definition(revision)).await;
        let number = stand.refresh().await;
        eprintln!("{backend:?}: generation {number} of revision {} is live", revision + 1);
        // There and back again, under writers.
        stand.change(number - 1, "rollback").await;
        stand.kill().await;
        stand.change(number, "promote").await;
        let mut pace = interval(PAUSE);
        while stand.generation(number).await["state"] != "live" {
            pace.tick().await;
            stand.change(number, "promote").await;
        }
    }
    let Stand { place, servers, writers, .. } = stand;
    let records = writers.stop().await;
    for server in &servers {
        let number = i64::try_from(count + 1).unwrap_or(0).to_string();
        let answers =
            async || server.api.get(&format!("{COLLECTION}/counts")).await.header("daybook-generation") == number;
        wait::until("it answers from the newest generation", answers).await;
        records.check(&server.api, shape(count)).await;
    }
    for server in servers {
        assert!(server.stop(), "an instance did not end well");
    }
    records.check(&Server::start(&place).api, shape(count)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_refreshes_to_other_definitions_lose_no_record_embedded() {
    refreshes(Backend::Embedded, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_refreshes_to_other_definitions_lose_no_record_on_kafka_and_postgres() {
    refreshes(Backend::Distributed, 2).await;
}
