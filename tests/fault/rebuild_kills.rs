//! Kill -9 right after each change of state of a rebuild, a promotion, a way back, a retirement and a cancellation, under
//! writers: each goes on by itself, nothing that was acknowledged is lost, and nothing is left over. The test prints how
//! often which instance was killed in which state.

use std::{collections::BTreeMap, time::Instant};

use daybook_reindexer::{
    control::{Control, State},
    switch::control::Phase,
};
use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    services,
    states::{STAGES, Stage, States, control},
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};
use tokio::time::{Duration, interval, timeout};

const DOMAIN: &str = "metaflow";
/// How long a stage is waited for.
const STAGE_MAX: Duration = Duration::from_secs(20);
/// How long a rebuild, or a switch, may take with all kills.
const END_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);
/// Rounds at most, until every instance was killed in every state.
const ROUNDS_MAX: usize = 12;
/// The states of a rebuild that is promoted, in order.
const REBUILD: std::ops::Range<usize> = 1..7;

fn index(stage: Stage) -> usize {
    STAGES.iter().position(|other| *other == stage).unwrap_or(0)
}

struct Stand {
    place: Place,
    servers: Vec<Server>,
    writers: Writers,
    states: States,
    control: Control,
    kills: BTreeMap<(Stage, usize), usize>,
}

impl Stand {
    /// Kills an instance now, starts it again, and counts in which state it was.
    fn kill(&mut self, who: usize) {
        let others: Vec<_> = self.servers.iter().enumerate().filter(|(index, _)| *index != who).collect();
        if !others.is_empty() {
            self.writers.go_on_with(&others.iter().map(|(_, server)| &server.api).collect::<Vec<_>>());
        }
        let killed = self.servers.remove(who);
        let now = Instant::now();
        killed.kill();
        let stage = self.states.between(now, now).last().copied().unwrap_or(STAGES[0]);
        *self.kills.entry((stage, who)).or_default() += 1;
        self.servers.insert(who, Server::start(&self.place));
        self.writers.go_on_with(&self.servers.iter().map(|server| &server.api).collect::<Vec<_>>());
    }

    fn is_missing(&self, stage: Stage, who: usize) -> bool {
        !self.kills.contains_key(&(stage, who))
    }

    fn missing(&self) -> Vec<(Stage, usize)> {
        let all = STAGES.iter().flat_map(|stage| (0..self.servers.len()).map(move |who| (*stage, who)));
        all.filter(|(stage, who)| self.is_missing(stage, *who)).collect()
    }

    /// Sends a request whose answer nobody waits for.
    fn send(&self, through: usize, path: String, body: Value) -> tokio::task::JoinHandle<()> {
        let api = self.servers[through].api.clone();
        tokio::spawn(async move {
            // Its process may be killed meanwhile.
            let _answer = api.try_send(reqwest::Method::POST, &path, Some(body.to_string()), &[]).await;
        })
    }

    /// Begins a rebuild; a request that fails because an instance has just started is sent again.
    async fn rebuild(&self, promote: bool) -> i64 {
        let mut pace = interval(LOOK);
        let begun = async {
            loop {
                pace.tick().await;
                let answer = self.servers[0].api.post("/api/v1/rebuilds", &json!({"promote": promote})).await;
                if let Some(generation) = answer.json()["generation"].as_i64() {
                    return generation;
                }
                assert!([409, 503].contains(&answer.status), "{}", answer.text);
            }
        };
        timeout(END_MAX, begun).await.unwrap_or_else(|_| panic!("no rebuild begins"))
    }

    /// Waits until no switch is under way and a generation has an expected state.
    async fn until(&self, generation: i64, is_expected: impl Fn(State) -> bool) {
        let mut pace = interval(LOOK);
        let mut last = String::new();
        let reached = async {
            loop {
                pace.tick().await;
                let (row, entries) = (self.control.domain(DOMAIN).await, self.control.generations(DOMAIN).await);
                let (Ok(Some(row)), Ok(entries)) = (row, entries) else { continue };
                let entry = entries.iter().find(|entry| entry.generation == generation);
                last = format!("{row:?}: {entry:?}");
                if row.phase == Phase::Idle && entry.is_some_and(|entry| is_expected(entry.state)) {
                    return;
                }
                assert!(entry.is_none_or(|entry| entry.state != State::Failed), "{last}");
            }
        };
        let in_time = timeout(END_MAX, reached).await;
        assert!(in_time.is_ok(), "generation {generation} does not go on: {last}");
    }

    /// Waits for a stage, for a bounded time: one that lasts for milliseconds can be missed.
    async fn sees(&self, wanted: impl Fn(Stage) -> bool) -> bool {
        timeout(STAGE_MAX, self.states.wait_for(wanted)).await.unwrap_or(false)
    }

    /// A rebuild that is promoted by itself, whatever is killed.
    async fn killed_rebuild(&mut self, random: &mut Random, who: usize) -> i64 {
        let generation = self.rebuild(true).await;
        let first = random.below(REBUILD.len());
        for stage in &STAGES[REBUILD] {
            let is_due = self.is_missing(stage, who) || index(stage) == REBUILD.start + first;
            if is_due && self.sees(|it| index(it) >= index(stage)).await && self.states.last() == *stage {
                self.kill(who);
            }
        }
        self.until(generation, |state| state == State::Live).await;
        generation
    }

    /// A way back that is killed: it was made, or it was not.
    async fn killed_way_back(&mut self, who: usize, back_to: i64) {
        let asked = self.send(0, format!("/api/v1/generations/{back_to}/rollback"), json!({}));
        let target = if self.is_missing("back:following", who) { "back:following" } else { "back:announced" };
        let target = if self.is_missing("back:announced", who) { "back:announced" } else { target };
        let seen = timeout(Duration::from_secs(10), self.states.wait_for(|stage| stage == target)).await;
        if seen.is_ok() {
            self.kill(who);
        }
        let _sent = asked.await;
        self.until(back_to, |state| matches!(state, State::Live | State::Previous)).await;
    }

    /// The previous generation is retired, whatever is killed.
    async fn killed_retirement(&mut self, who: usize) {
        let row = self.control.domain(DOMAIN).await.ok().flatten();
        let Some(previous) = row.and_then(|row| row.previous) else { return };
        let asked = self.send(0, format!("/api/v1/generations/{}/retire", previous.0), json!({}));
        let seen = timeout(Duration::from_secs(10), self.states.wait_for(|stage| stage == "retiring")).await;
        if seen.is_ok() {
            self.kill(who);
        }
        let _sent = asked.await;
        self.until(previous.0, |state| matches!(state, State::Retired | State::Previous)).await;
    }

    /// A rebuild that is cancelled, and whose instance is killed before its parts are removed.
    async fn killed_cancellation(&mut self, random: &mut Random, who: usize) {
        let generation = self.rebuild(false).await;
        let stage = STAGES[1 + random.below(4)];
        self.sees(|it| index(it) >= index(stage)).await;
        let answer = self.servers[0].api.post(&format!("/api/v1/generations/{generation}/cancel"), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.sees(|stage| stage == "removing").await;
        self.kill(who);
        self.until(generation, |state| state == State::Cancelled).await;
    }

    /// Nothing but the live generation is there.
    async fn is_tidy(&self) {
        let mut pace = interval(LOOK);
        let live = self.control.live(DOMAIN).await.ok().flatten().unwrap_or(0);
        let mut others = Vec::new();
        let tidy = async {
            loop {
                pace.tick().await;
                others = self.place.parts().await;
                others.retain(|part| !part.contains(&format!("_g{live:04}")));
                if others.is_empty() {
                    return;
                }
            }
        };
        let in_time = timeout(Duration::from_secs(60), tidy).await;
        assert!(in_time.is_ok(), "left over beside generation {live}: {others:?}");
    }

    fn print(&self, backend: Backend) {
        eprintln!("{backend:?}: kills by state and instance");
        for stage in STAGES {
            let counts: Vec<String> = (0..self.servers.len())
                .map(|who| self.kills.get(&(stage, who)).map_or("none".to_owned(), ToString::to_string))
                .collect();
            eprintln!("| {stage} | {} |", counts.join(" | "));
        }
    }
}

async fn kills(backend: Backend, instances: usize) {
    let mut random = Random::seeded("rebuild-kills");
    let place = Place::new("rebuildkills", backend);
    let servers: Vec<Server> = (0..instances).map(|_| Server::start(&place)).collect();
    let apis: Vec<_> = servers.iter().map(|server| server.api.clone()).collect();
    let apis: Vec<_> = apis.iter().collect();
    let mut steps = Vec::new();
    for flow in ["A", "B", "C"] {
        steps.push(Step::make(apis[0], flow).await);
    }
    let writers = Writers::start(&apis, &steps, 3, &mut random);
    writers.wait_for(300).await;
    let (states, control) = (States::watch(&place).await, control(&place).await);
    let mut stand = Stand { place, servers, writers, states, control, kills: BTreeMap::new() };
    let mut live = 1;
    for round in 1..=ROUNDS_MAX {
        let who = round % instances;
        if stand.is_missing("idle", who) {
            stand.states.wait_for(|stage| stage == "idle").await;
            stand.kill(who);
        }
        let next = stand.killed_rebuild(&mut random, who).await;
        stand.killed_way_back(who, live).await;
        stand.killed_retirement(who).await;
        stand.killed_cancellation(&mut random, who).await;
        live = stand.control.live(DOMAIN).await.ok().flatten().unwrap_or(next);
        let missing = stand.missing();
        eprintln!("{backend:?}: round {round}, missing: {missing:?}");
        if missing.is_empty() {
            break;
        }
    }
    stand.print(backend);
    assert_eq!(stand.missing(), Vec::new(), "states in which nothing was killed");
    // What a kill left undone is asked for again.
    if let Some(previous) = stand.control.domain(DOMAIN).await.ok().flatten().and_then(|row| row.previous) {
        let path = format!("/api/v1/generations/{}/retire", previous.0);
        assert_eq!(stand.servers[0].api.post(&path, &json!({})).await.status, 200);
    }
    stand.is_tidy().await;
    let Stand { place, servers, writers, .. } = stand;
    let acknowledged = writers.stop().await;
    for server in &servers {
        check(&place, server, &acknowledged).await;
    }
    for server in servers {
        assert!(server.stop(), "an instance did not end well");
    }
    if backend == Backend::Distributed {
        let (url, schema) = place.tables();
        let leased = services::sql(url, &format!("SELECT count(*) FROM {schema}.instances"));
        eprintln!("rows of instances: {leased}");
    }
    check(&place, &Server::start(&place), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_of_a_rebuild_loses_nothing_embedded() {
    kills(Backend::Embedded, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_of_a_rebuild_loses_nothing_on_kafka_and_postgres() {
    kills(Backend::Distributed, 2).await;
}
