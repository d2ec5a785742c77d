//! Bulk ingestion: what is recorded, what is refused, and the numbers that lines leave out.

use serde_json::{Value, json};

use crate::on_both;

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
        let of_task = |rest: Value| {
            let mut event = json!({"flow_id": "F", "run_number": 1, "step_name": "s", "task_id": 1});
            event.as_object_mut().into_iter().for_each(|it| it.extend(rest.as_object().cloned().unwrap_or_default()));
            event
        };
        let bulk = async |lines: &[String]| server.api.post_text("/api/v1/events", &lines.join("\n")).await.json();
        let (artifact, entry) = (
            json!({"name": "a", "location": "l", "ds_type": "d", "attempt_id": null, "tags": null}),
            json!({"field_name": "f", "value": "v", "type": "t", "user_name": null, "tags": null}),
        );
        // Numbers are assigned when a body's lines are recorded: lines that name them are in the next one.
        for accepted in [
            &[
                line("FlowRegistered", json!({"flow_id": "F", "user_name": null, "tags": null, "system_tags": null})),
                line("RunStarted", json!({"flow_id": "F", "run_number": null, "heartbeat": null})),
            ][..],
            &[
                line("StepRegistered", json!({"flow_id": "F", "run_number": 1, "step_name": "s", "tags": null})),
                line("TaskRegistered", of_task(json!({"task_id": null}))),
                json!({"type": "RunTagsMutated", "event": {"flow_id": "F", "run_number": 1, "add": ["a"], "remove": null},
                    "occurred_at": null, "idempotency_key": null})
                .to_string(),
            ],
            &[
                line("ArtifactsRegistered", of_task(json!({"entries": [artifact]}))),
                line("MetadataRegistered", of_task(json!({"first_id": null, "entries": [entry]}))),
            ],
        ] {
            let report = bulk(accepted).await;
            assert_eq!((&report["accepted"], &report["rejected"]), (&json!(accepted.len()), &json!(0)), "{report}");
        }
        let array = json!(["FlowRegistered", {"flow_id": "G"}, null, null]);
        let report = bulk(&[
            array.to_string(),
            format!("  {array}"),
            line("ArtifactsRegistered", of_task(json!({"entries": [["b", "l", "d"]]}))),
            line("StepRegistered", json!({"flow_id": "F", "run_number": 1, "step_name": null})),
            "7".to_owned(),
        ])
        .await;
        let no_object = "the line is not a JSON object";
        for (index, text) in
            [no_object, no_object, "entry 0 is not an object", "missing field `step_name`", no_object].iter().enumerate()
        {
            let refused = &report["rejects"][index];
            assert_eq!((&refused["line"], &refused["message"]), (&json!(index + 1), &json!(text)), "{report}");
        }
        assert_eq!(report["accepted"], 0, "{report}");
        assert_eq!(server.api.get("/flows/F/runs/1/steps/s/tasks/1").await.json()["task_id"], 1);
        assert_eq!(server.api.get("/flows/G").await.status, 404);
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
