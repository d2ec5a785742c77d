//! Concurrent writers that ride out faults as real clients do, and know what was acknowledged to them.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::{Answer, Api},
    comparison::compare_rows,
    documents::{compare_documents, last_positions},
    model::Model,
    process::{Place, Server},
    random::Random,
    wait,
};

/// How long a client pauses before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two writes of one writer, unless it writes at full speed: a processor is left for what the test is about.
const PACE: Duration = Duration::from_millis(25);

/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Tags that one writer adds: each stands in every answer about the run, so that more of them say no more and cost much.
const TAGS_MAX: usize = 20;

/// What writers were told is recorded.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Ids of tasks.
    pub tasks: Vec<i64>,
    /// Artifacts, by task and name.
    pub artifacts: BTreeSet<(i64, String)>,
    /// Values of metadata entries, by task.
    pub metadata: BTreeSet<(i64, String)>,
    /// Tags of the run.
    pub tags: BTreeSet<String>,
    /// Answers that asked to try again, and requests that got no answer.
    pub turned_away: usize,
}

impl Acknowledged {
    /// Adds what others were told.
    pub fn merge(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.artifacts.extend(other.artifacts);
        self.metadata.extend(other.metadata);
        self.tags.extend(other.tags);
        self.turned_away += other.turned_away;
    }
}

/// A step that writers work on.
#[derive(Debug, Clone)]
pub struct Step {
    flow: String,
    run: i64,
}

impl Step {
    /// Makes a flow with one run and one step.
    ///
    /// # Panics
    /// If that fails.
    pub async fn make(api: &Api, flow: &str) -> Self {
        let mut made = Self::try_make(api, flow).await;
        wait::until("a step is made", async || {
            let is_busy = made.as_ref().is_err_and(|refused| refused.status == 503);
            if is_busy {
                made = Self::try_make(api, flow).await;
            }
            !is_busy
        })
        .await;
        made.unwrap_or_else(|refused| panic!("no step was made: {} {}", refused.status, refused.text))
    }

    /// The same, or the answer that refused the run or the step. Each try makes a run of its own.
    pub async fn try_make(api: &Api, flow: &str) -> Result<Self, Answer> {
        api.post(&format!("/flows/{flow}"), &json!({})).await;
        let answer = api.post(&format!("/flows/{flow}/run"), &json!({})).await;
        let Some(run) = answer.json()["run_number"].as_i64() else { return Err(answer) };
        let step = Self { flow: flow.to_owned(), run };
        let answer = api.post(&format!("{}/step", step.path()), &json!({})).await;
        if answer.status == 200 { Ok(step) } else { Err(answer) }
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("/flows/{}/runs/{}/steps/s", self.flow, self.run)
    }
}

/// Writers at work.
pub struct Writers {
    stop: watch::Sender<bool>,
    apis: watch::Sender<Vec<Api>>,
    acknowledged: watch::Sender<usize>,
    turned_away: watch::Sender<usize>,
    newest: watch::Sender<Option<String>>,
    tasks: JoinSet<Acknowledged>,
}

impl Writers {
    /// Starts so many writers over the steps, each request through one of the APIs.
    pub fn start(apis: &[&Api], steps: &[Step], count: usize, random: &mut Random) -> Self {
        Self::at_pace(apis, steps, count, random, PACE)
    }

    /// The same; each sends its next request once the last one is answered.
    pub fn at_full_speed(apis: &[&Api], steps: &[Step], count: usize, random: &mut Random) -> Self {
        Self::at_pace(apis, steps, count, random, Duration::from_nanos(1))
    }

    fn at_pace(apis: &[&Api], steps: &[Step], count: usize, random: &mut Random, pace: Duration) -> Self {
        let apis = watch::Sender::new(apis.iter().map(|api| (*api).clone()).collect());
        let (stop, acknowledged) = (watch::Sender::new(false), watch::Sender::new(0));
        let (turned_away, newest) = (watch::Sender::new(0), watch::Sender::default());
        let mut tasks = JoinSet::new();
        for index in 0..count {
            let writer = Writer {
                name: format!("{}-{index}", random.number() % 1_000_000),
                apis: apis.subscribe(),
                stop: stop.subscribe(),
                acknowledged: acknowledged.clone(),
                turned_away: turned_away.clone(),
                newest: newest.clone(),
                step: steps[index % steps.len()].clone(),
                random: random.fork(),
                done: Acknowledged::default(),
            };
            tasks.spawn(writer.run(pace));
        }
        Self { stop, apis, acknowledged, turned_away, newest, tasks }
    }

    /// Sends further requests to these APIs.
    pub fn go_on_with(&self, apis: &[&Api]) {
        self.apis.send_replace(apis.iter().map(|api| (*api).clone()).collect());
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn wait_for(&self, more: usize) {
        let counted = count_on(&self.acknowledged, more).await;
        assert!(counted, "writers are stuck: {}", *self.acknowledged.borrow());
    }

    /// Waits until one more request is turned away.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub async fn wait_for_refusal(&self) {
        assert!(count_on(&self.turned_away, 1).await, "no writer notices anything");
    }

    /// The path of the task that was acknowledged last.
    pub fn newest(&self) -> Option<String> {
        self.newest.borrow().clone()
    }

    /// Stops the writers; returns what was acknowledged to all of them.
    pub async fn stop(mut self) -> Acknowledged {
        self.stop.send_replace(true);
        let mut all = Acknowledged::default();
        while let Some(done) = self.tasks.join_next().await {
            all.merge(done.unwrap_or_else(|error| panic!("a writer failed: {error}")));
        }
        all
    }
}

/// Waits until there are so many more; whether that takes no longer than five minutes.
async fn count_on(count: &watch::Sender<usize>, more: usize) -> bool {
    let mut count = count.subscribe();
    let target = *count.borrow() + more;
    let reached = tokio::time::timeout(Duration::from_secs(300), count.wait_for(|count| *count >= target));
    reached.await.is_ok()
}

struct Writer {
    name: String,
    apis: watch::Receiver<Vec<Api>>,
    stop: watch::Receiver<bool>,
    acknowledged: watch::Sender<usize>,
    turned_away: watch::Sender<usize>,
    newest: watch::Sender<Option<String>>,
    step: Step,
    random: Random,
    done: Acknowledged,
}

impl Writer {
    async fn run(mut self, pace: Duration) -> Acknowledged {
        let (mut serial, mut pace) = (0, interval(pace));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stop.borrow() {
            pace.tick().await;
            serial += 1;
            self.write(serial).await;
        }
        self.done
    }

    async fn write(&mut self, serial: u64) {
        let mine = self.done.tasks.get(self.random.below(self.done.tasks.len())).copied();
        let text = format!("{}-{serial}", self.name);
        let path = self.step.path();
        match (self.random.below(10), mine) {
            (0..=1, Some(task)) => {
                let body = json!([{"name": text, "location": "l", "ds_type": "d"}]);
                if self.send(Method::POST, &format!("{path}/tasks/{task}/artifact"), &body).await.is_some() {
                    self.done.artifacts.insert((task, text));
                }
            }
            (2..=3, Some(task)) => {
                let body = json!([{"field_name": "f", "value": text}, {"field_name": "g", "value": "v"}]);
                if self.send(Method::POST, &format!("{path}/tasks/{task}/metadata"), &body).await.is_some() {
                    self.done.metadata.insert((task, text));
                }
            }
            (4, _) if self.done.tags.len() < TAGS_MAX => {
                let path = format!("/flows/{}/runs/{}/tag/mutate", self.step.flow, self.step.run);
                if self.send(Method::PATCH, &path, &json!({"tags_to_add": [text]})).await.is_some() {
                    self.done.tags.insert(text);
                }
            }
            _ => {
                if let Some(answer) = self.send(Method::POST, &format!("{path}/task"), &json!({})).await {
                    let id = answer["task_id"].as_i64().unwrap_or_else(|| panic!("a task without an id: {answer}"));
                    self.newest.send_replace(Some(format!("{path}/tasks/{id}")));
                    self.done.tasks.push(id);
                }
            }
        }
    }

    /// The answer to a request that was acknowledged. Whoever is turned away pauses, as a client does.
    async fn send(&mut self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let api = {
            let apis = self.apis.borrow();
            apis[self.random.below(apis.len())].clone()
        };
        let answer = tokio::time::timeout(ANSWER_MAX, api.try_send(method, path, Some(body.to_string()), &[])).await;
        match answer.unwrap_or_else(|_| Ok(Answer::default())) {
            // A server that is frozen never answers.
            Ok(answer) if answer.status == 0 => {}
            Ok(answer) if answer.status == 200 => {
                self.acknowledged.send_modify(|count| *count += 1);
                return Some(answer.json());
            }
            Ok(answer) if answer.status == 503 => {
                assert!(!answer.header("retry-after").is_empty(), "503 without Retry-After: {}", answer.text);
            }
            Ok(answer) => panic!("{path}: {} {}", answer.status, answer.text),
            Err(_) => {}
        }
        self.done.turned_away += 1;
        self.turned_away.send_modify(|count| *count += 1);
        tokio::time::interval_at(tokio::time::Instant::now() + PAUSE, PAUSE).tick().await;
        None
    }
}

/// Waits until a server shows all these events, also those that were never acknowledged.
async fn catch_up(api: &Api, events: &[Value]) -> String {
    let wanted = last_positions(events);
    let answer = api.get_served("/ping", &[("daybook-min-position", &wanted)]).await;
    assert_eq!(answer.status, 200, "the tables do not reach {wanted}: {}", answer.text);
    wanted
}

/// Holds a server against the log: every acknowledged write is there exactly once, every row is what a pure fold of the
/// log says, and the server never acknowledged too early.
///
/// # Panics
/// If anything is lost, doubled, or differs.
pub async fn check(place: &Place, server: &Server, acknowledged: &Acknowledged) {
    let events = place.events();
    let position = catch_up(&server.api, &events).await;
    let model = Model::of(&events);
    let mut ids = acknowledged.tasks.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), acknowledged.tasks.len(), "an id was given out twice");
    let known: BTreeSet<i64> = model.tasks.keys().map(|(_, id)| *id).collect();
    let lost: Vec<_> = ids.iter().filter(|id| !known.contains(*id)).collect();
    assert!(lost.is_empty(), "tasks that were acknowledged and lost: {lost:?}");
    let of_tasks = |named: &dyn Fn(&crate::model::Task) -> Vec<String>| -> BTreeSet<(i64, String)> {
        model.tasks.iter().flat_map(|((_, id), task)| named(task).into_iter().map(move |name| (*id, name))).collect()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let artifacts = of_tasks(&|task| task.artifacts.keys().map(|(_, name)| name.clone()).collect());
    let lost: Vec<_> = acknowledged.artifacts.difference(&artifacts).collect();
    assert!(lost.is_empty(), "artifacts that were acknowledged and lost: {lost:?}");
    let metadata = of_tasks(&|task| task.metadata.values().map(|(_, entry)| text(&entry["value"])).collect());
    let lost: Vec<_> = acknowledged.metadata.difference(&metadata).collect();
    assert!(lost.is_empty(), "metadata that was acknowledged and lost: {lost:?}");
    let tags: BTreeSet<String> =
        model.runs.values().flat_map(|run| run["tags"].as_array().into_iter().flatten().map(text)).collect();
    let lost: Vec<_> = acknowledged.tags.difference(&tags).collect();
    assert!(lost.is_empty(), "tags that were acknowledged and lost: {lost:?}");
    compare_rows(&server.api, &model).await;
    compare_documents(&server.api, &model, &position).await;
}
