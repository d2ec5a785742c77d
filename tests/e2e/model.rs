//! The model check: random API scripts, valid and invalid, and every row and answer compared with a pure fold of the log.
//!
//! Answers are predicted from the model as it is before each request; the model is fed with the log alone.

use std::sync::Arc;

use daybook_tests::{
    api::Api,
    comparison::{compare_all, segment},
    documents::{compare_documents, last_positions},
    model::Model,
    random::Random,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::on_both;

const FLOWS: [&str; 4] = ["Alpha", "Béta", "g/amma", "D e"];
const NAMES: [&str; 4] = ["argo-1", "argo-2", "", "ü"];
const STEPS: [&str; 3] = ["start", "join", "end"];
const TAGS: [&str; 5] = ["a", "b:c", "d\"e", "user:ann", "ü"];
const VERSIONS: [&str; 4] = ["2.19.39", "2.0.0", "custom-1", "1.14.0"];

/// A path under which the script may find something, and what the model needs to predict the answer.
#[derive(Debug, Clone)]
struct Place {
    flow: &'static str,
    run: Value,
    step: &'static str,
    task: Value,
}

impl Place {
    fn random(random: &mut Random) -> Self {
        let id = |random: &mut Random| {
            if random.one_in(3) { json!(random.pick(&NAMES)) } else { json!(1 + random.below(12)) }
        };
        let (run, task) = (id(random), id(random));
        Self { flow: random.pick(&FLOWS), run, step: random.pick(&STEPS), task }
    }

    fn path(&self, depth: usize) -> String {
        let shown = |id: &Value| id.as_str().map_or_else(|| id.to_string(), segment);
        let parts = [
            format!("/flows/{}", segment(self.flow)),
            format!("/runs/{}", shown(&self.run)),
            format!("/steps/{}", self.step),
            format!("/tasks/{}", shown(&self.task)),
        ];
        parts[..depth].concat()
    }

    fn run_key(&self, model: &Model) -> Option<(String, i64)> {
        let found = model.runs.iter().find(|((flow, number), run)| {
            flow == self.flow
                && (self.run.as_i64() == Some(*number) || run["run_number"] == self.run && self.run.is_string())
        });
        found.map(|(key, _)| key.clone()).filter(|_| self.run != "")
    }

    fn step_exists(&self, model: &Model) -> bool {
        self.run_key(model).is_some_and(|run| model.steps.contains_key(&(run, self.step.to_owned())))
    }

    fn task_exists(&self, model: &Model) -> bool {
        let Some(run) = self.run_key(model) else { return false };
        let mut tasks = model.tasks.iter().filter(|(_, task)| task.run == run && task.step == self.step);
        self.task != ""
            && tasks.any(|((_, id), task)| match self.task.as_i64() {
                Some(number) => number == *id,
                None => task.event["task_name"] == self.task,
            })
    }
}

fn description(random: &mut Random) -> Value {
    let tags: Vec<&str> = TAGS.into_iter().filter(|_| random.one_in(3)).collect();
    let mut object = json!({"user_name": if random.one_in(4) { Value::Null } else { json!("ann") }, "tags": tags});
    if !random.one_in(4) {
        object["system_tags"] = json!(["user:ann", format!("metaflow_version:{}", random.pick(&VERSIONS))]);
    }
    object
}

/// A request and the status that the model predicts.
struct Step {
    method: reqwest::Method,
    path: String,
    body: String,
    expected: u16,
}

fn post(path: String, body: &Value, expected: u16) -> Step {
    Step { method: reqwest::Method::POST, path, body: body.to_string(), expected }
}

/// A path that has an empty segment leads nowhere.
fn nowhere(path: &str) -> bool {
    path.contains("//") || path.ends_with('/')
}

/// Registers a task, with a name or without.
fn task_step(random: &mut Random, model: &Model, place: &Place, mut body: Value) -> Step {
    let run_known = place.run_key(model).is_some();
    let name = random.pick(&NAMES);
    let named = random.one_in(3);
    if named {
        body["task_id"] = json!(name);
    }
    let run = place.run_key(model);
    let taken = model
        .tasks
        .values()
        .any(|task| Some(&task.run) == run.as_ref() && task.step == place.step && task.event["task_name"] == name);
    let expected = match (run_known, place.step_exists(model), named && taken) {
        (false, _, _) => 500,
        (_, false, _) => 404,
        (_, _, true) => 409,
        _ => 200,
    };
    post(format!("{}/task", place.path(3)), &body, expected)
}

/// Registers artifacts or metadata.
fn entries_step(random: &mut Random, model: &Model, place: &Place, kind: &str) -> Step {
    let entry = |random: &mut Random| match kind {
        "artifact" => json!({"name": random.pick(&["name", "x", "y"]), "attempt_id": random.below(3),
            "location": "s3://b/ü", "ds_type": "s3", "sha": "ab", "type": "t", "content_type": "c", "user_name": "ann"}),
        _ => json!({"field_name": random.pick(&["attempt", "attempt_ok"]), "value": "v\n\"", "type": "t",
            "tags": ["attempt_id:0"]}),
    };
    let entries: Vec<Value> = (0..random.below(4)).map(|_| entry(random)).collect();
    post(format!("{}/{kind}", place.path(4)), &json!(entries), if place.task_exists(model) { 200 } else { 400 })
}

fn next_step(random: &mut Random, model: &Model) -> Step {
    let place = Place::random(random);
    let mut body = description(random);
    let run_known = place.run_key(model).is_some();
    let mut step = match random.below(12) {
        0 => post(place.path(1), &body, if model.flows.contains_key(place.flow) { 409 } else { 200 }),
        1 | 2 => {
            let flow_known = model.flows.contains_key(place.flow);
            let name = random.pick(&NAMES);
            let named = random.one_in(3);
            if named {
                body["run_number"] = json!(name);
            }
            let taken = model.runs.iter().any(|((flow, _), run)| flow == place.flow && run["run_number"] == name);
            let expected = if !flow_known {
                404
            } else if named && taken {
                409
            } else {
                200
            };
            post(format!("{}/run", place.path(1)), &body, expected)
        }
        3 | 4 => {
            let expected = if !run_known {
                500
            } else if place.step_exists(model) {
                409
            } else {
                200
            };
            post(format!("{}/step", place.path(3)), &body, expected)
        }
        5 | 6 => task_step(random, model, &place, body),
        7 => entries_step(random, model, &place, "artifact"),
        8 => entries_step(random, model, &place, "metadata"),
        9 => {
            let (add, remove) = (random.pick(&TAGS), random.pick(&TAGS));
            let change = json!({"tags_to_add": [add], "tags_to_remove": [remove]});
            let system = place
                .run_key(model)
                .and_then(|run| model.runs.get(&run))
                .is_some_and(|run| run["system_tags"].as_array().is_some_and(|tags| tags.contains(&json!(remove))));
            let expected = if !run_known {
                404
            } else if system {
                422
            } else {
                200
            };
            let path = format!("{}/tag/mutate", place.path(2));
            Step { method: reqwest::Method::PATCH, path, body: change.to_string(), expected }
        }
        10 => {
            let of_task = random.one_in(2);
            let known = if of_task { place.task_exists(model) } else { run_known };
            let path = format!("{}/heartbeat", place.path(if of_task { 4 } else { 2 }));
            post(path, &json!({}), if known { 200 } else { 404 })
        }
        _ => mistake(random, &place),
    };
    if nowhere(&step.path) {
        step.expected = 404;
    }
    step
}

/// A request that is wrong by itself.
fn mistake(random: &mut Random, place: &Place) -> Step {
    let long = "x".repeat(1025);
    let (flow, task) = (place.path(1), place.path(4));
    let wrong = |path: String, body: &str, expected| Step {
        method: reqwest::Method::POST,
        path,
        body: body.to_owned(),
        expected,
    };
    match random.below(8) {
        0 => wrong(flow, "{\"tags\": ", 400),
        1 => wrong(flow, "[]", 400),
        2 => wrong(flow, r#"{"tags": ["\ud800"]}"#, 400),
        3 => wrong(flow, r#"{"user_name": {}}"#, 400),
        4 => wrong(format!("{flow}/run"), r#"{"run_number": "17"}"#, 400),
        5 => wrong(format!("/flows/{long}"), "{}", 413),
        6 => wrong(format!("{task}/artifact"), r#"[null]"#, 400),
        _ => wrong(format!("{task}/metadata"), "{}", 400),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_and_every_row_agree_with_a_pure_fold_of_the_log() {
    on_both("model", |place, server| async move {
        let mut random = Random::seeded("model");
        let mut model = Model::default();
        for round in 0..250 {
            let step = next_step(&mut random, &model);
            let before = model_size(&model);
            let answer = server.api.send(step.method.clone(), &step.path, Some(step.body.clone()), &[]).await;
            let said = format!("round {round}: {} {} {}: {}", step.method, step.path, step.body, answer.text);
            assert_eq!(answer.status, step.expected, "{said}");
            // What was refused has left nothing in the log; what was accepted is there.
            if round % 10 == 9 || answer.status == 200 {
                model = Model::of(&place.events());
            }
            if answer.status != 200 {
                assert_eq!(model_size(&model), before, "{said}");
            }
        }
        assert!(model.unapplied.is_empty(), "{:?}", model.unapplied);
        compare_all(&server.api, &model).await;
        compare_documents(&server.api, &model, &last_positions(&place.events())).await;
        let quarantine = server.api.get("/api/v1/quarantine").await;
        assert_eq!(quarantine.text, "[]");
        assert!(server.stop(), "the server did not stop in order");
    })
    .await;
}

fn model_size(model: &Model) -> (usize, usize, usize, usize) {
    (model.flows.len(), model.runs.len(), model.steps.len(), model.tasks.len())
}

async fn write_alone(api: Api, seed: usize) {
    let mut random = Random::seeded(&format!("writer {seed}"));
    for _ in 0..seed {
        random.number();
    }
    let empty = Model::default();
    for _ in 0..120 {
        let step = next_step(&mut random, &empty);
        let answer = api.send(step.method, &step.path, Some(step.body), &[]).await;
        assert!(matches!(answer.status, 200 | 400 | 404 | 409 | 413 | 422 | 500), "{}: {}", answer.status, answer.text);
        // 500 is what clients expect for a step or task of an unknown run, and for nothing else.
        assert!(answer.status != 500 || answer.text.contains("'run_number'"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_concurrent_writers_agree_with_a_pure_fold_of_the_log() {
    on_both("writers", |place, server| async move {
        let api = Arc::new(server.api.clone());
        let mut writers = JoinSet::new();
        for seed in 0..8 {
            writers.spawn(write_alone((*api).clone(), seed));
        }
        writers.join_all().await;
        let events = place.events();
        let model = Model::of(&events);
        assert!(model.unapplied.is_empty(), "{:?}", model.unapplied);
        assert!(!model.tasks.is_empty(), "the writers wrote nothing");
        compare_all(&api, &model).await;
        compare_documents(&api, &model, &last_positions(&events)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_registrations_of_one_name_give_one_200_and_otherwise_409() {
    on_both("races", |_place, server| async move {
        let api = server.api.clone();
        let race = |path: &'static str, body: Value| {
            let api = api.clone();
            async move {
                let mut racers = JoinSet::new();
                for _ in 0..50 {
                    let (api, body) = (api.clone(), body.clone());
                    racers.spawn(async move { api.post(path, &body).await.status });
                }
                let mut statuses = racers.join_all().await;
                statuses.sort_unstable();
                let expected: Vec<u16> = std::iter::once(200).chain([409; 49]).collect();
                assert_eq!(statuses, expected, "{path}");
            }
        };
        race("/flows/F", json!({})).await;
        race("/flows/F/run", json!({"run_number": "argo"})).await;
        race("/flows/F/runs/argo/steps/start/step", json!({})).await;
        race("/flows/F/runs/argo/steps/start/task", json!({"task_id": "t-1"})).await;
        let mut taggers = JoinSet::new();
        for index in 0..50 {
            let api = api.clone();
            taggers.spawn(async move {
                let body = json!({"tags_to_add": [format!("tag-{index}")]});
                api.patch("/flows/F/runs/argo/tag/mutate", &body).await.status
            });
        }
        assert_eq!(taggers.join_all().await, [200; 50]);
        let run = api.get("/flows/F/runs/argo").await.json();
        assert_eq!(run["tags"].as_array().map(Vec::len), Some(50), "a tag was lost: {run}");
    })
    .await;
}
