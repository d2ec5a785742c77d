//! Kill -9 of all processes in each state of a refresh of a collection, and in each phase of its promotion and of the
//! way back, under upserts, takedowns, reinstatements and removals: it goes on by itself, and every record, every row
//! of the further table and every document is as a model says. The same for a refresh that builds the index alone.

use daybook_reindexer::{
    control::{Control, Entry, State},
    switch::{
        GenerationId,
        control::{ControlRow, Phase},
    },
};
use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    states::{control, prolong_phases, prolong_states},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Duration, interval, timeout},
};

use crate::{
    records::{OF_COLLECTION, Shape, Target, Writers, serve},
    rounds,
};

pub(crate) const DOMAIN: &str = "collection.image";
/// Between two writes of a writer: a processor is left for the refresh.
const PACE: Duration = Duration::from_millis(40);
/// Between two looks at control storage.
const LOOK: Duration = Duration::from_millis(10);
/// Writes that are acknowledged before the first refresh, and between two changes.
const WRITES_FIRST: usize = 200;
const WRITES: usize = 20;
/// How long a refresh, or a switch, may take with all kills.
const END_MAX: Duration = Duration::from_secs(300);
/// Refreshes, at most, until processes were killed at every moment.
const REFRESHES_MAX: usize = 8;
/// Moments, at most, of a short test of the index alone on network stores.
const MOMENTS_SHORT: usize = 4;
/// Lines of each process's log that a failure shows.
const LINES_SHOWN: usize = 60;

/// The states of a refresh until it can be promoted.
const STATES: [Moment; 6] = ["planned", "loading", "indexing", "tailing", "verifying", "ready"];
/// The phases of a promotion, and of the way back.
const PHASES: [Moment; 4] = ["announced", "following", "back:announced", "back:following"];

/// A state of a refresh, or a phase of a switch.
type Moment = &'static str;

/// What a refresh builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Built {
    All,
    IndexAlone,
}

/// The control row and a generation; nothing if control storage does not answer.
pub(crate) async fn look(control: &Control, generation: i64) -> Option<(ControlRow, Option<Entry>)> {
    let row = control.domain(DOMAIN).await.ok()??;
    let entries = control.generations(DOMAIN).await.ok()?;
    Some((row, entries.into_iter().find(|entry| entry.generation == generation)))
}

/// The moment of a generation that is being built or switched to.
fn moment(row: &ControlRow, entry: Option<&Entry>) -> Option<Moment> {
    let is_later = |generation: GenerationId| generation.0 > row.live.0;
    match row.phase {
        Phase::Announced { candidate, .. } if is_later(candidate) => Some("announced"),
        Phase::Announced { .. } => Some("back:announced"),
        Phase::Following { .. } if row.previous.is_some_and(is_later) => Some("back:following"),
        Phase::Following { .. } => Some("following"),
        Phase::Retiring { .. } => None,
        Phase::Idle => entry.map(|entry| entry.state).filter(|state| state.is_unpromoted()).map(State::as_str),
    }
}

struct Stand {
    place: Place,
    built: Built,
    servers: Vec<Server>,
    apis: watch::Sender<Vec<Api>>,
    target: Target,
    control: Control,
    random: Random,
    shape: Shape,
    /// Moments at which nothing was killed yet.
    missing: Vec<Moment>,
}

impl Stand {
    /// Kills all processes without warning, and starts others. Nothing moves in between, so the moment is exact.
    async fn kill(&mut self, generation: i64) {
        let count = self.servers.len();
        for server in self.servers.drain(..) {
            server.kill();
        }
        let seen = look(&self.control, generation).await;
        let at = seen.and_then(|(row, entry)| moment(&row, entry.as_ref()));
        eprintln!("{:?}, {:?}: generation {generation}, killed while {at:?}", self.place.backend, self.built);
        self.missing.retain(|missing| Some(*missing) != at);
        self.servers.extend((0..count).map(|_| Server::begin(&self.place, &[])));
        self.apis.send_replace(self.servers.iter().map(|server| server.api.clone()).collect());
    }

    /// Sends a request once; its process may be killed before it answers.
    fn ask(&mut self, path: &str, body: &Value) -> JoinHandle<()> {
        let (api, path, body) = (self.target.pick(&mut self.random), path.to_owned(), body.to_string());
        tokio::spawn(async move {
            let _answer = api.try_send(Method::POST, &format!("{path}?{OF_COLLECTION}"), Some(body), &[]).await;
        })
    }

    /// Asks for a refresh or a switch until a generation is live, and kills at each moment at which nothing was killed
    /// yet. Nobody has to ask for a refresh that has begun.
    async fn reach(&mut self, generation: i64, path: &str, body: &Value) {
        let (mut pace, mut last) = (interval(LOOK), String::new());
        let mut asked = self.ask(path, body);
        let reached = async {
            loop {
                pace.tick().await;
                let Some((row, entry)) = look(&self.control, generation).await else { continue };
                last = format!("{row:?}: {entry:?}");
                let state = entry.as_ref().map(|entry| entry.state);
                assert_ne!(state, Some(State::Failed), "{last}");
                if moment(&row, entry.as_ref()).is_some_and(|moment| self.missing.contains(&moment)) {
                    self.kill(generation).await;
                    continue;
                }
                let is_idle = row.phase == Phase::Idle && !state.is_some_and(State::is_unpromoted);
                if is_idle && state == Some(State::Live) {
                    return;
                }
                if is_idle && asked.is_finished() {
                    asked = self.ask(path, body);
                }
            }
        };
        let in_time = timeout(END_MAX, reached).await;
        assert!(in_time.is_ok(), "generation {generation} is not live: {last}\n{}", self.logged());
    }

    /// What each process has logged last.
    fn logged(&self) -> String {
        let last = |server: &Server| {
            let lines = server.logged();
            lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
        };
        self.servers.iter().map(last).collect::<Vec<_>>().join("\n\n")
    }

    /// A refresh to another definition, the way back, and the promotion again.
    async fn refresh(&mut self, writers: &Writers) {
        let body = match self.built {
            Built::All => {
                self.shape.cleans = !self.shape.cleans;
                json!({"promote": true})
            }
            Built::IndexAlone => {
                self.shape.term = if self.shape.term == "bird" { "boat" } else { "bird" };
                json!({"promote": true, "only": "search"})
            }
        };
        self.target.define(&mut self.random, &self.shape.definition("")).await;
        let live = self.control.live(DOMAIN).await.unwrap_or_default().unwrap_or_else(|| panic!("nothing is live"));
        let entries = self.control.generations(DOMAIN).await.unwrap_or_default();
        let next = entries.iter().map(|entry| entry.generation).fold(live, i64::max) + 1;
        self.reach(next, "/api/v1/rebuilds", &body).await;
        let built = look(&self.control, next).await.and_then(|(_, entry)| entry);
        let is_alone = built.is_some_and(|entry| entry.is_search_only());
        assert_eq!(is_alone, self.built == Built::IndexAlone, "generation {next} is built of other parts");
        writers.wait_for(WRITES).await;
        self.reach(live, &format!("/api/v1/generations/{live}/rollback"), &json!({})).await;
        writers.wait_for(WRITES).await;
        self.reach(next, &format!("/api/v1/generations/{next}/promote"), &json!({})).await;
        writers.wait_for(WRITES).await;
    }
}

/// Kills so many processes at each of these moments.
async fn kills(backend: Backend, processes: usize, built: Built, moments: &[Moment]) {
    let (place, mut random) = (Place::new("collectionkills", backend), Random::seeded("collection-kills"));
    let servers: Vec<Server> = (0..processes).map(|_| Server::start(&place)).collect();
    let apis = watch::Sender::new(servers.iter().map(|server| server.api.clone()).collect::<Vec<Api>>());
    let (target, shape) = (Target(apis.subscribe()), Shape { cleans: false, term: "bird" });
    target.define(&mut random, &shape.definition("")).await;
    serve(&servers).await;
    let writers = Writers::start(&target, PACE, &mut random);
    writers.wait_for(WRITES_FIRST).await;
    let control = control(&place).await;
    prolong_phases(&place);
    prolong_states(&place);
    let mut missing = moments.to_vec();
    while built == Built::IndexAlone && processes > 1 && rounds(1) == 1 && missing.len() > MOMENTS_SHORT {
        missing.remove(random.below(missing.len()));
    }
    let mut stand = Stand { place, built, servers, apis, target, control, random, shape, missing };
    for _ in 0..REFRESHES_MAX {
        if !stand.missing.is_empty() {
            stand.refresh(&writers).await;
        }
    }
    assert!(stand.missing.is_empty(), "moments at which nothing was killed: {:?}", stand.missing);
    let Stand { place, servers, shape, .. } = stand;
    let records = writers.stop().await;
    for server in servers {
        records.check(&server.api, shape).await;
        assert!(server.stop(), "a process did not end well");
    }
    records.check(&Server::start(&place).api, shape).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_moment_of_a_refresh_of_a_collection_loses_nothing_embedded() {
    kills(Backend::Embedded, 1, Built::All, &[&STATES[..], &PHASES].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_every_moment_of_a_refresh_of_an_index_alone_loses_nothing_embedded() {
    kills(Backend::Embedded, 1, Built::IndexAlone, &[&STATES[..], &PHASES].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_state_of_a_refresh_of_a_collection_loses_nothing_on_kafka_and_postgres() {
    kills(Backend::Distributed, 2, Built::All, &STATES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_every_phase_of_a_switch_of_a_collection_loses_nothing_on_kafka_and_postgres() {
    kills(Backend::Distributed, 2, Built::All, &PHASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_a_refresh_of_an_index_alone_loses_nothing_on_kafka_and_postgres() {
    kills(Backend::Distributed, 2, Built::IndexAlone, &[&STATES[..], &PHASES].concat()).await;
}
