//! Deadlines of refreshes, and how long the previous generation of a collection is kept.

use std::{fs, process::Output};

use daybook_tests::{
    process::{Backend, Place, Server},
    services::Folder,
    wait,
};
use serde_json::{Value, json};

const RECORDS: usize = 500;
const FIELDS: &str = "key = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\n";

async fn define(server: &Server, collection: &str, more: &str) {
    let definition = format!("collection = '{collection}'\n{FIELDS}{more}");
    crate::define(&server.api, collection, &definition).await;
}

fn refresh(server: &Server, collection: &str, code: i32, arguments: &[&str]) -> Output {
    let output = server.command(&[&["refresh"], arguments, &["--collection", collection]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The generations of a collection: the state, and where a deadline stopped it.
async fn generations(server: &Server, collection: &str) -> Vec<(String, String)> {
    let listed = server.api.get(&format!("/api/v1/generations?domain=collection.{collection}")).await.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed.as_array().into_iter().flatten().map(|it| (text(&it["state"]), text(&it["stopped"]))).collect()
}

async fn newest(server: &Server) -> (usize, String, String) {
    let all = generations(server, "image").await;
    let (state, stopped) = all.last().cloned().unwrap_or_default();
    (all.len(), state, stopped)
}

fn lines() -> String {
    let lines = (0..RECORDS).map(|number| json!({"id": format!("r{number}"), "title": "A pier"}).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

async fn written(place: &Place) -> Server {
    let server = Server::start(place);
    define(&server, "image", "[refresh.deadline]\nload = '1ms'\n").await;
    let sent = server.api.post_text("/api/v1/collections/image/records:bulk", &lines()).await;
    assert_eq!(sent.json()["upserted"], RECORDS, "{}", sent.text);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_passes_a_deadline_keeps_what_it_has_built_and_is_resumed() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("deadlines", backend);
        let server = written(&place).await;
        let late = refresh(&server, "image", 7, &["start", "--promote"]);
        assert!(said(&late).contains("loading has passed the deadline load of 1ms"), "{late:?}");
        // How many there are, unless the tables were not open yet. A producer that gets no answer may write one twice.
        assert!(said(&late).contains(" records are applied") || said(&late).contains("not open"), "{late:?}");
        assert_eq!(newest(&server).await, (2, "failed".to_owned(), "loading".to_owned()));
        // The same deadline again.
        refresh(&server, "image", 7, &["retry"]);
        refresh(&server, "image", 7, &["watch"]);
        assert_eq!(newest(&server).await, (2, "failed".to_owned(), "loading".to_owned()));

        define(&server, "image", "[refresh.deadline]\nready = '1ms'\n").await;
        let late = refresh(&server, "image", 7, &["retry"]);
        assert!(said(&late).contains("has passed the deadline ready of 1ms"), "{late:?}");
        let (count, state, stopped) = newest(&server).await;
        assert!(count == 2 && state == "failed" && ["tailing", "verifying"].contains(&stopped.as_str()), "{stopped}");
        assert!(server.stop());

        let server = Server::start(&place);
        define(&server, "image", "").await;
        let resumed = refresh(&server, "image", 0, &["retry", "--promote", "--json"]);
        let states = String::from_utf8_lossy(&resumed.stdout).into_owned();
        let states: Vec<Value> = states.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let began_anew = |it: &Value| it["generation"] != 2 || it["state"] == "loading" || it["state"] == "indexing";
        assert!(!states.is_empty() && !states.iter().any(began_anew), "{states:?}");
        assert_eq!(newest(&server).await, (2, "live".to_owned(), String::new()));
        let found = server.api.get_served("/api/v1/collections/image/search?q=pier", &[]).await.json();
        assert_eq!(found["total"], RECORDS, "{found}");
        assert!(server.stop());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_of_another_definition_is_not_resumed_and_what_was_kept_goes_with_the_next_one() {
    let place = Place::new("deadlinesother", Backend::Embedded);
    let server = written(&place).await;
    let kept = |number: usize| {
        let files = fs::read_dir(&place.folder.0).unwrap_or_else(|error| panic!("{error}"));
        let mut names = files.filter_map(Result::ok).map(|file| file.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with(&format!("collection.image_g{number:04}")))
    };
    refresh(&server, "image", 7, &["start"]);
    define(&server, "image", "width = 'int'\n").await;
    let refused = refresh(&server, "image", 5, &["retry"]);
    assert!(said(&refused).contains("it was planned with fingerprint"), "{refused:?}");
    assert!(kept(2), "it was not kept");
    refresh(&server, "image", 0, &["start"]);
    wait::until("what was kept is removed", async || !kept(2)).await;
    refresh(&server, "image", 0, &["cancel", "--yes"]);

    define(&server, "image", "width = 'int'\n[refresh.deadline]\ntotal = '1ms'\n").await;
    let late = refresh(&server, "image", 7, &["start"]);
    assert!(said(&late).contains("has passed the deadline total of 1ms"), "{late:?}");
    refresh(&server, "image", 0, &["cancel", "--yes"]);

    define(&server, "image", "[refresh.deadline]\nimport = '1ms'\n").await;
    let folder = Folder::new("late");
    let file = folder.0.join("images.ndjson").display().to_string();
    fs::write(&file, lines()).unwrap_or_else(|error| panic!("{error}"));
    let late = refresh(&server, "image", 7, &["start", &file]);
    assert!(said(&late).contains("the import has passed the deadline import of 1ms"), "{late:?}");
    assert_eq!(generations(&server, "image").await.len(), 4, "a refresh began without its import");
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_says_how_long_the_previous_generation_of_its_collection_is_kept() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("keep", backend);
        let server = Server::start(&place);
        for collection in ["hours", "days"] {
            define(&server, collection, "[refresh]\nkeep = '1w'\n").await;
            refresh(&server, collection, 0, &["start", "--promote"]);
        }
        // Later than the process keeps those of other domains.
        place.alter("control", "UPDATE generations SET changed_at = changed_at - 172800000 WHERE state = 'previous'");
        define(&server, "hours", "[refresh]\nkeep = '36h'\n").await;
        let is_retired = async || generations(&server, "hours").await[0].0 == "retired";
        wait::until("the previous generation is retired", is_retired).await;
        assert_eq!(generations(&server, "days").await[0].0, "previous", "{backend:?}: the definition keeps it longer");
        assert!(server.stop());
    }
}
