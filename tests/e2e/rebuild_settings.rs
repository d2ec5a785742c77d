//! What settings decide about rebuilds: how long generations are kept, when they are verified again, how much may
//! differ, how slow reads may become.

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    services::Folder,
    wait::until,
    writers::check,
};
use serde_json::{Value, json};

use crate::rebuilds::{all_states, expect, import_tasks, parse, said, until_states, write};

const BACKENDS: [Backend; 2] = [Backend::Embedded, Backend::Distributed];

/// What the last verification of the second generation found in tables, and whether it passed.
fn report(server: &Server) -> (Value, Value) {
    let report = parse(&expect(server, 0, &["generations", "show", "2"]))["report"].clone();
    (report["tables"].clone(), report["passed"].clone())
}

/// Only another verification brings it back.
fn forget_report(place: &Place) {
    place.alter("control", "UPDATE generations SET report = '{}'");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_generation_is_kept_as_long_as_is_set_or_until_it_is_retired() {
    for backend in BACKENDS {
        for (hours, states) in [("2", ["retired", "live", "ready"]), ("0", ["previous", "live", "ready"])] {
            let place = Place::new("previous", backend);
            let server = Server::start_with(&place, &["--rebuild-previous-hours-max", hours]);
            expect(&server, 0, &["rebuild", "--promote"]);
            let older = |hours: i64| {
                let ms = hours * 3_600_000;
                place.alter("control", &format!("UPDATE generations SET changed_at = changed_at - {ms}"));
            };
            older(1);
            expect(&server, 0, &["rebuild"]);
            assert_eq!(all_states(&server), ["previous", "live", "ready"], "{hours} hours have not passed");
            expect(&server, 0, &["generations", "cancel", "3", "--yes"]);
            older(if hours == "2" { 2 } else { 10_000 });
            if hours == "2" {
                until_states(&server, &["retired", "live", "cancelled"]).await;
            }
            // Its coordinator has looked at the previous one, too.
            expect(&server, 0, &["rebuild"]);
            let now = all_states(&server);
            assert_eq!(now, [states[0], states[1], "cancelled", states[2]], "{hours}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_was_verified_too_long_ago_is_verified_again_before_it_is_promoted() {
    for backend in BACKENDS {
        let place = Place::new("verified", backend);
        let server = Server::start_with(&place, &["--rebuild-verified-hours-max", "2"]);
        let mut random = Random::seeded("verified");
        let acknowledged = write(&server, &mut random).await;
        expect(&server, 0, &["rebuild"]);
        let before = report(&server);
        forget_report(&place);
        place.alter("control", "UPDATE generations SET changed_at = changed_at - 7200001");
        let promoted = server.command(&["generations", "promote", "2", "--yes"]);
        if !promoted.status.success() {
            // It was verified again before it was asked for, or that takes longer than a request waits.
            let is_why = |reason: &str| said(&promoted).contains(reason);
            assert!(is_why("not ready") || is_why("verified too long ago"), "{promoted:?}");
            expect(&server, 0, &["rebuild", "--attach", "metaflow-2"]);
            expect(&server, 0, &["generations", "promote", "2", "--yes"]);
        }
        assert_eq!(all_states(&server), ["previous", "live"]);
        assert_eq!(report(&server), before);
        check(&place, &server, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_promotion_waits_until_the_generation_is_verified_again() {
    let place = Place::new("late", Backend::Distributed);
    let projector = Server::start(&place);
    let server = Server::start_with(&place, &["--roles", "api", "--migration-listen", "off"]);
    let mut random = Random::seeded("late");
    let acknowledged = write(&server, &mut random).await;
    expect(&server, 0, &["rebuild"]);
    let before = report(&server);
    // Nobody finds it before it is asked for.
    projector.signal("STOP");
    forget_report(&place);
    place.alter("control", "UPDATE generations SET changed_at = changed_at - 90000000");
    let command = server.spawn(&["generations", "promote", "2", "--yes", "--reason", "late"]);
    until_states(&server, &["live", "tailing"]).await;
    projector.signal("CONT");
    let ended = command.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    if !ended.status.success() {
        // That takes longer than a request waits: it is promoted all the same.
        assert!(said(&ended).contains("once it is verified again"), "{}", said(&ended));
        expect(&server, 0, &["rebuild", "--attach", "metaflow-2"]);
    }
    assert_eq!(all_states(&server), ["previous", "live"]);
    assert_eq!(report(&server), before);
    check(&place, &server, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_within_their_limits_are_shown_and_do_not_block_and_one_more_does() {
    for backend in BACKENDS {
        let place = Place::new("limits", backend);
        let server = Server::start_with(&place, &["--rebuild-differing-rows-max", "1"]);
        let mut random = Random::seeded("limits");
        write(&server, &mut random).await;
        place.alter("metaflow_g0001", "UPDATE flows SET user_name = 'somebody else'");
        expect(&server, 0, &["rebuild"]);
        let (_, shown) = server.command_on_terminal(&["generations", "show", "2"]);
        for part in ["1 differ", "no differences that block", "limit        rows that differ: 1, at most 1 may be"] {
            assert!(shown.contains(part), "{part:?} is missing: {shown}");
        }
        let report = parse(&expect(&server, 0, &["generations", "show", "2"]))["report"].clone();
        assert_eq!(report["limits"][0], json!({"what": "rows that differ", "found": 1, "max": 1}), "{report}");
        expect(&server, 0, &["generations", "cancel", "2", "--yes"]);
        // The other limits are as they were.
        place.alter("metaflow_g0001", "DELETE FROM flows");
        let failed = expect(&server, 6, &["rebuild", "--promote"]);
        assert!(failed.contains("rows that only the candidate has: 1 (1 of flows), at most 0 may be"), "{failed}");
        assert_eq!(all_states(&server), ["live", "cancelled", "failed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_are_run_on_both_generations_and_shown_and_block_where_that_is_set() {
    for backend in BACKENDS {
        let place = Place::new("canaries", backend);
        let folder = Folder::new("canaries_file");
        let file = folder.0.join("canaries.toml");
        let text =
            "[[search]]\nfilters = [\"type=flow\"]\n[[search]]\ndomain = \"metaflow\"\nquery = \"user:nobody\"\n";
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
        let canaries = ["--rebuild-canaries", file.to_str().unwrap_or_default()];
        let server = Server::start_with(&place, &canaries);
        let mut random = Random::seeded("canaries");
        write(&server, &mut random).await;
        expect(&server, 0, &["rebuild"]);
        let (_, shown) = server.command_on_terminal(&["generations", "show", "2"]);
        for part in [
            "search       type=flow: 1 found, 1 in the live generation: equal",
            "search       user:nobody: 0 found, 0 in the live generation: equal",
            "limit        documents that canaries find in one generation only: 0, any number may be",
        ] {
            assert!(shown.contains(part), "{part:?} is missing: {shown}");
        }
        let report = parse(&expect(&server, 0, &["generations", "show", "2"]))["report"].clone();
        let first = &report["canaries"][0];
        assert_eq!((&first["live_total"], &first["only_live"]), (&json!(1), &json!([])), "{report}");
        expect(&server, 0, &["generations", "cancel", "2", "--yes"]);
        assert!(server.stop());
        // The log is as it was; the live index is not.
        place.alter("metaflow_g0001", "UPDATE flows SET user_name = 'nobody'");
        place.delete_index().await;
        let limits = ["--rebuild-canary-differences-max", "0", "--rebuild-differing-rows-max", "1"];
        let server = Server::start_with(&place, &[&canaries[..], &limits].concat());
        let failed = expect(&server, 6, &["rebuild", "--promote"]);
        assert!(
            failed.contains("documents that canaries find in one generation only: 1 (\"user:nobody\")"),
            "{failed}"
        );
        drop(server);
        if backend == Backend::Distributed {
            continue;
        }
        std::fs::write(&file, "[[search]]\nquery = \"(\"\n").unwrap_or_else(|error| panic!("{error}"));
        for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"]] {
            let refused = place.command(&[command, &canaries].concat());
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            assert!(said(&refused).contains("search 1: column"), "{refused:?}");
        }
    }
}

/// A metric without labels.
async fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.api.get("/metrics").await.text;
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{name} is missing: {metrics}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_pauses_while_reads_of_any_process_are_slow_and_ends_all_the_same() {
    for backend in BACKENDS {
        let place = Place::new("throttled", backend);
        let budget = ["--rebuild-read-latency-ms-max", "1"];
        let server = Server::start_with(&place, &budget);
        import_tasks(&server, 4000).await;
        let only_reads = ["--roles", "api", "--migration-listen", "off"];
        let reader = (backend == Backend::Distributed).then(|| Server::start_with(&place, &only_reads));
        let api = reader.as_ref().unwrap_or(&server).api.clone();
        let reading = tokio::spawn(async move {
            loop {
                api.get("/flows/Imported/runs/1000000/steps/s/tasks").await;
            }
        });
        let pause = async || metric(&server, "daybook_projector_rebuild_pause_percent").await;
        until("a pause", async || pause().await > 0.0).await;
        let command = server.spawn(&["rebuild"]);
        let (mut is_shown, mut state) = (false, String::new());
        let looks = async || {
            let progress = server.api.get("/api/v1/rebuilds/metaflow-2").await.json();
            is_shown |= progress["pause_percent"].as_i64() > Some(0);
            state = progress["state"].as_str().unwrap_or_default().to_owned();
            ["ready", "failed"].contains(&state.as_str())
        };
        until("the end of the rebuild", looks).await;
        let ended = command.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
        assert!(is_shown, "nothing says that it pauses");
        assert!(metric(&server, "daybook_projector_rebuild_paused_seconds_total").await > 0.0);
        reading.abort();
        until("no pause", async || pause().await == 0.0).await;
    }
}
