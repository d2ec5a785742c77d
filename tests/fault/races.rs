//! Racing writers: ids that bulk events carry against ids that the service gives out, and artifacts of one task.

use std::collections::HashSet;

use daybook_tests::{
    process::{Backend, Place, Server},
    random::Random,
    writers::{Step, Writers, check},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_bulk_events_carry_take_no_acknowledged_task_away() {
    let mut random = Random::seeded("explicit");
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("explicit", backend);
        let server = Server::start(&place);
        let step = Step::make(&server.api, "F").await;
        let writers = Writers::start(&[&server.api], std::slice::from_ref(&step), 8, &mut random);
        let mut bulk = JoinSet::new();
        for _ in 0..40 {
            writers.wait_for(10).await;
            let last = server.api.post(&format!("{}/task", step.path()), &json!({})).await.json()["task_id"].as_i64();
            let number = last.unwrap_or_default() + 1 + i64::try_from(random.below(12)).unwrap_or(0);
            let event = json!({"flow_id": "F", "run_number": 1, "step_name": "s", "task_id": number, "heartbeat": false,
                "user_name": "bulk", "tags": [], "system_tags": []});
            let (api, line) = (server.api.clone(), json!({"type": "TaskRegistered", "event": event}).to_string());
            bulk.spawn(async move { api.post_text("/api/v1/events", &line).await });
        }
        for answer in bulk.join_all().await {
            assert_eq!(answer.json()["accepted"], json!(1), "{}", answer.text);
        }
        let acknowledged = writers.stop().await;
        let tasks = server.api.get(&format!("{}/tasks", step.path())).await.json();
        let of_bulk: Vec<_> = tasks.as_array().into_iter().flatten().filter(|it| it["user_name"] == "bulk").collect();
        let of_bulk: Vec<_> = of_bulk.iter().filter_map(|task| task["task_id"].as_i64()).collect();
        let lost: Vec<_> = acknowledged.tasks.iter().filter(|id| of_bulk.contains(id)).collect();
        assert!(lost.is_empty(), "tasks that were acknowledged and are others: {lost:?}");
        check(&place, &server, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_bulk_events_carry_take_no_accepted_line_of_another_body_away() {
    let mut random = Random::seeded("lines");
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("lines", backend);
        let server = Server::start(&place);
        let second = (backend == Backend::Distributed).then(|| Server::start(&place));
        let importer = second.as_ref().unwrap_or(&server).api.clone();
        let step = Step::make(&server.api, "F").await;
        let task = |more: Value| {
            let mut event = json!({"flow_id": "F", "run_number": 1, "step_name": "s"});
            for (field, value) in more.as_object().into_iter().flatten() {
                event[field] = value.clone();
            }
            json!({"type": "TaskRegistered", "event": event}).to_string()
        };
        let mut bodies = JoinSet::new();
        for round in 0..20 {
            let last = server.api.post(&format!("{}/task", step.path()), &json!({})).await.json()["task_id"].as_i64();
            let mut ahead = || last.unwrap_or_default() + 1 + i64::try_from(random.below(150)).unwrap_or(0);
            let imported: Vec<_> = (0..20).map(|_| task(json!({"task_id": ahead(), "user_name": "import"}))).collect();
            let names: Vec<_> = (0..50).map(|index| format!("{round}-{index}")).collect();
            let lines: Vec<_> = names.iter().map(|name| task(json!({"user_name": name}))).collect();
            for (api, body) in [(importer.clone(), imported.join("\n")), (server.api.clone(), lines.join("\n"))] {
                bodies.spawn(async move { (api.post_text("/api/v1/events", &body).await, body.lines().count()) });
            }
        }
        for (answer, lines) in bodies.join_all().await {
            assert_eq!(answer.json()["accepted"], lines, "{}", answer.text);
        }
        let tasks = server.api.get(&format!("{}/tasks", step.path())).await.json();
        let named: Vec<_> = tasks.as_array().into_iter().flatten().filter_map(|it| it["user_name"].as_str()).collect();
        let named: HashSet<_> = named.iter().filter(|name| **name != "import").collect();
        assert_eq!(named.len(), 20 * 50, "lines that were accepted have no task");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_registrations_of_artifacts_are_told_what_each_made() {
    let mut random = Random::seeded("artifacts");
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("artifacts", backend);
        let server = Server::start(&place);
        let step = Step::make(&server.api, "F").await.path();
        for _ in 0..10 {
            let task = server.api.post(&format!("{step}/task"), &json!({})).await.json()["task_id"].clone();
            let path = format!("{step}/tasks/{task}/artifact");
            let mut requests = JoinSet::new();
            for request in 0..60 {
                let mut one = || json!({"name": format!("n{}", random.below(40)), "location": request.to_string(), "ds_type": "d"});
                let body = json!([one(), one(), one()]);
                let (api, path) = (server.api.clone(), path.clone());
                requests
                    .spawn(async move { (request, api.post(&path, &body).await.json()["artifacts_created"].as_u64()) });
            }
            let answers = requests.join_all().await;
            let rows = server.api.get(&format!("{path}s")).await.json();
            for (request, made) in answers {
                let location = request.to_string();
                let shown = rows.as_array().into_iter().flatten().filter(|it| it["location"] == location.as_str());
                assert_eq!(made, u64::try_from(shown.count()).ok(), "what request {request} for task {task} made");
            }
        }
    }
}
