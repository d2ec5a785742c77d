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
