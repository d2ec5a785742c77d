//! Reading generations that are not live: candidates, and the past.

use daybook_tests::process::{Backend, Place, Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{all_states, expect, parse, states};
use crate::on_both;

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_reads_the_generation_that_it_names_search_included() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("preview", backend);
        let server = Server::start(&place);
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        let made = api.post("/flows/F/run", &json!({})).await;
        api.post("/api/v1/rebuilds", &json!({"label": "preview"})).await;
        // The events end when it is ready.
        api.get("/api/v1/rebuilds/metaflow-2/events").await;
        let preview = async |path: &str, generation: &str| {
            let headers = [("daybook-preview", generation), ("daybook-min-position", made.header("daybook-position"))];
            api.get_served(path, &headers).await
        };
        for generation in ["1", "2"] {
            let runs = preview("/flows/F/runs", generation).await;
            assert_eq!((runs.status, runs.header("daybook-generation")), (200, generation), "{}", runs.text);
            assert_eq!(runs.json().as_array().map(Vec::len), Some(1), "{}", runs.text);
            let found = preview("/api/v1/search?type=run", generation).await;
            assert_eq!((found.status, &found.json()["total"]), (200, &json!(1)), "{}", found.text);
        }
        assert_eq!(preview("/flows", "3").await.status, 404);
        assert_eq!(preview("/flows", "two").await.status, 400);
        let written = api.send(Method::POST, "/flows/G", Some("{}".to_owned()), &[("daybook-preview", "2")]).await;
        assert_eq!(written.status, 400, "{}", written.text);
        assert_eq!(api.get("/flows").await.header("daybook-generation"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_built_for_previews_and_is_never_promoted() {
    on_both("past", |_, server| async move {
        let api = &server.api;
        let run = async |name: &str| {
            api.post(&format!("/flows/{name}"), &json!({})).await;
            let made = api.post(&format!("/flows/{name}/run"), &json!({"tags": ["before"]})).await;
            format!("/flows/{name}/runs/{}/tag/mutate", made.json()["run_number"])
        };
        let tags = run("First").await;
        let applied = api.get("/flows/First").await.header("daybook-applied").to_owned();
        let then = std::time::SystemTime::now();
        while then.elapsed().is_ok_and(|passed| passed.as_millis() < 2) {
            tokio::task::yield_now().await;
        }
        run("Second").await;
        api.patch(&tags, &json!({"tags_to_add": ["after"]})).await;
        let then = then.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis() + 1;
        for until in [then.to_string(), applied.clone()] {
            let rebuilt = expect(&server, 0, &["rebuild", "--until", &until, "--name", "before", "--json"]);
            assert_eq!(states(&rebuilt).last().map(String::as_str), Some("ready"), "{rebuilt}");
        }
        for past in ["2", "3"] {
            let shown = parse(&expect(&server, 0, &["generations", "show", past, "--json"]));
            assert_eq!((&shown["applied"], &shown["lag_records"]), (&json!(applied), &json!(0)), "{shown}");
            assert_eq!(shown["report"], Value::Null, "{shown}");
            let preview = async |path: &str| api.get_served(path, &[("daybook-preview", past)]).await;
            let flows = preview("/flows").await;
            assert_eq!(flows.json().as_array().map(Vec::len), Some(1), "{}", flows.text);
            assert_eq!(preview("/flows/Second").await.status, 404);
            let found = preview("/api/v1/search?type=run").await;
            assert_eq!((found.status, &found.json()["total"]), (200, &json!(1)), "{}", found.text);
            let found = preview("/api/v1/search?q=tag:after").await;
            assert_eq!((found.status, &found.json()["total"]), (200, &json!(0)), "{}", found.text);
            let refused = expect(&server, 5, &["generations", "promote", past, "--yes"]);
            assert!(refused.contains("shows the past"), "{refused}");
        }
        // It holds up no rebuild, and does not change with what is written later.
        let rebuilt = expect(&server, 0, &["rebuild", "--promote", "--json"]);
        assert_eq!(states(&rebuilt).last().map(String::as_str), Some("live"), "{rebuilt}");
        run("Third").await;
        let flows = api.send(Method::GET, "/flows", None, &[("daybook-preview", "2")]).await;
        assert_eq!(flows.json().as_array().map(Vec::len), Some(1), "{}", flows.text);
        expect(&server, 0, &["generations", "cancel", "2", "--yes"]);
        assert_eq!(all_states(&server), ["previous", "cancelled", "ready", "live"]);
        let beyond = applied.replace('@', "@9");
        for wrong in ["tomorrow", "2999-01-01", "nothing/0@1", beyond.as_str()] {
            let refused = expect(&server, 2, &["rebuild", "--until", wrong]);
            assert!(refused.contains(wrong.split(',').next().unwrap_or(wrong)), "{wrong}: {refused}");
        }
        expect(&server, 2, &["rebuild", "--until", "-1s", "--promote"]);
    })
    .await;
}
