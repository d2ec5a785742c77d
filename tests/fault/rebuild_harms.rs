//! Harm right after each change of state of a rebuild, a promotion, a way back, a retirement and a cancellation, under
//! writers: an instance is killed, or frozen until the others have taken over; or a store cannot be reached, or crashes.
//! Each goes on by itself, nothing that was acknowledged is lost, and nothing is left over. Each test prints how often
//! which harm was done in which state.

use std::{collections::BTreeMap, time::Instant};

use daybook_reindexer::{
    control::{Control, State},
    switch::control::Phase,
};
use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    proxy::{self, Proxy},
    random::Random,
    services::{self, OwnServices},
    states::{STAGES, Stage, States, control, prolong_phases},
    wait,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};
use tokio::time::{Duration, interval, timeout};

use crate::{
    rounds,
    switches::{rebuild, until_promoted},
};

const DOMAIN: &str = "metaflow";
/// Flows enough that every partition has some.
const FLOWS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
const WRITERS: usize = 3;
/// Writes that must be acknowledged while something is away.
const WRITES_MIN: usize = 20;
/// Lines of each instance's log that a failure shows.
const LINES_SHOWN: usize = 60;
/// How long a stage of a rebuild that is cancelled is waited for.
const STAGE_MAX: Duration = Duration::from_secs(20);
/// How long a rebuild, or a switch, may take with all kills.
const END_MAX: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);
/// Rounds for each harm, at most, until it was done in every state.
const ROUNDS_MAX: usize = 12;
/// States, at most, in which the one harm of a short test is done.
const STATES_SHORT: usize = 5;
/// States that follow one another in milliseconds, so that a round can do harm that lasts in one of them only.
const BRIEF: [Stage; 3] = ["ready", "announced", "following"];
/// The states of a rebuild that is promoted, in order.
const REBUILD: std::ops::Range<usize> = 1..7;

fn index(stage: Stage) -> usize {
    STAGES.iter().position(|other| *other == stage).unwrap_or(0)
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    /// An instance is killed, and started again.
    Kill(usize),
    /// An instance is stopped for longer than its lease, and goes on.
    Freeze(usize),
    /// A store cannot be reached for a while.
    Cut(&'static str),
    /// A store crashes, and is started again.
    Restart(&'static str),
}

impl Harm {
    /// The instance that it is done to.
    fn instance(self) -> Option<usize> {
        match self {
            Self::Kill(who) | Self::Freeze(who) => Some(who),
            Self::Cut(_) | Self::Restart(_) => None,
        }
    }
}

struct Stand {
    place: Place,
    /// The same place as the instances reach it, if something is between.
    through: Option<Place>,
    servers: Vec<Server>,
    writers: Writers,
    states: States,
    control: Control,
    /// Between the instances and the stores, if something is done there.
    proxies: BTreeMap<&'static str, Proxy>,
    /// The stores, if they are this test's own.
    own: Option<OwnServices>,
    harms: Vec<Harm>,
    /// The states in which harm is done.
    stages: Vec<Stage>,
    done: BTreeMap<(Stage, Harm), usize>,
}

impl Stand {
    fn reached(&self) -> &Place {
        self.through.as_ref().unwrap_or(&self.place)
    }

    /// Does harm now, and counts in which state that was.
    async fn harm(&mut self, harm: Harm) {
        let others = |index: &usize| Some(*index) != harm.instance();
        let others: Vec<_> = (0..self.servers.len()).filter(others).map(|index| &self.servers[index].api).collect();
        if !others.is_empty() {
            self.writers.go_on_with(&others);
        }
        let now = Instant::now();
        match harm {
            Harm::Kill(who) => {
                self.servers.remove(who).kill();
                let started = Server::start(self.reached());
                self.servers.insert(who, started);
            }
            Harm::Freeze(who) => {
                self.servers[who].signal("STOP");
                self.is_taken_over(others[0]).await;
                self.servers[who].signal("CONT");
            }
            Harm::Cut(store) => {
                let proxy = &self.proxies[store];
                proxy.set(proxy::Harm::Cut);
                self.is_noticed(store).await;
                proxy.set(proxy::Harm::None);
            }
            Harm::Restart(store) => {
                let own = self.own.as_ref().unwrap_or_else(|| panic!("{store} is used by other tests, too"));
                own.kill(store);
                self.is_noticed(store).await;
                own.start_again(store);
            }
        }
        let stage = self.states.between(now, now).last().copied().unwrap_or(STAGES[0]);
        *self.done.entry((stage, harm)).or_default() += 1;
        self.writers.go_on_with(&self.servers.iter().map(|server| &server.api).collect::<Vec<_>>());
    }

    /// Waits until writers have met that a store is away.
    async fn is_noticed(&self, store: &str) {
        match store {
            // Writes do not need it.
            "elasticsearch" => self.writers.wait_for(WRITES_MIN).await,
            _ => self.writers.wait_for_refusal().await,
        }
    }

    /// Waits until writes to every partition are acknowledged through one of the others: that is so once the lease of an
    /// instance that is frozen has expired.
    async fn is_taken_over(&self, api: &Api) {
        let mut pace = interval(LOOK);
        for flow in FLOWS {
            let written = async {
                while api.post(&format!("/flows/{flow}/run"), &json!({})).await.status != 200 {
                    pace.tick().await;
                }
            };
            assert!(timeout(END_MAX, written).await.is_ok(), "nobody applies the records of {flow}");
        }
    }

    fn is_missing(&self, stage: Stage, harm: Harm) -> bool {
        self.stages.contains(&stage) && !self.done.contains_key(&(stage, harm))
    }

    fn missing(&self) -> Vec<(Stage, Harm)> {
        let all = self.stages.iter().flat_map(|stage| self.harms.iter().map(move |harm| (*stage, *harm)));
        all.filter(|(stage, harm)| self.is_missing(stage, *harm)).collect()
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
        assert!(in_time.is_ok(), "generation {generation} does not go on: {last}\n{}", self.logged());
    }

    /// What each instance has logged last.
    fn logged(&self) -> String {
        let last = |server: &Server| {
            let lines = server.logged();
            lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
        };
        self.servers.iter().map(last).collect::<Vec<_>>().join("\n\n")
    }

    /// Waits for a stage, for a bounded time.
    async fn sees(&self, wanted: impl Fn(Stage) -> bool) -> bool {
        timeout(STAGE_MAX, self.states.wait_for(wanted)).await.unwrap_or(false)
    }

    /// Waits until a stage of a rebuild, or a later one, was there since it began. One that lasts for milliseconds can be
    /// missed: then the rebuild is live.
    async fn reaches(&self, generation: i64, began: Instant, wanted: Stage) {
        let is_reached = |stage| REBUILD.contains(&index(stage)) && index(stage) >= index(wanted);
        tokio::select! {
            _ = self.states.wait_since(began, is_reached) => {}
            () = self.until(generation, |state| state == State::Live) => {}
        }
    }

    /// A rebuild that is promoted by itself, whatever is done.
    async fn harmed_rebuild(&mut self, random: &mut Random, harm: Harm) -> i64 {
        let began = Instant::now();
        let generation = self.rebuild(true).await;
        let first = random.below(REBUILD.len());
        // After a kill, the next process finds the state as it was.
        let is_kill = matches!(harm, Harm::Kill(_));
        let brief = BRIEF.into_iter().find(|stage| !is_kill && self.is_missing(stage, harm));
        for stage in &STAGES[REBUILD] {
            let is_wanted = self.is_missing(stage, harm) || index(stage) == REBUILD.start + first;
            let is_due = is_wanted && (!BRIEF.contains(stage) || brief.is_none_or(|brief| brief == *stage));
            if is_due {
                self.reaches(generation, began, stage).await;
                if self.states.last() == *stage {
                    self.harm(harm).await;
                }
            }
        }
        self.until(generation, |state| state == State::Live).await;
        generation
    }

    /// A way back that is disturbed: it was made, or it was not.
    async fn harmed_way_back(&mut self, harm: Harm, back_to: i64) {
        let asked = self.send(0, format!("/api/v1/generations/{back_to}/rollback"), json!({}));
        let target = if self.is_missing("back:following", harm) { "back:following" } else { "back:announced" };
        let target = if self.is_missing("back:announced", harm) { "back:announced" } else { target };
        let seen = timeout(Duration::from_secs(10), self.states.wait_for(|stage| stage == target)).await;
        if seen.is_ok() && self.stages.contains(&target) {
            self.harm(harm).await;
        }
        let _sent = asked.await;
        self.until(back_to, |state| matches!(state, State::Live | State::Previous)).await;
    }

    /// The previous generation is retired, whatever is done.
    async fn harmed_retirement(&mut self, harm: Harm) {
        let row = self.control.domain(DOMAIN).await.ok().flatten();
        let Some(previous) = row.and_then(|row| row.previous) else { return };
        let asked = self.send(0, format!("/api/v1/generations/{}/retire", previous.0), json!({}));
        let seen = timeout(Duration::from_secs(10), self.states.wait_for(|stage| stage == "retiring")).await;
        if seen.is_ok() && self.stages.contains(&"retiring") {
            self.harm(harm).await;
        }
        let _sent = asked.await;
        self.until(previous.0, |state| matches!(state, State::Retired | State::Previous)).await;
    }

    /// A rebuild that is cancelled, and harm before its parts are removed.
    async fn harmed_cancellation(&mut self, random: &mut Random, harm: Harm) {
        let generation = self.rebuild(false).await;
        let stage = STAGES[1 + random.below(4)];
        self.sees(|it| index(it) >= index(stage)).await;
        let answer = self.servers[0].api.post(&format!("/api/v1/generations/{generation}/cancel"), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.sees(|stage| stage == "removing").await;
        if self.stages.contains(&"removing") {
            self.harm(harm).await;
        }
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
        let in_time = timeout(END_MAX, tidy).await;
        assert!(in_time.is_ok(), "left over beside generation {live}: {others:?}\n{}", self.logged());
    }

    fn print(&self, backend: Backend) {
        let names: Vec<String> = self.harms.iter().map(|harm| format!("{harm:?}")).collect();
        eprintln!("{backend:?}: how often what was done in which state\n| state | {} |", names.join(" | "));
        for stage in STAGES {
            let count = |harm: &Harm| self.done.get(&(stage, *harm)).map_or("none".to_owned(), ToString::to_string);
            eprintln!("| {stage} | {} |", self.harms.iter().map(count).collect::<Vec<_>>().join(" | "));
        }
    }
}

/// What stands between the instances and the stores.
#[derive(Default)]
struct Stores {
    through: Option<Place>,
    proxies: BTreeMap<&'static str, Proxy>,
    own: Option<OwnServices>,
}

/// Does these harms in all states; without enough rounds for that, one of them in some of the states of one rebuild.
async fn harms(place: Place, stores: Stores, instances: usize, harms: Vec<Harm>, rounds_max: usize) {
    let Stores { through, proxies, own } = stores;
    let (mut random, backend) = (Random::seeded("rebuild-harms"), place.backend);
    let reached = through.as_ref().unwrap_or(&place);
    let servers: Vec<Server> = (0..instances).map(|_| Server::start(reached)).collect();
    let apis: Vec<_> = servers.iter().map(|server| server.api.clone()).collect();
    let apis: Vec<_> = apis.iter().collect();
    let mut steps = Vec::new();
    for flow in FLOWS {
        steps.push(Step::make(apis[0], flow).await);
    }
    let writers = Writers::start(&apis, &steps, WRITERS, &mut random);
    writers.wait_for(300).await;
    let (states, control) = (States::watch(&place).await, control(&place).await);
    // What is frozen, or cut off, may be in such a transaction: there, phases are as brief as they are.
    if harms.iter().all(|harm| matches!(harm, Harm::Kill(_))) {
        prolong_phases(&place);
    }
    let is_whole = rounds_max >= ROUNDS_MAX;
    let mut stages = STAGES.to_vec();
    while !is_whole && stages.len() > STATES_SHORT {
        stages.remove(random.below(stages.len()));
    }
    let done = BTreeMap::new();
    let mut stand = Stand { place, through, servers, writers, states, control, proxies, own, harms, stages, done };
    let mut live = 1;
    let (first, count) = (random.below(stand.harms.len()), if is_whole { rounds_max * stand.harms.len() } else { 1 });
    for round in first..first + count {
        if stand.missing().is_empty() {
            break;
        }
        let harm = stand.harms[round % stand.harms.len()];
        if !stand.missing().iter().any(|(_, missing)| *missing == harm) {
            continue;
        }
        if stand.is_missing("idle", harm) {
            stand.states.wait_for(|stage| stage == "idle").await;
            stand.harm(harm).await;
        }
        let next = stand.harmed_rebuild(&mut random, harm).await;
        stand.harmed_way_back(harm, live).await;
        stand.harmed_retirement(harm).await;
        stand.harmed_cancellation(&mut random, harm).await;
        live = stand.control.live(DOMAIN).await.ok().flatten().unwrap_or(next);
        eprintln!("{backend:?}: round {round}, missing: {:?}", stand.missing());
    }
    stand.print(backend);
    assert!(!is_whole || stand.missing().is_empty(), "states in which nothing was done: {:?}", stand.missing());
    assert!(!stand.done.is_empty(), "nothing was done");
    // What was left undone is asked for again.
    if let Some(previous) = stand.control.domain(DOMAIN).await.ok().flatten().and_then(|row| row.previous) {
        let path = format!("/api/v1/generations/{}/retire", previous.0);
        assert_eq!(stand.servers[0].api.post(&path, &json!({})).await.status, 200);
    }
    stand.is_tidy().await;
    let Stand { place, servers, writers, own: _own, proxies: _proxies, .. } = stand;
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
    let place = Place::new("rebuildkills", Backend::Embedded);
    harms(place, Stores::default(), 1, vec![Harm::Kill(0)], ROUNDS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_of_a_rebuild_loses_nothing_on_kafka_and_postgres() {
    let place = Place::new("rebuildkills", Backend::Distributed);
    harms(place, Stores::default(), 2, vec![Harm::Kill(0), Harm::Kill(1)], ROUNDS_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_freezes_in_any_state_of_a_rebuild_and_wakes_up_loses_nothing() {
    let place = Place::new("rebuildfreezes", Backend::Distributed);
    harms(place, Stores::default(), 2, vec![Harm::Freeze(0), Harm::Freeze(1)], rounds(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_freezes_while_it_loads_and_wakes_up_later_changes_nothing() {
    let place = Place::new("workerfreezes", Backend::Distributed);
    let (server, mut random) = (Server::start(&place), Random::seeded("worker-freezes"));
    let mut steps = Vec::new();
    for flow in FLOWS {
        steps.push(Step::make(&server.api, flow).await);
    }
    let writers = Writers::start(&[&server.api], &steps, WRITERS, &mut random);
    writers.wait_for(300).await;
    let worker = Server::start_worker(&place, &[]);
    let states = States::watch(&place).await;
    for _ in 0..rounds(2) {
        let began = Instant::now();
        let begun = rebuild(&server.api, &json!({})).await;
        let path = format!("/api/v1/generations/{begun}");
        states.wait_for(|stage| index(stage) >= index("loading")).await;
        worker.signal("STOP");
        // Its partitions are applied by the server once its lease has expired.
        let is_ready = async || server.api.get(&path).await.json()["state"] == "ready";
        wait::until("the rebuild goes on without the worker", is_ready).await;
        worker.signal("CONT");
        eprintln!("ready after {:?}", began.elapsed());
        until_promoted(&server.api, begun).await;
        writers.wait_for(WRITES_MIN).await;
    }
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writers were turned away");
    check(&place, &server, &acknowledged).await;
    assert!(worker.stop(), "the worker did not end well");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_away_or_crash_in_any_state_of_a_rebuild_lose_nothing() {
    let own = OwnServices::start("kafka,postgres,elasticsearch");
    let kafka = Proxy::start(own.port("kafka", "proxied"), own.port("kafka", "behind")).await;
    let postgres = Proxy::start(0, own.port("postgres", "port")).await;
    let search = Proxy::start(0, services::port_of(&own.url("elasticsearch"))).await;
    let place = Place::on("rebuildstores", &own.url("kafka"), &own.url("postgres"));
    let place = place.with_search(Some(own.url("elasticsearch")));
    let through = place.through(
        &format!("kafka://127.0.0.1:{}", kafka.port),
        &format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port),
    );
    let through = Some(through.with_search(Some(format!("http://127.0.0.1:{}", search.port))));
    let proxies = [("kafka", kafka), ("postgres", postgres), ("elasticsearch", search)];
    let stores = proxies.each_ref().map(|(store, _)| *store);
    let all = stores.iter().flat_map(|store| [Harm::Cut(store), Harm::Restart(store)]).collect();
    harms(place, Stores { through, proxies: proxies.into(), own: Some(own) }, 2, all, rounds(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_removed_is_removed_once_it_can_be() {
    let search = Proxy::start(0, services::port_of(&services::elasticsearch())).await;
    let place = Place::new("leftovers", Backend::Distributed);
    let place = place.with_search(Some(format!("http://127.0.0.1:{}", search.port)));
    let server = Server::start(&place);
    Step::make(&server.api, FLOWS[0]).await;
    let begun = server.api.post("/api/v1/rebuilds", &json!({})).await.json()["generation"].clone();
    let path = format!("/api/v1/generations/{begun}");
    wait::until("it is ready", async || server.api.get(&path).await.json()["state"] == "ready").await;
    search.set(proxy::Harm::Cut);
    let cancelled = server.api.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    let refused = || server.logged().iter().filter(|line| line.contains("is not removed yet")).count();
    wait::until("its removal is tried several times", async || refused() >= 3).await;
    search.set(proxy::Harm::None);
    let left = async || place.parts().await.into_iter().filter(|part| part.contains("_g0002")).collect::<Vec<_>>();
    wait::until("its index is removed", async || left().await.is_empty()).await;
    assert!(server.stop());
}
