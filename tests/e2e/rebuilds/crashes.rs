//! A crash between the commits of a switch on embedded tables. A switch changes three files, which commit one after the
//! other: the tables of the former generation, control storage, the tables of the new generation.

use daybook_projector::{
    bookkeeping::checkpoints,
    tables::{Store, sqlite::SqliteStore},
};
use daybook_tests::{
    crashed_switches::{Committed, Switch, idle, leave},
    process::{Backend, Place, Server},
    random::Random,
    wait::until,
    writers::{Acknowledged, Step, Writers, check},
};

use super::{all_states, expect, parse};

const DOMAIN: &str = "metaflow";
/// How long a promotion that was announced may take, in milliseconds.
const ANNOUNCED_MS: i64 = 10_000;

fn tables(generation: i64) -> String {
    format!("metaflow_g{generation:04}")
}

/// Whether the checkpoints of a generation say that it is live.
async fn is_live(place: &Place, generation: i64) -> bool {
    daybook_schemas::topics::declare(&(daybook::domains::ALL[0].projection)().topics());
    let opened = SqliteStore::new(&place.folder.0).open(&tables(generation)).await;
    let opened = opened.unwrap_or_else(|error| panic!("generation {generation}: {error}"));
    let read = checkpoints::read_with_last(opened.as_ref()).await;
    read.unwrap_or_else(|error| panic!("generation {generation}: {error}")).is_live
}

/// The generation that the control row names answers, and it alone takes itself for live.
async fn answers_from(place: &Place, server: &Server, generation: i64) {
    let answer = server.api.get("/flows").await;
    assert_eq!((answer.status, answer.header("daybook-generation")), (200, generation.to_string().as_str()));
    for other in [1, 2] {
        assert_eq!(is_live(place, other).await, other == generation, "checkpoints of generation {other}");
    }
}

/// Writes a little, each of which is acknowledged.
async fn write(server: &Server, random: &mut Random) -> Acknowledged {
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 2, random);
    writers.wait_for(20).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writes were refused");
    acknowledged
}

/// Waits until both generations have applied all records, and stops.
async fn stop(server: Server) {
    until("both generations have applied all", async || {
        let all = parse(&expect(&server, 0, &["generations", "list", "--domain", "metaflow", "--json"]));
        all.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["lag_records"] == 0))
    })
    .await;
    assert!(server.stop(), "the server did not stop in order");
}

/// Starts after a crash: the generation that the control row names answers, all is there, and the way back is open.
async fn recover(place: &Place, acknowledged: &mut Acknowledged, random: &mut Random) -> i64 {
    let server = Server::start(place);
    let row = idle(place, DOMAIN).await;
    let live = row.live.0;
    answers_from(place, &server, live).await;
    check(place, &server, acknowledged).await;
    acknowledged.merge(write(&server, random).await);
    check(place, &server, acknowledged).await;
    let other = if live == 1 { 2 } else { 1 };
    match row.previous {
        Some(previous) => {
            assert_eq!(previous.0, other);
            expect(&server, 0, &["generations", "rollback", "--yes"]);
        }
        // The promotion was not made: it is made now.
        None => drop(expect(&server, 0, &["generations", "promote", &other.to_string(), "--yes"])),
    }
    idle(place, DOMAIN).await;
    answers_from(place, &server, other).await;
    acknowledged.merge(write(&server, random).await);
    check(place, &server, acknowledged).await;
    assert_eq!(all_states(&server).iter().filter(|state| *state == "live").count(), 1);
    stop(server).await;
    live
}

/// Crashes of a switch after each of its commits.
async fn crash(test: &str, switch: Switch) {
    let (mut random, place) = (Random::seeded(test), Place::new(test, Backend::Embedded));
    let server = Server::start(&place);
    let mut acknowledged = write(&server, &mut random).await;
    expect(&server, 0, &["rebuild"]);
    expect(&server, 0, &["generations", "promote", "2", "--yes"]);
    acknowledged.merge(write(&server, &mut random).await);
    stop(server).await;
    for (committed, deadline_ms, expected) in [
        (Committed::None, -1, Some(switch.from)),
        (Committed::Former, -1, Some(switch.from)),
        // It may still be made.
        (Committed::None, ANNOUNCED_MS, None),
        (Committed::Former, ANNOUNCED_MS, None),
        (Committed::Control, ANNOUNCED_MS, Some(switch.to)),
        (Committed::Control, -1, Some(switch.to)),
        (Committed::All, ANNOUNCED_MS, Some(switch.to)),
    ] {
        leave(&place, DOMAIN, switch, committed, deadline_ms);
        let live = recover(&place, &mut acknowledged, &mut random).await;
        eprintln!("{switch:?}, {committed:?} committed, deadline in {deadline_ms} ms: generation {live} is live");
        assert!(expected.is_none_or(|expected| expected == live), "{committed:?}: generation {live} is live");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commits_of_a_promotion_leaves_one_live_generation_and_loses_nothing() {
    crash("crashed_promotion", Switch { from: 1, to: 2, is_back: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_commits_of_a_way_back_leaves_one_live_generation_and_loses_nothing() {
    crash("crashed_way_back", Switch { from: 2, to: 1, is_back: true }).await;
}
