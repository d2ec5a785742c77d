//! `daybook refresh`: imports, rebuilds with the newest definition, reports, and the way back; counted by an independent
//! script.

use std::{fs, path::Path, process::Output};

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    services::{Folder, address},
    wait,
};
use serde_json::{Value, json};

pub(super) const IMAGES: &str = r#"
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = { type = "uuid", required = true }
source = { type = "text", max_length = 80 }
provider = { type = "text", max_length = 80 }
url = "text"
creator_url = "text"
foreign_landing_url = "text"
title = "text"
license = { type = "text", max_length = 50 }
width = "int"
height = "int"
tags = "json"
meta_data = "json"
removed_from_source = { type = "bool", default = false }
"#;

pub(super) const COLUMNS: &str = "identifier,source,provider,url,creator_url,foreign_landing_url,title,width,height,tags,meta_data,removed_from_source";
const RECORDS: usize = 700;
/// More than a report of the largest ones would show.
const SOURCES: usize = 12;

pub(super) fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Tags, of which rules drop some.
pub(super) fn tags(random: &mut Random) -> Value {
    let names = ["Harbour", "BY-NC-sa", "boat", "by", "baby", " by", "No Person", "12:30", "cc-0", "pdmx", "mast"];
    let tag = |random: &mut Random| {
        let name = json!(names[random.below(names.len())]);
        match random.below(8) {
            0 => json!({"name": name, "accuracy": 0.5}),
            1 => json!({"name": name, "accuracy": "0.97"}),
            2 => json!({"name": name, "provider": "rekognition"}),
            3 => json!({"title": name}),
            4 => json!({"name": name, "accuracy": 0.9}),
            _ => json!({"name": name}),
        }
    };
    match random.below(5) {
        0 => Value::Null,
        1 => json!([]),
        count => (0..count).map(|_| tag(random)).collect(),
    }
}

/// A description of which the indexed part ends before, within or after some words.
fn description(random: &mut Random) -> Value {
    match random.below(6) {
        0 => "On the grand-union CANAL".into(),
        1 => json!(["On the grand union canal"]),
        2 => format!("{:1983}Grand Union Canal", "").into(),
        3 => format!("{:1984}Grand Union Canals", "").into(),
        4 => format!("{:1995}Heronry", "").into(),
        _ => Value::Null,
    }
}

pub(super) fn record(random: &mut Random, number: usize) -> Value {
    let hosts = ["https://tide.example/", "tide.example/", "collections.musee-mccord.qc.ca/", "http://tide.example/"];
    let url = |random: &mut Random| format!("{}{number}.{}", hosts[random.below(4)], ["jpg", "PNG"][random.below(2)]);
    json!({
        "identifier": id(number),
        "source": format!("source{:02}", random.below(SOURCES)),
        "provider": "met",
        "url": url(random),
        "creator_url": if random.below(3) == 0 { Value::Null } else { url(random).into() },
        "foreign_landing_url": url(random),
        "title": format!("{}, \"number\" {number}", random.pick(&["Pier", "HERON", "Heronry", "Union Canal, Grand"])),
        "width": random.pick(&[None, Some(480), Some(1600)]),
        "height": random.pick(&[None, Some(640), Some(900)]),
        "tags": tags(random),
        "meta_data": {"mature": random.below(9) == 0, "description": description(random)},
        "removed_from_source": random.below(40) == 0,
    })
}

/// A record as a line of a file with these columns.
fn csv(columns: &str, record: &Value) -> String {
    let cell = |name: &str| match &record[name] {
        Value::Null => String::new(),
        Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        Value::Number(number) => number.to_string(),
        other => format!("\"{}\"", other.to_string().replace('"', "\"\"")),
    };
    columns.split(',').map(cell).collect::<Vec<_>>().join(",")
}

/// Writes a file of records, with a header.
pub(super) fn csv_file(folder: &Folder, name: &str, columns: &str, records: &[Value]) -> String {
    let lines: Vec<String> = records.iter().map(|record| csv(columns, record)).collect();
    let file = folder.0.join(name);
    fs::write(&file, format!("{columns}\n{}\n", lines.join("\n"))).unwrap_or_else(|error| panic!("{error}"));
    file.display().to_string()
}

/// What an independent script counts.
fn counted(file: &str, changes: Option<&str>, taken_down: &[String]) -> Value {
    let changes = changes.into_iter().flat_map(|changes| ["--changes", changes]);
    let down = if taken_down.is_empty() { None } else { Some("--taken-down") };
    let taken_down = down.into_iter().chain(taken_down.iter().map(String::as_str));
    script("image", file, &changes.chain(taken_down).collect::<Vec<_>>())
}

/// What the independent script says of a file.
pub(super) fn script(kind: &str, file: &str, options: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/count_catalogue.py");
    let mut command = std::process::Command::new(address("DAYBOOK_TEST_PYTHON"));
    command.arg(script).args(["--kind", kind, file]).args(options);
    let output = command.output().unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(super) fn refresh(server: &Server, code: i32, arguments: &[&str]) -> Output {
    let output = server.command(&[&["refresh"], arguments, &["--collection", "image"]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    output
}

pub(super) fn report(server: &Server, arguments: &[&str]) -> Value {
    let output = refresh(server, 0, &[&["report"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(super) async fn define(server: &Server, definition: &str) {
    crate::define(&server.api, "image", definition).await;
}

/// The rows and documents of a report, `before` or `after`, against what the script counts.
pub(super) fn check_side(report: &Value, side: &str, expected: &Value) {
    let of = |counts: &Value| counts[side].clone();
    assert_eq!(
        (of(&report["rows"]), of(&report["documents"])),
        (expected["records"].clone(), expected["documents"].clone()),
        "{side}: {report}"
    );
    for (kind, expected) in [("rows", &expected["by_source"]), ("documents", &expected["documents_by_source"])] {
        let by_source = report["by_source"].as_array().cloned().unwrap_or_default();
        let found = by_source.iter().filter(|it| of(&it[kind]) != 0);
        let found: serde_json::Map<String, Value> =
            found.map(|it| (it["source"].as_str().unwrap_or_default().to_owned(), of(&it[kind]))).collect();
        assert_eq!(Value::Object(found), *expected, "{kind} {side}");
    }
}

/// The report of a candidate, against what the script counts.
pub(super) fn check(report: &Value, expected: &Value) {
    check_side(report, "after", expected);
    let kept = &report["conservation"];
    assert_eq!((&kept["holds"], &kept["taken_down"]), (&json!(true), &expected["taken_down"]), "{kept}");
    for name in ["sensitive", "filtered"] {
        assert_eq!(kept[name], expected[name], "{name}: {kept}");
    }
    assert_eq!(report["terms_without_hit"], expected["terms_without_hit"], "{report}");
    assert_eq!(
        kept["excluded"].as_object().into_iter().flatten().filter_map(|(_, it)| it.as_u64()).sum::<u64>(),
        expected["excluded"]
    );
    let rule = |id: &str| {
        let rules = report["rules"].as_array().into_iter().flatten();
        rules.clone().find(|rule| rule["id"] == id).cloned().unwrap_or_else(|| panic!("no rule {id}: {report}"))
    };
    let (tags, expected_tags) = (rule("tags"), &expected["rules"]["tags"]);
    assert_eq!((&tags["records"], &tags["emptied"]), (&expected_tags["records"], &expected_tags["emptied"]), "{tags}");
    for (reason, count) in expected_tags["dropped"].as_object().into_iter().flatten() {
        assert_eq!(tags["dropped"][reason].as_u64().unwrap_or_default(), *count, "{reason}: {tags}");
    }
    let urls = report["rules"].as_array().into_iter().flatten().find(|rule| rule["records"].is_object());
    let none = json!({});
    assert_eq!(urls.map_or(&none, |rule| &rule["records"]), &expected["rules"]["url"]["fields"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_hold_what_an_independent_script_counts() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let (mut random, folder) = (Random::seeded("refresh"), Folder::new("refreshed"));
        let place = Place::new("refresh", backend);
        let server = Server::start(&place);
        define(&server, &format!("{IMAGES}[verify]\nmax_records_emptied = '100 %'\n")).await;
        let records: Vec<Value> = (0..RECORDS).map(|number| record(&mut random, number)).collect();
        let file = csv_file(&folder, "images.csv", COLUMNS, &records);
        refresh(&server, 3, &["status"]);
        refresh(&server, 0, &["start", &file, "--promote", "--json"]);
        check(&report(&server, &[]), &counted(&file, None, &[]));

        // A second one with changes, and a takedown in the middle.
        let mut changed: Vec<Value> = (0..50).map(|number| record(&mut random, number * 3)).collect();
        changed.extend((RECORDS..RECORDS + 20).map(|number| record(&mut random, number)));
        let changes = folder.0.join("changes.ndjson").display().to_string();
        let lines: Vec<String> = changed.iter().map(Value::to_string).collect();
        fs::write(&changes, lines.join("\n")).unwrap_or_else(|error| panic!("{error}"));
        refresh(&server, 0, &["start", &changes, "--no-wait"]);
        let down: Vec<String> = [1, 3, RECORDS + 1].map(id).to_vec();
        let taken = json!({"ids": down, "reason": "licence"});
        let taken = server.api.post("/api/v1/collections/image/takedowns", &taken).await;
        assert_eq!(taken.status, 200, "{}", taken.text);
        refresh(&server, 5, &["start"]);
        refresh(&server, 0, &["watch", "--json"]);
        let status = refresh(&server, 0, &["status", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        assert_eq!((&status["state"], &status["generation"]), (&json!("ready"), &json!(3)), "{status}");
        refresh(&server, 0, &["promote", "--yes"]);
        let expected = counted(&file, Some(&changes), &down);
        let counts = server.api.get("/api/v1/collections/image/counts").await.json();
        let by_source = counts["counts"].as_array().into_iter().flatten();
        let by_source: serde_json::Map<String, Value> =
            by_source.map(|it| (it["source"].as_str().unwrap_or_default().to_owned(), it["records"].clone())).collect();
        assert_eq!(Value::Object(by_source), expected["by_source"]);
        // One without a change finds the same.
        refresh(&server, 0, &["start", "--promote"]);
        check(&report(&server, &["4"]), &expected);
        refresh(&server, 0, &["rollback", "--yes", "--reason", "to try it"]);
        let listed = refresh(&server, 0, &["list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let states: Vec<&Value> = listed.as_array().into_iter().flatten().map(|it| &it["state"]).collect();
        assert_eq!(states, ["retired", "retired", "live", "previous"], "{backend:?}");
        assert!(server.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_definition_blocks_a_promotion_until_it_is_changed() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("limits", backend);
        let server = Server::start(&place);
        let definition =
            "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\nsource = { type = 'text', max_length = 20 }\n";
        define(&server, definition).await;
        let lines = (0..100)
            .map(|number| json!({"id": format!("r{number}"), "source": if number < 8 { "small" } else { "large" }}));
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        let sent = server.api.post_text("/api/v1/collections/image/records:bulk", &lines.join("\n")).await;
        assert_eq!(sent.json()["upserted"], 100, "{}", sent.text);
        let excluding = format!("{definition}[clean]\nexclude = [{{ id = 'tiny', when = {{ source = 'small' }} }}]\n");
        define(&server, &excluding).await;
        refresh(&server, 5, &["retry"]);
        let failed = refresh(&server, 6, &["start", "--promote"]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(said.contains("verify.max_drop: 8 of 100, the definition allows 2 %"), "{said}");
        let blocked = report(&server, &[]);
        assert_eq!((&blocked["passed"], &blocked["documents"]["change"]), (&json!(false), &json!(-8)), "{blocked}");
        let of_source = blocked["limits"].as_array().into_iter().flatten().find(|it| it["source"] == "small");
        assert_eq!(of_source.map(|it| &it["held"]), Some(&json!(false)), "{blocked}");
        refresh(&server, 5, &["promote", "--yes"]);
        let still = server.api.get_served("/api/v1/collections/image/search?source=small", &[]).await.json();
        assert_eq!(still["total"], 8, "a refresh that failed changed what is live");

        // The limits of a definition count at once, also for a generation of an earlier revision with the same fold.
        define(
            &server,
            &format!(
                "{excluding}[verify]\nmax_drop = '10 %'\nsources_may_vanish = ['small']\n[refresh]\npromote = 'auto'\n"
            ),
        )
        .await;
        refresh(&server, 0, &["retry"]);
        let passed = report(&server, &[]);
        assert_eq!((&passed["passed"], &passed["revision"]), (&json!(true), &json!(3)), "{passed}");
        let canary = "[[canary]]\nindex = 'main'\nquery = 'large'\nexpect = { min_hits = 93 }\n";
        define(&server, &format!("{excluding}[verify]\nmax_drop = '10 %'\n{canary}")).await;
        let failed = refresh(&server, 6, &["start", "--promote"]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(said.contains("the canary \"large\" finds 92 documents, at least 93 are expected"), "{said}");
        let gone = async || server.api.get("/api/v1/collections/image/search?source=small").await.json()["total"] == 0;
        wait::until("the new index answers", gone).await;
        let counts = server.api.get("/api/v1/collections/image/counts").await.json();
        assert_eq!(
            counts["counts"][1],
            json!({"source": "small", "records": 8}),
            "it is in no index, and in the tables"
        );
    }
}
