//! Compares every row that the API shows with the model's, whole lists and paged ones.

use serde_json::Value;

use crate::{
    api::Api,
    model::{Model, Task},
};

/// Percent-encodes a path segment.
pub fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn sorted(rows: Vec<Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    rows
}

/// Compares a list, read whole and in pages, with what the model expects, and checks its order.
async fn compare(api: &Api, path: &str, expected: Vec<Value>) {
    let whole = api.get_served(path, &[]).await;
    assert_eq!(whole.status, 200, "{path}: {}", whole.text);
    let Value::Array(whole) = whole.json() else { panic!("{path} is no array") };
    let times: Vec<i64> = whole.iter().map(|row| row["ts_epoch"].as_i64().unwrap_or_default()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{path} is not newest first");
    if !path.contains("/attempt/") {
        let limit = if whole.len() > 200 { 499 } else { 7 };
        assert_eq!(api.pages(path, limit).await, whole, "{path}: pages differ from the whole list");
    }
    assert_eq!(sorted(whole), sorted(expected), "{path}");
}

async fn compare_one(api: &Api, path: &str, expected: &Value) {
    let answer = api.get_served(path, &[]).await;
    assert_eq!((answer.status, &answer.json()), (200, expected), "{path}");
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), segment)
}

/// Compares everything under every flow: every list, and every object by itself.
///
/// # Panics
/// If anything differs.
pub async fn compare_all(api: &Api, model: &Model) {
    compare_flows(api, model).await;
    for key in model.runs.keys() {
        compare_run(api, model, key).await;
    }
}

/// Compares every row under every flow, through lists alone.
///
/// # Panics
/// If anything differs.
pub async fn compare_rows(api: &Api, model: &Model) {
    compare_flows(api, model).await;
    for key in model.runs.keys() {
        let run = model.run(key).unwrap_or_default();
        if run["run_number"] != "" {
            let path = format!("/flows/{}/runs/{}", segment(&key.0), shown(&run["run_number"]));
            compare_lists_of_run(api, model, key, &path).await;
        }
    }
}

async fn compare_flows(api: &Api, model: &Model) {
    compare(api, "/flows", model.flows.values().cloned().collect()).await;
    for (name, flow) in &model.flows {
        compare_one(api, &format!("/flows/{}", segment(name)), flow).await;
        let runs: Vec<_> = model.runs.keys().filter(|(of, _)| of == name).collect();
        let expected = runs.iter().filter_map(|key| model.run(key)).collect();
        compare(api, &format!("/flows/{}/runs", segment(name)), expected).await;
    }
}

fn artifacts_of(model: &Model, tasks: &[&Task]) -> Vec<Value> {
    tasks.iter().flat_map(|task| model.artifacts(task, Model::latest_attempt(task))).collect()
}

async fn compare_lists_of_run(api: &Api, model: &Model, key: &(String, i64), path: &str) {
    compare(api, &format!("{path}/steps"), model.steps_of(key)).await;
    let tasks: Vec<&Task> = model.tasks.values().filter(|task| task.run == *key).collect();
    compare(api, &format!("{path}/artifacts"), artifacts_of(model, &tasks)).await;
    let metadata = tasks.iter().flat_map(|task| model.metadata(task)).collect();
    compare(api, &format!("{path}/metadata"), metadata).await;
    for step in model.steps_of(key) {
        let name = step["step_name"].as_str().unwrap_or_default();
        let of_step: Vec<&Task> = tasks.iter().copied().filter(|task| task.step == name).collect();
        let path = format!("{path}/steps/{}", segment(name));
        compare_one(api, &path, &step).await;
        compare(api, &format!("{path}/tasks"), of_step.iter().map(|task| model.task(task)).collect()).await;
        compare(api, &format!("{path}/artifacts"), artifacts_of(model, &of_step)).await;
    }
}

async fn compare_run(api: &Api, model: &Model, key: &(String, i64)) {
    let run = model.run(key).unwrap_or_default();
    let by_number = format!("/flows/{}/runs/{}", segment(&key.0), key.1);
    let path = format!("/flows/{}/runs/{}", segment(&key.0), shown(&run["run_number"]));
    compare_one(api, &by_number, &run).await;
    // The empty name is a legal quirk, but no path can hold it.
    if run["run_number"] == "" {
        return;
    }
    compare_one(api, &path, &run).await;
    compare_lists_of_run(api, model, key, &path).await;
    for task in model.tasks.values().filter(|task| task.run == *key) {
        compare_task(api, model, &format!("{path}/steps/{}", segment(&task.step)), task).await;
    }
}

async fn compare_task(api: &Api, model: &Model, step: &str, task: &Task) {
    let object = model.task(task);
    if object["task_id"] == "" {
        return;
    }
    let path = format!("{step}/tasks/{}", shown(&object["task_id"]));
    compare_one(api, &path, &object).await;
    compare(api, &format!("{path}/metadata"), model.metadata(task)).await;
    let latest = Model::latest_attempt(task);
    compare(api, &format!("{path}/artifacts"), model.artifacts(task, latest)).await;
    for attempt in 0..=latest {
        compare(api, &format!("{path}/attempt/{attempt}/artifacts"), model.artifacts(task, attempt)).await;
    }
    // One artifact follows the attempt of the artifact that is literally called "name".
    let named =
        task.artifacts.keys().filter(|(_, name)| name == "name").map(|(attempt, _)| *attempt).max().unwrap_or(0);
    for (attempt, name) in task.artifacts.keys() {
        let found = model.artifacts(task, *attempt).into_iter().find(|artifact| artifact["name"] == **name);
        let found = found.unwrap_or_default();
        let path = format!("{path}/artifacts/{}", segment(name));
        compare_one(api, &format!("{path}/attempt/{attempt}"), &found).await;
        if *attempt == named {
            compare_one(api, &path, &found).await;
        }
    }
}
