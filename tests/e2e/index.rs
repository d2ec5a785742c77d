//! The search index as a part of an installation: whose it is, and what it holds after something was restored.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use axum::{Router, http::StatusCode};
use daybook_tests::{
    api::{Api, of_metaflow},
    documents::compare_documents,
    model::Model,
    process::{Backend, Place, Server, binary},
    services::{self, Folder},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts that are tried until one looks at Elasticsearch before it serves, at most; and seconds that each may take.
const STARTS_MAX: usize = 5;
const START_SECONDS_MAX: &str = "30";

/// Makes a run with a tag and a task, and returns the position after it.
async fn write(api: &Api) -> String {
    api.post("/flows/Train", &json!({"user_name": "ann"})).await;
    let run = api.post("/flows/Train/run", &json!({"user_name": "ann", "tags": ["nightly"]})).await;
    let step = format!("/flows/Train/runs/{}/steps/start", run.json()["run_number"]);
    api.post(&format!("{step}/step"), &json!({})).await;
    api.post(&format!("{step}/task"), &json!({})).await.header("daybook-position").to_owned()
}

async fn search(api: &Api, query: &str, position: &str) -> Value {
    let path = format!("/api/v1/search?{query}");
    let answer = api.get_served(&path, &[("daybook-min-position", position)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Runs a start that must be refused: its exit code, and what it says. A start waits for Elasticsearch for a short time
/// only: one that got no answer serves, and is killed and tried again.
fn refused(options: &[&str]) -> (Option<i32>, String) {
    let mut last = (None, String::new());
    for _ in 0..STARTS_MAX {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", START_SECONDS_MAX]).arg(binary()).args(["serve", "--listen", "127.0.0.1:0"]);
        // The variables of the tests are no settings.
        let output = command.args(options).env_clear().stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run daybook: {error}"));
        last = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        // One that was killed has none.
        if last.0.is_some() {
            break;
        }
    }
    last
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", from.display());
}

fn replace_folder(folder: &Path, by: &Path) {
    fs::remove_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    copy(by, folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_with_different_logs_cannot_share_an_index() {
    let (one, other) = (Place::new("index_one", Backend::Embedded), Place::new("index_other", Backend::Embedded));
    let url = format!("{}/{}", services::elasticsearch(), services::unique("shared"));
    let server = Server::start_with(&one, &["--search", &url]);
    let position = write(&server.api).await;
    // An index is there after the first search that waits for it.
    assert_eq!(search(&server.api, "type=run", &position).await["total"], 1);
    let folder = other.folder.0.display().to_string();
    let (code, text) = refused(&["--data-dir", &folder, "--search", &url]);
    assert_eq!(code, Some(2), "{text}");
    // Both ids are told.
    let ids: HashSet<&str> = text.split(['\n', ',', ' ']).filter(|word| word.len() == 36).collect();
    assert!(ids.len() >= 2 && text.contains("--search"), "{text}");
    assert_eq!(search(&server.api, "type=run", &position).await["total"], 1);
    // With a prefix of its own, the other one has an index of its own.
    let second = Server::start_with(&other, &["--search", &format!("{url}-other")]);
    let position = write(&second.api).await;
    assert_eq!(search(&second.api, "type=run", &position).await["total"], 1);
    compare_documents(&second.api, &Model::of(&other.events()), &position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_index_of_another_log_is_refused() {
    let (one, other) = (Place::new("embedded_one", Backend::Embedded), Place::new("embedded_other", Backend::Embedded));
    for place in [&one, &other] {
        let server = Server::start(place);
        let position = write(&server.api).await;
        search(&server.api, "limit=0", &position).await;
        assert!(server.stop(), "the server did not stop in order");
    }
    replace_folder(&other.folder.0.join("search"), &one.folder.0.join("search"));
    let folder = other.folder.0.display().to_string();
    let (code, text) = refused(&["--data-dir", &folder]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("belongs to log") && text.contains("data directory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_newer_than_restored_tables_is_built_anew() {
    let place = Place::new("index_newer", Backend::Embedded);
    let server = Server::start(&place);
    let position = write(&server.api).await;
    search(&server.api, "limit=0", &position).await;
    assert!(server.stop(), "the server did not stop in order");
    let backup = Folder::new("index_newer_backup");
    let restored = backup.0.join("data");
    copy(&place.folder.0, &restored);
    let server = Server::start(&place);
    let newer = write(&server.api).await;
    assert_eq!(search(&server.api, "type=run", &newer).await["total"], 2);
    assert!(server.stop(), "the server did not stop in order");
    // Log and tables are restored, the index is not.
    replace_folder(&restored.join("search"), &place.folder.0.join("search"));
    replace_folder(&place.folder.0, &restored);
    let server = Server::start(&place);
    let found = search(&server.api, "type=run", &position).await;
    assert_eq!((&found["total"], &found["complete"]), (&json!(1), &json!(true)), "{found}");
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
    let position = write(&server.api).await;
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_older_than_it_was_is_built_anew() {
    let place = Place::new("index_older", Backend::Embedded);
    let server = Server::start(&place);
    let position = write(&server.api).await;
    search(&server.api, "limit=0", &position).await;
    assert!(server.stop(), "the server did not stop in order");
    let backup = Folder::new("index_older_backup");
    copy(&place.folder.0.join("search"), &backup.0.join("search"));
    let server = Server::start(&place);
    let position = write(&server.api).await;
    search(&server.api, "limit=0", &position).await;
    assert!(server.stop(), "the server did not stop in order");
    replace_folder(&place.folder.0.join("search"), &backup.0.join("search"));
    let server = Server::start(&place);
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_elasticsearch_with_documents_too_many_or_too_few_is_built_anew() {
    let place = Place::new("index_state", Backend::Distributed);
    let elasticsearch = Api::new(&services::elasticsearch());
    let send = async |path: &str, body: Value| {
        let path = format!("{}{path}", place.index());
        let json = [("content-type", "application/json")];
        let answer = elasticsearch.send(Method::POST, &path, Some(body.to_string()), &json).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
    };
    let server = Server::start(&place);
    let position = write(&server.api).await;
    search(&server.api, "limit=0", &position).await;
    assert!(server.stop(), "the server did not stop in order");
    // As tables that were restored have it: a document of a record that they do not know.
    let run = json!({"id": "run/Train/77", "revision": 1, "source": {"type": "run", "run": 77}});
    let newer = json!({"applied": 1_000_000, "revision": 1, "whole": {"type": ["run"]}, "document": run});
    send("/_doc/run%2FTrain%2F77?refresh=true", newer).await;
    let server = Server::start(&place);
    let found = search(&server.api, "type=run", &position).await;
    assert_eq!((&found["total"], &found["complete"]), (&json!(1), &json!(true)), "{found}");
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
    assert!(server.stop(), "the server did not stop in order");
    // As an index that was restored has it: without the newest documents.
    let held = elasticsearch.get(&format!("{}/_search?size=100", place.index())).await.json();
    for hit in held["hits"]["hits"].as_array().into_iter().flatten() {
        let id = hit["_id"].as_str().unwrap_or_default().replace('/', "%2F");
        let path = format!("{}/_doc/{id}?version=1000&version_type=external&refresh=true", place.index());
        let answer = elasticsearch.send(Method::DELETE, &path, None, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let server = Server::start(&place);
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_deleted_while_nobody_writes_is_built_again() {
    let place = Place::new("index_deleted", Backend::Distributed);
    let servers = [Server::start(&place), Server::start(&place)];
    let position = write(&servers[0].api).await;
    for server in &servers {
        search(&server.api, "limit=0", &position).await;
    }
    place.delete_index().await;
    for server in &servers {
        loop {
            let answer = server.api.get("/api/v1/search?type=run&limit=0").await;
            if answer.status == 200 && answer.json()["complete"] == true && answer.json()["total"] == 1 {
                break;
            }
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text);
        }
    }
    // Both write to the new index.
    let position = write(&servers[1].api).await;
    for server in &servers {
        compare_documents(&server.api, &Model::of(&place.events()), &position).await;
    }
}

/// Sends a body to Elasticsearch.
async fn send(elasticsearch: &Api, method: Method, path: &str, body: Value) {
    let json = [("content-type", "application/json")];
    let answer = elasticsearch.send(method, path, Some(body.to_string()), &json).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
}

/// Waits until searches are refused, and the status says why.
async fn is_closed(api: &Api, reason: &str) {
    until(&format!("search is closed: {reason}"), async || {
        let is_refused = api.get("/api/v1/search?limit=0").await.status == 503;
        let status = api.get("/api/v1/status").await.json();
        let failure = of_metaflow(&status)["search"]["failure"].as_str().unwrap_or_default();
        is_refused && failure.contains(reason)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_the_place_of_ours_closes_search_until_it_is_gone() {
    let (place, elasticsearch) =
        (Place::new("index_place", Backend::Distributed), Api::new(&services::elasticsearch()));
    let server = Server::start(&place);
    let position = write(&server.api).await;
    search(&server.api, "limit=0", &position).await;
    let ours = place.index();
    let (foreign, alias) = (format!("{ours}-foreign"), format!("{}-live", &ours[1..]));
    // The alias leads to another index while documents are written.
    send(&elasticsearch, Method::PUT, &foreign, json!({})).await;
    let lead = async |from: &str, to: &str| {
        let [from, to] = [from, to].map(|index| json!({"index": &index[1..], "alias": alias}));
        let actions = json!({"actions": [{"remove": from}, {"add": to}]});
        send(&elasticsearch, Method::POST, "/_aliases", actions).await;
    };
    lead(&ours, &foreign).await;
    write(&server.api).await;
    is_closed(&server.api, &foreign[1..]).await;
    let position = write(&server.api).await;
    lead(&foreign, &ours).await;
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
    // Ours is deleted, and the other one has its name and its alias.
    let takes = |name: &str| json!({"add": {"index": &foreign[1..], "alias": name}});
    let actions = json!([{"remove_index": {"index": &ours[1..]}}, takes(&ours[1..]), takes(&alias)]);
    send(&elasticsearch, Method::POST, "/_aliases", json!({"actions": actions})).await;
    let position = write(&server.api).await;
    is_closed(&server.api, &foreign[1..]).await;
    assert_eq!(elasticsearch.send(Method::DELETE, &foreign, None, &[]).await.status, 200);
    compare_documents(&server.api, &Model::of(&place.events()), &position).await;
}

/// The address of a server that answers every request alike.
async fn another_server(status: StatusCode, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
    let routes = Router::new().fallback(move || async move { (status, body) });
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_anything_but_an_elasticsearch_that_may_be_used_ends_with_the_reason() {
    const OLD: &str = r#"{"version": {"number": "6.8.23"}, "tagline": "You Know, for Search"}"#;
    const DENIED: &str = r#"{"error": {"type": "security_exception", "reason": "no such user"}, "status": 401}"#;
    let place = Place::new("other_product", Backend::Embedded);
    let folder = place.folder.0.display().to_string();
    let html = another_server(StatusCode::OK, "<html></html>").await;
    for (url, reason) in [
        (html.replace("http:", "https:"), "does not speak TLS"),
        (html, "not that of Elasticsearch"),
        (another_server(StatusCode::OK, OLD).await, "6.8.23 is too old"),
        (another_server(StatusCode::UNAUTHORIZED, DENIED).await, "no such user"),
        (another_server(StatusCode::FORBIDDEN, "").await, "correct user and password"),
    ] {
        let (code, text) = refused(&["--data-dir", &folder, "--search", &url]);
        assert_eq!(code, Some(2), "{reason}: {text}");
        assert!(text.contains(reason) && text.contains("--search") && !text.contains("null"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_its_elasticsearch_holds_up_search_alone_and_is_named() {
    let place = Place::new("no_backend", Backend::Embedded);
    let url = another_server(StatusCode::NOT_FOUND, "").await;
    let server = Server::start_with(&place, &["--search", &url]);
    write(&server.api).await;
    let is_named = async || server.api.get("/api/v1/status").await.text.contains("not that of Elasticsearch");
    until("the server is named", is_named).await;
}
