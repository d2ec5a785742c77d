//! Writes at a pace, takedowns and reinstatements among them, from before a refresh begins until after its promotion, its
//! rollback and another promotion: no request fails, and then each record is as a model says, in the tables of either
//! generation, as it was written, in the search and in the filtered search.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    random::Random,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::interval};

const COLLECTION: &str = "/api/v1/collections/image";
const OF_COLLECTION: &str = "domain=collection.image";
const WRITERS: usize = 5;
/// Records of each writer.
const RECORDS: usize = 60;
/// Records that one request writes, takes down or reinstates.
const OF_REQUEST: usize = 10;
/// Between two requests of a writer: all of them write 500 records a second.
const PACE: Duration = Duration::from_millis(100);
const RATE: usize = 500;
/// How long a search may be behind the tables, and between two looks at it.
const SEARCHED_MAX: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(100);
/// Records that are written before, between and after the changes.
const BETWEEN: usize = 250;

/// The definition of a generation: the second one cleans titles, so that each generation shows its own.
fn definition(generation: u64) -> String {
    let rules = match generation {
        1 => "[]",
        _ => "[{ id = \"titles\", kind = \"sanitize-text\", fields = [\"title\"] }]",
    };
    format!(
        "collection = \"image\"\nkey = \"id\"\n[fields]\nid = \"text\"\ntitle = \"text\"\nwidth = \"int\"\n\
         [clean]\nrules = {rules}\n[filtered]\nterms = [\"bird\"]\nfields = [\"title\"]\n\
         [verify]\nmax_drop = \"50 %\"\nmax_drop_per_source = \"50 %\"\n"
    )
}

/// A record as its writer knows it.
#[derive(Debug, Clone, Default)]
struct Record {
    /// What was written last; nothing if it was never written.
    fields: Option<(String, usize)>,
    is_down: bool,
}

impl Record {
    /// As readers of a generation see it; nothing if it is hidden from them.
    fn shown(&self, id: &str, generation: u64) -> Option<Value> {
        let (title, width) = self.fields.as_ref().filter(|_| !self.is_down)?;
        let title = if generation == 1 { title.clone() } else { title.replace("   ", " ") };
        Some(json!({"id": id, "title": title, "width": width}))
    }

    fn is_sensitive(&self) -> bool {
        self.fields.as_ref().is_some_and(|(title, _)| title.ends_with("bird"))
    }
}

type Records = BTreeMap<String, Record>;

fn accepted(answer: Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text);
}

struct Writer {
    api: Api,
    number: usize,
    random: Random,
    records: Records,
}

impl Writer {
    /// Some of its records, each once.
    fn ids(&mut self) -> Vec<String> {
        let first = self.random.below(RECORDS);
        (first..first + OF_REQUEST).map(|place| format!("w{}-{:02}", self.number, place % RECORDS)).collect()
    }

    async fn upsert(&mut self, ids: &[String]) {
        let mut lines = String::new();
        for id in ids {
            let number = self.random.below(1_000_000);
            let title = format!("Pier   {number} {}", self.random.pick(&["bird", "boat", "birdsong"]));
            lines += &format!("{}\n", json!({"id": id, "title": title, "width": number}));
            self.records.entry(id.clone()).or_default().fields = Some((title, number));
        }
        let answer = self.api.post_text(&format!("{COLLECTION}/records:bulk"), &lines).await;
        assert_eq!(answer.json()["upserted"], OF_REQUEST, "{}", answer.text);
    }

    async fn take_down(&mut self, ids: &[String]) {
        let body = json!({"ids": ids, "reason": "licence"});
        accepted(self.api.post(&format!("{COLLECTION}/takedowns"), &body).await);
        self.set_down(ids, true);
    }

    async fn reinstate(&mut self, ids: &[String]) {
        let mut sent = JoinSet::new();
        for id in ids.iter().filter(|id| self.records.get(*id).is_some_and(|record| record.is_down)) {
            let (api, path) = (self.api.clone(), format!("{COLLECTION}/takedowns/{id}"));
            sent.spawn(async move { accepted(api.send(Method::DELETE, &path, None, &[]).await) });
        }
        sent.join_all().await;
        self.set_down(ids, false);
    }

    fn set_down(&mut self, ids: &[String], is_down: bool) {
        for id in ids {
            self.records.entry(id.clone()).or_default().is_down = is_down;
        }
    }

    /// Writes until it is stopped. Where it could not keep the pace, it catches up.
    async fn write(mut self, stop: watch::Receiver<bool>, written: watch::Sender<usize>) -> Records {
        let mut pace = interval(PACE);
        while !*stop.borrow() {
            pace.tick().await;
            let ids = self.ids();
            match self.random.below(6) {
                0 => self.take_down(&ids).await,
                1 => self.reinstate(&ids).await,
                _ => self.upsert(&ids).await,
            }
            written.send_modify(|count| *count += OF_REQUEST);
        }
        self.records
    }
}

/// All hits of a search: what each record shows, by its id.
async fn found(api: &Api, query: &str) -> BTreeMap<String, Value> {
    let (mut cursor, mut found) = (String::new(), BTreeMap::new());
    loop {
        let path = format!("{COLLECTION}/search?sort=width&limit=100{query}{cursor}");
        let page = api.get_served(&path, &[]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        for hit in page["hits"].as_array().into_iter().flatten() {
            let id = hit["record_id"].as_str().unwrap_or_default().to_owned();
            found.insert(id, json!({"id": hit["id"], "title": hit["title"], "width": hit["width"]}));
        }
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

/// Compares every record with what its writer knows.
async fn check(api: &Api, records: &Records, generation: u64) {
    for (id, record) in records {
        let path = format!("{COLLECTION}/records/{id}");
        let (shown, raw) = (api.get(&path).await, api.get(&format!("{path}?raw=true")).await);
        assert_eq!(shown.header("daybook-generation"), generation.to_string());
        let expected = match record {
            Record { is_down: true, .. } => 410,
            Record { fields: None, .. } => 404,
            _ => 200,
        };
        assert_eq!((shown.status, raw.status), (expected, expected), "{id}: {}", shown.text);
        if expected == 200 {
            let of = |generation| record.shown(id, generation).unwrap_or_default();
            assert_eq!((&shown.json()["fields"], &raw.json()["fields"]), (&of(generation), &of(1)), "{id}");
        }
    }
    let visible = |sensitive: bool| -> BTreeMap<String, Value> {
        let kept = records.iter().filter(|(_, record)| sensitive || !record.is_sensitive());
        kept.filter_map(|(id, record)| Some((id.clone(), record.shown(id, generation)?))).collect()
    };
    for (query, expected) in [("", visible(true)), ("&sensitive=false", visible(false))] {
        let (mut pace, began) = (interval(LOOK), Instant::now());
        let found = loop {
            pace.tick().await;
            let found = found(api, query).await;
            if found == expected || began.elapsed() > SEARCHED_MAX {
                break found;
            }
        };
        for (id, shown) in &expected {
            assert_eq!(found.get(id), Some(shown), "{id} by {query:?}, {:?}", records.get(id));
        }
        assert_eq!(found.len(), expected.len(), "{query:?} finds what is hidden");
    }
}

async fn define(api: &Api, generation: u64) {
    crate::define(api, COLLECTION, &definition(generation)).await;
}

async fn change(api: &Api, generation: u64, change: &str) {
    let path = format!("/api/v1/generations/{generation}/{change}?{OF_COLLECTION}");
    let is_made = async || {
        let answer = api.post(&path, &json!({})).await;
        // A candidate that did not catch up in time is not promoted, and is asked again.
        assert!([200, 409].contains(&answer.status), "{}", answer.text);
        answer.status == 200
    };
    wait::until("the switch is made", is_made).await;
}

async fn paced(backend: Backend) {
    let place = Place::new("paced", backend);
    let server = Server::start(&place);
    let (api, mut random) = (&server.api, Random::seeded("paced"));
    define(api, 1).await;
    let (stop, written, began) = (watch::Sender::new(false), watch::Sender::new(0), Instant::now());
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let (api, random, records) = (api.clone(), random.fork(), Records::new());
        writers.spawn(Writer { api, number, random, records }.write(stop.subscribe(), written.clone()));
    }
    let goes_on = async || {
        let (mut seen, goal) = (written.subscribe(), *written.borrow() + BETWEEN);
        // A writer that has failed listens no more.
        let is_over = || stop.receiver_count() < WRITERS;
        wait::until("records are written", async || is_over() || *seen.borrow_and_update() >= goal).await;
        assert!(!is_over(), "{backend:?}: a writer has failed");
    };
    goes_on().await;
    define(api, 2).await;
    let begun = api.post(&format!("/api/v1/rebuilds?{OF_COLLECTION}"), &json!({"promote": true})).await;
    assert_eq!((begun.status, &begun.json()["generation"]), (202, &json!(2)), "{}", begun.text);
    // The answer ends with the refresh.
    accepted(api.get("/api/v1/rebuilds/collection.image-2/events").await);
    let state = api.get(&format!("/api/v1/generations/2?{OF_COLLECTION}")).await.json();
    assert_eq!(state["state"], "live", "{backend:?}: {state}");
    goes_on().await;
    change(api, 1, "rollback").await;
    goes_on().await;
    stop.send_replace(true);
    let mut records = Records::new();
    while let Some(of_writer) = writers.join_next().await {
        records.append(&mut of_writer.unwrap_or_else(|error| panic!("{backend:?}: {error}")));
    }
    let (count, seconds) = (*written.borrow(), began.elapsed().as_secs_f64());
    eprintln!("{backend:?}: {count} writes in {seconds:.1} s, {:.0} a second of {RATE}", count as f64 / seconds);
    check(api, &records, 1).await;
    change(api, 2, "promote").await;
    check(api, &records, 2).await;
    assert!(server.stop());
    check(&Server::start(&place).api, &records, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_writes_a_second_over_a_refresh_and_its_way_back_lose_no_record_embedded() {
    paced(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_writes_a_second_over_a_refresh_and_its_way_back_lose_no_record_on_kafka_and_postgres() {
    paced(Backend::Distributed).await;
}
