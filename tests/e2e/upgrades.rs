//! A start of the next release, whose generations have another fingerprint, on embedded tables.

use std::fs;

use daybook_tests::{
    api::{Api, of_metaflow},
    process::{Backend, Place, Server},
    random::Random,
    services::Folder,
    wait::until,
    writers::{Acknowledged, Step, Writers, check},
};
use serde_json::{Value, json};

const NEXT: &str = "daybook-next";

/// Runs that take a rebuild some seconds, and lines of one request.
const RUNS: i64 = 20_000;
const LINES: usize = 5_000;

async fn status(api: &Api) -> Value {
    api.get("/api/v1/status").await.json()
}

/// Writes for a while.
async fn write(server: &Server, random: &mut Random) -> Acknowledged {
    let steps = [Step::make(&server.api, "F").await, Step::make(&server.api, "G").await];
    let writers = Writers::start(&[&server.api], &steps, 4, random);
    writers.wait_for(200).await;
    writers.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_release_builds_its_own_generation_and_the_earlier_one_comes_back() {
    let mut random = Random::seeded("upgrades");
    let mut place = Place::new("upgrades", Backend::Embedded);
    let mut acknowledged = Acknowledged::default();
    // An upgrade, a way back, and an upgrade again: each finds what was written meanwhile.
    for (program, generation) in [("daybook", 1), (NEXT, 2), ("daybook", 1), (NEXT, 2)] {
        place = place.with_program(program);
        let server = Server::start(&place);
        assert_eq!(of_metaflow(&status(&server.api).await)["generation"], generation, "{program}");
        check(&place, &server, &acknowledged).await;
        acknowledged.merge(write(&server, &mut random).await);
        check(&place, &server, &acknowledged).await;
        assert!(server.stop(), "{program} did not end well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_killed_again_and_again_goes_on_and_loses_nothing() {
    let mut random = Random::seeded("upgrades-killed");
    let place = Place::new("upgrades-killed", Backend::Embedded);
    let server = Server::start(&place);
    let acknowledged = write(&server, &mut random).await;
    server.kill();
    let place = place.with_program(NEXT);
    for _ in 0..6 {
        let server = Server::begin(&place, &[]);
        for _ in 0..random.below(80) {
            server.api.get("/health/ready").await;
        }
        server.kill();
    }
    let server = Server::start(&place);
    // A kill between its entry and its tables costs a number.
    assert!(of_metaflow(&status(&server.api).await)["generation"].as_i64() > Some(1));
    check(&place, &server, &acknowledged).await;
}

/// The state of a generation.
async fn state(api: &Api, generation: i64) -> String {
    let answer = api.get(&format!("/api/v1/generations/{generation}")).await;
    answer.json()["state"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// Waits until a server answers requests of the domain.
async fn answers(api: &Api) {
    until("answers", async || api.get("/flows").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_network_stores_the_next_release_builds_beside_the_earlier_one_and_both_ways_lose_nothing() {
    let mut random = Random::seeded("upgrades-beside");
    let place = Place::new("upgrades_beside", Backend::Distributed);
    let earlier = Server::start(&place);
    let mut acknowledged = write(&earlier, &mut random).await;
    let place = place.with_program(NEXT);
    let next = Server::start(&place);
    // The earlier one goes on while the next one builds; the next one answers nothing of the domain yet.
    acknowledged.merge(write(&earlier, &mut random).await);
    assert_eq!(next.api.get("/flows").await.status, 503);
    let ready = next.api.get("/health/ready").await;
    assert!(ready.status == 503 && ready.text.contains("another version"), "{}", ready.text);
    // The events end when it is ready.
    next.api.get("/api/v1/rebuilds/metaflow-2/events").await;
    assert_eq!(state(&next.api, 2).await, "ready");
    let promoted = next.api.post("/api/v1/generations/2/promote", &json!({})).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text);
    check(&place, &next, &acknowledged).await;
    acknowledged.merge(write(&next, &mut random).await);
    // From then on the earlier one answers nothing, and still applies what is written: the way back is open.
    assert_eq!(earlier.api.get("/flows").await.status, 503);
    let back = next.api.post("/api/v1/generations/1/promote", &json!({})).await;
    assert_eq!(back.status, 200, "{}", back.text);
    // The one that was not asked follows a moment later.
    answers(&earlier.api).await;
    check(&place, &earlier, &acknowledged).await;
    acknowledged.merge(write(&earlier, &mut random).await);
    assert_eq!(next.api.get("/flows").await.status, 503);
    let again = earlier.api.post("/api/v1/generations/2/promote", &json!({})).await;
    assert_eq!(again.status, 200, "{}", again.text);
    answers(&next.api).await;
    assert!(earlier.stop(), "the earlier program did not end well");
    check(&place, &next, &acknowledged).await;
    acknowledged.merge(write(&next, &mut random).await);
    check(&place, &next, &acknowledged).await;
}

/// Removes files of a place, and says how many there were.
fn remove(place: &Place, beginning: &str) -> usize {
    let files = fs::read_dir(&place.folder.0).into_iter().flatten().flatten();
    let found = files.filter(|file| file.file_name().to_string_lossy().starts_with(beginning));
    found.map(|file| fs::remove_file(file.path()).unwrap_or_else(|error| panic!("{error}"))).count()
}

/// Copies the files of the log.
fn copy_log(from: &Folder, to: &Folder) {
    let files = fs::read_dir(&from.0).into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("log.db")) {
        fs::copy(file.path(), to.0.join(file.file_name())).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Runs a program that ends by itself, and returns what it printed.
fn refused(place: &Place) -> String {
    let output = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_records_is_noticed_before_an_upgrade() {
    let place = Place::new("upgrades-truncated", Backend::Embedded);
    let server = Server::start(&place);
    server.api.post("/flows/F", &json!({})).await;
    assert!(server.stop());
    // With what SQLite keeps beside it: the newest records are there.
    let aside = Folder::new("upgrades-aside");
    copy_log(&place.folder, &aside);
    let server = Server::start(&place);
    server.api.post("/flows/F/run", &json!({})).await;
    assert!(server.stop());
    remove(&place, "log.db");
    copy_log(&aside, &place.folder);
    let place = place.with_program(NEXT);
    for _ in 0..2 {
        let text = refused(&place);
        assert!(text.contains("restored from an older state"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_gone_are_made_anew_by_the_program_that_needs_them() {
    let mut random = Random::seeded("upgrades-gone");
    let mut place = Place::new("upgrades-gone", Backend::Embedded);
    let mut acknowledged = Acknowledged::default();
    // Live tables, those of the way back, and everything but the log, also of another fold.
    for (gone, program) in [
        ("none", "daybook"),
        ("metaflow_g0001", "daybook"),
        ("none", NEXT),
        ("metaflow_g0001", "daybook"),
        ("control", NEXT),
        ("metaflow_g", "daybook"),
    ] {
        assert_eq!(remove(&place, gone) > 0, gone != "none", "{gone}");
        place = place.with_program(program);
        let server = Server::start(&place);
        check(&place, &server, &acknowledged).await;
        acknowledged.merge(write(&server, &mut random).await);
        assert!(server.stop(), "{program} did not end well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_mends_the_quarantine_does_not_close_the_way_back() {
    let mut place = Place::new("upgrades-mended", Backend::Embedded);
    for (program, found) in [(NEXT, 404), ("daybook", 200), (NEXT, 404)] {
        place = place.with_program(program);
        let server = Server::start(&place);
        server.api.post("/flows/Refused", &json!({})).await;
        assert_eq!(server.api.get("/flows/Refused").await.status, found, "{program}");
        assert!(server.stop(), "{program} did not end well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_only_the_next_release_refuses_stops_the_upgrade_and_is_named() {
    let place = Place::new("upgrades-refused", Backend::Embedded);
    let server = Server::start(&place);
    let answer = server.api.post("/flows/Refused", &json!({})).await;
    let position = answer.header("daybook-position").to_owned();
    server.kill();
    let place = place.with_program(NEXT);
    for _ in 0..2 {
        let text = refused(&place);
        assert!(text.contains(&position) && text.contains("it is refused"), "{text}");
    }
    let place = place.with_program("daybook");
    let server = Server::start(&place);
    assert_eq!(server.api.get("/flows/Refused").await.status, 200);
    assert_eq!(remove(&place, "metaflow_g0002"), 0, "the unfinished generation is still there");
    server.kill();
    let place = place.with_program(NEXT);
    let server = Server::start_with(&place, &["--rebuild-quarantined-records-max", "1"]);
    assert_eq!(server.api.get("/flows/Refused").await.status, 404, "a limit allows it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_release_prepares_its_generation_beside_the_running_one_and_only_catches_up_at_its_start() {
    let mut random = Random::seeded("upgrades-prepared");
    let place = Place::new("upgrades-prepared", Backend::Embedded);
    let server = Server::start(&place);
    let mut acknowledged = write(&server, &mut random).await;
    let steps = [Step::make(&server.api, "H").await];
    let writers = Writers::start(&[&server.api], &steps, 2, &mut random);
    writers.wait_for(20).await;
    let place = place.with_program(NEXT);
    for _ in 0..2 {
        let prepared = place.command(&["prepare"]);
        let text = String::from_utf8_lossy(&prepared.stderr).into_owned();
        assert!(prepared.status.success() && text.contains("metaflow is prepared"), "{prepared:?}");
        writers.wait_for(20).await;
    }
    acknowledged.merge(writers.stop().await);
    assert_eq!(server.api.get("/flows").await.header("daybook-generation"), "1");
    assert!(server.stop());
    // As long as a preparation runs, it is not taken over.
    let preparing = fs::File::open(place.folder.0.join("prepare.lock"));
    let preparing = preparing.and_then(|file| file.lock().map(|()| file)).unwrap_or_else(|error| panic!("{error}"));
    for command in [&["serve", "--listen", "127.0.0.1:0", "--migration-listen", "off"][..], &["prepare"]] {
        let refused = place.command(command);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(5) && text.contains("wait for it, or stop it"), "{refused:?}");
    }
    drop(preparing);
    let server = Server::begin(&place, &[]);
    answers(&server.api).await;
    assert_eq!(of_metaflow(&status(&server.api).await)["generation"], 2);
    let is_logged = async || server.logged().iter().any(|line| line.contains("was prepared"));
    until("the log names the preparation", is_logged).await;
    check(&place, &server, &acknowledged).await;
    let again = place.command(&["prepare"]);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("needs no preparation"));
    // The way back works as without a preparation.
    assert!(server.stop());
    let place = place.with_program("daybook");
    let server = Server::start(&place);
    assert_eq!(of_metaflow(&status(&server.api).await)["generation"], 1);
    check(&place, &server, &acknowledged).await;
    let network = Place::new("prepare-network", Backend::Distributed).with_program(NEXT);
    let options = network.options();
    let refused = network
        .command(&[&["prepare"], options.iter().map(String::as_str).skip(2).collect::<Vec<_>>().as_slice()].concat());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_network_stores_a_refused_record_fails_the_rebuild_unless_its_quarantine_is_accepted() {
    let place = Place::new("upgrades_poison", Backend::Distributed);
    let earlier = Server::start(&place);
    let mut random = Random::seeded("upgrades-poison");
    write(&earlier, &mut random).await;
    let answer = earlier.api.post("/flows/Refused", &json!({})).await;
    let position = answer.header("daybook-position").to_owned();
    let place = place.with_program(NEXT);
    let next = Server::start(&place);
    next.api.get("/api/v1/rebuilds/metaflow-2/events").await;
    assert_eq!(state(&next.api, 2).await, "failed");
    let again = next.command(&["rebuild"]);
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && text.contains(&position) && text.contains("it is refused"), "{again:?}");
    let accepted = next.command(&["rebuild", "--quarantine", "--promote"]);
    assert!(accepted.status.success(), "{accepted:?}");
    answers(&next.api).await;
    assert_eq!(next.api.get("/flows/Refused").await.status, 404);
    assert_eq!(next.api.get("/flows/F").await.status, 200);
    let listed = next.command(&["quarantine", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&position), "{listed:?}");
    let shown = next.command(&["generations", "show", "4"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("it is refused"), "{shown:?}");
    // The way back is as it was.
    assert!(next.command(&["generations", "rollback", "--yes"]).status.success());
    answers(&earlier.api).await;
    assert_eq!(earlier.api.get("/flows/Refused").await.status, 200);
}

/// Records many runs of a flow in one go.
async fn import_runs(server: &Server, count: i64) {
    let line = |kind: &str, event: Value| json!({"type": kind, "event": event}).to_string();
    let flow = line("FlowRegistered", json!({"flow_id": "Imported"}));
    let run = |number: i64| line("RunStarted", json!({"flow_id": "Imported", "run_number": number}));
    let lines: Vec<String> = [flow].into_iter().chain((1..=count).map(run)).collect();
    for part in lines.chunks(LINES) {
        let answer = server.api.post_text("/api/v1/events", &part.join("\n")).await;
        assert_eq!(answer.json()["rejected"], 0, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_next_release_builds_its_generation_health_names_the_progress_and_data_routes_are_503() {
    let place = Place::new("upgrades-health", Backend::Embedded);
    let server = Server::start(&place);
    import_runs(&server, RUNS).await;
    assert!(server.stop(), "the earlier program did not end well");
    let place = place.with_program(NEXT);
    let next = Server::begin(&place, &[]);
    let (mut reasons, mut refused) = (Vec::<String>::new(), 0);
    until("the next release serves", async || {
        let ready = next.api.get("/health/ready").await;
        assert_eq!(next.api.get("/health/live").await.status, 200);
        let read = next.api.get("/flows/Imported").await;
        let written = next.api.post("/flows/Written", &json!({})).await;
        let searched = next.api.get("/api/v1/search?limit=0").await;
        if ready.status == 200 {
            return true;
        }
        assert_eq!(ready.status, 503, "{}", ready.text);
        let named = ready.json()["reasons"].clone();
        let named = named.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        reasons.extend(named);
        for answer in [read, written, searched] {
            // It may have become ready in between.
            if answer.status == 503 {
                let after: Option<u64> = answer.header("retry-after").parse().ok();
                assert!(after.is_some_and(|seconds| seconds > 0), "503 without Retry-After: {}", answer.text);
                refused += 1;
            } else {
                assert_eq!((answer.status, answer.header("daybook-generation")), (200, "2"), "{}", answer.text);
            }
        }
        false
    })
    .await;
    reasons.dedup();
    eprintln!("{refused} requests refused; {reasons:?}");
    let left = |reason: &&String| reason.contains("catching up") && reason.contains(" records left");
    assert!(reasons.iter().any(|reason| left(&reason)), "no progress is named: {reasons:?}");
    assert!(refused > 0 && reasons.iter().all(|reason| reason.starts_with("starting: ")), "{reasons:?}");
    let read = next.api.get("/flows/Imported/runs").await;
    assert_eq!((read.status, read.header("daybook-generation")), (200, "2"));
    assert_eq!(read.json().as_array().map(Vec::len), usize::try_from(RUNS).ok());
}
