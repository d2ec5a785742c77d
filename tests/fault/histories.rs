//! Histories of concurrent requests through all instances, while generations are switched back and forth: each must have
//! an order that a single copy of the data could have had (linearizability, Herlihy and Wing 1990).
//!
//! A history is a window of a few requests to one run: its tags are changed and read, and steps of one name are created
//! and looked for. Between two windows nothing is under way, so each begins with what the last one has read at its end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
};
use reqwest::Method;
use serde_json::{Value, json};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use tokio::task::JoinSet;

use crate::{
    rounds,
    switches::{ended, promote, rebuild},
};

/// Clients of a window, and requests of each: thirty requests with the last look, at most.
const CLIENTS: usize = 4;
const REQUESTS: usize = 7;
const TAGS: [&str; 3] = ["a", "b", "c"];

/// A run as a single copy of the data would have it.
#[derive(Debug, Clone, Default)]
struct Run {
    tags: BTreeSet<String>,
    steps: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Op {
    AddTag(String),
    RemoveTag(String),
    ReadTags,
    CreateStep(String),
    FindStep(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ret {
    /// A change of tags answers with what they are a moment later.
    Changed,
    Tags(BTreeSet<String>),
    /// Whether the step was made, and not there before.
    Created(bool),
    Found(bool),
}

impl SequentialSpec for Run {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::AddTag(tag) => {
                self.tags.insert(tag.clone());
                Ret::Changed
            }
            Op::RemoveTag(tag) => {
                self.tags.remove(tag);
                Ret::Changed
            }
            Op::ReadTags => Ret::Tags(self.tags.clone()),
            Op::CreateStep(name) => Ret::Created(self.steps.insert(name.clone())),
            Op::FindStep(name) => Ret::Found(self.steps.contains(name)),
        }
    }
}

/// A window of requests as they began and ended.
#[derive(Clone)]
struct Window(Arc<Mutex<LinearizabilityTester<usize, Run>>>);

impl Window {
    fn new(begin: Run) -> Self {
        Self(Arc::new(Mutex::new(LinearizabilityTester::new(begin))))
    }

    fn note(&self, note: impl FnOnce(&mut LinearizabilityTester<usize, Run>) -> Result<(), String>) {
        let noted = note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        noted.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends a request of a client and notes both ends of it.
    async fn send(&self, client: usize, run: &OfRun, op: Op) -> Ret {
        self.note(|tester| tester.on_invoke(client, op.clone()).map(drop));
        let ret = run.send(&op).await;
        self.note(|tester| tester.on_return(client, ret.clone()).map(drop));
        ret
    }
}

/// Requests to one run through one instance.
#[derive(Clone)]
struct OfRun {
    api: Api,
    path: String,
}

impl OfRun {
    async fn send(&self, op: &Op) -> Ret {
        let Self { api, path } = self;
        let changed = async |change: Value| {
            let answer = api.patch(&format!("{path}/tag/mutate"), &change).await;
            assert_eq!(answer.status, 200, "{op:?}: {}", answer.text);
            Ret::Changed
        };
        match op {
            Op::AddTag(tag) => changed(json!({"tags_to_add": [tag]})).await,
            Op::RemoveTag(tag) => changed(json!({"tags_to_remove": [tag]})).await,
            Op::ReadTags => {
                let answer = api.get(path).await;
                assert_eq!(answer.status, 200, "{op:?}: {}", answer.text);
                let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
                Ret::Tags(tags.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Op::CreateStep(name) => {
                let answer = api.send(Method::POST, &format!("{path}/steps/{name}/step"), Some("{}".into()), &[]).await;
                assert!(matches!(answer.status, 200 | 409), "{op:?}: {} {}", answer.status, answer.text);
                Ret::Created(answer.status == 200)
            }
            Op::FindStep(name) => {
                let answer = api.get(&format!("{path}/steps/{name}")).await;
                assert!(matches!(answer.status, 200 | 404), "{op:?}: {} {}", answer.status, answer.text);
                Ret::Found(answer.status == 200)
            }
        }
    }
}

/// A request of a window. Names are its own, so that none of them is there at its begin.
fn choose(random: &mut Random, window: usize) -> Op {
    let tag = TAGS[random.below(TAGS.len())].to_owned();
    let step = format!("w{window}_{}", random.below(2));
    match random.below(7) {
        0 | 1 => Op::AddTag(tag),
        2 => Op::RemoveTag(tag),
        3 | 4 => Op::ReadTags,
        5 => Op::CreateStep(step),
        _ => Op::FindStep(step),
    }
}

/// One window. The tags at its end.
async fn window(number: usize, tags: BTreeSet<String>, runs: &[OfRun], random: &mut Random) -> BTreeSet<String> {
    let window = Window::new(Run { tags, steps: BTreeSet::new() });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (window, run) = (window.clone(), runs[client % runs.len()].clone());
        let requests: Vec<Op> = (0..REQUESTS).map(|_| choose(random, number)).collect();
        clients.spawn(async move {
            for op in requests {
                window.send(client, &run, op).await;
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap_or_else(|error| panic!("a client failed: {error}"));
    }
    let last = window.send(0, &runs[number % runs.len()], Op::ReadTags).await;
    let tester = window.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(tester.is_consistent(), "window {number} has no order: {tester:#?}");
    let Ret::Tags(tags) = last else { panic!("{last:?} is not what was asked for") };
    tags
}

/// Switches back and forth until it is stopped; how often.
async fn switch(apis: Vec<Api>, second: i64, stop: Arc<AtomicBool>) -> usize {
    let mut switches = 0;
    while !stop.load(Ordering::Relaxed) {
        let to = if switches % 2 == 0 { second } else { 1 };
        let answer = promote(&apis[switches % apis.len()], to).await;
        // A candidate that did not catch up in time is asked again.
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text);
        switches += usize::from(answer.status == 200);
    }
    switches
}

async fn histories(backend: Backend, instances: usize, windows: usize) {
    let mut random = Random::seeded("histories");
    let place = Place::new("histories", backend);
    let servers: Vec<Server> = (0..instances).map(|_| Server::start(&place)).collect();
    let apis: Vec<Api> = servers.iter().map(|server| server.api.clone()).collect();
    apis[0].post("/flows/F", &json!({})).await;
    let run = apis[0].post("/flows/F/run", &json!({})).await.json()["run_number"].clone();
    let of_run = |api: &Api| OfRun { api: api.clone(), path: format!("/flows/F/runs/{run}") };
    let runs: Vec<OfRun> = apis.iter().map(of_run).collect();
    let second = rebuild(&apis[0], &json!({})).await;
    assert_eq!(ended(&apis[0], second).await, "ready");
    let stop = Arc::new(AtomicBool::new(false));
    let switching = tokio::spawn(switch(apis, second, Arc::clone(&stop)));
    let mut tags = BTreeSet::new();
    for number in 0..windows {
        tags = window(number, tags, &runs, &mut random).await;
    }
    stop.store(true, Ordering::Relaxed);
    let switches = switching.await.unwrap_or_else(|error| panic!("switching failed: {error}"));
    eprintln!("{backend:?}: {windows} windows of {} requests, {switches} switches", CLIENTS * REQUESTS + 1);
    assert!(switches > 1, "there were {switches} switches");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_during_switches_have_an_order_on_embedded_tables() {
    histories(Backend::Embedded, 1, rounds(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_during_switches_have_an_order_through_two_instances() {
    histories(Backend::Distributed, 2, rounds(100)).await;
}

#[test]
fn a_history_without_an_order_is_found() {
    let tags = |tags: &[&str]| Ret::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
    let is_consistent = |read: Ret| {
        let mut tester = LinearizabilityTester::new(Run::default());
        let noted = tester.on_invret(0, Op::AddTag("a".to_owned()), Ret::Changed).is_ok()
            && tester.on_invret(1, Op::ReadTags, read).is_ok();
        assert!(noted);
        tester.is_consistent()
    };
    assert!(is_consistent(tags(&["a"])));
    assert!(!is_consistent(tags(&[])), "a read that misses what was acknowledged passes");
}
