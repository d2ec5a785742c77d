//! A preview of every kind of read: each answer is of the generation that the preview names, and shows its content.

use daybook_tests::{
    api::{Answer, Api},
    documents::last_positions,
    process::{Place, Server},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::expect;
use crate::on_both;

/// What is recorded before the moment that the past shows, and after it. Users, tags, names and values are made of them.
const BEFORE: &str = "before";
const AFTER: &str = "after";

/// Makes a step with a task, an artifact and a metadata entry, in which everything is named after the moment. The path of
/// the task.
async fn write(api: &Api, run: &str, word: &str) -> String {
    let owned = json!({"user_name": word, "tags": [format!("{word}-tag")]});
    let post = async |path: String, body: &Value| {
        let answer = api.post(&path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    };
    post(format!("{run}/steps/{word}/step"), &owned).await;
    let step = format!("{run}/steps/s");
    let task = post(format!("{step}/task"), &owned).await;
    let task = format!("{step}/tasks/{}", task["task_id"]);
    add(api, &task, word).await;
    task
}

/// Adds an artifact and a metadata entry to a task.
async fn add(api: &Api, task: &str, word: &str) {
    let artifact = json!([{"name": word, "location": word, "ds_type": "d", "attempt_id": 0}]);
    assert_eq!(api.post(&format!("{task}/artifact"), &artifact).await.status, 200);
    let entry = json!([{"field_name": "f", "value": word, "type": "t"}]);
    assert_eq!(api.post(&format!("{task}/metadata"), &entry).await.status, 200);
}

/// Starts a run; its path.
async fn start(api: &Api, flow: &str, word: &str) -> String {
    let owned = json!({"user_name": word, "tags": [format!("{word}-tag")]});
    // It may be there already.
    api.post(&format!("/flows/{flow}"), &owned).await;
    let run = api.post(&format!("/flows/{flow}/run"), &owned).await;
    let path = format!("/flows/{flow}/runs/{}", run.json()["run_number"]);
    assert_eq!(api.post(&format!("{path}/steps/s/step"), &json!({})).await.status, 200);
    path
}

/// The run and the task that there are in both generations.
struct Paths {
    run: String,
    task: String,
    /// A run and a task that only the later one has.
    later_run: String,
    later_task: String,
}

async fn preview(api: &Api, generation: &str, path: &str) -> Answer {
    let answer = api.get_served(path, &[("daybook-preview", generation)]).await;
    assert_eq!(answer.header("daybook-generation"), generation, "{path}: {} {}", answer.status, answer.text);
    answer
}

/// Records something, builds the past as generation 2, and records more before it is built.
async fn prepare(place: &Place, server: &Server) -> Paths {
    let api = &server.api;
    let run = start(api, "Both", BEFORE).await;
    let task = write(api, &run, BEFORE).await;
    let then = api.get(&task).await.header("daybook-applied").to_owned();
    let later_task = write(api, &run, AFTER).await;
    add(api, &task, AFTER).await;
    let change = json!({"tags_to_add": ["after-tag"]});
    assert_eq!(api.patch(&format!("{run}/tag/mutate"), &change).await.status, 200);
    let later_run = start(api, "Both", AFTER).await;
    let other = start(api, "After", AFTER).await;
    write(api, &other, AFTER).await;
    expect(server, 0, &["rebuild", "--until", &then, "--name", "past"]);
    // From here on searches of the live generation show all of it.
    let last = last_positions(&place.events());
    let seen = api.get_served("/api/v1/search?limit=0", &[("daybook-min-position", &last)]).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    Paths { run, task, later_run, later_task }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_and_every_search_of_a_preview_is_of_its_generation() {
    on_both("previews_lists", |place, server| async move {
        let (api, paths) = (&server.api, prepare(&place, &server).await);
        let Paths { run, task, .. } = &paths;
        let step = format!("{run}/steps/s");
        // Each shows something of before, and of after only where the generation has it.
        for path in [
            "/flows".to_owned(),
            "/flows/Both/runs".to_owned(),
            "/flows/Both/runs?user_name=before,after".to_owned(),
            run.clone(),
            format!("{run}/steps"),
            format!("{run}/metadata"),
            format!("{run}/artifacts"),
            format!("{step}/tasks"),
            format!("{step}/artifacts"),
            format!("{task}/metadata"),
            format!("{task}/artifacts"),
            format!("{task}/attempt/0/artifacts"),
            "/api/v1/search?limit=100".to_owned(),
            "/api/v1/search?flow=Both&sort=created_at&limit=100".to_owned(),
            "/api/v1/search?limit=0&facets=user,tag,flow".to_owned(),
            "/api/v1/tags".to_owned(),
            "/api/v1/tags?flow=Both".to_owned(),
            "/api/v1/users".to_owned(),
            "/api/v1/users?flow=Both".to_owned(),
        ] {
            for (generation, has_after) in [("1", true), ("2", false)] {
                let answer = preview(api, generation, &path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                let text = answer.text.to_lowercase();
                assert!(text.contains("before"), "{path} of generation {generation}: {}", answer.text);
                assert_eq!(text.contains("after"), has_after, "{path} of generation {generation}: {}", answer.text);
            }
        }
        assert_eq!(api.get("/flows").await.header("daybook-generation"), "1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_and_every_filter_of_a_preview_is_of_its_generation() {
    on_both("previews_objects", |place, server| async move {
        let (api, paths) = (&server.api, prepare(&place, &server).await);
        let Paths { run, task, later_run, later_task } = &paths;
        for path in [run.clone(), format!("{run}/steps/before"), task.clone(), format!("{task}/artifacts/before")] {
            for generation in ["1", "2"] {
                assert_eq!(preview(api, generation, &path).await.status, 200, "{path}");
            }
        }
        for path in [
            "/flows/After".to_owned(),
            later_run.clone(),
            format!("{run}/steps/after"),
            later_task.clone(),
            format!("{task}/artifacts/after"),
            format!("{task}/artifacts/after/attempt/0"),
        ] {
            assert_eq!(preview(api, "1", &path).await.status, 200, "{path}");
            let answer = api.send(Method::GET, &path, None, &[("daybook-preview", "2")]).await;
            assert_eq!((answer.status, answer.header("daybook-generation")), (404, "2"), "{path}: {}", answer.text);
        }
        // Filters find nothing of after in the past, and something of it in the live generation.
        for path in [
            "/flows/Both/runs?user_name=after".to_owned(),
            "/flows/Both/runs?_tags=after-tag".to_owned(),
            format!("{run}/steps/s/tasks?user_name=after"),
            format!("{run}/steps/s/filtered_tasks?metadata_field_name=f&pattern=after"),
        ] {
            for (generation, is_empty) in [("1", false), ("2", true)] {
                let answer = preview(api, generation, &path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                assert_eq!(answer.text == "[]", is_empty, "{path} of generation {generation}: {}", answer.text);
            }
        }
        for path in ["q=after", "user=after", "tag=after-tag", "flow=After", "flow=Both&type=run&user=after"] {
            for (generation, is_empty) in [("1", false), ("2", true)] {
                let answer = preview(api, generation, &format!("/api/v1/search?{path}")).await;
                assert_eq!(answer.json()["total"] == 0, is_empty, "{path} of generation {generation}: {}", answer.text);
            }
        }
    })
    .await;
}

/// All pages of a list from a preview on. Only the first one names the generation: the cursor goes on in it.
async fn pages(api: &Api, generation: &str, path: &str) -> Vec<Value> {
    let first = preview(api, generation, &format!("{path}?_limit=1")).await;
    let (mut rows, mut cursor) = (Vec::new(), first.header("x-next-cursor").to_owned());
    rows.extend(first.json().as_array().cloned().unwrap_or_default());
    while !cursor.is_empty() {
        let page = api.get(&format!("{path}?_limit=1&_cursor={cursor}")).await;
        assert_eq!((page.status, page.header("daybook-generation")), (200, generation), "{path}: {}", page.text);
        rows.extend(page.json().as_array().cloned().unwrap_or_default());
        cursor = page.header("x-next-cursor").to_owned();
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_preview_go_on_in_its_generation_and_are_what_the_whole_list_is() {
    on_both("previews_pages", |place, server| async move {
        let (api, paths) = (&server.api, prepare(&place, &server).await);
        let Paths { run, task, .. } = &paths;
        for path in [
            "/flows".to_owned(),
            "/flows/Both/runs".to_owned(),
            format!("{run}/steps"),
            format!("{run}/metadata"),
            format!("{run}/artifacts"),
            format!("{run}/steps/s/tasks"),
            format!("{task}/metadata"),
            format!("{task}/artifacts"),
        ] {
            for generation in ["1", "2"] {
                let whole = preview(api, generation, &path).await.json();
                let mut rows = pages(api, generation, &path).await;
                let mut whole = whole.as_array().cloned().unwrap_or_default();
                for rows in [&mut rows, &mut whole] {
                    rows.sort_by_key(ToString::to_string);
                }
                assert_eq!(rows, whole, "{path} of generation {generation}");
            }
        }
        for generation in ["1", "2"] {
            let (mut hits, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/api/v1/search?sort=created_at&limit=1&cursor={cursor}");
                let page = preview(api, generation, &path).await.json();
                hits.extend(page["hits"].as_array().cloned().unwrap_or_default());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            let total = preview(api, generation, "/api/v1/search?limit=0").await.json()["total"].clone();
            assert_eq!(json!(hits.len()), total, "generation {generation}");
            assert_eq!(hits.iter().any(|hit| hit["path"].to_string().contains("After")), generation == "1");
        }
    })
    .await;
}
