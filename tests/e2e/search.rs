//! Search over HTTP and on the command line.

use daybook_tests::{
    api::{Answer, Api, of_metaflow},
    documents::compare_documents,
    model::Model,
    process::{Backend, Place, Server},
    services, wait,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Places with search.
fn places(test: &str) -> Vec<Place> {
    vec![Place::new(test, Backend::Embedded), Place::new(test, Backend::Distributed)]
}

/// Two runs of one flow with a task each: one went well, the other did not.
async fn write(api: &Api) -> String {
    let tags = [json!(["team:ml-ops", "exp.42"]), json!(["nightly", "a, multi-word tag!"])];
    api.post("/flows/Train", &json!({"user_name": "ann"})).await;
    let mut position = String::new();
    for (user, tags, ok) in [("ann", &tags[0], "True"), ("bob", &tags[1], "False")] {
        let body = json!({"user_name": user, "tags": tags, "system_tags": [format!("user:{user}"), "runtime:dev"]});
        let run = api.post("/flows/Train/run", &body).await.json()["run_number"].to_string();
        let step = format!("/flows/Train/runs/{run}/steps/end");
        api.post(&format!("{step}/step"), &json!({})).await;
        let task = api.post(&format!("{step}/task"), &json!({"user_name": user})).await.json()["task_id"].to_string();
        let artifact = json!([{"name": "model_card", "location": "l", "ds_type": "s3"}]);
        api.post(&format!("{step}/tasks/{task}/artifact"), &artifact).await;
        let metadata = json!([{"field_name": "attempt_ok", "value": ok, "type": "t"},
            {"field_name": "gpu", "value": "NVIDIA A100-SXM", "type": "t"}]);
        let answer = api.post(&format!("{step}/tasks/{task}/metadata"), &metadata).await;
        position = answer.header("daybook-position").to_owned();
    }
    position
}

async fn search(api: &Api, query: &str, position: &str) -> Answer {
    api.get_served(&format!("/api/v1/search?{query}"), &[("daybook-min-position", position)]).await
}

/// Paths of the hits, in order of time.
async fn paths(api: &Api, query: &str, position: &str) -> Vec<String> {
    let answer = search(api, &format!("sort=created_at&{query}"), position).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["path"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_right_after_a_write_finds_what_was_written() {
    for place in places("search") {
        let server = Server::start(&place);
        let (api, position) = (&server.api, write(&server.api).await);
        let run = |number: i64| format!("/flows/Train/runs/{number}");
        for (query, expected) in [
            ("type=run&q=ml-ops", vec![run(1)]),
            ("type=run&q=ML", vec![run(1)]),
            ("type=run&q=tag:exp.42", vec![run(1)]),
            ("type=run&tag=exp.42", vec![run(1)]),
            ("type=run&tag=exp", vec![]),
            ("type=run&q=%22multi-word+tag%22", vec![run(2)]),
            ("type=run&q=multi-w*", vec![run(2)]),
            ("type=run&q=train+-nightly", vec![run(1)]),
            ("type=run&q=---", vec![]),
            ("type=run&status=failed", vec![run(2)]),
            ("type=run&user=bob&tag=nightly&status=failed&from=-7d", vec![run(2)]),
            ("type=run&user=bob&status=failed&from=2200-01-01", vec![]),
            ("type=task&q=gpu:a100", vec![]),
            ("type=task&q=metadata:a100-sxm&user=ann", vec![format!("{}/steps/end/tasks/1", run(1))]),
            ("type=task&q=artifact:model*&status=failed", vec![format!("{}/steps/end/tasks/2", run(2))]),
            ("type=flow", vec!["/flows/Train".to_owned()]),
        ] {
            assert_eq!(paths(api, query, &position).await, expected, "{query}");
        }
        let found = search(api, "q=nightly&type=run&facets=user,status,tag&facet_limit=2", &position).await.json();
        assert_eq!(found["facets"]["user"], json!([{"value": "bob", "count": 1}]));
        assert_eq!(found["facets"]["tag"].as_array().map(Vec::len), Some(2));
        assert_eq!(found["hits"][0]["highlights"][0], json!({"field": "tag", "text": "<em>nightly</em>"}));
        let tags = api.get_served("/api/v1/tags?prefix=user:", &[]).await.json();
        assert_eq!(tags, json!([{"value": "user:ann", "count": 1}, {"value": "user:bob", "count": 1}]));
        let users = api.get_served("/api/v1/users?prefix=b&flow=Train", &[]).await.json();
        assert_eq!(users, json!([{"value": "bob", "count": 1}]));
        // A removed tag is no longer found, on the run and on what is below it.
        let answer = api.patch("/flows/Train/runs/1/tag/mutate", &json!({"tags_to_remove": ["exp.42"]})).await;
        let position = answer.header("daybook-position");
        assert_eq!(paths(api, "q=exp.42", position).await, Vec::<String>::new());
        compare_documents(api, &Model::of(&place.events()), position).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_search_are_400_and_name_their_place() {
    for place in places("search_mistakes") {
        let server = Server::start(&place);
        let position = write(&server.api).await;
        let cursor = search(&server.api, "sort=created_at&limit=1", &position).await.json()["next_cursor"].to_string();
        let cursor = cursor.trim_matches('"');
        let deep = format!("q={}a{}", "(".repeat(500), ")".repeat(500));
        for (query, field, part) in [
            ("q=a+(b", "q", "column 3"),
            ("q=*a", "q", "column 1"),
            (&format!("q={}", "a".repeat(60_000)), "q", "bytes"),
            (&deep, "q", "parentheses"),
            ("status=lost", "status", "running"),
            ("from=yesterday", "from", "yesterday"),
            ("limit=10000", "limit", "500"),
            ("sort=size", "sort", "relevance"),
            ("page=2", "page", "no such parameter"),
            ("cursor=AAAA", "cursor", "not valid"),
            (&format!("sort=-created_at&cursor={cursor}"), "cursor", "another search"),
            (&format!("sort=created_at&cursor={}", &cursor[..cursor.len() - 4]), "cursor", "not valid"),
        ] {
            let answer = server.api.get_served(&format!("/api/v1/search?{query}"), &[]).await;
            let (body, shown) = (answer.json(), &query[..query.len().min(40)]);
            assert_eq!((answer.status, body["field"].as_str()), (400, Some(field)), "{shown}: {}", answer.text);
            assert!(body["message"].as_str().is_some_and(|text| text.contains(part)), "{shown}: {}", answer.text);
        }
        // A head that is too large is not read to its end.
        let huge = format!("/api/v1/search?q={}", "a".repeat(100_000));
        let answer = server.api.try_send(Method::GET, &huge, None, &[]).await;
        assert!(answer.as_ref().map_or(true, |answer| (400..500).contains(&answer.status)), "{answer:?}");
        let bounded = server.api.get_served(&format!("/api/v1/search?q={}", "a*%20".repeat(100)), &[]).await;
        assert_eq!(bounded.status, 200, "{}", bounded.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_deleted_is_built_from_rows_and_the_command_shows_what_it_finds() {
    for place in places("search_again") {
        let server = Server::start(&place);
        let position = write(&server.api).await;
        assert_eq!(search(&server.api, "limit=0", &position).await.status, 200);
        let (done, text) = server.command_on_terminal(&["search", "type:run", "status:failed"]);
        assert!(done && text.contains("/flows/Train/runs/2") && text.contains("bob"), "{text}");
        let out = server.command(&["search", "--limit", "1", "train"]);
        let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found}");
        let out = server.command(&["search", "(train"]);
        assert!(out.status.code() == Some(2) && String::from_utf8_lossy(&out.stderr).contains("column 1"), "{out:?}");
        let model = Model::of(&place.events());
        compare_documents(&server.api, &model, &position).await;
        let page = search(&server.api, "sort=run&limit=2", &position).await.json();
        let next = format!("sort=run&limit=2&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
        assert_eq!(search(&server.api, &next, &position).await.status, 200);
        assert!(server.stop(), "the server did not stop in order");
        place.delete_index().await;
        let server = Server::start(&place);
        compare_documents(&server.api, &model, &position).await;
        let old = search(&server.api, &next, &position).await;
        assert!(
            old.status == 400 && old.text.contains("no longer served"),
            "a cursor of an index that is gone: {}",
            old.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_whether_it_is_complete_after_a_kill() {
    for place in places("search_complete") {
        let mut server = Server::start(&place);
        for round in 1..=5_u32 {
            // Killed before what was written last is seen.
            write(&server.api).await;
            server.kill();
            server = Server::start(&place);
            wait::until("search is complete", async || {
                let answer = server.api.get("/api/v1/search?type=run&limit=0").await;
                let found = answer.json();
                if found["complete"] == true {
                    assert_eq!(found["total"], json!(2 * round), "{found}");
                }
                // A server of the index that is busy may not answer in time.
                assert!(found["complete"].is_boolean() || answer.status == 503, "{found}");
                found["complete"] == true
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_tags_writes_one_document_and_is_found_on_all_of_the_run() {
    const TASKS: usize = 300;
    const CHANGES: usize = 200;
    for place in places("search_tags") {
        let server = Server::start(&place);
        let api = &server.api;
        write(api).await;
        for _ in 0..TASKS {
            assert_eq!(api.post("/flows/Train/runs/1/steps/end/task", &json!({})).await.status, 200);
        }
        let mut position = String::new();
        for change in 0..CHANGES {
            let body = json!({"tags_to_add": [format!("change:{change}")]});
            let answer = api.patch("/flows/Train/runs/1/tag/mutate", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            position = answer.header("daybook-position").to_owned();
        }
        let last = format!("change:{}", CHANGES - 1);
        // Beside those of `write`: a run, a step, a task and an artifact.
        let (tasks, all, all_and_one) = (json!(TASKS + 1), json!(TASKS + 4), json!(TASKS + 5));
        for (query, total) in [
            (format!("type=task&tag={last}"), &tasks),
            (format!("type=task&q=tag:{last}"), &tasks),
            (format!("type=task&q={last}+-tag:nightly"), &tasks),
            (format!("tag={last}&tag=exp.42"), &all),
            (format!("q={last}+OR+type:flow"), &all_and_one),
            (format!("q=-{last}"), &json!(5)),
            ("q=type:task+OR+tag:ml-o*+OR+tag:change:19*".to_owned(), &all_and_one),
        ] {
            let found = search(api, &format!("limit=0&{query}"), &position).await.json();
            assert_eq!(found["total"], *total, "{query}: {found}");
            assert_eq!((&found["complete"], &found["warnings"]), (&json!(true), &json!([])), "{query}");
        }
        let facets = search(api, "limit=0&facets=tag&facet_limit=1000&type=task", &position).await.json();
        let counts = facets["facets"]["tag"].as_array().cloned().unwrap_or_default();
        let count =
            |tag: &str| counts.iter().find(|it| it["value"] == tag).map_or(0, |it| it["count"].as_u64().unwrap_or(0));
        let counted = [count(&last), count("team:ml-ops"), count("user:ann"), count("nightly"), count("runtime:dev")];
        assert_eq!(counted, [TASKS as u64 + 1, TASKS as u64 + 1, TASKS as u64 + 1, 1, TASKS as u64 + 2]);
        let hit = search(api, &format!("type=artifact&q=tag:{last}"), &position).await.json()["hits"][0].clone();
        let shown = hit["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| *tag == json!(last)));
        assert!(shown && hit.get("user_tags").is_none(), "{hit}");
        assert_eq!(hit["highlights"][0]["field"], "tag", "{hit}");
        let metrics = api.get("/metrics").await.text;
        let written = "daybook_projector_search_documents_total{outcome=\"written\"} ";
        let written = metrics.lines().find_map(|line| line.strip_prefix(written)?.parse::<usize>().ok());
        // A document may be written for each of its events, and once more by the build of the index, which a start begins
        // and which may end after the first writes. A document per task and change would be 60 000.
        let events_max = TASKS + CHANGES + 30;
        assert!(written.is_some_and(|written| written <= 2 * events_max), "{written:?} documents were written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_the_index_refuses_are_told_of_and_the_others_are_found() {
    let place = Place::new("search_refused", Backend::Distributed);
    let server = Server::start(&place);
    let position = write(&server.api).await;
    assert_eq!(search(&server.api, "limit=0", &position).await.status, 200);
    assert!(server.stop(), "the server did not stop in order");
    // Somebody makes the index anew by hand, with a field of another type: numbers above 127 do not fit.
    let elasticsearch = Api::new(&services::elasticsearch());
    let index = place.index();
    let mut shape = elasticsearch.get(&index).await.json()[&index[1..]].clone();
    shape["mappings"]["properties"]["sort"]["properties"]["created_at"] = json!({"type": "byte"});
    let alias = json!({format!("{}-live", &index[1..]): {}});
    let body = json!({"mappings": shape["mappings"], "aliases": alias}).to_string();
    place.delete_index().await;
    let answer = elasticsearch.send(Method::PUT, &index, Some(body), &[("content-type", "application/json")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let server = Server::start(&place);
    let found = search(&server.api, "sort=flow", &position).await;
    assert_eq!((found.status, &found.json()["total"]), (200, &json!(0)), "{}", found.text);
    let status = server.api.get("/api/v1/status").await.json();
    let told = of_metaflow(&status)["search"]["refused"].clone();
    let ids: Vec<&str> = told.as_array().into_iter().flatten().filter_map(|it| it["id"].as_str()).collect();
    assert!(ids.contains(&"run/Train/1") && ids.contains(&"artifact/Train/2/end/2/model_card/0"), "{told}");
    assert!(told[0]["reason"].as_str().is_some_and(|reason| reason.contains("created_at")), "{told}");
    let (done, table) = server.command_on_terminal(&["status"]);
    assert!(done && table.contains("refused     "), "{table}");
}
