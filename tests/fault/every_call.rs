//! Every call passes: each route of the API is called through every instance in each state of a rebuild and of a switch.
//! No call fails, each answer shows what was acknowledged before, and no answer mixes generations. The test prints the
//! calls of each route in each state, and how much longer they took than in an idle service.

mod calls;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    states::{STAGES, Stage, States},
};
use serde_json::{Value, json};

use self::calls::{Call, Caller, Calls, Part, SHARED};

/// Runs with a task and an artifact each, that are there before: a rebuild of them takes a while.
const RUNS_BEFORE: usize = 500;
/// Lines of one request.
const LINES: usize = 3_000;
/// Rebuilds at most, until each route was called in each state.
const TURNS_MAX: usize = 12;
/// Routes that were not called in a state that lasts for milliseconds, at most.
const EMPTY_MAX: usize = 20;
/// Switches back and forth of one rebuild.
const SWITCHES: usize = 5;
/// How often a switch that was withdrawn is asked for again.
const TRIES: usize = 20;
/// How long a request waits for what it has seen: other tests run beside this one, and take the processors, too.
const WAIT_MAX: [&str; 2] = ["--wait-ms-max", "30000"];
/// How long a rebuild may take.
const REBUILD_MAX: Duration = Duration::from_secs(300);

/// What a rebuild reads.
async fn fill(api: &Api) {
    let line = |kind: &str, event: Value| {
        json!({"type": kind, "event": event, "occurred_at": 1_700_000_000_000_i64}).to_string()
    };
    let mut lines = vec![line("FlowRegistered", json!({"flow_id": "Before"}))];
    for number in 1..=RUNS_BEFORE {
        let of = |more: Value| {
            let mut event = json!({"flow_id": "Before", "run_number": number});
            event.as_object_mut().into_iter().for_each(|it| it.extend(more.as_object().cloned().unwrap_or_default()));
            event
        };
        lines.push(line("RunStarted", of(json!({}))));
        lines.push(line("StepRegistered", of(json!({"step_name": "s"}))));
        lines.push(line("TaskRegistered", of(json!({"step_name": "s", "task_id": number}))));
        let entries = json!([{"name": "x", "location": "l", "ds_type": "s3"}]);
        let artifact = of(json!({"step_name": "s", "task_id": number, "entries": entries}));
        lines.push(line("ArtifactsRegistered", artifact));
    }
    for part in lines.chunks(LINES) {
        let answer = api.post_text("/api/v1/events", &part.join("\n")).await;
        assert_eq!(answer.json()["rejected"], 0, "{}", answer.text);
    }
    // The run that all callers change; numbers of runs belong to their flow.
    api.post("/flows/Shared", &json!({})).await;
    let run = json!({"type": "RunStarted", "event": {"flow_id": "Shared", "run_number": 1},
        "occurred_at": 1_700_000_000_000_i64});
    assert_eq!(api.post("/api/v1/events", &run).await.json()["accepted"], 1);
    assert_eq!(api.post(&format!("{SHARED}/steps/s/step"), &json!({})).await.status, 200);
    for _ in 0..3 {
        assert_eq!(api.post(&format!("{SHARED}/steps/s/task"), &json!({})).await.status, 200);
    }
}

/// Rebuilds and switches while others call.
struct Driver<'d> {
    apis: &'d [Api],
    calls: &'d Calls,
    random: Random,
}

impl Driver<'_> {
    fn api(&mut self) -> &Api {
        let index = self.random.below(self.apis.len());
        &self.apis[index]
    }

    async fn rebuild(&mut self) -> i64 {
        let answer = self.api().post("/api/v1/rebuilds", &json!({})).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["generation"].as_i64().unwrap_or_else(|| panic!("{}", answer.text))
    }

    /// Waits until a rebuild is ready: the events end then.
    async fn ready(&mut self, generation: i64) {
        let path = format!("/api/v1/rebuilds/metaflow-{generation}/events");
        let calls = self.calls;
        calls.leave_time.store(true, Ordering::Relaxed);
        let events = tokio::time::timeout(REBUILD_MAX, self.api().get(&path)).await;
        calls.leave_time.store(false, Ordering::Relaxed);
        let events = events.unwrap_or_else(|_| panic!("generation {generation} is not ready in time"));
        let last = events.text.lines().rev().find(|line| line.starts_with("data: ")).unwrap_or_default().to_owned();
        assert!(last.contains("\"state\":\"ready\""), "{last}");
    }

    /// Asks for a step of a generation until it is made; one whose candidate is too far behind changes nothing.
    async fn ask(&mut self, generation: i64, step: &str) {
        let path = format!("/api/v1/generations/{generation}/{step}");
        for _ in 0..TRIES {
            let answer = self.api().post(&path, &json!({})).await;
            if answer.status == 200 {
                return;
            }
            assert_eq!(answer.status, 409, "{path}: {}", answer.text);
            eprintln!("{path}: {}", answer.text);
        }
        panic!("{path}: it was withdrawn {TRIES} times");
    }

    /// A rebuild that is ready.
    async fn prepared(&mut self) -> i64 {
        let next = self.rebuild().await;
        self.ready(next).await;
        self.calls.wait_for(100).await;
        next
    }

    /// Makes what a stage needs happen once more; what is live afterwards.
    async fn show(&mut self, stage: Stage, live: i64) -> i64 {
        match stage {
            "announced" | "following" | "back:announced" | "back:following" | "retiring" => {
                let next = self.prepared().await;
                self.ask(next, "promote").await;
                let count = if stage == "retiring" { 1 } else { SWITCHES };
                for _ in 0..count {
                    self.calls.wait_for(20).await;
                    self.ask(live, "rollback").await;
                    self.calls.wait_for(20).await;
                    self.ask(next, "promote").await;
                }
                self.ask(live, "retire").await;
                self.calls.wait_for(60).await;
                next
            }
            "idle" => {
                self.calls.wait_for(400).await;
                live
            }
            _ => {
                let other = self.prepared().await;
                self.ask(other, "cancel").await;
                self.calls.wait_for(100).await;
                live
            }
        }
    }

    /// Cancels a rebuild somewhere on its way.
    async fn cancel_on_the_way(&mut self) {
        let other = self.rebuild().await;
        let calls = self.random.below(300);
        self.calls.wait_for(calls).await;
        self.ask(other, "cancel").await;
        self.calls.wait_for(60).await;
    }
}

async fn every_call_passes(backend: Backend, instances: usize) {
    let random = Random::seeded("every-call");
    let place = Place::new("calls", backend);
    let servers: Vec<Server> = (0..instances).map(|_| Server::start_with(&place, &WAIT_MAX)).collect();
    let apis: Vec<Api> = servers.iter().map(|server| server.api.clone()).collect();
    fill(&apis[0]).await;
    let routes = routes(&apis[0]).await;
    let (calls, states) = (Calls::default(), States::watch(&place).await);
    let mut driver = Driver { apis: &apis, calls: &calls, random };
    let callers = [Part::Metadata, Part::Search, Part::System, Part::Metadata, Part::Search, Part::System];
    let callers =
        callers.into_iter().enumerate().map(|(index, part)| Caller::new(apis.clone(), &calls, part, index).run());
    let drive = async {
        calls.wait_for(800).await;
        let mut live = driver.show("announced", 1).await;
        driver.cancel_on_the_way().await;
        for turn in 1..=TURNS_MAX {
            let table = Table::of(&calls.lock(), &states);
            let empty = table.empty();
            eprintln!("{backend:?}: turn {turn}, {} failures, empty: {empty:?}", table.failures.len());
            let most = empty.iter().max_by_key(|(_, count)| **count);
            let most = most.filter(|(_, count)| **count > EMPTY_MAX && table.failures.is_empty());
            let Some((stage, _)) = most else { break };
            live = driver.show(stage, live).await;
        }
        // Idle again.
        calls.wait_for(400).await;
        calls.stop();
    };
    tokio::join!(drive, all(callers.collect()));
    let table = Table::of(&calls.lock(), &states);
    table.print(backend, &states);
    let called: BTreeSet<String> = table.cells.keys().map(|(route, _)| route.clone()).collect();
    let left_out: Vec<_> = routes.difference(&called).collect();
    assert!(left_out.is_empty(), "routes that were not called: {left_out:?}");
    assert!(table.failures.is_empty(), "{} calls failed", table.failures.len());
    let empty = table.empty();
    assert!(empty.values().all(|count| *count <= EMPTY_MAX), "routes that were not called in a state: {empty:?}");
    for server in servers {
        assert!(server.stop(), "an instance did not end well");
    }
}

/// Runs callers side by side.
async fn all(callers: Vec<impl Future<Output = ()>>) {
    let mut callers: Vec<_> = callers.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        callers.retain_mut(|caller| caller.as_mut().poll(context).is_pending());
        if callers.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Every method and route, as the service itself describes them.
async fn routes(api: &Api) -> BTreeSet<String> {
    let described = api.get("/openapi.json").await.json();
    let paths = described["paths"].as_object().cloned().unwrap_or_default();
    let of_path = |(path, methods): (&String, &Value)| -> Vec<String> {
        let methods = methods.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
        methods.filter(|method| method != "PARAMETERS").map(|method| format!("{method} {path}")).collect()
    };
    // What changes generations is what the test does besides.
    let changes = |route: &String| route.starts_with("POST /api/v1/generations") || route == "POST /api/v1/rebuilds";
    // Other domains than the one that is rebuilt have routes that are not called here.
    let others = [" /api/v1/collections", " /api/v1/refreshes", " /api/v1/term-lists"];
    let is_other = |route: &String| others.iter().any(|it| route.contains(it));
    paths.iter().flat_map(of_path).filter(|route| !changes(route) && !is_other(route)).collect()
}

/// Durations of calls in milliseconds, by route and state.
struct Table {
    cells: BTreeMap<(String, Stage), Vec<f64>>,
    failures: Vec<String>,
}

impl Table {
    /// A call counts in each state in which it was under way.
    fn of(calls: &[Call], states: &States) -> Self {
        let mut table = Self { cells: BTreeMap::new(), failures: Vec::new() };
        for call in calls {
            let stages = states.between(call.began, call.ended);
            for stage in &stages {
                let cell = table.cells.entry((call.route.clone(), stage)).or_default();
                cell.push((call.ended - call.began).as_secs_f64() * 1000.0);
            }
            table.failures.extend(call.failure.iter().map(|failure| format!("{stages:?}: {failure}")));
        }
        table.cells.values_mut().for_each(|cell| cell.sort_by(f64::total_cmp));
        table
    }

    fn routes(&self) -> BTreeSet<&String> {
        self.cells.keys().map(|(route, _)| route).collect()
    }

    fn cell(&self, route: &str, stage: Stage) -> &[f64] {
        self.cells.get(&(route.to_owned(), stage)).map_or(&[], Vec::as_slice)
    }

    /// How many routes were not called in a state, by state.
    fn empty(&self) -> BTreeMap<Stage, usize> {
        let routes = self.routes();
        let empty = |stage: Stage| routes.iter().filter(|route| self.cell(route, stage).is_empty()).count();
        STAGES.iter().map(|stage| (*stage, empty(stage))).filter(|(_, count)| *count > 0).collect()
    }

    fn print(&self, backend: Backend, states: &States) {
        eprintln!("{backend:?}: calls, and milliseconds more than idle at p50/p99");
        for (stage, length, count) in states.totals() {
            eprintln!("{stage}: {count} times, {:.1} s", length.as_secs_f64());
        }
        eprintln!("| call | {} |", STAGES.join(" | "));
        eprintln!("|{}", " --- |".repeat(STAGES.len() + 1));
        for route in self.routes() {
            let idle = self.cell(route, STAGES[0]);
            let shown = STAGES.map(|stage| match (self.cell(route, stage), stage) {
                ([], _) => "none".to_owned(),
                (cell, "idle") => format!("{} {:.0}/{:.0}", cell.len(), at(cell, 50), at(cell, 99)),
                (cell, _) => {
                    let more = [50, 99].map(|percent| at(cell, percent) - at(idle, percent));
                    format!("{} {:+.0}/{:+.0}", cell.len(), more[0], more[1])
                }
            });
            eprintln!("| {route} | {} |", shown.join(" | "));
        }
        for failure in self.failures.iter().take(20) {
            eprintln!("FAILED {failure}");
        }
    }
}

/// The value below which so many percent of the values are.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_passes_in_every_state_on_embedded_tables() {
    every_call_passes(Backend::Embedded, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_passes_in_every_state_through_two_instances() {
    every_call_passes(Backend::Distributed, 2).await;
}
