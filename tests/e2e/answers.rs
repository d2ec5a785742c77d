//! An answer to a creation is made from the event where that is enough, and is what the next read shows, through any
//! instance, also right after a run's tags have changed.

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
};
use serde_json::{Value, json};

use crate::on_both;

const SYSTEM_TAGS: [&str; 2] = ["user:ann", "metaflow_version:2.19.39"];

/// Makes an object and returns its answer, which must be what both APIs show of it.
async fn made(
    make: &Api,
    read: [&Api; 2],
    path: &str,
    shown: impl Fn(&Value) -> String,
    name: Option<(&str, &str)>,
) -> Value {
    let mut body = json!({"user_name": "ann", "tags": ["t"], "system_tags": SYSTEM_TAGS});
    if let Some((field, name)) = name {
        body[field] = json!(name);
    }
    let answer = make.post(path, &body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    let answer = answer.json();
    for api in read {
        let mut found = api.get(&shown(&answer)).await.json();
        // A run's owner is shown by reads alone.
        found.as_object_mut().map(|object| object.remove("user"));
        assert_eq!(found, answer, "{path}");
    }
    answer
}

/// Creations through the first API, tags changed through the second.
async fn check(one: &Api, other: &Api) {
    one.post("/flows/F", &json!({})).await;
    for name in [None, Some(("run_number", "named"))] {
        let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let run =
            made(one, [one, other], "/flows/F/run", |run| format!("/flows/F/runs/{}", text(&run["run_number"])), name);
        let run = format!("/flows/F/runs/{}", text(&run.await["run_number"]));
        assert_eq!(one.post(&format!("{run}/steps/s/step"), &json!({})).await.status, 200);
        for round in 0..6 {
            let tag = format!("tag-{round}");
            let changed = other.patch(&format!("{run}/tag/mutate"), &json!({"tags_to_add": [tag]})).await;
            assert_eq!(changed.status, 200, "{}", changed.text);
            let (path, named) = (format!("{run}/steps/s/task"), format!("task-{round}"));
            let name = (round % 2 == 0).then_some(("task_id", named.as_str()));
            let shown = |task: &Value| format!("{run}/steps/s/tasks/{}", text(&task["task_id"]));
            let task = made(one, [one, other], &path, shown, name).await;
            assert!(task["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag))), "{task} lacks {tag}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_creation_is_what_the_next_read_shows() {
    on_both("answers", |_place, server| async move { check(&server.api, &server.api).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_creation_is_what_the_next_read_shows_through_two_instances() {
    let place = Place::new("answers", Backend::Distributed);
    let (one, other) = (Server::start(&place), Server::start(&place));
    check(&one.api, &other.api).await;
}
