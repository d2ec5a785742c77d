//! `daybook worker` in refreshes of collections, which are defined while it runs.

use daybook_tests::process::{Backend, Place, Server};
use serde_json::json;

const RECORDS: usize = 1000;
/// Refreshes until the processes have heard of each other, at most.
const REFRESHES_MAX: usize = 10;

async fn define(server: &Server, collection: &str, more: &str) {
    let definition = format!(
        "collection = '{collection}'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\nsource = 'text'\n{more}"
    );
    crate::define(&server.api, collection, &definition).await;
}

async fn write(server: &Server, collection: &str) {
    let lines = (0..RECORDS).map(|number| json!({"id": format!("r{number}"), "title": "A  pier"}).to_string());
    let path = format!("/api/v1/collections/{collection}/records:bulk");
    let sent = server.api.post_text(&path, &lines.collect::<Vec<_>>().join("\n")).await;
    assert_eq!(sent.json()["upserted"], RECORDS, "{}", sent.text);
}

fn refresh(server: &Server, collection: &str, arguments: &[&str]) {
    let output = server.command(&[&["refresh"], arguments, &["--collection", collection]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Refreshes a collection until a worker has applied records of a new generation.
fn refresh_until_lent(server: &Server, worker: &Server, collection: &str) {
    let is_lent = |line: &String| {
        let of_collection = line.contains(&format!(" of collection.{collection} is "));
        of_collection && line.contains("records applied here") && !line.contains(": 0 records applied here")
    };
    for _ in 0..REFRESHES_MAX {
        refresh(server, collection, &["start", "--no-promote"]);
        if worker.logged().iter().any(is_lent) {
            return;
        }
        refresh(server, collection, &["cancel", "--yes"]);
    }
    panic!("it took no part in the refreshes of {collection}: {:?}", worker.logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_part_in_refreshes_of_collections_whenever_they_are_defined() {
    let place = Place::new("workercollections", Backend::Distributed);
    let server = Server::start(&place);
    define(&server, "before", "").await;
    let worker = Server::start_worker(&place, &[]);
    for collection in ["before", "meanwhile"] {
        if collection == "meanwhile" {
            define(&server, collection, "").await;
        }
        write(&server, collection).await;
        // The new generation is one of a revision that the live one does not have.
        define(&server, collection, "width = 'int'\n").await;
        refresh_until_lent(&server, &worker, collection);
        refresh(&server, collection, &["promote", "--yes"]);
        let counts = server.api.get(&format!("/api/v1/collections/{collection}/counts")).await.json();
        assert_eq!(counts["counts"][0]["records"], RECORDS, "{counts}");
    }
    // One that holds up no switch.
    refresh(&server, "before", &["rollback", "--yes"]);
    assert!(worker.stop(), "the worker did not end well");
    assert!(server.stop());
}
