//! The answer to a switch that was made is lost: the coordinating instance reaches PostgreSQL through a proxy, which throws
//! answers away at random moments of promotions and ways back. Afterwards the control row, the answers and the writes
//! agree, and nothing that was acknowledged is missing.

use daybook_reindexer::{
    control::Control,
    switch::control::{ControlRow, Phase},
};
use daybook_tests::{
    api::Api,
    locks::Locked,
    process::{Backend, Place, Server},
    proxy::{Harm, Proxy},
    random::Random,
    services,
    states::control,
    wait::until,
    writers::{Step, Writers, check},
};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    rounds,
    switches::{ended, rebuild},
};

const DOMAIN: &str = "metaflow";
/// Switches in every run, and at most.
const SWITCHES: usize = 12;
const SWITCHES_MAX: usize = 1000;
/// Looks at a switch, at most, before answers are thrown away; and while they are, unless it is made.
const LOOKS_BEFORE: usize = 1000;
const LOOKS_MUTE: usize = 1000;
/// Switches, at most, after which the answer to one that was made must have been lost.
const LOST_AFTER: usize = 24;

/// Makes the COMMIT of a switch wait for as long as a test holds a lock: on a table of that name in control storage.
fn hold_commits(place: &Place) {
    let table = format!("{}.tasks", place.tables().1);
    let function = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql";
    let trigger = "CREATE CONSTRAINT TRIGGER held AFTER UPDATE ON domains DEFERRABLE INITIALLY DEFERRED";
    place.alter(
        "control",
        &format!(
            "CREATE TABLE tasks (); {function} AS 'BEGIN LOCK TABLE {table} IN SHARE MODE; RETURN NULL; END'; \
             {trigger} FOR EACH ROW WHEN (NEW.phase = 'following') EXECUTE FUNCTION hold()"
        ),
    );
}

/// The control row, as it is without the proxy.
async fn row(control: &Control) -> ControlRow {
    let row = control.domain(DOMAIN).await.unwrap_or_else(|error| panic!("no control row: {error}"));
    row.unwrap_or_else(|| panic!("there is no control row"))
}

/// Whether the COMMIT of a switch waits for the lock.
fn commits(place: &Place) -> bool {
    let held = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{}.tasks'::regclass";
    services::sql(place.tables().0, &held.replace("{}", place.tables().1)) != "0"
}

/// The control row once no switch is under way.
async fn idle(control: &Control) -> ControlRow {
    until("no switch is under way", async || row(control).await.phase == Phase::Idle).await;
    row(control).await
}

/// Asks for a switch; what is answered, if it is answered at all, is not needed.
fn ask(api: &Api, generation: i64) -> JoinHandle<u16> {
    let (api, path) = (api.clone(), format!("/api/v1/generations/{generation}/promote"));
    tokio::spawn(async move {
        let answer = api.try_send(Method::POST, &path, Some(json!({}).to_string()), &[]).await;
        let answer = answer.unwrap_or_default();
        assert!(matches!(answer.status, 0 | 200 | 409 | 503), "{}", answer.text);
        answer.status
    })
}

/// The generation that answers a read, tried again as a client does it.
async fn answering(api: &Api) -> String {
    let mut generation = String::new();
    until("a read is answered", async || {
        let answer = api.get("/flows").await;
        assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text);
        answer.header("daybook-generation").clone_into(&mut generation);
        answer.status == 200
    })
    .await;
    generation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_answer_is_lost_is_made_or_not_and_all_agree_on_it() {
    let mut random = Random::seeded("lost_answers");
    let place = Place::new("lost_answers", Backend::Distributed);
    let postgres = Proxy::start(0, services::postgres_socket().1).await;
    let kafka = services::kafka();
    let through = place.through(&kafka, &format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port));
    // A request that gets no answer is given up early.
    let server = Server::start_with(&through, &["--tables-timeout-ms", "2000"]);
    let control = control(&place).await;
    let api = &server.api;
    let steps = [Step::make(api, "F").await, Step::make(api, "G").await];
    let writers = Writers::start(&[api], &steps, 4, &mut random);
    writers.wait_for(100).await;
    let second = rebuild(api, &json!({})).await;
    assert_eq!(ended(api, second).await, "ready");
    hold_commits(&place);
    let (mut made, mut lost, mut withdrawn, mut switches) = (0, 0, 0, 0);
    while switches < rounds(SWITCHES).min(SWITCHES_MAX) || lost == 0 && switches < LOST_AFTER {
        switches += 1;
        let before = idle(&control).await;
        let to = if before.live.0 == 1 { second } else { 1 };
        let (url, schema) = place.tables();
        // Half of these moments are within the COMMIT, the others anywhere.
        let held = (!random.one_in(2)).then(|| Locked::take(url, schema));
        let asked = ask(api, to);
        until("the switch is announced, or over", async || {
            asked.is_finished() || row(&control).await.epoch > before.epoch
        })
        .await;
        if held.is_some() {
            until("the switch commits, or is over", async || asked.is_finished() || commits(&place)).await;
        } else {
            for _ in 0..random.below(LOOKS_BEFORE) {
                row(&control).await;
            }
        }
        postgres.set(Harm::Mute);
        let at_begin = row(&control).await;
        drop(held);
        for _ in 0..random.below(LOOKS_MUTE) + LOOKS_MUTE {
            if row(&control).await.live.0 == to {
                break;
            }
        }
        let at_end = row(&control).await;
        postgres.set(Harm::None);
        // Its COMMIT came through, and the answer to it did not.
        let is_lost = at_begin.live == before.live && at_end.live.0 == to;
        let status = asked.await.unwrap_or_else(|error| panic!("the request failed: {error}"));
        let after = idle(&control).await;
        (made, lost) = (made + usize::from(after.live.0 == to), lost + usize::from(is_lost));
        withdrawn += usize::from(after.live == before.live);
        assert!(status != 200 || after.live.0 == to, "switch {switches} was acknowledged, and not made: {after:?}");
        assert!(!is_lost || after.live.0 == to, "switch {switches} was made, and undone: {after:?}");
        // The control row, the answers and the writes agree.
        let generation = answering(api).await;
        assert_eq!(generation, after.live.0.to_string(), "after switch {switches}: {after:?}");
        assert_eq!(idle(&control).await, after);
        writers.wait_for(10).await;
    }
    eprintln!("{switches} switches: {made} made, {withdrawn} not made, {lost} whose answer was lost");
    assert!(lost > 0, "no answer to a switch that was made was lost");
    let acknowledged = writers.stop().await;
    check(&place, &server, &acknowledged).await;
    assert!(server.stop(), "the server did not stop in order");
    let server = Server::start(&place);
    assert_eq!(answering(&server.api).await, idle(&control).await.live.0.to_string());
    check(&place, &server, &acknowledged).await;
}
