//! Reads that began before a switch and end after it: SQL sessions on the tables of a generation, and lists that are sent
//! slowly.

use std::{
    io::{BufRead, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    wait::until,
    writers::{Step, Writers, check},
};
use reqwest::Response;
use serde_json::{Value, json};

use super::{expect, only_search::switch};
use crate::on_both;

/// Entries of the list, and bytes of each: together more than sockets hold.
const ENTRIES: usize = 5_000;
const ENTRY_BYTES: usize = 4_000;
/// Entries of one event, and events of one request.
const OF_EVENT: usize = 50;
const EVENTS: usize = 10;
/// Bytes that are sent after the switch, at least.
const LATER_MIN: usize = 4_000_000;
const RUN: &str = "/flows/F/runs/1000000";
/// What the tables of the other generation show in place of each value.
const OTHER: &str = "other";

/// An open session of psql.
struct Session {
    psql: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Session {
    fn open(postgres: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.args([postgres, "-AtXq", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap_or_else(|error| panic!("cannot run psql: {error}"));
        let stdout = psql.stdout.take().unwrap_or_else(|| panic!("stdout is piped"));
        Self { psql, answers: BufReader::new(stdout).lines() }
    }

    /// Runs a statement, and returns the lines of its answer.
    fn run(&mut self, statement: &str) -> Vec<String> {
        let stdin = self.psql.stdin.as_mut().unwrap_or_else(|| panic!("stdin is piped"));
        writeln!(stdin, "{statement};\n\\echo done").unwrap_or_else(|error| panic!("{statement}: {error}"));
        let mut lines = Vec::new();
        loop {
            match self.answers.next() {
                Some(Ok(line)) if line == "done" => return lines,
                Some(Ok(line)) => lines.push(line),
                ended => panic!("{statement}: the session has ended: {ended:?}"),
            }
        }
    }

    /// A statement whose answer is a number.
    fn number(&mut self, statement: &str) -> usize {
        let lines = self.run(statement);
        let number = lines.first().and_then(|line| line.parse().ok());
        number.unwrap_or_else(|| panic!("{statement}: {lines:?}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that has ended already holds nothing.
        let _ended = self.psql.kill();
        let _status = self.psql.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_sessions_on_the_live_tables_go_on_over_a_promotion_and_a_way_back() {
    let mut random = Random::seeded("open_sessions");
    let place = Place::new("open_sessions", Backend::Distributed);
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 2, &mut random);
    writers.wait_for(100).await;
    let (url, name) = place.tables();
    let tasks = format!("\"{name}_metaflow_g0001\".tasks");
    let (mut prepared, mut cursor) = (Session::open(url), Session::open(url));
    prepared.run(&format!("PREPARE counted AS SELECT count(*) FROM {tasks}"));
    prepared.run(&format!("PREPARE newest (BIGINT) AS SELECT task_id FROM {tasks} WHERE task_id > $1 LIMIT 1"));
    let mut counts = vec![prepared.number("EXECUTE counted")];
    cursor.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let at_begin = cursor.number(&format!("SELECT count(*) FROM {tasks}"));
    cursor.run(&format!("DECLARE all_tasks CURSOR FOR SELECT task_id FROM {tasks} ORDER BY task_id"));
    let mut fetched = cursor.run("FETCH 10 FROM all_tasks");
    assert_eq!(fetched.len(), 10);
    expect(&server, 0, &["rebuild"]);
    for verb in [&["promote", "2"][..], &["rollback"]] {
        switch(&server, verb);
        writers.wait_for(20).await;
        fetched.extend(cursor.run("FETCH 10 FROM all_tasks"));
        counts.push(prepared.number("EXECUTE counted"));
        assert_eq!(prepared.run("EXECUTE newest (0)").len(), 1);
    }
    fetched.extend(cursor.run("FETCH ALL FROM all_tasks"));
    cursor.run("COMMIT");
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writes were refused");
    // The cursor shows the moment at which it was opened, and the prepared statement what is there.
    let mut ids: Vec<i64> = fetched.iter().filter_map(|id| id.parse().ok()).collect();
    assert!(ids.is_sorted() && ids.len() == at_begin, "{} of {at_begin}: {ids:?}", ids.len());
    ids.dedup();
    assert_eq!(ids.len(), at_begin);
    assert!(counts.is_sorted() && counts[0] <= at_begin && at_begin < counts[1], "{at_begin}: {counts:?}");
    until("the session sees all tasks", async || prepared.number("EXECUTE counted") == acknowledged.tasks.len()).await;
    assert_eq!(cursor.number(&format!("SELECT count(*) FROM {tasks}")), acknowledged.tasks.len());
    check(&place, &server, &acknowledged).await;
}

/// Records a task with many entries.
async fn import_entries(server: &Server) {
    let line = |kind: &str, event: Value| json!({"type": kind, "event": event}).to_string();
    let of = |more: Value| {
        let mut event = json!({"flow_id": "F", "run_number": 1_000_000});
        event.as_object_mut().into_iter().for_each(|it| it.extend(more.as_object().cloned().unwrap_or_default()));
        event
    };
    let of_run = [
        line("FlowRegistered", json!({"flow_id": "F"})),
        line("RunStarted", of(json!({}))),
        line("StepRegistered", of(json!({"step_name": "s"}))),
        line("TaskRegistered", of(json!({"step_name": "s", "task_id": 1_000_000}))),
    ];
    let location = "l".repeat(ENTRY_BYTES);
    let entry = |index: usize| json!({"name": format!("x{index}"), "location": location, "ds_type": "s3"});
    let entries = |event: usize| -> Vec<Value> { (0..OF_EVENT).map(|it| entry(event * OF_EVENT + it)).collect() };
    let event = |event: usize| {
        let entries = entries(event);
        line("ArtifactsRegistered", of(json!({"step_name": "s", "task_id": 1_000_000, "entries": entries})))
    };
    let lines: Vec<String> = of_run.into_iter().chain((0..ENTRIES / OF_EVENT).map(event)).collect();
    for part in lines.chunks(EVENTS) {
        let answer = server.api.post_text("/api/v1/events", &part.join("\n")).await;
        assert_eq!(answer.json()["rejected"], 0, "{}", answer.text);
    }
}

/// Begins to read the list, of which little is read.
async fn begin_list(server: &Server) -> (Response, Vec<u8>) {
    let list = reqwest::get(format!("{}{RUN}/artifacts", server.api.base)).await;
    let mut list = list.unwrap_or_else(|error| panic!("no list: {error}"));
    assert_eq!(list.status().as_u16(), 200);
    let first = list.chunk().await.ok().flatten().unwrap_or_default().to_vec();
    (list, first)
}

/// Reads the rest of the list: it is whole, and each of its entries is of one generation.
async fn end_list((mut list, mut bytes): (Response, Vec<u8>), generation: &str, ds_type: &str) {
    let before = bytes.len();
    while let Some(chunk) = list.chunk().await.unwrap_or_else(|error| panic!("the list ends early: {error}")) {
        bytes.extend_from_slice(&chunk);
    }
    assert!(bytes.len() - before > LATER_MIN, "{before} of {} bytes were read before the switch", bytes.len());
    let of = list.headers().get("daybook-generation").and_then(|value| value.to_str().ok());
    assert_eq!(of, Some(generation));
    let rows: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("not a whole list: {error}"));
    let rows = rows.as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), ENTRIES);
    let others = rows.iter().filter(|row| row["ds_type"] != ds_type).count();
    assert_eq!(others, 0, "entries of another generation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_read_slowly_over_a_switch_ends_whole_and_is_of_one_generation() {
    on_both("open_lists", |place, server| async move {
        import_entries(&server).await;
        expect(&server, 0, &["rebuild"]);
        // From here on the generations differ in what they show: they were compared before.
        place.alter("metaflow_g0002", &format!("UPDATE artifacts SET ds_type = '{OTHER}'"));
        let list = begin_list(&server).await;
        expect(&server, 0, &["generations", "promote", "2", "--yes"]);
        let (read, of_second) = (server.api.get("/flows").await, begin_list(&server).await);
        assert_eq!(read.header("daybook-generation"), "2");
        end_list(list, "1", "s3").await;
        expect(&server, 0, &["generations", "rollback", "--yes"]);
        assert_eq!(server.api.get("/flows").await.header("daybook-generation"), "1");
        end_list(of_second, "2", OTHER).await;
        end_list(begin_list(&server).await, "1", "s3").await;
    })
    .await;
}
