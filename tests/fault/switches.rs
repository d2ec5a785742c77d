//! Generations that are rebuilt and switched while writers and readers work at full speed: no request fails, nothing is
//! lost or doubled, what was acknowledged is seen by the next read through any instance, and nothing is left over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use daybook_tests::{
    api::{Answer, Api},
    process::{Backend, Place, Server},
    random::Random,
    wait,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rounds;

const FLOWS: [&str; 2] = ["A", "B"];
/// Switches of one test, at most, however many rounds are asked for.
const SWITCHES_MAX: usize = 1000;
/// How long a rebuild of these few records may take beside other tests.
const REBUILD_MAX: Duration = Duration::from_secs(300);

/// Begins a rebuild, and returns the number of its generation.
pub(crate) async fn rebuild(api: &Api, body: &Value) -> i64 {
    let answer = api.post("/api/v1/rebuilds", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["generation"].as_i64().unwrap_or_else(|| panic!("{}", answer.text))
}

async fn state(api: &Api, generation: i64) -> String {
    let answer = api.get(&format!("/api/v1/generations/{generation}")).await;
    answer.json()["state"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// Waits until nothing more happens to a rebuild by itself, and returns its state. The events end then: reading them is all
/// the waiting there is.
pub(crate) async fn ended(api: &Api, generation: i64) -> String {
    let path = format!("/api/v1/rebuilds/metaflow-{generation}/events");
    let events = tokio::time::timeout(REBUILD_MAX, api.get(&path)).await;
    assert!(events.is_ok(), "generation {generation} is not ready: {}", api.get("/api/v1/rebuilds").await.text);
    state(api, generation).await
}

pub(crate) async fn promote(api: &Api, generation: i64) -> Answer {
    api.post(&format!("/api/v1/generations/{generation}/promote"), &json!({})).await
}

/// Promotes a generation. One that did not catch up in time is not promoted, and is asked again.
pub(crate) async fn until_promoted(api: &Api, generation: i64) {
    wait::until("the generation is promoted", async || {
        let answer = promote(api, generation).await;
        assert!([200, 409].contains(&answer.status), "{}", answer.text);
        answer.status == 200
    })
    .await;
}

/// Reads through one instance what was just acknowledged through another, and what was seen through it again.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Readers {
    fn start(apis: &[&Api], steps: &[Step]) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for (index, step) in steps.iter().enumerate() {
            let apis: Vec<Api> = apis.iter().map(|api| (*api).clone()).collect();
            let (stop, reads, path) = (Arc::clone(&stop), Arc::clone(&reads), step.path());
            tasks.spawn(async move {
                let mut turn = index;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let [one, other] = [&apis[turn % apis.len()], &apis[(turn + 1) % apis.len()]];
                    let made = one.post(&format!("{path}/task"), &json!({})).await;
                    assert_eq!(made.status, 200, "{}", made.text);
                    let id = made.json()["task_id"].clone();
                    let of_made = made.header("daybook-generation").to_owned();
                    // A write that was acknowledged, and later what a read has shown.
                    for api in [other, one] {
                        let read = api.get(&format!("{path}/tasks/{id}")).await;
                        let of_read = read.header("daybook-generation");
                        assert_eq!(
                            read.status, 200,
                            "task {id}, made through generation {of_made}, read through {of_read}: {}",
                            read.text
                        );
                    }
                    reads.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        Self { stop, reads, tasks }
    }

    async fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap_or_else(|error| panic!("a reader failed: {error}"));
        }
        self.reads.load(Ordering::Relaxed)
    }
}

async fn switch_under_load(backend: Backend, instances: usize, switches: usize) {
    let mut random = Random::seeded("switches");
    let place = Place::new("switches", backend);
    let servers: Vec<Server> = (0..instances).map(|_| Server::start(&place)).collect();
    let apis: Vec<&Api> = servers.iter().map(|server| &server.api).collect();
    let mut steps = Vec::new();
    for flow in FLOWS {
        steps.push(Step::make(apis[0], flow).await);
    }
    let writers = Writers::at_full_speed(&apis, &steps, 2, &mut random);
    let readers = Readers::start(&apis, &steps);
    writers.wait_for(100).await;
    let second = rebuild(apis[0], &json!({"promote": true})).await;
    let state = ended(apis[0], second).await;
    let logged: Vec<String> = servers.iter().flat_map(Server::logged).collect();
    assert_eq!(state, "live", "{}", logged.join("\n"));
    let mut withdrawn = 0;
    for turn in 0..switches {
        let to = if turn % 2 == 0 { 1 } else { second };
        let api = apis[random.below(apis.len())];
        loop {
            let answer = promote(api, to).await;
            if answer.status == 200 {
                break;
            }
            // The candidate did not catch up in time: nothing has changed, and it is asked again.
            assert_eq!(answer.status, 409, "{}", answer.text);
            withdrawn += 1;
        }
        writers.wait_for(4).await;
    }
    let reads = readers.stop().await;
    let acknowledged = writers.stop().await;
    eprintln!("{backend:?}: {switches} switches, {withdrawn} withdrawn, {reads} reads");
    assert_eq!(acknowledged.turned_away, 0, "requests failed");
    assert!(withdrawn <= switches / 4, "{withdrawn} of {switches} switches were withdrawn");
    for server in &servers {
        check(&place, server, &acknowledged).await;
    }
    // What is retired leaves nothing but its entry.
    let live = if switches.is_multiple_of(2) { second } else { 1 };
    let previous = if live == 1 { second } else { 1 };
    let answer = apis[0].post(&format!("/api/v1/generations/{previous}/retire"), &json!({})).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("retired")), "{}", answer.text);
    check(&place, &servers[0], &acknowledged).await;
    for server in servers {
        assert!(server.stop(), "an instance did not end well");
    }
    check(&place, &Server::start(&place), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_full_speed_notice_no_switch_on_embedded_tables() {
    switch_under_load(Backend::Embedded, 1, rounds(100).min(SWITCHES_MAX)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_full_speed_through_two_instances_notice_no_switch() {
    switch_under_load(Backend::Distributed, 2, rounds(100).min(SWITCHES_MAX)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_goes_on_when_instances_join_and_leave() {
    let mut random = Random::seeded("joined");
    let place = Place::new("joined", Backend::Distributed);
    let first = Server::start(&place);
    let step = Step::make(&first.api, "F").await;
    let writers = Writers::start(&[&first.api], std::slice::from_ref(&step), 2, &mut random);
    let candidate = rebuild(&first.api, &json!({})).await;
    assert_eq!(ended(&first.api, candidate).await, "ready");
    // Partitions are assigned anew, twice, while the candidate is applied.
    let second = Server::start(&place);
    writers.wait_for(100).await;
    assert!(second.stop(), "the instance that left did not end well");
    writers.wait_for(100).await;
    until_promoted(&first.api, candidate).await;
    let acknowledged = writers.stop().await;
    check(&place, &first, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_starts_during_a_switch_answers_from_the_new_generation() {
    let mut random = Random::seeded("starts-during-switch");
    let place = Place::new("starting", Backend::Distributed);
    let first = Server::start(&place);
    let step = Step::make(&first.api, "F").await;
    let writers = Writers::at_full_speed(&[&first.api], std::slice::from_ref(&step), 2, &mut random);
    let candidate = rebuild(&first.api, &json!({})).await;
    assert_eq!(ended(&first.api, candidate).await, "ready");
    for switch in 0..4 {
        let second = Server::begin(&place, &[]);
        // It has opened the generation that is live now, and has taken over partitions.
        let opened = async || {
            let text = second.api.get("/health/ready").await.text;
            text.contains("tables of metaflow") || text.contains("\"ready\"")
        };
        wait::until("an instance opens its tables", opened).await;
        second.signal("STOP");
        let is_switched = async || {
            let answer = match switch % 2 {
                0 => promote(&first.api, candidate).await,
                _ => first.api.post("/api/v1/generations/1/rollback", &json!({})).await,
            };
            // A candidate that did not catch up in time is not promoted, and is asked again.
            assert!([200, 409].contains(&answer.status), "{}", answer.text);
            answer.status == 200
        };
        wait::until("the switch is made", is_switched).await;
        second.signal("CONT");
        let is_ready = async || second.api.get("/health/ready").await.status == 200;
        wait::until("the instance that was frozen is ready", is_ready).await;
        let made = first.api.post(&format!("{}/task", step.path()), &json!({})).await;
        let read = second.api.get(&format!("{}/tasks/{}", step.path(), made.json()["task_id"])).await;
        assert_eq!(read.status, 200, "{}", read.text);
        assert!(second.stop(), "the instance did not end well");
    }
    let acknowledged = writers.stop().await;
    check(&place, &first, &acknowledged).await;
}
