//! Compares every document that search finds with what the model says of it: none missing, none too many, none older.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    api::Api,
    comparison::segment,
    model::{Model, Task},
};

/// What is compared of a document.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    revision: i64,
    user: Option<String>,
    tags: BTreeSet<String>,
    status: Option<&'static str>,
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

fn user(of: &Value) -> Option<String> {
    of["user_name"].as_str().filter(|user| !user.trim().is_empty()).map(str::to_owned)
}

/// How metadata entries, as time, id, field and value, say that something went; `None` where they do not.
fn outcome(entries: &[(i64, i64, String, String)]) -> Option<&'static str> {
    let newest = |field: &str| entries.iter().filter(|entry| entry.2 == field).max_by_key(|entry| (entry.0, entry.1));
    let (at, _, _, value) = newest("attempt_ok")?;
    let ok = ["t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"].contains(&&*value.trim().to_lowercase());
    let later = newest("attempt").is_some_and(|(attempt, _, _, _)| attempt > at);
    Some(if ok {
        "completed"
    } else if later {
        "running"
    } else {
        "failed"
    })
}

fn entries(task: &Task) -> impl Iterator<Item = (i64, i64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    task.metadata.iter().map(move |(id, (at, entry))| (*at, *id, text(&entry["field_name"]), text(&entry["value"])))
}

/// Every document that there must be, by path.
fn expected(model: &Model) -> BTreeMap<String, Shown> {
    let tags = |of: &Value| strings(&of["tags"]).chain(strings(&of["system_tags"])).collect();
    let mut all = BTreeMap::new();
    for (name, flow) in &model.flows {
        let shown = Shown { revision: 1, user: user(flow), tags: tags(flow), status: None };
        all.insert(format!("/flows/{}", segment(name)), shown);
    }
    let changes = |run: &(String, i64)| model.tag_changes.get(run).copied().unwrap_or(0);
    let path = |run: &(String, i64)| format!("/flows/{}/runs/{}", segment(&run.0), run.1);
    for (key, run) in &model.runs {
        let of_end = model.tasks.values().filter(|task| task.run == *key && task.step == "end");
        let told: Vec<_> = of_end.flat_map(entries).collect();
        let revision = 1 + changes(key) + model.outcomes.get(key).copied().unwrap_or(0);
        let status = Some(outcome(&told).unwrap_or("running"));
        all.insert(path(key), Shown { revision, user: user(run), tags: tags(run), status });
    }
    for ((run, step), object) in &model.steps {
        let path = format!("{}/steps/{}", path(run), segment(step));
        let tags = tags(&model.runs[run]);
        all.insert(path, Shown { revision: 1, user: user(object), tags, status: None });
    }
    for ((_, id), task) in &model.tasks {
        let run = &model.runs[&task.run];
        let path = format!("{}/steps/{}/tasks/{id}", path(&task.run), segment(&task.step));
        let rows = i64::try_from(task.artifacts.len() + task.metadata.len()).unwrap_or(i64::MAX);
        for ((attempt, name), (_, artifact)) in &task.artifacts {
            let path = format!("{path}/artifacts/{}/attempt/{attempt}", segment(name));
            let shown = Shown { revision: 1, user: user(artifact), tags: tags(run), status: None };
            all.insert(path, shown);
        }
        let told: Vec<_> = entries(task).collect();
        let status = Some(outcome(&told).unwrap_or("running"));
        all.insert(path, Shown { revision: 1 + rows, user: user(&task.event), tags: tags(run), status });
    }
    all
}

/// Every document that search finds once it has seen `position`, by path.
async fn found(api: &Api, position: &str) -> BTreeMap<String, Shown> {
    let (mut all, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/api/v1/search?sort=created_at&limit=500&cursor={cursor}");
        // One that has far to catch up answers 503 first.
        let answer = api.get_served(&path, &[("daybook-min-position", position)]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let page = answer.json();
        for hit in page["hits"].as_array().into_iter().flatten() {
            let names = ["running", "completed", "failed"];
            let shown = Shown {
                revision: hit["revision"].as_i64().unwrap_or_default(),
                user: hit["user"].as_str().map(str::to_owned),
                tags: strings(&hit["tags"]).collect(),
                status: names.into_iter().find(|name| hit["status"] == *name),
            };
            let path = hit["path"].as_str().unwrap_or_default().to_owned();
            assert!(all.insert(path.clone(), shown).is_none(), "search finds {path} twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => {
                assert_eq!(page["total"].as_u64(), Some(all.len() as u64), "the total is not what all pages hold");
                return all;
            }
        }
    }
}

/// The last position of each of Metaflow's partitions, as `Daybook-Min-Position` takes them.
pub fn last_positions(events: &[Value]) -> String {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        let (partition, offset) = event["position"].as_str().and_then(|at| at.split_once('@')).unwrap_or_default();
        if !partition.starts_with("metaflow") {
            continue;
        }
        let newest = last.entry(partition).or_default();
        *newest = offset.parse().unwrap_or(0).max(*newest);
    }
    last.iter().map(|(partition, offset)| format!("{partition}@{offset}")).collect::<Vec<_>>().join(",")
}

/// Compares all documents; does nothing where search is switched off.
///
/// # Panics
/// If anything differs.
pub async fn compare_documents(api: &Api, model: &Model, position: &str) {
    if api.get("/api/v1/search?limit=0").await.status == 501 {
        return;
    }
    let (found, expected) = (found(api, position).await, expected(model));
    for (path, shown) in &expected {
        assert_eq!(found.get(path), Some(shown), "search has another {path}");
    }
    let more: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    assert!(more.is_empty(), "search finds what is not there: {more:?}");
}
