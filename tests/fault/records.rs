//! Writers of one collection that ride out kills and outages as clients do, and the model of what they have written:
//! each record, each row of the further table, and each document that a search and the filtered search find.

use std::collections::BTreeMap;

use daybook_tests::{
    api::{Answer, Api},
    process::Server,
    random::Random,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Duration, MissedTickBehavior, interval, timeout},
};

pub(crate) const COLLECTION: &str = "/api/v1/collections/image";
pub(crate) const OF_COLLECTION: &str = "domain=collection.image";
const WRITERS: usize = 4;
/// Records of each writer.
const RECORDS: usize = 40;
/// Things that several records belong to.
const SETS: usize = 12;
/// Rows and hits of one answer.
const OF_PAGE: usize = 50;
/// Before a request is sent again, and between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How long a search may be behind the tables.
const SEARCHED_MAX: Duration = Duration::from_secs(300);

/// What a definition makes of records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Whether blanks of titles become one.
    pub(crate) cleans: bool,
    /// The word whose records the filtered search leaves out.
    pub(crate) term: &'static str,
}

impl Shape {
    /// The definition; lines of further fields can be added.
    pub(crate) fn definition(self, fields: &str) -> String {
        let rules = if self.cleans { "[{ id = 'titles', kind = 'sanitize-text', fields = ['title'] }]" } else { "[]" };
        format!(
            "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\nsource = {{ type = 'text', max_length = 20 }}\n\
             title = 'text'\nwidth = 'int'\nround = 'int'\naudio_set = 'json'\n{fields}\n\
             [[tables]]\nname = 'audioset'\nfrom = 'audio_set'\nkey = ['provider', 'number']\n\
             [clean]\nrules = {rules}\n[filtered]\nterms = ['{}']\nfields = ['title']\n\
             [verify]\nmax_drop = '100 %'\nmax_drop_per_source = '100 %'\nmax_growth = '100 %'\n",
            self.term
        )
    }
}

/// A record as its writer knows it.
#[derive(Debug, Clone, Default)]
struct Record {
    /// What it holds; `None` if it was removed, or never written.
    fields: Option<Value>,
    is_down: bool,
}

impl Record {
    /// Its fields as readers see them by a definition; `None` if it is hidden from them.
    fn shown(&self, id: &str, shape: Shape) -> Option<Value> {
        let mut shown = self.fields.clone().filter(|_| !self.is_down)?;
        shown["id"] = id.into();
        if shape.cleans {
            shown["title"] = text(&shown["title"]).replace("   ", " ").into();
        }
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("height");
        }
        Some(shown)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// All records, as their writers know them.
#[derive(Default)]
pub(crate) struct Records(BTreeMap<String, Record>);

impl Records {
    /// The records that readers see, in order of their ids.
    fn visible(&self, shape: Shape) -> impl Iterator<Item = (&str, Value)> {
        self.0.iter().filter_map(move |(id, record)| Some((id.as_str(), record.shown(id, shape)?)))
    }

    /// The rows of the further table: of the records of a set, the one with the lowest id counts.
    fn rows(&self, shape: Shape) -> BTreeMap<String, Value> {
        let mut rows = BTreeMap::new();
        for (id, fields) in self.visible(shape) {
            let set = &fields["audio_set"];
            if set.is_object() {
                let row = || json!({"record_id": id, "row": set});
                rows.entry(text(&set["number"]).to_owned()).or_insert_with(row);
            }
        }
        rows
    }

    /// The documents that the search finds, or the filtered one.
    fn documents(&self, shape: Shape, is_filtered: bool) -> BTreeMap<String, Value> {
        let is_found = |fields: &Value| !is_filtered || !text(&fields["title"]).ends_with(&format!(" {}", shape.term));
        let found = self.visible(shape).filter(|(_, fields)| is_found(fields));
        found.map(|(id, fields)| (id.to_owned(), searched(&fields))).collect()
    }

    /// Compares every record, every row of the further table and every document with what the writers know.
    pub(crate) async fn check(&self, api: &Api, shape: Shape) {
        for (id, record) in &self.0 {
            let answer = api.get_served(&format!("{COLLECTION}/records/{id}"), &[]).await;
            match record.shown(id, shape) {
                Some(shown) => assert_eq!(answer.json()["fields"], shown, "{id}: {}", answer.text),
                None if record.is_down => assert_eq!(answer.status, 410, "{id}: {}", answer.text),
                None => assert_eq!(answer.status, 404, "{id}: {}", answer.text),
            }
        }
        assert_eq!(rows(api).await, self.rows(shape), "the rows of the further table");
        for (query, is_filtered) in [("", false), ("&sensitive=false", true)] {
            let (expected, mut found) = (self.documents(shape, is_filtered), documents(api, query).await);
            let searching = async {
                let mut pace = interval(PAUSE);
                while found != expected {
                    pace.tick().await;
                    found = documents(api, query).await;
                }
            };
            let in_time = timeout(SEARCHED_MAX, searching).await;
            assert_eq!(found, expected, "what a search finds by {query:?}: {in_time:?}");
        }
    }
}

/// What is compared of a document.
fn searched(fields: &Value) -> Value {
    json!({"id": fields["id"], "source": fields["source"], "title": fields["title"], "width": fields["width"]})
}

/// All rows of the further table, by the key that differs.
async fn rows(api: &Api) -> BTreeMap<String, Value> {
    let (mut rows, mut after) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("{COLLECTION}/tables/audioset?limit={OF_PAGE}&after={after}");
        let answer = api.get_served(&path, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        for row in page["rows"].as_array().into_iter().flatten() {
            let shown = json!({"record_id": row["record_id"], "row": row["row"]});
            let before = rows.insert(text(&row["row"]["number"]).to_owned(), shown);
            assert!(before.is_none(), "a row is shown twice: {row}");
        }
        let Some(next) = page["next"].as_str() else { return rows };
        next.clone_into(&mut after);
    }
}

/// All hits of a search, by their ids.
async fn documents(api: &Api, query: &str) -> BTreeMap<String, Value> {
    let (mut found, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("{COLLECTION}/search?sort=width&limit={OF_PAGE}{query}{cursor}");
        let answer = api.get_served(&path, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        for hit in page["hits"].as_array().into_iter().flatten() {
            found.insert(text(&hit["record_id"]).to_owned(), searched(hit));
        }
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

/// Waits until all processes serve the collection.
pub(crate) async fn serve(servers: &[Server]) {
    for server in servers {
        let is_served = async || server.api.get(&format!("{COLLECTION}/counts")).await.status == 200;
        wait::until("it serves the collection", is_served).await;
    }
}

/// Where requests go, of processes that may be replaced.
#[derive(Clone)]
pub(crate) struct Target(pub(crate) watch::Receiver<Vec<Api>>);

impl Target {
    /// One of those that there are.
    pub(crate) fn pick(&self, random: &mut Random) -> Api {
        let apis = self.0.borrow();
        apis[random.below(apis.len())].clone()
    }

    /// Sends a request until it is answered as it is expected. One that is sent again may find that it was carried out.
    pub(crate) async fn send(
        &self,
        random: &mut Random,
        method: Method,
        path: &str,
        body: Option<&str>,
        ok: &[u16],
    ) -> Answer {
        let (mut pace, mut is_repeated) = (interval(PAUSE), false);
        loop {
            pace.tick().await;
            let api = self.pick(random);
            let sent = api.try_send(method.clone(), path, body.map(str::to_owned), &[]).await;
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

    /// Applies a definition, which is served then.
    pub(crate) async fn define(&self, random: &mut Random, definition: &str) {
        self.send(random, Method::PUT, COLLECTION, Some(definition), &[200, 201]).await;
    }
}

/// Writers at work.
pub(crate) struct Writers {
    stop: watch::Sender<bool>,
    acknowledged: watch::Sender<usize>,
    tasks: JoinSet<BTreeMap<String, Record>>,
}

impl Writers {
    /// Starts them; each pauses between two writes.
    pub(crate) fn start(target: &Target, pace: Duration, random: &mut Random) -> Self {
        Self::go_on(target, pace, random, Records::default())
    }

    /// The same, where others have stopped.
    pub(crate) fn go_on(target: &Target, pace: Duration, random: &mut Random, mut records: Records) -> Self {
        let (stop, acknowledged, mut tasks) = (watch::Sender::new(false), watch::Sender::new(0), JoinSet::new());
        for number in (0..WRITERS).rev() {
            let writer = Writer {
                number,
                random: random.fork(),
                target: target.clone(),
                acknowledged: acknowledged.clone(),
                // Those of the writers with lower numbers are before them.
                records: records.0.split_off(&format!("w{number}-")),
            };
            tasks.spawn(writer.run(stop.subscribe(), pace));
        }
        Self { stop, acknowledged, tasks }
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) async fn wait_for(&self, more: usize) {
        let (mut seen, goal) = (self.acknowledged.subscribe(), *self.acknowledged.borrow() + more);
        // A writer that has failed listens no more.
        let is_over = || self.stop.receiver_count() < WRITERS;
        wait::until("writes are acknowledged", async || is_over() || *seen.borrow_and_update() >= goal).await;
        assert!(!is_over(), "a writer has failed");
    }

    /// Stops them; all records as they know them.
    pub(crate) async fn stop(mut self) -> Records {
        self.stop.send_replace(true);
        let mut records = BTreeMap::new();
        while let Some(of_writer) = self.tasks.join_next().await {
            records.append(&mut of_writer.unwrap_or_else(|error| panic!("{error}")));
        }
        eprintln!("{} writes acknowledged, {} records", *self.acknowledged.borrow(), records.len());
        Records(records)
    }
}

struct Writer {
    number: usize,
    random: Random,
    target: Target,
    acknowledged: watch::Sender<usize>,
    records: BTreeMap<String, Record>,
}

impl Writer {
    /// Writes to its own records, one after another, until it is stopped.
    async fn run(mut self, stop: watch::Receiver<bool>, pace: Duration) -> BTreeMap<String, Record> {
        let mut pace = interval(pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stop.borrow() {
            pace.tick().await;
            self.write().await;
            self.acknowledged.send_modify(|count| *count += 1);
        }
        self.records
    }

    async fn write(&mut self) {
        let id = format!("w{}-{:02}", self.number, self.random.below(RECORDS));
        let (of_record, of_takedown) = (format!("{COLLECTION}/records/{id}"), format!("{COLLECTION}/takedowns/{id}"));
        let mut record = self.records.get(&id).cloned().unwrap_or_default();
        match self.random.below(8) {
            0 => {
                let body = json!({"ids": [id], "reason": "licence"}).to_string();
                self.send(Method::POST, &format!("{COLLECTION}/takedowns"), Some(&body)).await;
                record.is_down = true;
            }
            1 if record.is_down => {
                self.send(Method::DELETE, &of_takedown, None).await;
                record.is_down = false;
            }
            2 if record.fields.is_some() => {
                self.send(Method::DELETE, &of_record, None).await;
                record.fields = None;
            }
            _ => {
                let fields = self.fields();
                self.send(Method::PUT, &of_record, Some(&fields.to_string())).await;
                record.fields = Some(fields);
            }
        }
        self.records.insert(id, record);
    }

    /// Some fields. Titles end with a word that a filtered search may leave out, and two of three records are of a set.
    fn fields(&mut self) -> Value {
        let (number, set) = (self.random.below(1_000_000), self.random.below(SETS));
        let title = format!("Pier   {number} {}", self.random.pick(&["bird", "boat", "birdsong"]));
        let audio_set = match self.random.one_in(3) {
            true => Value::Null,
            false => json!({"provider": "jamendo", "number": set.to_string(), "title": format!("Set of {number}")}),
        };
        json!({
            "source": self.random.pick(&["a", "b", "c"]), "title": title, "width": number, "height": number + 1,
            "round": self.random.below(1_000_000), "audio_set": audio_set,
        })
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<&str>) {
        self.target.send(&mut self.random, method, path, body, &[200]).await;
    }
}
