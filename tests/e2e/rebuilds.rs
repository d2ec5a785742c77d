//! `daybook rebuild`, `daybook generations` and Metaflow's API of migrations, on both back ends.

mod asked_again;
mod crashes;
mod every_preview;
mod lost_index;
mod only_search;
mod open_reads;
mod out_of_order;
mod previews;
mod real_flow;
mod workers;

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Output},
};

use daybook_tests::{
    process::{Backend, Place, Projector, Server, run},
    random::Random,
    wait::until,
    writers::{Acknowledged, Step, Writers, check},
};
use serde_json::{Value, json};

use crate::on_both;

/// The fields of a change, in order.
const CHANGE: [&str; 8] =
    ["rebuild", "domain", "generation", "state", "percent", "events_per_second", "eta_seconds", "lag"];
/// The states that a rebuild may have when its beginning is answered.
const BEGUN: [&str; 2] = ["planned", "loading"];
/// The fields of a generation in a list, in order.
const GENERATION: [&str; 11] = [
    "domain",
    "generation",
    "label",
    "state",
    "fingerprint",
    "created_at",
    "applied",
    "lag_records",
    "tables",
    "search",
    "shared_parts",
];

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Runs a command that must end with a code, and returns what it printed.
pub(crate) fn expect(server: &Server, code: i32, arguments: &[&str]) -> String {
    let output = server.command(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    if code == 0 { printed(&output) } else { said(&output) }
}

/// The keys of the outermost object of a JSON text, in order.
fn keys(text: &str) -> Vec<String> {
    let object = parse(text);
    let mut keys: Vec<String> = object.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    keys.sort_by_key(|key| text.find(&format!("\"{key}\":")));
    keys
}

/// The states that a rebuild had, in order, after each change was looked at.
fn states(text: &str) -> Vec<String> {
    let changes: Vec<&str> = text.lines().collect();
    for change in &changes {
        assert_eq!(keys(change), CHANGE, "{change}");
        assert_eq!(parse(change)["rebuild"], json!(format!("metaflow-{}", parse(change)["generation"])));
    }
    let mut states: Vec<String> =
        changes.iter().map(|it| parse(it)["state"].as_str().map_or(String::new(), str::to_owned)).collect();
    states.dedup();
    states
}

/// The states of all generations of the domains that are rebuilt here.
pub(crate) fn all_states(server: &Server) -> Vec<Value> {
    let all = parse(&expect(server, 0, &["generations", "list", "--json"]));
    let rebuilt = all.as_array().into_iter().flatten().filter(|it| it["domain"] != "catalogue");
    rebuilt.map(|it| it["state"].clone()).collect()
}

/// Waits until the generations have some states.
pub(crate) async fn until_states(server: &Server, states: &[&str]) {
    until(&format!("{states:?}"), async || all_states(server) == states).await;
}

/// Writes for a while.
pub(crate) async fn write(server: &Server, random: &mut Random) -> Acknowledged {
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 4, random);
    writers.wait_for(100).await;
    writers.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_planned_built_shown_promoted_rolled_back_and_retired() {
    on_both("rebuilds", |place, server| async move {
        let mut random = Random::seeded("rebuilds");
        let acknowledged = write(&server, &mut random).await;
        let plan = expect(&server, 0, &["rebuild", "--dry-run"]);
        for part in ["generation 2 of metaflow would be built", "nothing has changed", "ddl: unchanged", "free "] {
            assert!(plan.contains(part), "{part:?} is missing: {plan}");
        }
        let plan = parse(&expect(&server, 0, &["rebuild", "--dry-run", "--json"]));
        assert!(plan["events"].as_i64() > Some(100) && plan["log_bytes"].as_u64() > Some(1000), "{plan}");
        assert!(plan["disk"]["tables_bytes"].as_u64() > Some(10_000), "{plan}");
        assert!(plan["disk"]["index_free_bytes"].as_u64() > Some(10_000), "{plan}");
        assert_eq!(all_states(&server), ["live"], "a plan has changed something");
        let changes = expect(&server, 0, &["rebuild", "--promote", "--name", "first", "--json"]);
        let states = states(&changes);
        assert!(states.first().is_some_and(|state| BEGUN.contains(&state.as_str())), "{changes}");
        assert!(states.last().is_some_and(|state| state == "live"), "{changes}");
        check(&place, &server, &acknowledged).await;
        let list = expect(&server, 0, &["generations", "list", "--domain", "metaflow", "--json"]);
        let list = list.as_str();
        let second = list.find("\"generation\": 2").map_or("", |at| &list[list[..at].rfind('{').unwrap_or(0)..]);
        let second = second.trim_end().trim_end_matches(']').trim_end();
        assert_eq!(keys(&second.replace("\": ", "\":")), GENERATION, "{list}");
        assert_eq!((&parse(second)["label"], &parse(second)["state"]), (&json!("first"), &json!("live")));
        let (is_well, shown) = server.command_on_terminal(&["generations", "show", "2"]);
        for part in
            ["generation 2 of metaflow (first), live", "no differences", "table        runs: 1 rows, 1 in", ": equal"]
        {
            assert!(is_well && shown.contains(part), "{part:?} is missing: {shown}");
        }
        let shown = parse(&expect(&server, 0, &["generations", "show", "2", "--json"]));
        assert_eq!(shown["report"]["passed"], true, "{shown}");
        assert_eq!(parse(&expect(&server, 0, &["generations", "show", "1"]))["report"], Value::Null);
        for verb in [&["rollback"][..], &["promote", "1"], &["retire", "1"], &["cancel", "2"]] {
            let refused = expect(&server, 2, &[&["generations"], verb].concat());
            assert!(refused.contains("--yes"), "{refused}");
        }
        let (is_well, asked) = server.command_on_terminal(&["generations", "rollback"]);
        assert!(!is_well && asked.contains("generation 1 of metaflow becomes live; generation 2 becomes the previous"));
        assert!(asked.contains("Go on? [y/N]") && asked.contains("nothing was changed"), "{asked}");
        assert_eq!(all_states(&server), ["previous", "live"], "something was changed without a yes");
        let back = expect(&server, 0, &["generations", "rollback", "--yes", "--reason", "runs look wrong"]);
        assert_eq!((&parse(&back)["state"], &parse(&back)["reason"]), (&json!("live"), &json!("runs look wrong")));
        let left = parse(&expect(&server, 0, &["generations", "show", "2"]));
        assert_eq!(left["reason"], "rolled back: runs look wrong");
        check(&place, &server, &acknowledged).await;
        expect(&server, 0, &["generations", "promote", "2", "--yes", "--reason", "they were right"]);
        let (_, listed) = server.command_on_terminal(&["generations", "list"]);
        assert!(listed.contains("they were right"), "{listed}");
        expect(&server, 0, &["generations", "retire", "1", "--yes"]);
        assert_eq!(all_states(&server), ["retired", "live"]);
        for (code, verb) in [
            (3, &["show", "9"][..]),
            (3, &["promote", "9", "--yes"]),
            (3, &["list", "--domain", "nothing"]),
            (5, &["retire", "2", "--yes"]),
            (5, &["cancel", "2", "--yes"]),
            (5, &["promote", "1", "--yes"]),
            (5, &["rollback", "--yes"]),
        ] {
            expect(&server, code, &[&["generations"], verb].concat());
        }
        expect(&server, 3, &["rebuild", "--domain", "nothing"]);
        expect(&server, 3, &["rebuild", "--attach", "metaflow-9"]);
        check(&place, &server, &acknowledged).await;
    })
    .await;
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    for command in [&["rebuild"][..], &["rebuild", "--dry-run"], &["generations", "list"], &["generations", "rollback"]]
    {
        let output = run(&[command, &["--server", "http://127.0.0.1:1"]].concat());
        assert_eq!(output.status.code(), Some(7), "{command:?}: {output:?}");
    }
    let output = run(&["migration", "db-status", "--base-url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rebuild_is_refused_and_names_the_first_and_a_cancelled_one_ends_with_8() {
    on_both("rebuilds_two", |_place, server| async move {
        let begun = expect(&server, 0, &["rebuild", "--no-wait"]);
        let is_shown = |state: &&str| begun.contains(&format!("metaflow-2  {state}"));
        assert!(BEGUN.iter().any(is_shown) && begun.contains("--attach metaflow-2"), "{begun}");
        let refused = expect(&server, 5, &["rebuild", "--json"]);
        assert!(refused.contains("generation 2 of metaflow is "), "{refused}");
        let plan = parse(&expect(&server, 0, &["rebuild", "--dry-run", "--json"]));
        assert!(plan["blocked_by"].as_str().is_some_and(|reason| reason.contains("generation 2")), "{plan}");
        expect(&server, 0, &["generations", "cancel", "2", "--yes", "--reason", "not now"]);
        let cancelled = expect(&server, 8, &["rebuild", "--attach", "metaflow-2"]);
        assert!(cancelled.contains("cancelled: not now"), "{cancelled}");
        let (is_well, shown) = server.command_on_terminal(&["rebuild"]);
        assert!(is_well && shown.contains("metaflow-3  ready"), "{shown}");
        expect(&server, 0, &["generations", "promote", "3", "--yes"]);
        assert_eq!(all_states(&server), ["previous", "cancelled", "live"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_named_and_end_with_6() {
    on_both("rebuilds_differ", |place, server| async move {
        let mut random = Random::seeded("rebuilds_differ");
        write(&server, &mut random).await;
        place.alter("metaflow_g0001", "UPDATE flows SET user_name = 'somebody else'");
        let failed = expect(&server, 6, &["rebuild", "--promote"]);
        assert!(
            failed.contains("rows that differ: 1 (1 of flows)") && failed.contains("generations show 2"),
            "{failed}"
        );
        let (_, shown) = server.command_on_terminal(&["generations", "show", "2"]);
        for part in
            ["not to be promoted", "table        flows: 1 rows, 1 in the live generation: 1 differ", "somebody else"]
        {
            assert!(shown.contains(part), "{part:?} is missing: {shown}");
        }
        assert_eq!(all_states(&server), ["live", "failed"]);
    })
    .await;
}

/// The first line of a command's output, and the rest as it comes.
fn first_line(command: &mut Child) -> (String, BufReader<std::process::ChildStdout>) {
    let mut output = BufReader::new(command.stdout.take().unwrap_or_else(|| panic!("stdout is piped")));
    let mut line = String::new();
    assert!(output.read_line(&mut line).is_ok_and(|bytes| bytes > 0), "it prints nothing");
    (line, output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_goes_on_after_a_kill_and_so_does_the_command_that_shows_it() {
    on_both("rebuilds_killed", |place, server| async move {
        let mut random = Random::seeded("rebuilds_killed");
        let acknowledged = write(&server, &mut random).await;
        let address = server.api.base.trim_start_matches("http://").to_owned();
        let mut command = server.spawn(&["rebuild", "--promote", "--json"]);
        let (first, mut output) = first_line(&mut command);
        server.kill();
        let server = Server::start_with(&place, &["--listen", &address]);
        let mut rest = String::new();
        assert!(output.read_to_string(&mut rest).is_ok());
        let ended = command.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ended.status.code(), Some(0), "{first}{rest}{}", said(&ended));
        assert!(states(&(first + &rest)).last().is_some_and(|state| state == "live"), "{rest}");
        assert!(said(&ended).matches("waiting for the server").count() <= 2, "{}", said(&ended));
        assert_eq!(all_states(&server), ["previous", "live"]);
        check(&place, &server, &acknowledged).await;
    })
    .await;
}

/// Records many tasks at once.
pub(crate) async fn import_tasks(server: &Server, count: i64) {
    let line = |kind: &str, event: Value| json!({"type": kind, "event": event}).to_string();
    let of_run = [
        line("FlowRegistered", json!({"flow_id": "Imported"})),
        line("RunStarted", json!({"flow_id": "Imported", "run_number": 1_000_000})),
        line("StepRegistered", json!({"flow_id": "Imported", "run_number": 1_000_000, "step_name": "s"})),
    ];
    let task = |id: i64| {
        let task = json!({"flow_id": "Imported", "run_number": 1_000_000, "step_name": "s", "task_id": 1_000_000 + id});
        line("TaskRegistered", task)
    };
    let lines: Vec<String> = of_run.into_iter().chain((0..count).map(task)).collect();
    let answer = server.api.post_text("/api/v1/events", &lines.join("\n")).await;
    assert_eq!(answer.json()["rejected"], 0, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_again_and_again_ends_well_and_its_pace_is_what_the_next_plan_says() {
    on_both("rebuilds_kills", |place, server| async move {
        let mut random = Random::seeded("rebuilds_kills");
        let acknowledged = write(&server, &mut random).await;
        import_tasks(&server, 4000).await;
        let address = server.api.base.trim_start_matches("http://").to_owned();
        let mut command = server.spawn(&["rebuild", "--promote"]);
        let (first, mut output) = first_line(&mut command);
        let mut server = server;
        for _ in 0..5 {
            for _ in 0..random.below(400) {
                server.api.get("/health/ready").await;
            }
            server.kill();
            server = Server::start_with(&place, &["--listen", &address]);
        }
        let mut rest = String::new();
        assert!(output.read_to_string(&mut rest).is_ok());
        let ended = command.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
        let shown = format!("{first}{rest}\n{}\n{}", said(&ended), server.logged().join("\n"));
        assert_eq!(ended.status.code(), Some(0), "{shown}");
        assert_eq!(all_states(&server), ["previous", "live"], "{shown}");
        check(&place, &server, &acknowledged).await;
        let plan = parse(&expect(&server, 0, &["rebuild", "--dry-run", "--json"]));
        assert_eq!((&plan["live"], &plan["measured_by"]), (&json!(2), &json!(2)), "{plan}");
    })
    .await;
}

/// Interrupts a command that shows a rebuild; what it printed.
fn interrupted(server: &Server, command: Child) -> Output {
    // It cannot end before the interrupt.
    server.signal("STOP");
    let sent = Command::new("kill").args(["-INT", &command.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let ended = command.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    server.signal("CONT");
    assert_eq!(ended.status.code(), Some(130), "{}", said(&ended));
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_detaches_and_the_rebuild_goes_on() {
    on_both("rebuilds_detached", |_place, server| async move {
        let mut command = server.spawn(&["rebuild", "--json"]);
        let (_first, _output) = first_line(&mut command);
        let ended = interrupted(&server, command);
        assert!(
            said(&ended).contains("the rebuild goes on: `daybook rebuild --attach metaflow-2`"),
            "{}",
            said(&ended)
        );
        let changes = expect(&server, 0, &["rebuild", "--attach", "metaflow-2", "--json"]);
        assert!(states(&changes).last().is_some_and(|state| state == "ready"), "{changes}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_process_takes_a_rebuild_and_of_several_at_once_one_begins() {
    let place = Place::new("rebuilds_roles", Backend::Distributed);
    let _projector = Projector::start(&place);
    let servers = [(); 2].map(|()| Server::start_with(&place, &["--roles", "api", "--migration-listen", "off"]));
    let mut random = Random::seeded("rebuilds_roles");
    let acknowledged = write(&servers[0], &mut random).await;
    let commands = servers.each_ref().map(|server| server.spawn(&["rebuild", "--promote", "--json"]));
    let ended = commands.map(|command| command.wait_with_output().unwrap_or_else(|error| panic!("{error}")));
    let mut codes = ended.each_ref().map(|ended| ended.status.code());
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(5)], "{ended:?}");
    let refused = ended.iter().find(|ended| ended.status.code() == Some(5)).map(said).unwrap_or_default();
    assert!(refused.contains("generation 2 of metaflow is "), "{refused}");
    for server in &servers {
        assert_eq!(all_states(server), ["previous", "live"]);
        check(&place, server, &acknowledged).await;
    }
    expect(&servers[1], 0, &["generations", "rollback", "--yes"]);
    expect(&servers[0], 0, &["generations", "retire", "2", "--yes"]);
    for server in &servers {
        assert_eq!(all_states(server), ["live", "retired"]);
        check(&place, server, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_named_where_there_are_several_and_rebuilt_alone() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("rebuilds_books", backend).with_program("daybook-books");
        let server = Server::start(&place);
        let book = server.api.post("/shelves/Algorithms/books", &json!({"title": "Sorting"})).await.json();
        for command in [&["rebuild"][..], &["rebuild", "--dry-run"], &["generations", "rollback", "--yes"]] {
            let refused = expect(&server, 2, command);
            assert!(refused.contains("books, catalogue, metaflow"), "{refused}");
        }
        let changes = expect(&server, 0, &["rebuild", "--domain", "books", "--promote", "--json"]);
        let last = changes.lines().last().map(parse).unwrap_or_default();
        assert_eq!((&last["rebuild"], &last["state"]), (&json!("books-2"), &json!("live")), "{changes}");
        let path = format!("/shelves/Algorithms/books/{}", book["book_id"]);
        let read = server.api.get(&path).await;
        assert_eq!((read.json(), read.header("daybook-generation")), (book, "2"));
        let found = server.api.get_served("/api/books/search?q=sorting", &[]).await.json();
        assert_eq!(found["total"], 1, "{found}");
        assert_eq!(all_states(&server), ["previous", "live", "live"]);
        expect(&server, 0, &["generations", "rollback", "--domain", "books", "--yes"]);
        let of_books = parse(&expect(&server, 0, &["generations", "list", "--domain", "books"]));
        let of_books: Vec<_> = of_books.as_array().into_iter().flatten().map(|it| &it["state"]).collect();
        assert_eq!(of_books, ["live", "previous"]);
        assert_eq!(server.api.get(&path).await.header("daybook-generation"), "1");
    }
}

/// A port that is free now.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    listener.local_addr().map_or(String::new(), |address| address.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_a_rebuild_that_all_who_ask_wait_for_while_everything_serves() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("rebuilds_migration", backend);
        let address = free_port();
        let server = Server::start_with(&place, &["--migration-listen", &address]);
        let mut random = Random::seeded("rebuilds_migration");
        let acknowledged = write(&server, &mut random).await;
        let base = format!("http://{address}");
        let api = daybook_tests::api::Api::new(&base);
        let migration = |command: &str| {
            let output = run(&["migration", command, "--base-url", &base]);
            assert!(output.status.success(), "{command}: {output:?}");
            printed(&output)
        };
        assert_eq!(api.get("/ping").await.text, "pong");
        let status = migration("db-status");
        let fingerprint = parse(&status)["current_version"].clone();
        assert_eq!(parse(&status)["is_up_to_date"], true, "{status}");
        assert_eq!(migration("metadata-service-version"), "latest\n");
        assert_eq!(migration("upgrade"), "upgrade success\n");
        assert_eq!(all_states(&server), ["live"], "there was nothing to do");
        // As if another version had built it.
        place.alter("control", "UPDATE generations SET fingerprint = 'older' WHERE domain = 'metaflow'");
        let status = api.get("/db_schema_status").await.json();
        let expected = json!({
            "is_up_to_date": false, "current_version": "older", "migration_in_progress": false,
            "db_schema_versions": ["older", fingerprint], "unapplied_migrations": [fingerprint],
        });
        assert_eq!(status, expected);
        assert_eq!(api.get("/version").await.text, "older");
        let plan = parse(&expect(&server, 0, &["rebuild", "--dry-run", "--json"]));
        assert_eq!(plan["generation"], 2, "{plan}");
        let upgrade = || async { api.patch("/upgrade", &Value::Null).await };
        let serving = async {
            let mut served = Vec::new();
            for _ in 0..20 {
                served.push(server.api.get("/flows").await.status);
            }
            served
        };
        let (one, two, served) = tokio::join!(upgrade(), upgrade(), serving);
        for answer in [one, two] {
            assert_eq!((answer.status, answer.text.as_str()), (200, "upgrade success"));
        }
        assert!(served.iter().all(|status| *status == 200), "{served:?}");
        assert_eq!(all_states(&server), ["previous", "live"]);
        assert_eq!(parse(&migration("db-status"))["is_up_to_date"], true);
        check(&place, &server, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_switched_off_has_no_route() {
    let place = Place::new("rebuilds_no_upgrade", Backend::Embedded);
    let address = free_port();
    let options = ["--listen", "127.0.0.1:0", "--migration-listen", address.as_str()];
    let _server = Server::start_by(&place, &[("MF_MIGRATION_ENDPOINTS_ENABLED", "0")], &options);
    let api = daybook_tests::api::Api::new(&format!("http://{address}"));
    assert_eq!(api.get("/version").await.text, "latest");
    assert_eq!(api.patch("/upgrade", &Value::Null).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_port_that_is_taken_is_a_warning_and_one_that_was_asked_for_is_an_error() {
    // The server of another test may have it, for a while.
    let mut held = None;
    until("the port is free", async || {
        held = TcpListener::bind("127.0.0.1:8082").ok();
        held.is_some()
    })
    .await;
    let place = Place::new("rebuilds_port", Backend::Embedded);
    let server = Server::begin(&place, &[]);
    until("readiness", async || server.api.get("/health/ready").await.status == 200).await;
    let is_warned = async || server.logged().iter().any(|line| line.contains("127.0.0.1:8082 is taken"));
    until("a warning", is_warned).await;
    assert!(server.stop());
    let refused = place.command(&["serve", "--listen", "127.0.0.1:0", "--migration-listen", "127.0.0.1:8082"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said(&refused).contains("cannot listen on 127.0.0.1:8082"), "{refused:?}");
    let server = Server::start_with(&place, &["--migration-listen", "off"]);
    assert!(server.logged().iter().all(|line| !line.contains("8082")), "{:?}", server.logged());
}
