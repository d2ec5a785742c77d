//! A standby becomes the primary while the former one keeps its connections, and lacks the last commits.

use std::{process::Command, time::Duration};

use daybook_tests::{
    api::Api,
    process::{Place, Server, binary},
    proxy::Proxy,
    services::{self, OwnServices, sql},
};
use reqwest::Method;
use serde_json::json;

/// Between two looks, and how many.
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: usize = 6_000;

/// Waits until something holds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let mut pace = tokio::time::interval(PAUSE);
    for _ in 0..LOOKS {
        pace.tick().await;
        if holds().await {
            return;
        }
    }
    panic!("never: {what}");
}

async fn add_flows(server: &Server, names: &[&str]) {
    for name in names {
        let answer = server.api.post(&format!("/flows/{name}"), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_that_keeps_its_connections_is_left_and_nothing_acknowledged_is_missing() {
    let own = OwnServices::start("kafka,postgres,standby");
    let (former, new) = (own.url("postgres"), own.url("standby"));
    let proxy = Proxy::start(0, own.port("postgres", "port")).await;
    let proxied = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let place = Place::on("failover", &own.url("kafka"), &proxied).with_search(None);
    let server = Server::start(&place);
    let ready = async || server.api.get("/health/ready").await;
    add_flows(&server, &["A", "B"]).await;
    let written = sql(&former, "SELECT pg_current_wal_lsn()");
    until("the standby has followed", async || {
        sql(&new, &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'")) == "t"
    })
    .await;
    // From here on it lacks what the primary commits.
    sql(&new, "ALTER SYSTEM SET primary_conninfo = ''");
    sql(&new, "SELECT pg_reload_conf()");
    until("the standby is cut off", async || sql(&new, "SELECT count(*) FROM pg_stat_wal_receiver") == "0").await;
    add_flows(&server, &["C", "D", "E"]).await;

    sql(&former, "ALTER SYSTEM SET default_transaction_read_only = on");
    sql(&former, "SELECT pg_reload_conf()");
    proxy.redirect(own.port("standby", "port"));
    until("not ready without a server to write to", async || ready().await.status == 503).await;
    // It goes on telling, with the reason.
    let mut pace = tokio::time::interval(PAUSE);
    for _ in 0..40 {
        pace.tick().await;
        let answer = ready().await;
        assert!(answer.status == 503 && answer.text.contains("lease"), "{}: {}", answer.status, answer.text);
    }
    assert_eq!(server.api.post("/flows/X", &json!({})).await.status, 503);

    sql(&new, "SELECT pg_promote()");
    until("ready on the new server", async || ready().await.status == 200).await;
    for name in ["A", "B", "C", "D", "E"] {
        let answer = server.api.get(&format!("/flows/{name}")).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    }
    add_flows(&server, &["F"]).await;
    assert_eq!(server.api.post("/flows/C", &json!({})).await.status, 409);
    assert_eq!(sql(&new, "SELECT pg_is_in_recovery()"), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_reads_misses_nothing_that_a_new_primary_lacks() {
    let own = OwnServices::start("kafka,postgres,standby");
    let (former, new) = (own.url("postgres"), own.url("standby"));
    let proxy = Proxy::start(0, own.port("postgres", "port")).await;
    let proxied = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let place = Place::on("failover_lacks", &own.url("kafka"), &proxied).with_search(None);
    let writer = Server::start(&place);
    let reader = Server::start_with(&place, &["--roles", "api"]);
    add_flows(&writer, &["Old"]).await;
    let written = sql(&former, "SELECT pg_current_wal_lsn()");
    until("the standby has followed", async || {
        sql(&new, &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'")) == "t"
    })
    .await;
    sql(&new, "ALTER SYSTEM SET primary_conninfo = ''");
    sql(&new, "SELECT pg_reload_conf()");
    until("the standby is cut off", async || sql(&new, "SELECT count(*) FROM pg_stat_wal_receiver") == "0").await;
    let mut newest = String::new();
    for index in 0..200 {
        let made = writer.api.post(&format!("/flows/New{index}"), &json!({})).await;
        assert_eq!(made.status, 200, "{}", made.text);
        newest = made.header("daybook-position").to_owned();
    }
    // The writer does not apply them again yet: the reader must not answer from tables that lack them.
    writer.signal("STOP");
    let path = "/flows/New199";
    let busy: Vec<_> = (0..8)
        .map(|index| {
            let (api, newest) = (Api::new(&reader.api.base), newest.clone());
            tokio::spawn(async move {
                let headers = [("daybook-min-position", newest.as_str())];
                loop {
                    let headers = if index % 2 == 0 { &headers[..] } else { &[] };
                    let answer = api.send(Method::GET, path, None, headers).await;
                    assert!([200, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
                }
            })
        })
        .collect();
    until("the reader reads", async || reader.api.get(path).await.status == 200).await;
    sql(&former, "ALTER SYSTEM SET default_transaction_read_only = on");
    sql(&former, "SELECT pg_reload_conf()");
    sql(&new, "SELECT pg_promote()");
    proxy.redirect(own.port("standby", "port"));
    until("the reader is on the new server", async || {
        reader.logged().iter().any(|line| line.contains("another server of PostgreSQL has taken over"))
    })
    .await;
    assert_eq!(reader.api.get(path).await.status, 503, "its tables lack the newest flow");
    writer.signal("CONT");
    until("the reader reads again", async || reader.api.get(path).await.status == 200).await;
    assert!(busy.iter().all(|task| !task.is_finished()), "a read failed");
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_reads_never_answers_from_a_former_primary_what_another_process_has_changed() {
    let own = OwnServices::start("kafka,postgres,standby");
    let (former, new) = (own.url("postgres"), own.url("standby"));
    let proxy = Proxy::start(0, own.port("postgres", "port")).await;
    let proxied = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let place = Place::on("failover_read", &own.url("kafka"), &proxied).with_search(None);
    let writer = Server::start(&place);
    let reader = Server::start_with(&place, &["--roles", "api"]);
    add_flows(&writer, &["Old"]).await;
    let written = sql(&former, "SELECT pg_current_wal_lsn()");
    until("the standby has followed", async || {
        sql(&new, &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'")) == "t"
    })
    .await;
    // Its connections stay in use, so that none is looked at because it was idle.
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let api = Api::new(&reader.api.base);
            tokio::spawn(async move {
                loop {
                    let answer = api.get("/flows/Old").await;
                    assert!([200, 503].contains(&answer.status), "{}: {}", answer.status, answer.text);
                }
            })
        })
        .collect();
    // Just after it has renewed its lease: it writes nothing else, and so learns of the switch late.
    let lease = format!("SELECT max(expires_at) FROM {}.instances WHERE roles = 'api'", place.topics().1);
    let granted = sql(&former, &lease);
    until("the lease is renewed", async || sql(&former, &lease) != granted).await;
    sql(&former, "ALTER SYSTEM SET default_transaction_read_only = on");
    sql(&former, "SELECT pg_reload_conf()");
    sql(&new, "SELECT pg_promote()");
    proxy.redirect(own.port("standby", "port"));

    // As soon as a write is acknowledged, it is seen through the other process, or that one does not answer.
    let (mut acknowledged, mut pace) = (0, tokio::time::interval(Duration::from_millis(5)));
    for index in 0..LOOKS {
        pace.tick().await;
        let path = format!("/flows/F{index}");
        let made = writer.api.post(&path, &json!({})).await;
        if made.status != 200 {
            assert_eq!(made.status, 503, "{}", made.text);
            continue;
        }
        acknowledged += 1;
        let plain = reader.api.get(&path).await;
        assert!([200, 503].contains(&plain.status), "after {acknowledged}: {}: {}", plain.status, plain.text);
        let position = made.header("daybook-position");
        let waited = reader.api.send(Method::GET, &path, None, &[("daybook-min-position", position)]).await;
        assert!([200, 503].contains(&waited.status), "{position}: {}: {}", waited.status, waited.text);
        if plain.status == 200 && waited.status == 200 && acknowledged >= 200 {
            assert!(!position.is_empty());
            assert!(busy.iter().all(|task| !task.is_finished()), "a read failed");
            busy.iter().for_each(tokio::task::JoinHandle::abort);
            return;
        }
    }
    panic!("{acknowledged} writes were acknowledged");
}

/// Starts a server that must refuse to; its exit code and what it says.
fn refused(options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    let done = command.args(["serve", "--listen", "127.0.0.1:0"]).args(options).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run daybook: {error}"));
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_what_cannot_work_ends_with_the_reason_and_the_remedy() {
    let (kafka, postgres, name) = (services::kafka(), services::postgres(), services::unique("latin"));
    sql(&postgres, &format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"));
    let log = format!("{kafka}/{name}");
    let server = postgres.rsplit_once('/').map_or(postgres.as_str(), |(server, _)| server);
    for (database, remedy) in [(name.as_str(), "ENCODING 'UTF8'"), ("no_such_database", "create the database")] {
        let (code, said) = refused(&["--log", &log, "--tables", &format!("{server}/{database}")]);
        assert!(code == Some(2) && said.contains(remedy), "{code:?}: {said}");
    }
    sql(&postgres, &format!("DROP DATABASE {name} WITH (FORCE)"));
}
