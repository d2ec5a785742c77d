//! Kill -9 in the middle of refreshes of a collection that change its definition, under upserts, takedowns, reinstatements
//! and removals: every record is as a model says, in the tables and in the search, after each switch and way back.

use std::collections::BTreeMap;

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    random::Random,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Duration, interval},
};

use crate::rounds;

const COLLECTION: &str = "/api/v1/collections/image";
const WRITERS: usize = 4;
/// Records of each writer.
const RECORDS: usize = 40;
/// Before a request is sent again.
const PAUSE: Duration = Duration::from_millis(20);
/// Writes that may be acknowledged between a request for a change and the kill.
const WRITES_MAX: usize = 60;

/// The definition of a revision: a field comes and goes, and so does a rule.
fn definition(revision: usize) -> String {
    let (field, rule) = match revision % 2 {
        0 => ("", ""),
        _ => (
            "height = \"int\"",
            "[clean]\nrules = [{ id = \"titles\", kind = \"sanitize-text\", fields = [\"title\"] }]\n",
        ),
    };
    format!(
        "collection = \"image\"\nkey = \"id\"\n[fields]\nid = \"text\"\nsource = {{ type = \"text\", max_length = 20 }}\n\
         title = \"text\"\nwidth = \"int\"\n{field}\nround = \"int\"\n[verify]\nmax_drop = \"100 %\"\nmax_drop_per_source = \"100 %\"\n\
         max_growth = \"100 %\"\n# {revision}\n{rule}"
    )
}

/// A record as its writer knows it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Record {
    /// What it holds; `None` if it was removed, or never written.
    fields: Option<Value>,
    is_down: bool,
}

/// Where requests go, of a process that may be replaced.
#[derive(Clone)]
struct Target(watch::Receiver<Vec<Api>>);

impl Target {
    /// Sends a request until it is answered as it is expected. One that is sent again may find that it was carried out.
    async fn send(&self, random: &mut Random, method: Method, path: &str, body: Option<&Value>, ok: &[u16]) -> Answer {
        let (mut pace, mut is_repeated) = (interval(PAUSE), false);
        loop {
            pace.tick().await;
            let api = {
                let apis = self.0.borrow();
                apis[random.below(apis.len())].clone()
            };
            let sent = api.try_send(method.clone(), path, body.map(Value::to_string), &[]).await;
            match sent {
                Ok(answer) if ok.contains(&answer.status) => return answer,
                Ok(answer) if is_repeated && method == Method::DELETE && answer.status == 404 => return answer,
                Ok(answer) => assert!([502, 503].contains(&answer.status), "{method} {path}: {}", answer.text),
                // Its process was killed.
                Err(_) => {}
            }
            is_repeated = true;
        }
    }
}

/// Writes to its own records, one after another, until it is stopped; what each of them is then.
async fn write(
    writer: usize,
    mut random: Random,
    target: Target,
    stop: watch::Receiver<bool>,
    acknowledged: watch::Sender<usize>,
) -> BTreeMap<String, Record> {
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    while !*stop.borrow() {
        let id = format!("w{writer}-{:02}", random.below(RECORDS));
        let (of_record, of_takedown) = (format!("{COLLECTION}/records/{id}"), format!("{COLLECTION}/takedowns/{id}"));
        let record = records.entry(id.clone()).or_default();
        match random.below(8) {
            0 => {
                let body = json!({"ids": [id], "reason": "licence"});
                target.send(&mut random, Method::POST, &format!("{COLLECTION}/takedowns"), Some(&body), &[200]).await;
                record.is_down = true;
            }
            1 if record.is_down => {
                target.send(&mut random, Method::DELETE, &of_takedown, None, &[200]).await;
                record.is_down = false;
            }
            2 if record.fields.is_some() => {
                target.send(&mut random, Method::DELETE, &of_record, None, &[200]).await;
                record.fields = None;
            }
            _ => {
                let number = random.below(1000);
                let fields = json!({
                    "source": (["a", "b", "c"][random.below(3)]), "title": (format!("Pier   {number}")),
                    "width": number, "height": (number + 1), "round": (random.below(1_000_000)),
                });
                target.send(&mut random, Method::PUT, &of_record, Some(&fields), &[200]).await;
                record.fields = Some(fields);
            }
        }
        acknowledged.send_modify(|count| *count += 1);
    }
    records
}

/// What readers see of a record by the last revision.
fn shown(id: &str, fields: &Value) -> Value {
    let mut shown = fields.clone();
    shown["id"] = id.into();
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("height");
    }
    shown
}

/// Compares every record with what its writer knows, and what a search finds.
async fn check(api: &Api, records: &BTreeMap<String, Record>) {
    let mut visible = BTreeMap::<&str, u64>::new();
    for (id, record) in records {
        let answer = api.get(&format!("{COLLECTION}/records/{id}")).await;
        match &record.fields {
            _ if record.is_down => assert_eq!(answer.status, 410, "{id}: {}", answer.text),
            None => assert_eq!(answer.status, 404, "{id}: {}", answer.text),
            Some(fields) => {
                assert_eq!(answer.json()["fields"], shown(id, fields), "{id}");
                *visible.entry(fields["source"].as_str().unwrap_or_default()).or_default() += 1;
            }
        }
    }
    let mut found = Value::Null;
    wait::until("the search finds what there is", async || {
        found = api.get(&format!("{COLLECTION}/search?limit=1&facets=source")).await.json();
        let facets = found["facets"]["source"].as_array().into_iter().flatten();
        let counts: BTreeMap<&str, u64> =
            facets.filter_map(|facet| Some((facet["value"].as_str()?, facet["count"].as_u64()?))).collect();
        counts == visible
    })
    .await;
}

struct Stand {
    place: Place,
    servers: Vec<Server>,
    apis: watch::Sender<Vec<Api>>,
    target: Target,
    acknowledged: watch::Sender<usize>,
    random: Random,
}

impl Stand {
    /// Kills one of the processes without warning, after some more writes, and starts it again.
    async fn kill(&mut self) {
        let more = self.random.below(WRITES_MAX);
        let (mut seen, goal) = (self.acknowledged.subscribe(), *self.acknowledged.borrow() + more);
        wait::until("writes are acknowledged", async || *seen.borrow_and_update() >= goal).await;
        let who = self.random.below(self.servers.len());
        self.servers.remove(who).kill();
        self.servers.insert(who, Server::start(&self.place));
        self.apis.send_replace(self.servers.iter().map(|server| server.api.clone()).collect());
    }

    async fn generation(&mut self, number: i64) -> Value {
        let path = format!("/api/v1/generations/{number}?domain=collection.image");
        self.target.send(&mut self.random, Method::GET, &path, None, &[200]).await.json()
    }

    /// Begins a refresh with the newest definition, kills processes meanwhile, and waits until it is live.
    async fn refresh(&mut self) -> i64 {
        let path = "/api/v1/rebuilds?domain=collection.image";
        let body = json!({"promote": true});
        // One whose answer was lost is under way.
        self.target.send(&mut self.random, Method::POST, path, Some(&body), &[202, 409]).await;
        let listed = self.target.clone().send(&mut self.random, Method::GET, path, None, &[200]).await.json();
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
    let define = async |random: &mut Random, revision: usize| {
        let mut pace = interval(PAUSE);
        loop {
            pace.tick().await;
            let api = target.0.borrow()[random.below(processes)].clone();
            let sent = api.try_send(Method::PUT, COLLECTION, Some(definition(revision)), &[]).await;
            match sent {
                Ok(answer) if [200, 201].contains(&answer.status) => return,
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                Err(_) => {}
            }
        }
    };
    define(&mut random, 0).await;
    for server in &servers {
        wait::until("it serves the collection", async || {
            server.api.get(&format!("{COLLECTION}/counts")).await.status == 200
        })
        .await;
    }
    let (stop, acknowledged) = (watch::Sender::new(false), watch::Sender::new(0));
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        tasks.spawn(write(writer, random.fork(), target.clone(), stop.subscribe(), acknowledged.clone()));
    }
    let forked = random.fork();
    let mut stand = Stand { place, servers, apis, target: target.clone(), acknowledged, random: forked };
    // The last one is as the first one: fields that come and go are not known of every record.
    let count = rounds(2).next_multiple_of(2);
    for revision in 1..=count {
        define(&mut random, revision).await;
        let number = stand.refresh().await;
        eprintln!("{backend:?}: generation {number} of revision {} is live", revision + 1);
        // There and back again, under writers.
        let change = async |stand: &mut Stand, number: i64, change: &str| {
            let path = format!("/api/v1/generations/{number}/{change}?domain=collection.image");
            stand.target.send(&mut stand.random, Method::POST, &path, Some(&json!({})), &[200, 409]).await;
        };
        change(&mut stand, number - 1, "rollback").await;
        stand.kill().await;
        change(&mut stand, number, "promote").await;
        let mut pace = interval(PAUSE);
        while stand.generation(number).await["state"] != "live" {
            pace.tick().await;
            change(&mut stand, number, "promote").await;
        }
    }
    stop.send_replace(true);
    let mut records = BTreeMap::new();
    while let Some(of_writer) = tasks.join_next().await {
        records.append(&mut of_writer.unwrap_or_else(|error| panic!("{error}")));
    }
    eprintln!("{backend:?}: {} writes acknowledged, {} records", *stand.acknowledged.borrow(), records.len());
    for server in &stand.servers {
        let number = i64::try_from(count + 1).unwrap_or(0).to_string();
        let answers =
            async || server.api.get(&format!("{COLLECTION}/counts")).await.header("daybook-generation") == number;
        wait::until("it answers from the newest generation", answers).await;
        check(&server.api, &records).await;
    }
    for server in stand.servers {
        assert!(server.stop(), "an instance did not end well");
    }
    let next = Server::start(&stand.place);
    check(&next.api, &records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_refreshes_to_other_definitions_lose_no_record_embedded() {
    refreshes(Backend::Embedded, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_during_refreshes_to_other_definitions_lose_no_record_on_kafka_and_postgres() {
    refreshes(Backend::Distributed, 2).await;
}
