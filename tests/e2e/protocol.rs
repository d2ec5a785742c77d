//! Daybook's own promises over HTTP: positions, idempotency, asynchronous answers, bulk, limits, the OpenAPI document.

use daybook_query_api::routes::docs::OPENAPI;
use daybook_tests::process::{Backend, Place, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;

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

fn line(kind: &str, event: Value) -> String {
    json!({"type": kind, "event": event, "occurred_at": 1_700_000_000_000_i64}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_lines_are_recorded_and_bad_ones_reported() {
    on_both("bulk", |_place, server| async move {
        let run = |number: i64| json!({"flow_id": "F", "run_number": number});
        let step = json!({"flow_id": "F", "run_number": 500, "step_name": "s"});
        let task = json!({"flow_id": "F", "run_number": 500, "step_name": "s", "task_id": 900});
        let artifact = json!({"flow_id": "F", "run_number": 500, "step_name": "s", "task_id": 900,
            "entries": [{"name": "x", "location": "l", "ds_type": "s3"}]});
        let metadata = json!({"flow_id": "F", "run_number": 500, "step_name": "s", "task_id": 900,
            "entries": [{"field_name": "f", "value": "v", "type": "t"}]});
        let lines = [
            line("FlowRegistered", json!({"flow_id": "F", "tags": ["bulk"]})),
            "not json".to_owned(),
            line("RunStarted", run(500)),
            line("RunStarted", json!({"flow_id": "Nobody"})),
            line("StepRegistered", step),
            String::new(),
            line("TaskRegistered", task),
            line("ArtifactsRegistered", artifact),
            line("MetadataRegistered", metadata),
            line("LogCreated", json!({"log_id": "x"})),
            line("FlowRegistered", json!({"flow_id": "G", "unknown": 1})),
            line("FlowRegistered", json!({"flow_id": "a\u{0}b"})),
            line("RunTagsMutated", json!({"flow_id": "F", "run_number": 500, "add": ["late"]})),
            line("HeartbeatRecorded", json!({"flow_id": "F", "run_number": 500})),
            line("RunStarted", json!({"flow_id": "F", "run_id": "named"})),
        ];
        let answer = server.api.post_text("/api/v1/events", &lines.join("\n")).await;
        let report = answer.json();
        assert_eq!((answer.status, &report["accepted"], &report["rejected"]), (200, &json!(9), &json!(5)), "{report}");
        let rejected: Vec<_> =
            report["rejects"].as_array().into_iter().flatten().map(|it| it["line"].clone()).collect();
        assert_eq!(rejected, [2, 4, 10, 11, 12]);
        let run = server.api.get("/flows/F/runs/500").await.json();
        assert_eq!((&run["ts_epoch"], &run["tags"]), (&json!(1_700_000_000_000_i64), &json!(["late"])));
        let tasks = server.api.get("/flows/F/runs/500/steps/s/tasks").await.json();
        assert_eq!(tasks[0]["task_id"], 900);
        assert_eq!(server.api.get("/flows/F/runs/500/artifacts").await.json().as_array().map(Vec::len), Some(1));
        // A number that the sequence comes to and an import has used is passed over, with those below it.
        let start =
            async || server.api.post("/flows/F/run", &json!({})).await.json()["run_number"].as_i64().unwrap_or(0);
        let next = 1 + start().await;
        let imported = server
            .api
            .post_text("/api/v1/events", &line("RunStarted", json!({"flow_id": "F", "run_number": next})))
            .await;
        assert_eq!(imported.json()["accepted"], 1, "{}", imported.text);
        assert!(start().await > 500, "the import's numbers are not passed over");
        assert_eq!(server.api.get("/api/v1/quarantine").await.text, "[]");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_in_a_bulk_line_is_absent_and_an_array_is_no_object() {
    on_both("bulk_shapes", |_place, server| async move {
        let run = json!({"flow_id": "F", "run_number": 1});
        let of_task = |rest: Value| {
            let mut event = json!({"flow_id": "F", "run_number": 1, "step_name": "s", "task_id": 1});
            event
                .as_object_mut()
                .into_iter()
                .for_each(|event| event.extend(rest.as_object().cloned().unwrap_or_default()));
            event
        };
        let artifact = json!({"name": "a", "location": "l", "ds_type": "d", "attempt_id": null, "tags": null});
        let array = json!(["FlowRegistered", {"flow_id": "G"}, null, null]);
        let lines = [
            line("FlowRegistered", json!({"flow_id": "F", "user_name": null, "tags": null, "system_tags": null})),
            line("RunStarted", json!({"flow_id": "F", "run_number": null, "heartbeat": null})),
            line("StepRegistered", json!({"flow_id": "F", "run_number": 1, "step_name": "s", "tags": null})),
            line("TaskRegistered", of_task(json!({"task_id": null}))),
            line("ArtifactsRegistered", of_task(json!({"entries": [artifact]}))),
            line("MetadataRegistered", of_task(json!({"first_id": null, "entries": []}))),
            array.to_string(),
            format!("  {array}"),
            line("ArtifactsRegistered", of_task(json!({"entries": [["b", "l", "d"]]}))),
            line("StepRegistered", json!({"flow_id": "F", "run_number": 1, "step_name": null})),
            "7".to_owned(),
            json!({"type": "RunTagsMutated", "event": run, "occurred_at": null, "idempotency_key": null}).to_string(),
        ];
        let report = server.api.post_text("/api/v1/events", &lines.join("\n")).await.json();
        let rejects: Vec<_> = report["rejects"].as_array().into_iter().flatten().collect();
        let refused: Vec<_> = rejects.iter().map(|it| it["line"].as_u64().unwrap_or(0)).collect();
        assert_eq!(refused, [7, 8, 9, 10, 11], "{report}");
        for (place, text) in
            [(0, "not a JSON object"), (1, "not a JSON object"), (2, "entry 0"), (4, "not a JSON object")]
        {
            assert!(rejects[place]["message"].as_str().is_some_and(|message| message.contains(text)), "{report}");
        }
        assert_eq!(report["accepted"], 7, "{report}");
        assert_eq!(server.api.get("/flows/F/runs/1/steps/s/tasks/1").await.json()["task_id"], 1);
        assert_eq!(server.api.get("/flows/G").await.status, 404);
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
async fn bulk_lines_without_numbers_get_them_in_the_order_of_the_lines() {
    on_both("unnumbered", |_place, server| async move {
        let step = |run: i64| json!({"flow_id": "F", "run_number": run, "step_name": "s"});
        let task = |index: usize| {
            line("TaskRegistered", json!({"flow_id": "F", "run_number": 500, "step_name": "s", "user_name": format!("{index:04}")}))
        };
        let mut lines = vec![
            line("FlowRegistered", json!({"flow_id": "F"})),
            line("RunStarted", json!({"flow_id": "F", "run_number": 500})),
            line("StepRegistered", step(500)),
            // Its number is not known before it is recorded: no line of the same body can mean it.
            line("RunStarted", json!({"flow_id": "F"})),
            line("StepRegistered", step(1)),
        ];
        lines.extend((0..1_200).map(task));
        let metadata = json!({"flow_id": "F", "run_number": 500, "step_name": "s", "task_id": 1,
            "entries": [{"field_name": "f", "value": "v", "type": "t"}, {"field_name": "g", "value": "v", "type": "t"}]});
        let report = server.api.post_text("/api/v1/events", &lines.join("\n")).await.json();
        assert_eq!((&report["accepted"], &report["rejects"][0]["line"]), (&json!(1_204), &json!(5)), "{report}");
        let tasks = server.api.get("/flows/F/runs/500/steps/s/tasks").await.json();
        let mut named: Vec<(i64, String)> = tasks
            .as_array()
            .into_iter()
            .flatten()
            .map(|task| (task["task_id"].as_i64().unwrap_or(0), task["user_name"].to_string()))
            .collect();
        named.sort();
        assert_eq!(named.len(), 1_200);
        assert!(named.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1), "{named:?}");
        let two = [metadata.clone(), metadata].map(|event| line("MetadataRegistered", event)).join("\n");
        assert_eq!(server.api.post_text("/api/v1/events", &two).await.json()["accepted"], 2);
        let entries = server.api.get("/flows/F/runs/500/steps/s/tasks/1/metadata").await.json();
        let mut ids: Vec<_> = entries.as_array().into_iter().flatten().map(|entry| entry["id"].as_i64()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4, "{entries}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_lines_whose_numbers_an_import_holds_get_others() {
    on_both("taken", |_place, server| async move {
        let api = &server.api;
        let bulk = async |lines: &[String]| {
            let report = api.post_text("/api/v1/events", &lines.join("\n")).await.json();
            assert_eq!(report["accepted"], lines.len(), "{report}");
        };
        api.post("/flows/F", &json!({})).await;
        let start = async || api.post("/flows/F/run", &json!({})).await.json()["run_number"].as_i64();
        for number in 1..=3 {
            assert_eq!(start().await, Some(number));
        }
        bulk(&[line("RunStarted", json!({"flow_id": "F", "run_number": 5}))]).await;
        assert_eq!(start().await, Some(4));
        bulk(&[line("RunStarted", json!({"flow_id": "F", "run_id": "named"}))]).await;
        let shown_as =
            async |number: i64| api.get(&format!("/flows/F/runs/{number}")).await.json()["run_number"].clone();
        assert_eq!(shown_as(6).await, "named");
        // A second run of the name loses for its name, and is not appended again and again.
        bulk(&[line("RunStarted", json!({"flow_id": "F", "run_id": "named"}))]).await;
        let runs = api.get("/flows/F/runs").await.json();
        assert_eq!(runs.as_array().map(Vec::len), Some(6), "{runs}");

        for step in ["s", "t"] {
            api.post(&format!("/flows/F/runs/1/steps/{step}/step"), &json!({})).await;
        }
        let first = api.post("/flows/F/runs/1/steps/s/task", &json!({})).await.json()["task_id"].as_i64().unwrap_or(0);
        let task = |step: &str, more: Value| {
            let mut event = json!({"flow_id": "F", "run_number": 1, "step_name": step});
            for (field, value) in more.as_object().into_iter().flatten() {
                event[field] = value.clone();
            }
            event
        };
        let imported = [2, 4].map(|more| line("TaskRegistered", task("t", json!({"task_id": first + more}))));
        bulk(&imported).await;
        let names = ["a", "b", "c", "d"];
        let mut lines: Vec<_> = names.map(|name| line("TaskRegistered", task("s", json!({"task_name": name})))).into();
        let keyed =
            json!({"type": "TaskRegistered", "event": task("s", json!({"user_name": "k"})), "idempotency_key": "k"});
        lines.extend([keyed.to_string(), keyed.to_string()]);
        bulk(&lines).await;
        bulk(&lines[4..]).await;
        let tasks = api.get("/flows/F/runs/1/steps/s/tasks").await.json();
        for name in names {
            assert_eq!(api.get(&format!("/flows/F/runs/1/steps/s/tasks/{name}")).await.status, 200, "{name}: {tasks}");
        }
        assert_eq!(tasks.as_array().map(Vec::len), Some(6), "one with a key, the four and the first: {tasks}");
        // Explicit numbers of the body itself are passed over from the start: lines keep their order.
        let last = start().await.unwrap_or(0);
        let explicit = line("RunStarted", json!({"flow_id": "F", "run_number": last + 1}));
        let unnumbered = ["x", "y"].map(|name| line("RunStarted", json!({"flow_id": "F", "run_id": name})));
        bulk(&[&unnumbered[..1], &[explicit], &unnumbered[1..]].concat()).await;
        for (name, number) in [("x", last + 2), ("y", last + 3)] {
            assert_eq!(shown_as(number).await, name);
        }
        assert_eq!(api.get("/api/v1/quarantine").await.text, "[]");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explicit_numbers_of_bulk_lines_leave_half_of_each_sequence_to_the_server() {
    on_both("half", |place, server| async move {
        let (runs, ids) = (1_i64 << 30, 1_i64 << 62);
        let run = |number: i64| line("RunStarted", json!({"flow_id": "F", "run_number": number}));
        let task = |id: i64| {
            line("TaskRegistered", json!({"flow_id": "F", "run_number": runs, "step_name": "s", "task_id": id}))
        };
        let metadata = |id: i64| {
            let entry = json!({"field_name": "f", "value": "v", "type": "t"});
            line(
                "MetadataRegistered",
                json!({"flow_id": "F", "run_number": runs, "step_name": "s", "task_id": ids,
                "first_id": id, "entries": [entry, entry]}),
            )
        };
        let lines = [
            line("FlowRegistered", json!({"flow_id": "F"})),
            run(i64::from(i32::MAX)),
            run(runs + 1),
            run(runs),
            line("StepRegistered", json!({"flow_id": "F", "run_number": runs, "step_name": "s"})),
            task(i64::MAX),
            task(ids),
            metadata(ids),
            metadata(ids - 1),
        ];
        let report = server.api.post_text("/api/v1/events", &lines.join("\n")).await.json();
        assert_eq!((&report["accepted"], &report["rejected"]), (&json!(5), &json!(4)), "{report}");
        let rejects: Vec<_> = report["rejects"].as_array().into_iter().flatten().collect();
        let refused: Vec<_> = rejects.iter().map(|it| (it["line"].clone(), it["field"].clone())).collect();
        let expected = [(2, "run_number"), (3, "run_number"), (6, "task_id"), (8, "first_id")];
        assert_eq!(refused, expected.map(|(line, field)| (json!(line), json!(field))));
        assert_eq!(rejects[0]["message"], "run_number is 2147483647, outside 1 to 1073741824");
        server.kill();
        let server = daybook_tests::process::Server::start(&place);
        let step = format!("/flows/F/runs/{runs}/steps/s");
        for more in [1, 2] {
            let run = server.api.post("/flows/F/run", &json!({})).await;
            assert_eq!((run.status, run.json()["run_number"].as_i64()), (200, Some(runs + more)), "{}", run.text);
            let task = server.api.post(&format!("{step}/task"), &json!({})).await;
            assert_eq!((task.status, task.json()["task_id"].as_i64()), (200, Some(ids + more)), "{}", task.text);
            let path = format!("{step}/tasks/{}/metadata", ids + more);
            let metadata = server.api.post(&path, &json!([{"field_name": "f"}])).await;
            assert_eq!(metadata.status, 200, "{}", metadata.text);
        }
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
            include_str!("../../query-api/src/routes/metaflow/mod.rs"),
            include_str!("../../query-api/src/routes/search.rs"),
        ];
        let registry = include_str!("../../query-api/src/routes/schema_registry.rs");
        let of_registry = registry.matches("\n        (\"/").count();
        let served = of_registry + routes.iter().map(|text| text.matches(".route(").count()).sum::<usize>();
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
        let server = Server::start_with(&place, &["--requests-max", "1", "--wait-ms-max", "3000"]);
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
        let refused = async { while !server.api.get("/ping").await.text.contains(too_many) {} };
        tokio::select! {
            text = waiting => panic!("no request was refused meanwhile: {text}"),
            () = refused => {}
        }
    }
}
