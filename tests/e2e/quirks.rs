//! The quirks of Metaflow's service that clients or upstream's tests depend on, one test each, on both back ends.

use daybook_tests::{api::Api, process::Server};
use serde_json::{Value, json};

use crate::on_both;

const TAGS: &str = "metaflow_version:2.19.39";

/// A flow with one run, step and task; returns their path and numbers.
async fn task(api: &Api, flow: &str) -> (String, i64, i64) {
    api.post(&format!("/flows/{flow}"), &json!({})).await;
    let body = json!({"user_name": "ann", "tags": ["t"], "system_tags": ["user:ann", TAGS]});
    let run = api.post(&format!("/flows/{flow}/run"), &body).await;
    let run = run.json()["run_number"].as_i64().unwrap_or_else(|| panic!("no run: {} {}", run.status, run.text));
    let step = format!("/flows/{flow}/runs/{run}/steps/start");
    assert_eq!(api.post(&format!("{step}/step"), &json!({})).await.status, 200);
    let id = api.post(&format!("{step}/task"), &body).await.json()["task_id"].as_i64().unwrap_or_default();
    (format!("{step}/tasks/{id}"), run, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_answered_with_json_in_a_json_string() {
    on_both("beats", |_place, server: Server| async move {
        let (path, run, _) = task(&server.api, "F").await;
        for path in [format!("{path}/heartbeat"), format!("/flows/F/runs/{run}/heartbeat")] {
            // Clients send beats without a content type, with any body or none, and an early one is no error.
            for body in ["", "{}", "not json"] {
                let answer = server.api.post_text(&path, body).await;
                let inner: Value = serde_json::from_str(answer.json().as_str().unwrap_or_default()).unwrap_or_default();
                assert_eq!((answer.status, &inner), (200, &json!({"wait_time_in_seconds": 10})));
            }
        }
        for path in [
            "/flows/F/runs/99/heartbeat",
            "/flows/No/runs/1/heartbeat",
            "/flows/F/runs/1/steps/start/tasks/99/heartbeat",
        ] {
            let answer = server.api.post(path, &json!({})).await;
            let body = json!(json!({"wait_time_in_seconds": 10}).to_string());
            assert_eq!((answer.status, answer.json()), (404, body), "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_shows_its_run_as_a_string_in_post_and_get_alike() {
    on_both("step_run", |_place, server| async move {
        server.api.post("/flows/F", &json!({})).await;
        let run = server.api.post("/flows/F/run", &json!({})).await.json()["run_number"].clone();
        assert!(run.is_i64(), "a numbered run is an integer elsewhere");
        let path = format!("/flows/F/runs/{run}/steps/start");
        let posted = server.api.post(&format!("{path}/step"), &json!({})).await.json();
        assert_eq!(posted["run_number"], json!(run.to_string()));
        assert_eq!(posted["user_name"], "", "a step's user is empty by default, not null");
        assert_eq!(server.api.get(&path).await.json(), posted);
        let path = format!("/flows/F/runs/{run}/steps/nobody");
        let posted = server.api.post(&format!("{path}/step"), &json!({"user_name": null})).await.json();
        assert_eq!(posted["user_name"], Value::Null, "null is kept");
        assert_eq!(server.api.get(&path).await.json(), posted);
    })
    .await;
}

/// Values of tags as a client may send them, and the tags that are kept.
const ANY_TAGS: [(&str, &[&str]); 9] = [
    ("null", &[]),
    (r#""user:ann""#, &["user:ann"]),
    (r#""""#, &[""]),
    ("5", &["5"]),
    ("[true, 1.50, null]", &["true", "1.50", "null"]),
    (r#"["a", ["b"], {"c": 1}]"#, &["a", r#"["b"]"#, r#"{"c": 1}"#]),
    (r#"{"a": 1}"#, &[r#"{"a": 1}"#]),
    ("[[]]", &["[]"]),
    (r#"["a", "a"]"#, &["a", "a"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_flows_runs_steps_and_tasks_may_be_any_json() {
    on_both("any_tags", |_place, server| async move {
        let api = &server.api;
        let (task, run, _) = task(api, "F").await;
        let run = format!("/flows/F/runs/{run}");
        let made = async |path: &str, body: &str| {
            let answer = api.post_text(path, body).await;
            assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
            answer.json()
        };
        for (index, (tags, kept)) in ANY_TAGS.iter().enumerate() {
            for field in ["tags", "system_tags"] {
                let body = format!("{{\"{field}\": {tags}}}");
                let flow = format!("/flows/{field}{index}");
                for shown in [made(&flow, &body).await, api.get(&flow).await.json()] {
                    assert_eq!(shown[field], json!(kept), "{tags}");
                }
                let started = made("/flows/F/run", &body).await;
                let shown = api.get(&format!("/flows/F/runs/{}", started["run_number"])).await.json();
                assert_eq!((&started[field], &shown[field]), (&json!(kept), &json!(kept)), "{tags}");
                made(&format!("{run}/steps/{field}{index}/step"), &body).await;
                made(&format!("{run}/steps/start/task"), &body).await;
                let metadata = format!("[{{\"field_name\": \"x\", {}]", &body[1..]);
                assert_eq!(made(&format!("{task}/metadata"), &metadata).await, json!({"metadata_created": 1}));
                assert_eq!(api.get(&format!("{task}/metadata")).await.json()[0][field], json!(kept), "{tags}");
            }
        }
        // What a column of JSON cannot hold.
        for tags in [r#"["\u0000"]"#, r#""\ud800""#, r#"{"a": "\u0000"}"#, r#"[["\udfff"]]"#, "[1e400]", "1e400"] {
            let body = format!("{{\"tags\": {tags}}}");
            let flow = api.post_text("/flows/Refused", &body).await;
            let is_named = flow.json()["field"].as_str().is_some_and(|field| field.starts_with("tags"));
            assert!(flow.status == 400 && is_named, "{tags}: {}", flow.text);
            assert_eq!(api.post_text("/flows/F/run", &body).await.status, 400, "{tags}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_heartbeats_is_read_from_system_tags_of_any_shape() {
    on_both("any_versions", |_place, server| async move {
        task(&server.api, "F").await;
        for (system_tags, sends) in [
            ("null", true),
            ("[]", false),
            (r#"["metaflow_version:2.0.0"]"#, false),
            (r#"["metaflow_version:2.19.39"]"#, true),
            (r#"["metaflow_version:2.0.0", 1]"#, true),
            (r#"[["metaflow_version:2.0.0"]]"#, true),
            (r#""metaflow_version:2.19.39""#, false),
            (r#"{"metaflow_version:2.19.39": 1}"#, true),
            (r#"{"metaflow_version:2.0.0": 1}"#, false),
            ("5", true),
            ("false", true),
        ] {
            let body = format!("{{\"system_tags\": {system_tags}}}");
            let run = server.api.post_text("/flows/F/run", &body).await.json();
            assert_eq!(run["last_heartbeat_ts"].is_i64(), sends, "{system_tags}: {run}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parents_and_duplicates_have_the_statuses_that_clients_know() {
    on_both("parents", |_place, server| async move {
        let api = &server.api;
        assert_eq!(api.post("/flows/No/run", &json!({})).await.status, 404);
        let step = api.post("/flows/No/runs/1/steps/s/step", &json!({})).await;
        let expected = json!({"detail": "'run_number'", "status": 500, "title": "Internal Server Error",
            "type": "about:blank"});
        assert_eq!((step.status, step.json()), (500, expected));
        assert_eq!(api.post("/flows/No/runs/1/steps/s/task", &json!({})).await.status, 500);
        let (path, run, _) = task(api, "F").await;
        assert_eq!(api.post(&format!("/flows/F/runs/{run}/steps/no/task"), &json!({})).await.status, 404);
        let duplicate = api.post("/flows/F", &json!({})).await;
        assert_eq!(duplicate.status, 409);
        let inner: Value = serde_json::from_str(duplicate.json().as_str().unwrap_or_default()).unwrap_or_default();
        assert_eq!(inner["err_msg"]["pgcode"], "23505");
        let named = json!({"run_number": "argo", "task_id": "t"});
        for (path, first) in [("/flows/F/run".to_owned(), 200), ("/flows/F/run".to_owned(), 409)] {
            assert_eq!(api.post(&path, &named).await.status, first, "{path}");
        }
        let step = path.rsplit_once("/tasks").map_or("", |(step, _)| step).to_owned();
        for expected in [200, 409] {
            assert_eq!(api.post(&format!("{step}/task"), &named).await.status, expected);
        }
        assert_eq!(api.post(&format!("{step}/step"), &json!({})).await.status, 409);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_artifacts_of_an_unknown_task_are_400_with_the_original_s_words() {
    on_both("unregistered", |_place, server| async move {
        let (path, run, _) = task(&server.api, "F").await;
        let message = json!({"message": "need to register run_id and task_id first"});
        let unknown = [format!("/flows/F/runs/{run}/steps/start/tasks/999"), path.replace("/F/", "/No/")];
        for path in unknown {
            for kind in ["metadata", "artifact"] {
                let answer = server.api.post(&format!("{path}/{kind}"), &json!([{"name": "x"}])).await;
                assert_eq!(answer.status, 400);
                assert_eq!(answer.json(), message, "the body has no field that the original's lacks");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_404_with_an_empty_object_and_lists_under_it_are_empty() {
    on_both("missing", |_place, server| async move {
        let run = "/flows/No/runs/1";
        let task = format!("{run}/steps/s/tasks/1");
        for path in ["/flows/No", run, &format!("{run}/steps/s"), &task, &format!("{task}/artifacts/x")] {
            let answer = server.api.get(path).await;
            assert_eq!((answer.status, answer.text.as_str()), (404, "{}"), "{path}");
        }
        let lists = [
            "/flows/No/runs".to_owned(),
            format!("{run}/steps"),
            format!("{run}/steps/s/tasks"),
            format!("{run}/metadata"),
        ];
        let of_task = ["metadata", "artifacts", "attempt/0/artifacts"].map(|list| format!("{task}/{list}"));
        let others =
            [format!("{run}/artifacts"), format!("{run}/steps/s/artifacts"), format!("{run}/steps/s/filtered_tasks")];
        for path in lists.iter().chain(&of_task).chain(&others) {
            let answer = server.api.get(path).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, "[]"), "{path}");
        }
        // A number that no row can have is not there.
        for path in ["/flows/No/runs/99999999999", "/flows/No/runs/2147483648"] {
            assert_eq!(server.api.get(path).await.status, 404, "{path}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_count_what_they_made_and_skip_artifacts_that_are_there() {
    on_both("counts", |_place, server| async move {
        let (path, _, _) = task(&server.api, "F").await;
        let entry =
            |name: &str, attempt: i64| json!({"name": name, "attempt_id": attempt, "location": "l", "ds_type": "s3"});
        let artifacts = format!("{path}/artifact");
        for (entries, created) in [
            (json!([entry("a", 0), entry("b", 0)]), 2),
            (json!([entry("a", 0), entry("c", 0)]), 1),
            (json!([entry("d", 0), entry("d", 0)]), 1),
            (json!([entry("a", 1)]), 1),
            (json!([entry("a", 1)]), 0),
            (json!([]), 0),
        ] {
            let answer = server.api.post(&artifacts, &entries).await;
            assert_eq!((answer.status, answer.json()), (200, json!({"artifacts_created": created})), "{entries}");
        }
        let metadata = format!("{path}/metadata");
        for (entries, created) in [(json!([{}, {"field_name": "f", "value": 5}]), 2), (json!([]), 0)] {
            let answer = server.api.post(&metadata, &entries).await;
            assert_eq!((answer.status, answer.json()), (200, json!({"metadata_created": created})));
        }
        // Nothing of a body is stored that is no list of objects.
        let before = server.api.get(&metadata).await.text;
        for wrong in [json!([{"field_name": "ok"}, 1]), json!([null]), json!({}), json!("x"), json!(null)] {
            assert_eq!(server.api.post(&metadata, &wrong).await.status, 400, "{wrong}");
        }
        assert_eq!(server.api.get(&metadata).await.text, before);
        let values: Vec<Value> = server.api.get(&metadata).await.json().as_array().cloned().unwrap_or_default();
        assert!(values.iter().any(|row| row["value"] == "5"), "a number becomes its text");
        assert!(values.iter().any(|row| row["field_name"] == " " && row["value"] == " " && row["type"] == " "));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_s_tags_are_shown_on_everything_below_it() {
    on_both("inserted", |_place, server| async move {
        let (path, run, _) = task(&server.api, "F").await;
        let artifact = json!([{"name": "x", "tags": ["own"], "location": "l", "ds_type": "s3"}]);
        server.api.post(&format!("{path}/artifact"), &artifact).await;
        server.api.post(&format!("{path}/metadata"), &json!([{"tags": ["own"]}])).await;
        let mutate = format!("/flows/F/runs/{run}/tag/mutate");
        let changed = server.api.patch(&mutate, &json!({"tags_to_add": ["new"], "tags_to_remove": ["t"]})).await;
        assert_eq!(changed.json(), json!({"tags": ["new"]}));
        let step = format!("/flows/F/runs/{run}/steps/start");
        for path in [step.clone(), path.clone(), format!("{path}/artifacts/x")] {
            let object = server.api.get(&path).await.json();
            assert_eq!(
                (&object["tags"], &object["system_tags"]),
                (&json!(["new"]), &json!(["user:ann", TAGS])),
                "{path}"
            );
        }
        assert_eq!(server.api.get(&format!("{path}/metadata")).await.json()[0]["tags"], json!(["own"]));
        for (body, status, text) in [
            (json!({"tags_to_add": "x"}), 400, "tags_to_add must be a list"),
            (json!({"tags_to_remove": null}), 400, "tags_to_remove must be a list"),
            (json!({"tags_to_add": [1]}), 400, "All tag values must be strings"),
            (json!({"tags_to_add": [1], "tags_to_remove": "x"}), 400, "tags_to_remove must be a list"),
            (
                json!({"tags_to_remove": ["user:ann"]}),
                422,
                "Cannot remove tags that are existing system tags {'user:ann'}",
            ),
        ] {
            let answer = server.api.patch(&mutate, &body).await;
            assert_eq!((answer.status, answer.json()), (status, json!(text)));
        }
        // Adding a system tag is dropped; a tag in both lists ends up present; nothing at all changes nothing.
        let body = json!({"tags_to_add": ["user:ann", "new"], "tags_to_remove": ["new", "absent"]});
        assert_eq!(server.api.patch(&mutate, &body).await.json(), json!({"tags": ["new"]}));
        assert_eq!(server.api.patch(&mutate, &json!({})).await.json(), json!({"tags": ["new"]}));
        assert_eq!(server.api.patch("/flows/F/runs/99/tag/mutate", &json!({})).await.text, "{}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tags_that_cannot_be_removed_are_shown_as_python_shows_a_set() {
    on_both("python_set", |_place, server| async move {
        let api = &server.api;
        api.post("/flows/F", &json!({})).await;
        for (tag, shown) in [
            ("user:o'brien", r#""user:o'brien""#),
            (r#"a'b"c"#, r#"'a\'b"c'"#),
            ("a\\b\n", r"'a\\b\n'"),
            ("a\u{a0}\u{200b}é", r"'a\xa0\u200bé'"),
        ] {
            let run = api.post("/flows/F/run", &json!({"system_tags": [tag]})).await.json()["run_number"].clone();
            let mutate = format!("/flows/F/runs/{run}/tag/mutate");
            let answer = api.patch(&mutate, &json!({"tags_to_remove": [tag, "absent", tag]})).await;
            let expected = format!("Cannot remove tags that are existing system tags {{{shown}}}");
            assert_eq!((answer.status, answer.json()), (422, json!(expected)), "{tag}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_no_run_can_have_is_removed_without_effect_and_is_not_added() {
    on_both("impossible_tags", |_place, server| async move {
        let (_, run, _) = task(&server.api, "F").await;
        let mutate = format!("/flows/F/runs/{run}/tag/mutate");
        let patch = async |body: String| server.api.send(reqwest::Method::PATCH, &mutate, Some(body), &[]).await;
        let long = format!("\"{}\"", "x".repeat(16 * 1024 + 1));
        for (tag, refused) in [(r#""a\u0000""#, 400), (r#""\ud800""#, 400), (long.as_str(), 413)] {
            let removed = patch(format!("{{\"tags_to_remove\": [{tag}]}}")).await;
            assert_eq!((removed.status, removed.json()), (200, json!({"tags": ["t"]})), "{tag}");
            assert_eq!(patch(format!("{{\"tags_to_add\": [{tag}]}}")).await.status, refused, "{tag}");
        }
        for body in [r#"{"tags_to_remove": [1]}"#, r#"{"tags_to_add": [NaN]}"#] {
            let answer = patch(body.to_owned()).await;
            assert_eq!((answer.status, answer.json()), (400, json!("All tag values must be strings")), "{body}");
        }
        let removed = patch(r#"{"tags_to_remove": ["a\u0000", "t"]}"#.to_owned()).await;
        assert_eq!((removed.status, removed.json()), (200, json!({"tags": []})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_attempt_of_one_artifact_is_that_of_the_artifact_called_name() {
    on_both("attempts", |_place, server| async move {
        let (path, _, _) = task(&server.api, "F").await;
        let post = |name: &'static str, attempt: i64| {
            let body =
                json!([{"name": name, "attempt_id": attempt, "location": format!("l{attempt}"), "ds_type": "s3"}]);
            let (api, path) = (server.api.clone(), format!("{path}/artifact"));
            async move { assert_eq!(api.post(&path, &body).await.status, 200) }
        };
        post("x", 0).await;
        post("name", 0).await;
        post("x", 1).await;
        let location = |path: String| {
            let api = server.api.clone();
            async move { api.get(&path).await.json()["location"].clone() }
        };
        assert_eq!(location(format!("{path}/artifacts/x")).await, "l0");
        post("name", 1).await;
        post("only-first", 0).await;
        assert_eq!(location(format!("{path}/artifacts/x")).await, "l1");
        assert_eq!(server.api.get(&format!("{path}/artifacts/only-first")).await.status, 404);
        assert_eq!(location(format!("{path}/artifacts/only-first/attempt/0")).await, "l0");
        assert_eq!(server.api.get(&format!("{path}/artifacts/x/attempt/zz")).await.status, 400);
        assert_eq!(server.api.get(&format!("{path}/artifacts/x/attempt/99999")).await.status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_heartbeat_is_there_with_a_version_tag_and_null_without() {
    on_both("first_beat", |_place, server| async move {
        server.api.post("/flows/F", &json!({})).await;
        for (tags, beats) in [
            (json!(["user:u", TAGS]), true),
            (json!(["user:u", "metaflow_version:2.0.0"]), false),
            (json!(["user:u"]), false),
            (json!([]), false),
            (json!(null), true),
        ] {
            let run = server.api.post("/flows/F/run", &json!({"system_tags": tags})).await.json();
            assert_eq!(run["last_heartbeat_ts"].is_i64(), beats, "{tags}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_reached_by_number_and_by_name_and_paths_are_decoded_after_matching() {
    on_both("names", |_place, server| async move {
        let api = &server.api;
        assert_eq!(api.post("/flows/a%2Fb", &json!({})).await.json()["flow_id"], "a/b");
        assert_eq!(api.get("/flows/a%2Fb").await.status, 200);
        let run = api.post("/flows/a%2Fb/run", &json!({"run_number": "argo-x"})).await.json();
        assert_eq!(run["run_number"], "argo-x");
        let shown: Vec<Value> = api.get("/flows/a%2Fb/runs").await.json().as_array().cloned().unwrap_or_default();
        assert_eq!(shown.len(), 1);
        assert_eq!(api.post("/flows/a%2Fb/runs/argo-x/steps/start/step", &json!({})).await.status, 200);
        let task = api.post("/flows/a%2Fb/runs/argo-x/steps/start/task", &json!({"task_id": "t-x"})).await.json();
        assert_eq!((&task["run_number"], &task["task_id"]), (&json!("argo-x"), &json!("t-x")));
        for (name, status) in [("7", 400), ("٣", 400), ("²", 400), ("½", 400), ("一", 200), ("NaN", 200)] {
            assert_eq!(api.post("/flows/a%2Fb/run", &json!({"run_number": name})).await.status, status, "{name}");
        }
        for number in ["7", "NaN", "Infinity"] {
            let body = format!("{{\"run_number\": {number}}}");
            assert_eq!(api.post_text("/flows/a%2Fb/run", &body).await.status, 400, "{number}");
        }
        for path in ["//flows/a%2Fb", "/ping/", "/flows//runs"] {
            let answer = api.get(path).await;
            assert_eq!((answer.status, &answer.json()["field"]), (404, &Value::Null), "{path}: {}", answer.text);
        }
        let answer = api.post("/ping", &json!({})).await;
        assert_eq!((answer.status, answer.header("allow").contains("GET")), (405, true));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_the_run_s_status_follow_the_metadata_of_the_end_step() {
    on_both("filters", |_place, server| async move {
        let api = &server.api;
        let (_, run, _) = task(api, "F").await;
        let end = format!("/flows/F/runs/{run}/steps/end");
        api.post(&format!("{end}/step"), &json!({})).await;
        let id = api.post(&format!("{end}/task"), &json!({})).await.json()["task_id"].clone();
        let statuses = |status: &'static str| async move {
            let answer = api.get(&format!("/flows/F/runs?status={status}")).await;
            assert_eq!(answer.header("x-limit"), "50", "a filter switches paging on");
            answer.json().as_array().map_or(0, Vec::len)
        };
        assert_eq!((statuses("running").await, statuses("completed").await), (1, 0));
        let ok = json!([{"field_name": "attempt_ok", "value": "True", "type": "internal_attempt_status"}]);
        api.post(&format!("{end}/tasks/{id}/metadata"), &ok).await;
        assert_eq!((statuses("running").await, statuses("completed").await, statuses("failed").await), (0, 1, 0));
        for (query, found) in
            [("user=ann", 1), ("user=bob", 0), ("_tags=t", 1), ("_tags=x", 0), ("user_name:co=NN", 1), ("zz=1", 1)]
        {
            let answer = api.get(&format!("/flows/F/runs?{query}")).await;
            assert_eq!(answer.json().as_array().map(Vec::len), Some(found), "{query}: {}", answer.text);
        }
        let answer = api.get("/flows/F/runs?status=zz").await;
        assert_eq!((answer.status, answer.json()), (400, json!("unsupported status filter: zz")));
        let tasks = api.get(&format!("{end}/filtered_tasks?metadata_field_name=attempt_ok&pattern=^(?:True)$")).await;
        assert_eq!(tasks.json(), json!([format!("F/{run}/end/{id}")]));
        let unfiltered = api.get(&format!("{end}/filtered_tasks?metadata_field_name=&pattern=")).await;
        assert_eq!(unfiltered.json(), tasks.json(), "an empty parameter counts as absent");
        assert_eq!(api.get(&format!("{end}/filtered_tasks?pattern=(")).await.status, 400);
        // A dot matches a newline, and a brace that begins no bound stands for itself.
        let lines = json!([{"field_name": "lines", "value": "l1\nx{,2}"}]);
        api.post(&format!("{end}/tasks/{id}/metadata"), &lines).await;
        for pattern in ["^(?:.*)$", "%7B", "x%7B,", "^l1.x%7B,2%7D$"] {
            let query = format!("metadata_field_name=lines&pattern={pattern}");
            assert_eq!(api.get(&format!("{end}/filtered_tasks?{query}")).await.json(), tasks.json(), "{pattern}");
        }
        assert_eq!(api.get("/flows/F/runs?_limit=x").await.status, 400);
        assert_eq!(api.get("/flows/F/runs?_cursor=zz").await.json(), json!("Invalid cursor"));
    })
    .await;
}
