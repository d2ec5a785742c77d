//! `daybook collection`, `term-list`, `takedown` and `reinstate`.

use std::fs;

use daybook_tests::{
    process::{Backend, Place, Server},
    services::Folder,
};
use serde_json::{Value, json};

const IMAGES: &str = "collection = \"image\"\nkey = \"id\"\n[fields]\nid = \"text\"\nsource = \"text\"\n";

/// Runs a command that ends with a code; what it printed, and what it said.
fn run(server: &Server, code: i32, arguments: &[&str]) -> (Value, String) {
    let output = server.command(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_applied_shown_and_its_records_are_taken_down_by_commands() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let (place, folder) = (Place::new("commands", backend), Folder::new("commands"));
        let server = Server::start(&place);
        let file = |name: &str, text: &str| {
            let path = folder.0.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
            path.display().to_string()
        };
        let (definition, terms) = (file("image.toml", IMAGES), file("terms.txt", "bird\n"));
        let wrong = file("wrong.toml", "collection = \"image\"\nkey = \"absent\"\n[fields]\nx = \"txt\"\n");
        let (_, said) = run(&server, 2, &["collection", "apply", &wrong]);
        assert!(said.contains("mistakes: 2") && said.contains("fields.x.type"), "{said}");
        let following =
            file("lists.toml", &format!("{IMAGES}[filtered]\nterms = \"sensitive@latest\"\nfields = [\"id\"]\n"));
        let (_, said) = run(&server, 2, &["collection", "apply", &following]);
        assert!(said.contains("filtered.terms: the term list sensitive@latest does not exist"), "{said}");
        let (tried, _) = run(&server, 0, &["collection", "apply", &definition, "--dry-run"]);
        assert_eq!((&tried["revision"], &tried["dry_run"]), (&json!(1), &json!(true)));
        run(&server, 3, &["collection", "show", "image"]);
        run(&server, 0, &["collection", "apply", &definition, "--note", "the first one"]);
        assert_eq!(run(&server, 0, &["term-list", "set", "sensitive", &terms]).0["revision"], 1);
        assert_eq!(run(&server, 0, &["collection", "apply", &following]).0["revision"], 2);
        assert_eq!(run(&server, 0, &["term-list", "set", "sensitive", &wrong]).0["collections"], json!(["image"]));
        assert_eq!(run(&server, 0, &["term-list", "show", "sensitive", "--revision", "1"]).0["terms"], json!(["bird"]));
        assert_eq!(run(&server, 0, &["term-list", "list"]).0[0]["list"], "sensitive");
        let (listed, _) = run(&server, 0, &["collection", "list"]);
        assert_eq!((&listed[0]["collection"], &listed[0]["revision"]), (&json!("image"), &json!(3)), "{listed}");
        let (first, _) = run(&server, 0, &["collection", "show", "image", "--revision", "1"]);
        assert_eq!(first["note"], "the first one");

        let lines = ["a", "b"].map(|id| json!({"id": id, "source": "met"}).to_string()).join("\n");
        let sent = server.api.post_text("/api/v1/collections/image/records:bulk", &lines).await;
        assert_eq!(sent.json()["upserted"], 2, "{}", sent.text);
        let down = ["takedown", "--collection", "image", "--reason", "licence"];
        let (tried, _) = run(&server, 0, &[&down[..], &["--where", "source=met", "--dry-run"]].concat());
        assert_eq!(tried["ids"], json!(["a", "b"]), "{tried}");
        run(&server, 5, &[&down[..], &["--where", "source=met", "--expect", "3"]].concat());
        run(&server, 0, &[&down[..], &["--id", "a"]].concat());
        assert_eq!(server.api.get("/api/v1/collections/image/records/a").await.status, 410);
        run(&server, 0, &["reinstate", "--collection", "image", "--id", "a"]);
        assert_eq!(server.api.get("/api/v1/collections/image/records/a").await.status, 200);
        run(&server, 3, &["reinstate", "--collection", "image", "--id", "a"]);
    }
}

/// Each value below a part of a definition that is shown, by its path: where it comes from, and what it is.
fn origins(shown: &Value, path: &str, found: &mut Vec<String>) {
    if let (Some(origin), Some(value)) = (shown["origin"].as_str(), shown.get("value")) {
        found.push(format!("{path} {origin} {value}"));
    } else if let Some(items) = shown.as_array() {
        items.iter().zip(0..).for_each(|(item, number)| origins(item, &format!("{path}.{number}"), found));
    } else {
        let fields = shown.as_object().into_iter().flatten();
        fields.for_each(|(name, value)| origins(value, &format!("{path}.{name}"), found));
    }
}

const WITH_PRESET: &str = r#"
collection = "image"
key = "identifier"
preset = "openverse-image"
[fields]
identifier = "uuid"
url = "text"
tags = "json"
[clean]
rules = [
  { id = "url", enabled = false },
  { id = "tags", min_accuracy = 0.5, deny_exact = ["by"], deny_part = [":", "="] },
]
[filtered]
terms = ["bird"]
[verify]
max_drop = "5 %"
"#;

/// The exclusion of the preset is for a field that is not declared.
const ORIGINS: &str = r#"
.clean.exclude preset []
.clean.rules.0.default preset "https"
.clean.rules.0.enabled given false
.clean.rules.0.fields preset ["url"]
.clean.rules.0.http_hosts preset ["collections.musee-mccord.qc.ca"]
.clean.rules.0.id given "url"
.clean.rules.0.kind preset "url-scheme"
.clean.rules.1.deny_exact given ["by"]
.clean.rules.1.deny_part given [":","="]
.clean.rules.1.drop_providers preset ["rekognition"]
.clean.rules.1.enabled preset true
.clean.rules.1.field preset "tags"
.clean.rules.1.id given "tags"
.clean.rules.1.kind preset "tags"
.clean.rules.1.min_accuracy given 0.5
.filtered.also_exclude default []
.filtered.fields preset ["title","description","tags.name"]
.filtered.match_full_text default false
.filtered.terms given ["bird"]
.index.language preset "english"
.index.refresh_interval default "1s"
.index.shards default 1
.index.strip_query default false
.refresh.deadline.import preset "12h"
.refresh.deadline.index default "12h"
.refresh.deadline.load default "1d"
.refresh.deadline.ready default "1d"
.refresh.deadline.total preset "4d"
.refresh.keep default "1w"
.refresh.promote default "manual"
.refresh.schedule default "none"
.verify.max_drop given "5 %"
.verify.max_drop_per_source default "10 %"
.verify.max_growth default "50 %"
.verify.max_records_emptied default "1 %"
.verify.min_documents default 1
.verify.sources_may_vanish default []
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_shown_with_the_origin_of_each_value() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let (place, folder) = (Place::new("origins", backend), Folder::new("origins"));
        let server = Server::start(&place);
        let file = folder.0.join("image.toml");
        fs::write(&file, WITH_PRESET).unwrap_or_else(|error| panic!("{error}"));
        run(&server, 0, &["collection", "apply", &file.display().to_string(), "--note", "the first one"]);
        let (shown, _) = run(&server, 0, &["collection", "show", "image"]);
        assert_eq!((&shown["revision"], &shown["note"]), (&json!(1), &json!("the first one")), "{shown}");
        let mut found = Vec::new();
        for part in ["clean", "filtered", "index", "refresh", "verify"] {
            origins(&shown["effective"][part], &format!(".{part}"), &mut found);
        }
        assert_eq!(found, ORIGINS.trim().lines().collect::<Vec<_>>(), "{backend:?}");
        assert!(server.stop());
    }
}
