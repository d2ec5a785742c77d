//! Lists of metadata and artifacts are taken entry by entry, and values become the texts that the original makes of them,
//! on both back ends. What the original answers was seen there (`tests/compat/README.md`).

use daybook_tests::{api::Api, process::Server};
use serde_json::{Value, json};

use crate::on_both;

/// A task; returns its path.
async fn task(api: &Api) -> String {
    api.post("/flows/F", &json!({})).await;
    let run = api.post("/flows/F/run", &json!({})).await.json()["run_number"].clone();
    let step = format!("/flows/F/runs/{run}/steps/s");
    api.post(&format!("{step}/step"), &json!({})).await;
    let id = api.post(&format!("{step}/task"), &json!({})).await.json()["task_id"].clone();
    format!("{step}/tasks/{id}")
}

/// Metadata that cannot be stored, each with the field because of which. The first ones as clients post them: no log
/// group, a string with a NUL, a file name that is not UTF-8.
const METADATA: [(&str, &str); 18] = [
    (r#""field_name": "aws-batch-awslogs-group", "value": null"#, "value"),
    (r#""field_name": "foreach-stack", "value": ["x=a\u0000b"]"#, "value"),
    (r#""field_name": "foreach-stack", "value": ["x=f\udcff.csv"]"#, "value"),
    (r#""field_name": null"#, "field_name"),
    (r#""field_name": "x", "type": null"#, "type"),
    (r#""field_name": "x", "value": "\ud800""#, "value"),
    (r#""field_name": "x", "value": {"a": 1}"#, "value"),
    (r#""field_name": "x", "value": [[1], [2, 3]]"#, "value"),
    (r#""field_name": "x", "value": [1, "a"]"#, "value"),
    (r#""field_name": "x", "value": [[null], []]"#, "value"),
    (r#""field_name": "x", "value": ["a", ["b"]]"#, "value"),
    (r#""field_name": "x", "value": ["1e5", 1]"#, "value"),
    (r#""field_name": "x", "user_name": "\u0000""#, "user_name"),
    (r#""field_name": "x", "system_tags": {"a": "\u0000"}"#, "system_tags"),
    (r#""field_name": "x", "tags": [1e400]"#, "tags"),
    (r#""field_name": "x", "tags": ["\u0000"]"#, "tags[0]"),
    (r#""field_name": "x", "tags": [NaN]"#, "tags"),
    (r#""field_name": "x", "value": [NaN, "a"]"#, "value"),
];
/// Artifacts that cannot be stored.
const ARTIFACTS: [(&str, &str); 11] = [
    (r#""name": null"#, "name"),
    (r#""name": "x", "location": null"#, "location"),
    (r#""name": "x", "ds_type": null"#, "ds_type"),
    (r#""name": "a\u0000""#, "name"),
    (r#""name": "x", "sha": "\udfff""#, "sha"),
    (r#""name": "x", "attempt_id": 32768"#, "attempt_id"),
    (r#""name": "x", "attempt_id": null"#, "attempt_id"),
    (r#""name": "x", "attempt_id": 1.5"#, "attempt_id"),
    (r#""name": "x", "attempt_id": 99999999999999999999"#, "attempt_id"),
    (r#""name": "x", "type": {}"#, "type"),
    (r#""name": "x", "tags": [["\ud800"]]"#, "tags"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_stored_is_left_out_and_named_and_the_others_are_stored() {
    on_both("entries", |_place, server: Server| async move {
        let task = task(&server.api).await;
        let cases = METADATA.iter().map(|case| ("metadata", "metadata", "metadata_created", case));
        let cases = cases.chain(ARTIFACTS.iter().map(|case| ("artifact", "artifacts", "artifacts_created", case)));
        for (index, (kind, list, count, (wrong, field))) in cases.enumerate() {
            let good = |name: &str| format!(r#"{{"field_name": "{name}{index}", "name": "{name}{index}"}}"#);
            let body = format!("[{}, {{{wrong}}}, {}]", good("first"), good("last"));
            let answer = server.api.post_text(&format!("{task}/{kind}"), &body).await;
            assert_eq!((answer.status, answer.json()), (200, json!({count: 2})), "{body}");
            assert_eq!(answer.header("daybook-skipped"), "1", "{body}");
            assert_eq!(answer.header("daybook-skipped-fields"), format!("[1].{field}"), "{body}");
            let listed = server.api.get(&format!("{task}/{list}")).await.text;
            assert!(listed.contains(&format!("first{index}")) && listed.contains(&format!("last{index}")), "{listed}");
            let alone = server.api.post_text(&format!("{task}/{kind}"), &format!("[{{{wrong}}}]")).await;
            assert_eq!((alone.status, alone.json()), (200, json!({count: 0})), "{wrong}");
            assert_eq!(alone.header("daybook-skipped"), "1");
        }
        let metrics = server.api.get("/metrics").await.text;
        for (kind, count) in [("metadata", 36), ("artifacts", 22)] {
            let line = format!("daybook_query_api_skipped_entries_total{{kind=\"{kind}\"}} {count}");
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
        let whole = server.api.post(&format!("{task}/metadata"), &json!([{"field_name": "x"}])).await;
        assert_eq!(whole.header("daybook-skipped"), "");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_a_text_over_its_limit_is_refused_as_a_whole() {
    on_both("long_entries", |_place, server: Server| async move {
        let task = task(&server.api).await;
        let (name, value, tag) = ("x".repeat(1025), "x".repeat(1024 * 1024 + 1), json!(["x".repeat(16 * 1024 + 1)]));
        let before = server.api.get(&format!("{task}/metadata")).await.text;
        for (kind, field, text, named) in [
            ("metadata", "field_name", json!(name), "field_name"),
            ("metadata", "value", json!(value), "value"),
            ("metadata", "tags", tag.clone(), "tags[0]"),
            ("artifact", "name", json!(name), "name"),
            ("artifact", "location", json!(value), "location"),
            ("artifact", "system_tags", tag, "system_tags[0]"),
        ] {
            let mut wrong = json!({"name": "x"});
            wrong[field] = text;
            let answer = server.api.post(&format!("{task}/{kind}"), &json!([{"name": "y"}, wrong])).await;
            assert_eq!((answer.status, &answer.json()["field"]), (413, &json!(format!("[1].{named}"))), "{kind}");
        }
        assert_eq!(server.api.get(&format!("{task}/metadata")).await.text, before, "something was stored");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_may_hold_anything() {
    on_both("unread", |_place, server: Server| async move {
        let task = task(&server.api).await;
        let junk = r#""junk": "\ud800", "\udc00": [1e999, NaN, {"a": "\udfff"}]"#;
        for (path, body) in [
            ("/flows/G".to_owned(), format!("{{{junk}}}")),
            ("/flows/F/run".to_owned(), format!("{{{junk}}}")),
            (format!("{task}/metadata"), format!("[{{\"field_name\": \"x\", {junk}}}]")),
            (format!("{task}/artifact"), format!("[{{\"name\": \"x\", {junk}}}]")),
        ] {
            let answer = server.api.post_text(&path, &body).await;
            assert_eq!((answer.status, answer.header("daybook-skipped")), (200, ""), "{path}: {}", answer.text);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_the_texts_that_the_original_stores() {
    on_both("values", |_place, server: Server| async move {
        let task = task(&server.api).await;
        for (value, text) in [
            ("12345678901234567890123", "12345678901234567890123"),
            ("18446744073709551616", "18446744073709551616"),
            ("1e20", "100000000000000000000"),
            ("1e-7", "0.0000001"),
            ("-0.0", "0.0"),
            ("true", "true"),
            ("[]", "{}"),
            (r#"["x=a b","y=1"]"#, r#"{"x=a b",y=1}"#),
            (r#"["a",null,"NULL",""]"#, r#"{a,NULL,"NULL",""}"#),
            (r#"["a\"b","a\\b"]"#, r#"{"a\"b","a\\b"}"#),
            ("[true,false]", "{t,f}"),
            ("[[1,2],[3,4]]", "{{1,2},{3,4}}"),
            ("[null, [null], [null, [null]]]", "{NULL,{NULL},{NULL,{NULL}}}"),
            (r#"["1.50", 2, " -0.0\u000b", "1e3", 1e16]"#, "{1.50,2,0.0,1000,10000000000000000}"),
            (r#"["nan", "-inf", 2.5]"#, "{NaN,-Infinity,2.5}"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("1796055908594.0312", "1796055908594.0312"),
            ("-233891771783429.62", "-233891771783429.62"),
            ("100000000000000.62", "100000000000000.62"),
            ("[NaN, Infinity, 2.5]", "{NaN,Infinity,2.5}"),
            ("[[1], [NaN]]", "{{1},{NaN}}"),
            ("[1, NaN]", "{1,NaN}"),
            ("[Infinity, 5]", "{Infinity,5}"),
            ("[NaN, 12345678901]", "{NaN,12345678901}"),
            (r#"["-inf", NaN]"#, "{-Infinity,NaN}"),
            (r#"["NaN \" Infinity"]"#, r#"{"NaN \" Infinity"}"#),
            (r#"[["1", 2], [null, 9223372036854775807]]"#, "{{1,2},{NULL,9223372036854775807}}"),
            (r#"["yes", false]"#, "{t,f}"),
            ("[1,2.5,12345678901234567890123]", "{1,2.5,12345678901234567890123}"),
        ] {
            let body = format!(r#"[{{"field_name": "x", "value": {value}}}]"#);
            assert_eq!(server.api.post_text(&format!("{task}/metadata"), &body).await.status, 200);
            let listed = server.api.get(&format!("{task}/metadata")).await.json();
            assert_eq!(listed[0]["value"], text, "{value}");
        }
        // The same for every field that holds a text.
        let body =
            r#"[{"name": 5, "location": ["a b"], "ds_type": true, "sha": 1e-7, "user_name": [1], "type": null}]"#;
        assert_eq!(server.api.post_text(&format!("{task}/artifact"), body).await.status, 200);
        let artifact = server.api.get(&format!("{task}/artifacts/5")).await.json();
        for (field, text) in
            [("location", r#"{"a b"}"#), ("ds_type", "true"), ("sha", "0.0000001"), ("user_name", "{1}")]
        {
            assert_eq!(artifact[field], text, "{field}");
        }
        assert_eq!(artifact["type"], Value::Null);
        let attempt = r#"[{"name": "attempt", "attempt_id": "\u000b4"}]"#;
        assert_eq!(server.api.post_text(&format!("{task}/artifact"), attempt).await.status, 200);
        let attempt = server.api.get(&format!("{task}/artifacts/attempt/attempt/4")).await.json();
        assert_eq!(attempt["attempt_id"], 4);
        let flow = server.api.post_text("/flows/H", r#"{"user_name": 18446744073709551616}"#).await.json();
        assert_eq!(flow["user_name"], "18446744073709551616");
        assert_eq!(server.api.get("/flows/H").await.json(), flow);
        assert_eq!(server.api.post_text("/flows/I", r#"{"user_name": {}}"#).await.status, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_from_the_future_does_not_outlive_the_next_one() {
    on_both("future", |_place, server: Server| async move {
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        // The tags of a client that sends no heartbeat with the start.
        let run = api.post("/flows/F/run", &json!({"system_tags": []})).await.json()["run_number"].clone();
        let ahead = api.get("/flows/F").await.json()["ts_epoch"].as_i64().unwrap_or_default() + 7_200_000;
        let event = json!({"flow_id": "F", "run_number": run, "step_name": null, "task_id": null});
        let line = json!({"type": "HeartbeatRecorded", "event": event, "occurred_at": ahead}).to_string();
        let answer = api.post_text("/api/v1/events", &line).await;
        assert_eq!(answer.json()["accepted"], 1, "{}", answer.text);
        let path = format!("/flows/F/runs/{run}");
        assert_eq!(api.get(&path).await.json()["last_heartbeat_ts"], ahead / 1000);
        let running = async || api.get("/flows/F/runs?status=running").await.json().as_array().map_or(0, Vec::len);
        assert_eq!(running().await, 0);
        assert_eq!(api.post_text(&format!("{path}/heartbeat"), "").await.status, 200);
        let beat = api.get(&path).await.json()["last_heartbeat_ts"].as_i64().unwrap_or_default();
        assert!(beat > 0 && beat < ahead / 1000 - 3600, "the next beat was not recorded: {beat}");
        assert_eq!(running().await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_from_the_future_does_not_outlive_the_next_heartbeat() {
    on_both("registered_ahead", |_place, server: Server| async move {
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        // Also by little: whether a time is in the future must not depend on when it is read.
        for (run, ahead) in [(1, 60_000), (2, 95_000), (3, 7_200_000)] {
            let flow = api.post(&format!("/flows/Of{run}"), &json!({})).await.json();
            let now = flow["ts_epoch"].as_i64().unwrap_or_default();
            let at = now + ahead;
            let line = |kind: &str, mut event: Value| {
                event["flow_id"] = json!("F");
                event["run_number"] = json!(run);
                json!({"type": kind, "event": event, "occurred_at": at}).to_string()
            };
            let task = |id: i64| line("TaskRegistered", json!({"step_name": "s", "task_id": id, "heartbeat": true}));
            let step = line("StepRegistered", json!({"step_name": "s"}));
            let lines = [line("RunStarted", json!({"heartbeat": true})), step, task(10 * run)].join("\n");
            let answer = api.post_text("/api/v1/events", &lines).await;
            assert_eq!(answer.json()["accepted"], 3, "{}", answer.text);
            let path = format!("/flows/F/runs/{run}");
            let task_path = format!("{path}/steps/s/tasks/{}", 10 * run);
            assert_eq!(api.get(&path).await.json()["last_heartbeat_ts"], at / 1000, "nothing else is known");
            assert_eq!(api.post_text(&format!("{task_path}/heartbeat"), "").await.status, 200);
            // A later registration from the future decides nothing either.
            assert_eq!(api.post_text("/api/v1/events", &task(10 * run + 1)).await.json()["accepted"], 1);
            let listed = api.get("/flows/F/runs").await.json();
            let tasks = api.get(&format!("{path}/steps/s/tasks")).await.json();
            let of = |list: &Value, field: &str, number: i64| {
                let found = list.as_array().into_iter().flatten().find(|object| object[field] == number);
                found.map(|object| object["last_heartbeat_ts"].clone())
            };
            let beat = api.get(&path).await.json()["last_heartbeat_ts"].clone();
            let seconds = beat.as_i64().unwrap_or_default();
            assert!((now / 1000..at / 1000).contains(&seconds), "{ahead}: {beat}");
            assert_eq!(of(&listed, "run_number", run), Some(beat.clone()));
            assert_eq!(api.get(&task_path).await.json()["last_heartbeat_ts"], beat);
            assert_eq!(of(&tasks, "task_id", 10 * run), Some(beat.clone()));
            for filter in ["status=running".to_owned(), format!("last_heartbeat_ts={beat}")] {
                let found = api.get(&format!("/flows/F/runs?run_number={run}&{filter}")).await.json();
                assert_eq!(found.as_array().map(Vec::len), Some(1), "{filter}: {found}");
            }
        }
    })
    .await;
}
