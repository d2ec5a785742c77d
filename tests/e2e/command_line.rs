//! The command line: settings, exit codes, tables on a terminal and JSON in a pipe.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use daybook_tests::{
    process::{Backend, Place, Server, binary, run, run_on_terminal},
    services::Folder,
};
use serde_json::{Value, json};

/// Runs the binary with these environment variables and no others.
fn run_in(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let output = Command::new(binary()).args(arguments).env_clear().envs(variables.iter().copied()).output();
    output.unwrap_or_else(|error| panic!("cannot run daybook {arguments:?}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_example_can_be_written_to_a_file_and_checked() {
    let folder = Folder::new("example");
    let path = folder.0.join("daybook.toml");
    let example = run_in(&[], &["config", "example"]).stdout;
    fs::write(&path, &example).unwrap_or_else(|error| panic!("{error}"));
    let checked = run_in(&[("DAYBOOK_CONFIG", &path.display().to_string())], &["config", "check"]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

#[test]
fn a_check_names_every_fault_and_exits_with_2() {
    let folder = Folder::new("faults");
    let path = folder.0.join("daybook.toml");
    fs::write(&path, "[http]\nlistn = \"127.0.0.1:1\"\nwait_ms_max = 0\n").unwrap_or_else(|error| panic!("{error}"));
    let path = path.display().to_string();
    let variables = [("DAYBOOK_TABLES_TIMEOUT_MS", "soon")];
    let checked = run_in(&variables, &["config", "check", "--config", &path, "--log-format", "xml"]);
    let text = said(&checked);
    assert_eq!(checked.status.code(), Some(2), "{text}");
    for part in [
        &format!("{path}:2: unknown key http.listn; the nearest is listen in [http]"),
        &format!("--wait-ms-max (from {path}:3) is \"0\""),
        "--tables-timeout-ms (from DAYBOOK_TABLES_TIMEOUT_MS) is \"soon\"",
        "--log-format is \"xml\": expected human or json",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_kubernetes_that_is_called_daybook_breaks_no_start() {
    let variables = [
        ("DAYBOOK_SERVICE_HOST", "10.0.0.1"),
        ("DAYBOOK_SERVICE_PORT", "8080"),
        ("DAYBOOK_PORT", "tcp://10.0.0.1:8080"),
        ("DAYBOOK_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("DAYBOOK_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let checked = run_in(&variables, &["config", "check"]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let unknown = run_in(&[("DAYBOOK_LISTN", "127.0.0.1:1")], &["config", "check"]);
    let text = said(&unknown);
    assert!(
        unknown.status.success() && text.contains("DAYBOOK_LISTN") && text.ends_with("did you mean DAYBOOK_LISTEN?\n"),
        "{text}"
    );
}

#[test]
fn what_is_given_is_taken_or_refused_by_its_name() {
    let dsn = ("MF_METADATA_DB_DSN", "host=127.0.0.1 port=5432 user=u password=hidden dbname=d");
    let shown = run_in(&[dsn], &["config", "show", "--log", "kafka://b:9092"]);
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    assert!(shown.status.success(), "{}", said(&shown));
    assert_eq!(document["tables"]["url"], "host=127.0.0.1 port=5432 user=u password=*** dbname=d");
    // No embedded SQLite is served in its place.
    let local = run_in(&[dsn], &["serve", "--listen", "127.0.0.1:0"]);
    assert!(local.status.code() == Some(2) && said(&local).contains("local log under network tables"), "{local:?}");
    for (variable, value) in [
        ("MF_METADATA_DB_DSN", "127.0.0.1:5432"),
        ("MF_METADATA_DB_DSN", "host=h colour=red"),
        ("MF_METADATA_DB_PORT", "five"),
        ("MF_METADATA_DB_SSL_MODE", "on"),
        ("MF_METADATA_PORT", "http"),
        ("DAYBOOK_LOG_LEVEL", "verbose"),
        ("LOGLEVEL", "verbose"),
        ("DAYBOOK_LISTEN", "::1:8080"),
        ("DAYBOOK_LOG", "kafka://127.0.0.1:0"),
        ("DAYBOOK_SEARCH", "http://127.0.0.1:0"),
        ("MF_METADATA_HOST", "no-such-host.invalid"),
        ("MF_METADATA_HOST", "256.1.1.1"),
        ("MF_METADATA_DB_HOST", "127.0.0.1:5432"),
        ("MF_MIGRATION_ENDPOINTS_ENABLED", "no"),
    ] {
        let refused = run_in(&[(variable, value)], &["serve"]);
        assert!(refused.status.code() == Some(2) && said(&refused).contains(variable), "{variable}: {refused:?}");
        let unset = run_in(&[(variable, "")], &["config", "check"]);
        assert!(unset.status.success(), "an empty {variable} is unset: {}", said(&unset));
    }
    let folder = run_in(&[("DAYBOOK_DATA_DIR", "/dev/null"), ("MF_METADATA_PORT", "0")], &["serve"]);
    assert!(folder.status.code() == Some(2) && said(&folder).contains("(from DAYBOOK_DATA_DIR)"), "{folder:?}");
    let nowhere = run_in(&[], &["serve", "--listen", "no-such-host.invalid:1", "--data-dir", "/nonexistent/x"]);
    assert!(nowhere.status.code() == Some(2) && said(&nowhere).contains("no-such-host.invalid:1"), "{nowhere:?}");
}

/// Makes a key and its certificate in a folder.
fn make_certificate(folder: &Folder, name: &str) {
    let path = |end: &str| folder.0.join(format!("{name}{end}")).display().to_string();
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    let made = command.args(["-keyout", &path(".key"), "-out", &path(".pem")]).output();
    let made = made.unwrap_or_else(|error| panic!("cannot run openssl: {error}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn certificate_files_that_cannot_work_are_faults_that_name_what_named_them() {
    let folder = Folder::new("certificates");
    for name in ["one", "two"] {
        make_certificate(&folder, name);
    }
    let path = |name: &str| folder.0.join(name).display().to_string();
    let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{error}"));
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap_or_else(|error| panic!("{error}"));
    write("empty.pem", "");
    write("cut.pem", read("one.pem").split_at(200).0);
    write("both.pem", &[read("one.pem"), read("two.pem")].concat());
    let (root, certificate, key) =
        ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "MF_METADATA_DB_SSL_CERT_PATH", "MF_METADATA_DB_SSL_KEY_PATH");
    let check = |mode: &str, given: &[(&str, &str)]| {
        let files: Vec<_> = given.iter().map(|(variable, name)| (*variable, path(name))).collect();
        let files = files.iter().map(|(variable, path)| (*variable, path.as_str()));
        let variables: Vec<_> =
            files.chain([("MF_METADATA_DB_SSL_MODE", mode), ("DAYBOOK_LOG", "kafka://b:9092")]).collect();
        run_in(&variables, &["config", "check"])
    };
    for good in [&[(root, "one.pem")][..], &[(certificate, "one.pem"), (key, "one.key")]] {
        let checked = check("require", good);
        assert!(checked.status.success(), "{good:?}: {}", said(&checked));
    }
    for (given, named) in [
        (&[(root, "nowhere.pem")][..], &[root][..]),
        (&[(root, "empty.pem")], &[root]),
        (&[(root, "cut.pem")], &[root]),
        (&[(root, "one.key")], &[root]),
        (&[(root, "both.pem")], &[root]),
        (&[(certificate, "one.pem")], &[certificate]),
        (&[(key, "one.key")], &[key]),
        (&[(certificate, "one.pem"), (key, "one.pem")], &[key]),
        (&[(certificate, "one.pem"), (key, "two.key")], &[certificate, key]),
    ] {
        let checked = check("verify-full", given);
        let text = said(&checked);
        assert_eq!(checked.status.code(), Some(2), "{given:?}: {text}");
        let found: Vec<_> = [root, certificate, key].into_iter().filter(|variable| text.contains(variable)).collect();
        assert!(found == named && !text.contains("SSL_MODE"), "{given:?}: {text}");
        // Without TLS nobody reads them.
        assert!(check("disable", given).status.success(), "{given:?}");
    }
    let dsn = format!("postgres://u@h/d?sslmode=verify-ca&sslrootcert={}", path("nowhere.pem"));
    let log = format!("kafka://b:9092?security.protocol=SSL&ssl.ca.location={}", path("nowhere.pem"));
    let checked = run_in(&[("DAYBOOK_TABLES", &dsn), ("DAYBOOK_LOG", &log)], &["config", "check"]);
    let text = said(&checked);
    for part in
        ["--tables (from DAYBOOK_TABLES)", "sslrootcert names", "--log (from DAYBOOK_LOG)", "ssl.ca.location names"]
    {
        assert!(checked.status.code() == Some(2) && text.contains(part), "{part}: {text}");
    }
}

#[test]
fn numbers_in_the_file_are_numbers() {
    let folder = Folder::new("numbers");
    let path = folder.0.join("daybook.toml");
    let settings = "[http]\nrequests_max = 5\nwait_ms_max = 1_000\n[metaflow]\nrun_inactive_cutoff_seconds = 0x10\n";
    fs::write(&path, settings).unwrap_or_else(|error| panic!("{error}"));
    let path = path.display().to_string();
    let shown = run_in(&[], &["config", "show", "--config", &path]);
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    assert!(shown.status.success(), "{}", said(&shown));
    assert_eq!((&document["http"]["requests_max"], &document["http"]["wait_ms_max"]), (&json!(5), &json!(1000)));
    assert_eq!(document["metaflow"]["run_inactive_cutoff_seconds"], 16);
    for (value, found) in [("\"5\"", "is a string"), ("5.0", "of type float"), ("true", "of type boolean")] {
        fs::write(&path, format!("[http]\nrequests_max = {value}\n")).unwrap_or_else(|error| panic!("{error}"));
        let refused = run_in(&[], &["config", "check", "--config", &path]);
        assert!(refused.status.code() == Some(2) && said(&refused).contains(found), "{value}: {}", said(&refused));
    }
}

#[test]
fn settings_are_shown_with_their_origins_and_without_passwords() {
    let variables = [("DAYBOOK_TABLES", "postgres://ann:hidden@db/x"), ("MF_METADATA_PORT", "9090")];
    let arguments = ["config", "show", "--origin", "--log", "kafka://b:9092?sasl.password=hidden"];
    let shown = run_in(&variables, &arguments);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && !text.contains("hidden"), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let environment = |variable: &str| json!({"kind": "environment", "variable": variable});
    assert_eq!(document["tables"]["url"]["value"], "postgres://ann:***@db/x");
    assert_eq!(document["tables"]["url"]["origin"], environment("DAYBOOK_TABLES"));
    assert_eq!(document["http"]["listen"]["origin"], environment("MF_METADATA_PORT"));
    assert_eq!(document["log"]["url"]["origin"], json!({"kind": "command-line"}));
    assert_eq!(document["search"]["url"], json!({"value": "off", "origin": {"kind": "default"}}));
    let (done, table) = run_on_terminal(&["config", "show", "--origin", "--requests-max", "7"]);
    let row = table.lines().find(|line| line.starts_with("http.requests_max ")).unwrap_or_default();
    assert!(done && table.starts_with("SETTING") && row.ends_with("command line"), "{table}");
    assert_eq!(row.split_whitespace().nth(1), Some("7"), "{table}");
}

#[test]
fn a_server_that_is_not_there_is_unavailable_and_one_that_is_misspelt_is_a_fault() {
    for command in [&["status"][..], &["search", "x"], &["quarantine", "list"], &["quarantine", "show", "events/0@1"]] {
        let output = run_in(&[("DAYBOOK_SERVER", "http://127.0.0.1:1")], command);
        assert_eq!(output.status.code(), Some(7), "{command:?}: {output:?}");
        assert!(said(&output).contains("no daybook answers at http://127.0.0.1:1"), "{}", said(&output));
        let output = run_in(&[("DAYBOOK_SERVER", "tcp://10.0.0.1:8080")], command);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {output:?}");
    }
    assert_eq!(run(&["status", "--listen", "127.0.0.1:1"]).status.code(), Some(2), "an option of another command");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_a_table_on_a_terminal_and_json_with_a_fixed_order_in_a_pipe() {
    let place = Place::new("shown", Backend::Embedded);
    let server = Server::start(&place);
    assert_eq!(server.api.post("/flows/F", &json!({})).await.status, 200);
    let folder = place.folder.0.display().to_string();
    let (done, table) = run_on_terminal(&["log", "tail", "--data-dir", &folder]);
    let head: Vec<_> = table.lines().next().unwrap_or_default().split("  ").filter(|cell| !cell.is_empty()).collect();
    assert!(done && head.len() == 5 && head[0] == "TIME (UTC)", "{table}");
    let row = table.lines().find(|line| line.contains(" FlowRegistered ")).unwrap_or_default();
    assert!(row.starts_with("20") && row.contains(" F ") && row.contains("flow_id=F"), "{table}");
    let piped = place.command(&["log", "cat", "--type", "FlowRegistered"]);
    let line = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(piped.status.success() && line.starts_with("{\"position\":\""), "{line}");
    let order = ["position", "occurred_at", "type", "key", "event_id", "actor", "event"];
    let at: Vec<_> = order.iter().map(|name| line.find(&format!("\"{name}\":"))).collect();
    assert!(at.is_sorted() && at.iter().all(Option::is_some), "{line}");
    let (forced, json) = run_on_terminal(&["log", "tail", "--json", "--data-dir", &folder]);
    assert!(forced && json.starts_with('{'), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_chosen_by_its_name_and_one_that_is_not_there_is_not_found() {
    let place = Place::new("topics", Backend::Embedded);
    let server = Server::start(&place);
    assert_eq!(server.api.post("/flows/F", &json!({})).await.status, 200);
    let all = place.command(&["log", "cat"]);
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    let topic = "metaflow";
    let of_topic: Vec<&str> = all.lines().filter(|line| line.contains("\"position\":\"metaflow/")).collect();
    assert!((1..all.lines().count()).contains(&of_topic.len()), "{all}");
    let chosen = place.command(&["log", "cat", "--topic", topic]);
    assert_eq!(String::from_utf8_lossy(&chosen.stdout).lines().collect::<Vec<_>>(), of_topic);
    let missing = place.command(&["log", "cat", "--topic", "nothing"]);
    let text = said(&missing);
    assert_eq!(missing.status.code(), Some(3), "{text}");
    assert!(text.contains("no topic \"nothing\"") && text.contains(topic), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_a_command_with_130() {
    let place = Place::new("interrupted", Backend::Embedded);
    let server = Server::start(&place);
    assert_eq!(server.api.post("/flows/F", &json!({})).await.status, 200);
    let mut tail = Command::new(binary());
    tail.args(["log", "tail", "--follow"]).args(place.options()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tail = tail.spawn().unwrap_or_else(|error| panic!("{error}"));
    let mut lines = BufReader::new(tail.stdout.take().unwrap_or_else(|| panic!("stdout is piped"))).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "it shows nothing");
    let sent = Command::new("kill").args(["-INT", &tail.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(tail.wait().ok().and_then(|status| status.code()), Some(130));
}

/// Runs the binary while nobody reads what it prints, or while nobody reads its errors.
fn unread(arguments: &[&str], output: bool, errors: bool) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}"));
    drop(child.stdout.take().filter(|_| output));
    drop(child.stderr.take().filter(|_| errors));
    child.wait_with_output().unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure_of_any_command() {
    let place = Place::new("unread", Backend::Embedded);
    let server = Server::start(&place);
    assert_eq!(server.api.post("/flows/F", &json!({})).await.status, 200);
    let folder = place.folder.0.display().to_string();
    let (log, ask) = (["--data-dir", folder.as_str()], ["--server", server.api.base.as_str()]);
    for command in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["config", "show"],
        &["config", "check"],
        &["config", "example"],
        &[&["log", "cat"], &log[..]].concat(),
        &[&["log", "tail"], &log[..]].concat(),
        &[&["status"], &ask[..]].concat(),
        &[&["search", "F"], &ask[..]].concat(),
        &[&["quarantine", "list"], &ask[..]].concat(),
    ] {
        let output = unread(command, true, false);
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
    }
    for (command, code) in [
        (&["status", "--server", "http://127.0.0.1:1"][..], 7),
        (&["config", "check", "--requests-max", "no"], 2),
        (&["nonsense"], 2),
        (&["serve", "--log", "nonsense"], 2),
        (&["log", "cat", "--topic", "nothing", log[0], log[1]], 3),
    ] {
        let output = unread(command, false, true);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    }
}
