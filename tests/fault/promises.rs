//! A process that is alone acknowledges what is in the log and not in the tables yet, which a lock on these shows; whoever reads, through
//! any process, waits for it.

use std::time::{Duration, Instant};

use daybook_tests::{
    api::{Answer, Api},
    locks::Locked,
    process::{Backend, Place, Server},
    random::Random,
    writers::{Step, Writers, check},
};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

/// What is not answered by then waits for the lock.
const ANSWERED: Duration = Duration::from_millis(300);
/// A process is alone, and acknowledges early, by then.
const ALONE_MAX: Duration = Duration::from_secs(60);

async fn is_answered<T>(request: &mut JoinHandle<T>) -> bool {
    tokio::time::timeout(ANSWERED, request).await.is_ok()
}

fn register(api: &Api, step: &str) -> JoinHandle<Answer> {
    let (api, path) = (api.clone(), format!("{step}/task"));
    tokio::spawn(async move { api.post(&path, &json!({})).await })
}

/// Registers a task while the tables are locked. The lock and the task's path if that is acknowledged all the same.
async fn acknowledged_early(place: &Place, api: &Api, step: &str) -> Option<(Locked, String)> {
    let locked = place.lock();
    let mut registration = register(api, step);
    let early = tokio::time::timeout(ANSWERED, &mut registration).await;
    let (locked, answer) = match early {
        Ok(answer) => (Some(locked), answer),
        Err(_) => {
            drop(locked);
            (None, registration.await)
        }
    };
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    Some((locked?, format!("{step}/tasks/{}", answer.json()["task_id"])))
}

/// The same once the process is alone.
async fn acknowledged_alone(place: &Place, api: &Api, step: &str) -> (Locked, String) {
    let deadline = Instant::now() + ALONE_MAX;
    loop {
        if let Some(early) = acknowledged_early(place, api, step).await {
            return early;
        }
        assert!(Instant::now() < deadline, "a process that is alone waits for the tables");
    }
}

/// Reads a task, and what lists it, through an API while the tables are locked, and again when they are not: no reader misses it.
async fn waits(api: &Api, step: &str, task: &str, locked: Locked) {
    let read = |path: String| {
        let api = api.clone();
        tokio::spawn(async move { api.get(&path).await })
    };
    let (mut one, mut list) = (read(task.to_owned()), read(format!("{step}/tasks")));
    assert!(!is_answered(&mut one).await && !is_answered(&mut list).await, "a reader does not wait for {task}");
    drop(locked);
    let (one, list) = (one.await, list.await);
    assert!(one.is_ok_and(|answer| answer.status == 200), "{task} is not seen");
    let id = task.rsplit('/').next().unwrap_or_default();
    let listed = list.ok().is_some_and(|answer| {
        let tasks = answer.json();
        tasks.as_array().into_iter().flatten().any(|task| task["task_id"].as_i64() == id.parse().ok())
    });
    assert!(listed, "{task} is not listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_and_not_applied_is_waited_for_through_every_process() {
    let place = Place::new("promises", Backend::Distributed);
    let one = Server::start(&place);
    let step = Step::make(&one.api, "F").await.path();
    for round in 0.. {
        let (locked, task) = acknowledged_alone(&place, &one.api, &step).await;
        waits(&one.api, &step, &task, locked).await;
        // Another process, of which the first does not know for a moment.
        let other = Server::start(&place);
        let early = acknowledged_early(&place, &one.api, &step).await;
        let shown = early.is_some();
        if let Some((locked, task)) = early {
            waits(&other.api, &step, &task, locked).await;
        }
        assert!(other.stop());
        if shown {
            break;
        }
        assert!(round < 10, "a process knows of another at once, every time: this shows nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_bulk_events_bring_take_no_acknowledged_task_away() {
    let mut random = Random::seeded("brought");
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("brought", backend);
        let server = Server::start(&place);
        let step = Step::make(&server.api, "F").await;
        let writers = Writers::start(&[&server.api], std::slice::from_ref(&step), 8, &mut random);
        let mut brought = JoinSet::new();
        for _ in 0..40 {
            writers.wait_for(10).await;
            let last = server.api.post(&format!("{}/task", step.path()), &json!({})).await.json()["task_id"].as_i64();
            let number = last.unwrap_or_default() + 1 + i64::try_from(random.below(12)).unwrap_or(0);
            let event = json!({"flow_id": "F", "run_number": 1, "step_name": "s", "task_id": number, "heartbeat": false,
                "user_name": "bulk", "tags": [], "system_tags": []});
            let (api, line) = (server.api.clone(), json!({"type": "TaskRegistered", "event": event}).to_string());
            brought.spawn(async move { api.post_text("/api/v1/events", &line).await });
        }
        for answer in brought.join_all().await {
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
            let told = requests.join_all().await;
            let rows = server.api.get(&format!("{path}s")).await.json();
            for (request, made) in told {
                let location = request.to_string();
                let shown = rows.as_array().into_iter().flatten().filter(|it| it["location"] == location.as_str());
                assert_eq!(made, u64::try_from(shown.count()).ok(), "what request {request} for task {task} made");
            }
        }
    }
}
