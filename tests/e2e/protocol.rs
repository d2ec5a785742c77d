//! What Daybook guarantees over HTTP: positions, idempotency, asynchronous answers, limits, the OpenAPI document.

use daybook_query_api::routes::docs::OPENAPI;
use daybook_tests::{
    process::{Backend, Place, Server},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{define, on_both};

#[tokio::test(flavor = "multi_thread")]
async fn writes_tell_their_position_and_reads_wait_for_it() {
    on_both("positions", |_place, server| async move {
        let posted = server.api.post("/flows/F", &json!({})).await;
        let position = posted.header("daybook-position").to_owned();
        assert!(position.starts_with("metaflow/"), "{position}");
        for header in ["daybook-generation", "daybook-applied", "metadata_service_version", "x-request-id"] {
            assert!(!posted.header(header).is_empty(), "{header} is missing");
        }
        let wait = [("daybook-min-position", position.as_str())];
        assert_eq!(server.api.send(Method::GET, "/flows/F", None, &wait).await.status, 200);
        for wrong in ["x", "metaflow/0", "metaflow/0@-1"] {
            let answer = server.api.send(Method::GET, "/flows/F", None, &[("daybook-min-position", wrong)]).await;
            assert_eq!((answer.status, answer.json()["field"].clone()), (400, json!("Daybook-Min-Position")));
        }
        let id = [("x-request-id", "mine-1")];
        let answer = server.api.send(Method::POST, "/flows/F", Some("[]".to_owned()), &id).await;
        assert_eq!((answer.header("x-request-id"), &answer.json()["request_id"]), ("mine-1", &json!("mine-1")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_request_gets_the_first_one_s_answer_also_after_a_restart() {
    on_both("idempotency", |place, server| async move {
        let key = |key: &'static str| [("idempotency-key", key)];
        let script = |api: daybook_tests::api::Api| async move {
            let mut answers = Vec::new();
            for (name, path, body) in [
                ("k1", "/flows/F", json!({})),
                ("k2", "/flows/F/run", json!({"run_number": "argo"})),
                ("k3", "/flows/F/runs/argo/steps/s/step", json!({})),
                ("k4", "/flows/F/runs/argo/steps/s/task", json!({})),
                ("k5", "/flows/F/runs/argo/steps/s/tasks/1/artifact", json!([{"name": "a"}, {"name": "a"}])),
                ("k6", "/flows/F/runs/argo/steps/s/tasks/1/metadata", json!([{"field_name": "f"}])),
            ] {
                let answer = api.send(Method::POST, path, Some(body.to_string()), &key(name)).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                let mut said = answer.json();
                if name == "k2"
                    && let Some(run) = said.as_object_mut()
                {
                    // The task that is made later moves it.
                    run.remove("last_heartbeat_ts");
                }
                answers.push((answer.header("daybook-position").to_owned(), said));
            }
            answers
        };
        let first = script(server.api.clone()).await;
        assert_eq!(script(server.api.clone()).await, first);
        server.kill();
        let server = daybook_tests::process::Server::start(&place);
        assert_eq!(script(server.api.clone()).await, first);
        assert_eq!(server.api.get("/flows/F/runs/argo/steps/s/tasks").await.json().as_array().map(Vec::len), Some(1));
        let other = server.api.send(Method::POST, "/flows/F/run", Some("{}".to_owned()), &key("k1")).await;
        assert_eq!(other.status, 422, "{}", other.text);
        let long = "k".repeat(256);
        let answer = server.api.send(Method::POST, "/flows/F", None, &[("idempotency-key", long.as_str())]).await;
        assert_eq!(answer.status, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_write_is_accepted_and_comes_true() {
    on_both("async", |_place, server| async move {
        let prefer = [("prefer", "respond-async")];
        let answer = server.api.send(Method::POST, "/flows/F", Some("{}".to_owned()), &prefer).await;
        assert_eq!((answer.status, answer.header("preference-applied")), (202, "respond-async"));
        let position = answer.header("daybook-position").to_owned();
        let read = server.api.send(Method::GET, "/flows/F", None, &[("daybook-min-position", position.as_str())]).await;
        assert_eq!(read.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_quarantine_is_a_number_within_bounds() {
    on_both("quarantine_limit", |_place, server| async move {
        for query in ["limit=x", "limit=0", "limit=501", "limit=-1", "after=x", "position=x", "limits=1"] {
            let answer = server.api.get(&format!("/api/v1/quarantine?{query}")).await;
            let name = query.split('=').next();
            assert_eq!((answer.status, answer.json()["field"].as_str()), (400, name), "{query}: {}", answer.text);
        }
        assert_eq!(server.api.get("/api/v1/quarantine?limit=500&after=&position=").await.text, "[]");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_large_request_of_which_only_a_part_was_recorded_records_the_rest() {
    on_both("part", |place, server| async move {
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        api.post("/flows/F/run", &json!({})).await;
        api.post("/flows/F/runs/1/steps/s/step", &json!({})).await;
        let id = api.post("/flows/F/runs/1/steps/s/task", &json!({})).await.json()["task_id"].clone();
        let long = "x".repeat(600_000);
        let artifact = |name: &str| json!({"name": name, "location": long, "ds_type": "d"});
        let metadata = |name: &str| json!({"field_name": name, "value": long, "type": "t"});
        for (kind, path, list, count, entries) in [
            ("ArtifactsRegistered", "artifact", "artifacts", "artifacts_created", ["a", "b", "c"].map(artifact)),
            ("MetadataRegistered", "metadata", "metadata", "metadata_created", ["a", "b", "c"].map(metadata)),
        ] {
            // The first of the request's events, as if its process had ended before the others were recorded.
            let event =
                json!({"flow_id": "F", "run_number": 1, "step_name": "s", "task_id": id, "entries": entries[..1]});
            let line = json!({"type": kind, "event": event, "idempotency_key": path}).to_string();
            let report = api.post_text("/api/v1/events", &line).await.json();
            assert_eq!(report["accepted"], 1, "{report}");
            let task = format!("/flows/F/runs/1/steps/s/tasks/{id}");
            let (url, body) = (format!("{task}/{path}"), Value::from(entries.to_vec()).to_string());
            let request = async || api.send(Method::POST, &url, Some(body.clone()), &[("idempotency-key", path)]).await;
            let retry = request().await;
            assert_eq!((retry.status, &retry.json()[count]), (200, &json!(3)), "{}", retry.text);
            assert_eq!(retry.header("daybook-position").split(',').count(), 3);
            let recorded = place.events().len();
            let again = request().await;
            assert_eq!((again.text.as_str(), place.events().len()), (retry.text.as_str(), recorded));
            assert_eq!(again.header("daybook-position"), retry.header("daybook-position"));
            assert_eq!(api.get(&format!("{task}/{list}")).await.json().as_array().map(Vec::len), Some(3), "{kind}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_with_one_key_and_one_name_all_get_the_first_one_s_answer() {
    on_both("parallel", |_place, server| async move {
        server.api.post("/flows/F", &json!({})).await;
        for round in 0..20 {
            let mut requests = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let (api, body) = (server.api.clone(), json!({"run_number": format!("run-{round}")}).to_string());
                let key = format!("key-{round}");
                requests.spawn(async move {
                    api.send(Method::POST, "/flows/F/run", Some(body), &[("idempotency-key", key.as_str())]).await
                });
            }
            let answers = requests.join_all().await;
            for answer in &answers {
                assert_eq!((answer.status, &answer.text), (200, &answers[0].text));
            }
        }
        assert_eq!(server.api.get("/flows/F/runs").await.json().as_array().map(Vec::len), Some(20));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_with_its_field_and_never_stored() {
    on_both("bad_input", |place, server| async move {
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        let nested = "[".repeat(100_000);
        let long_value = json!([{"value": "x".repeat(1024 * 1024 + 1)}]).to_string();
        let (run, step) = ("/flows/F/runs/1", "/flows/F/runs/1/steps/s");
        api.post("/flows/F/run", &json!({})).await;
        api.post(&format!("{step}/step"), &json!({})).await;
        api.post(&format!("{step}/task"), &json!({})).await;
        let before = place.events().len();
        let task = format!("{step}/tasks/1");
        for (path, body, status) in [
            ("/flows/N", nested.as_str(), 400),
            ("/flows/N", r#"{"tags": ["a\u0000b"]}"#, 400),
            ("/flows/a%00b", "{}", 400),
            ("/flows/%ff", "{}", 400),
            ("/flows/N", r#"{"user_name": "\ud800"}"#, 400),
            (&format!("{run}/steps/{}/step", "s".repeat(1025)), "{}", 413),
            (&format!("{task}/metadata"), long_value.as_str(), 413),
            // Nothing is left of a list whose only entry cannot be stored.
            (&format!("{task}/artifact"), r#"[{"attempt_id": 32768}]"#, 200),
            (&format!("{task}/artifact"), r#"[{"attempt_id": -32769}]"#, 200),
            (&format!("{task}/artifact"), r#"[{"attempt_id": 99999999999999999999}]"#, 200),
        ] {
            let answer = api.post_text(path, body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
        }
        assert_eq!(place.events().len(), before, "something was stored");
        let long_name = format!("/flows/F/runs/{}", "9".repeat(5000));
        assert_eq!(api.get(&long_name).await.status, 404);
        assert_eq!(api.get("/flows/F/runs?user=%00").await.status, 400);
        // Values over the original's 255 characters are kept whole.
        let value = "v".repeat(300_000);
        assert_eq!(api.post(&format!("{task}/metadata"), &json!([{"value": value}])).await.status, 200);
        assert_eq!(api.get(&format!("{task}/metadata")).await.json()[0]["value"], json!(value));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_names_what_is_served_and_nothing_else() {
    on_both("openapi", |_place, server| async move {
        let document: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
        assert_eq!(server.api.get("/openapi.json").await.json(), document);
        assert!(server.api.get("/api/doc").await.text.contains("openapi.json"));
        let paths = document["paths"].as_object().cloned().unwrap_or_default();
        // A collection's routes are served once it is defined. Below, a path's parameters are their own names.
        let definition = "collection = \"collection\"\nkey = \"id\"\n[fields]\nid = \"text\"\n";
        define(&server.api, "collection", definition).await;
        for (path, item) in &paths {
            let mut methods: Vec<String> =
                item.as_object().into_iter().flatten().map(|(name, _)| name.to_uppercase()).collect();
            methods.retain(|method| method != "PARAMETERS");
            let answer = server.api.send(Method::OPTIONS, &path.replace(['{', '}'], ""), None, &[]).await;
            let mut allowed: Vec<String> = answer.header("allow").split(',').map(str::to_owned).collect();
            allowed.retain(|method| method != "HEAD");
            methods.sort();
            allowed.sort();
            assert_eq!((answer.status, &allowed), (204, &methods), "{path}");
        }
        let routes = [
            include_str!("../../query-api/src/routes.rs"),
            include_str!("../../query-api/src/routes/generations.rs"),
            include_str!("../../deploy/domains/catalogue/src/collections/routes.rs"),
            include_str!("../../deploy/domains/catalogue/src/collections/refreshes.rs"),
            include_str!("../../deploy/domains/catalogue/src/records/routes.rs"),
            include_str!("../../deploy/domains/metaflow/src/routes/mod.rs"),
            include_str!("../../query-api/src/routes/search.rs"),
        ];
        let registry = include_str!("../../query-api/src/routes/schema_registry.rs");
        let of_registry = registry.matches("\n        (\"/").count();
        // A route that answers for all paths below another one serves nothing by itself.
        let own = |text: &&str| text.matches(".route(").count() - text.matches("{{*").count();
        // Search is served below each of two domains.
        let served = of_registry + routes.iter().map(own).sum::<usize>() + 1;
        assert_eq!(served, paths.len(), "routes are served that the document does not name");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_status_tell_how_it_stands() {
    on_both("health", |place, server| async move {
        assert_eq!(server.api.get("/health/live").await.status, 200);
        assert_eq!(server.api.get("/health/ready").await.json()["status"], "ready");
        server.api.post("/flows/F", &json!({})).await;
        let metrics = server.api.get("/metrics").await.text;
        for name in
            ["daybook_projector_lag_records", "daybook_projector_records_total", "daybook_query_api_request_seconds"]
        {
            assert!(metrics.contains(name), "{name} is missing");
        }
        let status = server.command(&["status"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        assert_eq!((&status["ready"], &status["generations"][0]["state"]), (&json!(true), &json!("live")), "{status}");
        let (done, table) = server.command_on_terminal(&["status"]);
        assert!(done && table.contains("metaflow generation 1, live"), "{table}");
        let shown = place.command(&["log", "tail", "--type", "FlowRegistered", "--key", "F"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        assert_eq!(shown["event"]["flow_id"], "F", "{shown}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_cannot_be_reached_are_refused_and_a_wait_for_others_counts_as_a_request() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("reachable", backend).with_program("daybook-books");
        let server = Server::start_with(&place, &["--requests-max", "1", "--wait-ms-max", "60000"]);
        for (path, position) in [
            ("/ping", "books/0@0"),
            ("/ping", "metaflow/0@0,metaflow/99@0"),
            ("/ping", "elsewhere/0@0"),
            ("/shelves/Algorithms/books/1", "metaflow/0@0"),
        ] {
            let answer = server.api.send(Method::GET, path, None, &[("daybook-min-position", position)]).await;
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("Daybook-Min-Position")), "{position}");
        }
        let too_many = "too many requests";
        let wait = async || {
            let headers = [("daybook-min-position", "metaflow/0@999999")];
            server.api.send(Method::GET, "/ping", None, &headers).await.text
        };
        let waiting = async {
            let mut text = wait().await;
            // The other request may have been first.
            while text.contains(too_many) {
                text = wait().await;
            }
            text
        };
        let refused = until("a refusal", async || server.api.get("/ping").await.text.contains(too_many));
        tokio::select! {
            text = waiting => panic!("no request was refused meanwhile: {text}"),
            () = refused => {}
        }
    }
}
