//! Each store crashes under a refresh of a collection and is started again, under writers: the refresh goes on by
//! itself until it is live; then every record, every row of the further table and every document is as a model says.

use daybook_reindexer::control::{Control, State};
use daybook_tests::{
    process::{Place, Server},
    random::Random,
    services::OwnServices,
    states::{control, prolong_phases, prolong_states},
    wait,
};
use reqwest::Method;
use tokio::{sync::watch, time::Duration};

use crate::{
    collection_harms::look,
    records::{OF_COLLECTION, Shape, Target, Writers},
};

const PACE: Duration = Duration::from_millis(40);
/// Writes that are acknowledged before the first refresh, and while and after a store is away.
const WRITES_FIRST: usize = 200;
const WRITES: usize = 20;
/// The states in which a store is in use, and may crash.
const KAFKA: [State; 2] = [State::Loading, State::Tailing];
const POSTGRES: [State; 4] = [State::Loading, State::Indexing, State::Tailing, State::Verifying];
const ELASTICSEARCH: [State; 3] = [State::Indexing, State::Tailing, State::Verifying];

/// The state of a generation, if it is known.
async fn state(control: &Control, generation: i64) -> Option<State> {
    look(control, generation).await.and_then(|(_, entry)| entry).map(|entry| entry.state)
}

/// A store is away, and comes back once that was noticed.
async fn crash(own: &OwnServices, store: &str, server: &Server, writers: &Writers) {
    own.kill(store);
    match store {
        // Writes do not need it.
        "elasticsearch" => writers.wait_for(WRITES).await,
        _ => {
            let is_noticed = async || server.api.get("/health/ready").await.status == 503;
            wait::until("the server notices it", is_noticed).await;
        }
    }
    own.start_again(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_store_may_crash_under_a_refresh_of_a_collection_which_goes_on_by_itself() {
    let mut random = Random::seeded("collection-stores");
    let own = OwnServices::start("kafka,postgres,elasticsearch");
    let place = Place::on("collectionstores", &own.url("kafka"), &own.url("postgres"));
    let place = place.with_search(Some(own.url("elasticsearch")));
    let server = Server::start(&place);
    let apis = watch::Sender::new(vec![server.api.clone()]);
    let (target, mut shape) = (Target(apis.subscribe()), Shape { cleans: false, term: "bird" });
    target.define(&mut random, &shape.definition("")).await;
    let writers = Writers::start(&target, PACE, &mut random);
    writers.wait_for(WRITES_FIRST).await;
    let control = control(&place).await;
    prolong_phases(&place);
    prolong_states(&place);
    let stores = [("kafka", &KAFKA[..]), ("postgres", &POSTGRES[..]), ("elasticsearch", &ELASTICSEARCH[..])];
    for (generation, (store, states)) in (2..).zip(stores) {
        let wanted = random.pick(states);
        shape.cleans = !shape.cleans;
        target.define(&mut random, &shape.definition("")).await;
        let path = format!("/api/v1/rebuilds?{OF_COLLECTION}");
        target.send(&mut random, Method::POST, &path, Some("{\"promote\": true}"), &[202]).await;
        let is_reached = async || {
            let seen = state(&control, generation).await;
            assert_ne!(seen, Some(State::Live), "{wanted:?} was missed");
            seen == Some(wanted)
        };
        wait::until("the refresh reaches the state", is_reached).await;
        crash(&own, store, &server, &writers).await;
        eprintln!("generation {generation}: {store} crashed while {wanted:?}");
        let is_live = async || {
            let state = state(&control, generation).await;
            assert_ne!(state, Some(State::Failed), "{store} crashed while {wanted:?}: {:?}", server.logged());
            state == Some(State::Live)
        };
        wait::until("the refresh is live", is_live).await;
        writers.wait_for(WRITES).await;
    }
    let records = writers.stop().await;
    records.check(&server.api, shape).await;
    assert!(server.stop(), "the server did not end well");
    records.check(&Server::start(&place).api, shape).await;
}
