//! `daybook import file`: the records of files, line by line.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use daybook_tests::{
    process::{Backend, Place, Server},
    services::Folder,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::define;

const IMAGES: &str = r#"
collection = "image"
key = "id"
[fields]
id = "uuid"
source = { type = "text", max_length = 80, required = true }
title = "text"
width = "int"
is_open = "bool"
words = "text[]"
tags = "json"
popularity = "double"
"#;

/// Records of the long file: several bodies.
const MANY: u64 = 5000;

fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

pub(super) fn write(folder: &Folder, name: &str, bytes: &[u8]) -> String {
    let path = folder.0.join(name);
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{error}"));
    path.display().to_string()
}

/// What a program makes of bytes.
fn piped(program: &str, bytes: &[u8]) -> Vec<u8> {
    let started = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut started = started.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let mut input = started.stdin.take().unwrap_or_else(|| panic!("no input"));
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let output = started.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    assert!(writing.join().is_ok_and(|written| written.is_ok()));
    output.stdout
}

/// Imports files; the exit code and what is printed.
fn import(server: &Server, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = server.command(&[&["import", "file", "--collection", "image"], arguments].concat());
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), printed, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn counts(printed: &Value) -> [&Value; 4] {
    ["read", "upserted", "unchanged", "rejected"].map(|name| &printed[name])
}

async fn show(server: &Server, path: &str) -> Value {
    server.api.get(&format!("/api/v1/collections/image{path}")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_format_become_records_once() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let (place, folder) = (Place::new("importfile", backend), Folder::new("imported"));
        let server = Server::start(&place);
        define(&server.api, "image", IMAGES).await;
        // PostgreSQL's spellings, a text of two lines, an empty text and a null.
        let csv = format!(
            "id,source,title,width,is_open,words,tags,unknown\n{},met,\"Old\npier, \"\"so\"\"\",640,t,\"{{a,\"\"b c\"\"}}\",\"[{{\"\"name\"\": \"\"x\"\"}}]\",1\n{},eol,\"\",,f,,,\n",
            id(1),
            id(2)
        );
        let csv = write(&folder, "images.csv", csv.as_bytes());
        let (code, printed, said) = import(&server, &[&csv]);
        assert_eq!(
            (code, counts(&printed)),
            (Some(0), [&json!(2), &json!(2), &json!(0), &json!(0)]),
            "{printed} {said}"
        );
        assert_eq!(printed["ignored_fields"], json!({"unknown": 2}));
        let shown = show(&server, &format!("/records/{}", id(1))).await["fields"].clone();
        assert_eq!((&shown["title"], &shown["width"]), (&json!("Old\npier, \"so\""), &json!(640)), "{shown}");
        assert_eq!((&shown["words"], &shown["is_open"]), (&json!(["a", "b c"]), &json!(true)));
        assert_eq!(shown["tags"], json!([{"name": "x"}]));
        let shown = show(&server, &format!("/records/{}", id(2))).await["fields"].clone();
        assert_eq!((&shown["title"], &shown["width"]), (&json!(""), &Value::Null), "{shown}");
        let (code, printed, _) = import(&server, &[&csv]);
        assert_eq!((code, counts(&printed)), (Some(0), [&json!(2), &json!(0), &json!(2), &json!(0)]), "{printed}");
        // Some fields of records, by another file.
        let popularity = format!("id\tpopularity\n{}\t0.5\n", id(1));
        let popularity = write(&folder, "popularity.tsv", popularity.as_bytes());
        let (code, printed, said) = import(&server, &["--merge", &popularity]);
        assert_eq!((code, &printed["upserted"]), (Some(0), &json!(1)), "{printed} {said}");
        let (_, printed, _) = import(&server, &["--merge", &popularity]);
        assert_eq!(counts(&printed), [&json!(1), &json!(0), &json!(1), &json!(0)], "{printed}");
        let shown = show(&server, &format!("/records/{}", id(1))).await["fields"].clone();
        assert_eq!((&shown["popularity"], &shown["source"]), (&json!(0.5), &json!("met")));
        // More than one body, compressed.
        let line = |number: u64| json!({"id": id(number), "source": "eol", "width": number}).to_string() + "\n";
        let many: String = (10..10 + MANY).map(line).collect();
        let gz = write(&folder, "many.ndjson.gz", &piped("gzip", many.as_bytes()));
        let (code, printed, said) = import(&server, &[&gz]);
        assert_eq!((code, counts(&printed)), (Some(0), [&json!(MANY), &json!(MANY), &json!(0), &json!(0)]), "{said}");
        assert_eq!(
            show(&server, "/counts?by=source").await["counts"][0],
            json!({"source": "eol", "records": MANY + 1})
        );
        let (code, printed, _) = import(&server, &[&gz, &csv]);
        assert_eq!((code, &printed["unchanged"]), (Some(0), &json!(MANY + 1)), "the merged record changed: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_lines_that_are_refused_and_ends_with_one_more_than_it_may() {
    let (place, folder) = (Place::new("importrefused", Backend::Embedded), Folder::new("refused"));
    let server = Server::start(&place);
    define(&server.api, "image", IMAGES).await;
    let text = format!(
        "id,source,title,width\n{},eol,\"two\nlines\",1\n{},eol,a\"b,2\n{},eol,c,wide\n{},,d,4\n{},eol,e,5\n",
        id(1),
        id(2),
        id(3),
        id(4),
        id(5)
    );
    let path = write(&folder, "faults.csv", text.as_bytes());
    let (code, printed, said) = import(&server, &["--max-rejects", "3", &path]);
    assert_eq!((code, counts(&printed)), (Some(0), [&json!(5), &json!(2), &json!(0), &json!(3)]), "{printed} {said}");
    let rejects = printed["rejects"].as_array().cloned().unwrap_or_default();
    let named: Vec<_> = rejects.iter().map(|it| (it["line"].as_u64(), it["code"].as_str())).collect();
    let expected =
        [(Some(4), Some("stray-quote")), (Some(5), Some("not-an-integer")), (Some(6), Some("required-null"))];
    assert_eq!(named, expected, "{printed}");
    assert_eq!(rejects[0]["file"], json!(path));
    // One more than it may: nothing of that body is recorded.
    let other = write(&folder, "other.csv", text.replace("8000-0", "8000-1").as_bytes());
    let (code, printed, said) = import(&server, &["--max-rejects", "2", &other]);
    assert_eq!((code, &printed["upserted"]), (Some(1), &json!(0)), "{printed} {said}");
    assert!(said.contains("--max-rejects is 2"), "{said}");
    assert_eq!(show(&server, "/counts").await["counts"], json!([{"source": "eol", "records": 2}]));
    for (arguments, code, part) in [
        (vec!["absent.csv"], 2, "cannot be opened"),
        (vec!["/dev/null"], 2, "--format"),
        (vec!["--format", "csv", "/dev/null"], 1, "no header"),
    ] {
        let (found, _, said) = import(&server, &arguments);
        assert!(found == Some(code) && said.contains(part), "{arguments:?}: {found:?} {said}");
    }
    let wrong = server.command(&["import", "file", "--collection", "image?x", &path]);
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    let absent = server.command(&["import", "file", "--collection", "absent", "--max-rejects", "9", &path]);
    assert_eq!(absent.status.code(), Some(3), "{}", String::from_utf8_lossy(&absent.stderr));
    assert!(Path::new(&path).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_file_does_not_have_are_counted_as_absent() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let (place, folder) = (Place::new("importabsent", backend), Folder::new("absent"));
        let server = Server::start(&place);
        define(&server.api, "image", IMAGES).await;
        let absent = json!({"is_open": 2, "popularity": 2, "tags": 2, "width": 2, "words": 2});
        let csv = format!("id,source,title\n{},eol,a\n{},eol,\n", id(1), id(2));
        let file = write(&folder, "few.csv", csv.as_bytes());
        let (code, printed, said) = import(&server, &[&file]);
        assert_eq!((code, &printed["absent_fields"]), (Some(0), &absent), "{printed} {said}");
        // Merged, what a file does not have is kept.
        let (code, printed, said) = import(&server, &["--merge", &file]);
        assert_eq!((code, &printed["absent_fields"]), (Some(0), &json!({})), "{printed} {said}");

        let path = "/api/v1/collections/image/records:bulk";
        let send = async |body: String, format: &str| {
            let answer = server.api.send(Method::POST, path, Some(body), &[("content-type", format)]).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            answer.json()["absent_fields"].clone()
        };
        assert_eq!(send(csv.replace(',', "\t"), "text/tab-separated-values").await, absent, "{backend:?}");
        let lines = [json!({"id": id(3), "source": "eol", "title": null}), json!({"id": id(4), "source": "eol"})];
        let lines = lines.map(|line| line.to_string()).join("\n");
        let absent = json!({"is_open": 2, "popularity": 2, "tags": 2, "title": 1, "width": 2, "words": 2});
        assert_eq!(send(lines, "application/x-ndjson").await, absent, "{backend:?}");
        assert!(server.stop());
    }
}
