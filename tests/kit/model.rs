//! An independent model: a pure fold of the decoded log into what the API must show.
//!
//! It shares no code with the projector: it works on the JSON that `daybook log cat` prints, keeps everything in maps, and
//! applies one event after another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Key of a run: flow and number.
type RunKey = (String, i64);

/// Everything that the API can show.
#[derive(Debug, Default)]
pub struct Model {
    /// Flows, by name.
    pub flows: BTreeMap<String, Value>,
    /// Runs.
    pub runs: BTreeMap<RunKey, Value>,
    /// Steps, by run and name.
    pub steps: BTreeMap<(RunKey, String), Value>,
    /// Tasks, by flow and number.
    pub tasks: BTreeMap<(String, i64), Task>,
    /// How often a run's tags were changed.
    pub tag_changes: BTreeMap<RunKey, i64>,
    /// How many events told a run's outcome.
    pub outcomes: BTreeMap<RunKey, i64>,
    /// Positions of records that break a rule of the fold.
    pub unapplied: BTreeSet<String>,
    run_names: BTreeSet<(String, String)>,
    task_names: BTreeSet<(RunKey, String, String)>,
    keys: BTreeSet<(String, String)>,
    /// The last registrations that count as heartbeats of runs, in seconds.
    registrations: BTreeMap<RunKey, i64>,
    /// The last beats of the heartbeat topic, in seconds.
    run_beats: BTreeMap<RunKey, i64>,
    task_beats: BTreeMap<(String, i64), i64>,
}

/// A task and what belongs to it.
#[derive(Debug)]
pub struct Task {
    /// Its run.
    pub run: RunKey,
    /// Its step.
    pub step: String,
    /// What the event said of it.
    pub event: Value,
    at: i64,
    /// Artifacts, by attempt and name.
    pub artifacts: BTreeMap<(i64, String), (i64, Value)>,
    /// Metadata entries, by id.
    pub metadata: BTreeMap<i64, (i64, Value)>,
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

/// The exposed id: the name if there is one, else the number.
fn exposed(event: &Value, name: &str, number: &str) -> Value {
    if event[name].is_null() { event[number].clone() } else { event[name].clone() }
}

/// What became of a record.
enum Outcome {
    Applied,
    /// What it would make was there already: it leaves no idempotency key.
    Lost,
    Rejected,
}

impl Model {
    /// Folds a whole log.
    pub fn of(events: &[Value]) -> Self {
        let mut model = Self::default();
        for event in events {
            model.apply(event);
        }
        model
    }

    /// Applies one record.
    pub fn apply(&mut self, record: &Value) {
        let (event, at) = (&record["event"], number(record, "occurred_at"));
        let flow = text(event, "flow_id");
        let key = record["idempotency_key"].as_str().filter(|_| record["type"] != "HeartbeatRecorded");
        let key = key.map(|key| (flow.clone(), key.to_owned()));
        if key.as_ref().is_some_and(|key| self.keys.contains(key)) {
            return;
        }
        let run: RunKey = (flow.clone(), number(event, "run_number"));
        let outcome = match record["type"].as_str().unwrap_or_default() {
            "FlowRegistered" => self.register_flow(flow, event, at),
            "RunStarted" => self.start_run(run, event, at),
            "StepRegistered" => self.register_step(run, event, at),
            "TaskRegistered" => self.register_task(run, event, at),
            "ArtifactsRegistered" => self.register_artifacts(&run, event, at),
            "MetadataRegistered" => self.register_metadata(&run, event, at),
            "RunTagsMutated" => self.mutate_tags(&run, event),
            "HeartbeatRecorded" => {
                let at = at.div_euclid(1000);
                match event["task_id"].as_i64() {
                    Some(task) => self.task_beats.insert((flow, task), at),
                    None => self.run_beats.insert(run, at),
                };
                Outcome::Applied
            }
            _ => Outcome::Applied,
        };
        match outcome {
            Outcome::Applied => self.keys.extend(key),
            Outcome::Lost => {}
            Outcome::Rejected => drop(self.unapplied.insert(text(record, "position"))),
        }
    }

    fn register_flow(&mut self, flow: String, event: &Value, at: i64) -> Outcome {
        if self.flows.contains_key(&flow) {
            return Outcome::Lost;
        }
        let object = json!({"flow_id": flow, "user_name": event["user_name"], "ts_epoch": at, "tags": event["tags"],
            "system_tags": event["system_tags"]});
        self.flows.insert(flow, object);
        Outcome::Applied
    }

    fn start_run(&mut self, run: RunKey, event: &Value, at: i64) -> Outcome {
        if !self.flows.contains_key(&run.0) {
            return Outcome::Rejected;
        }
        let name = event["run_id"].as_str().map(|name| (run.0.clone(), name.to_owned()));
        if self.runs.contains_key(&run) || name.as_ref().is_some_and(|name| self.run_names.contains(name)) {
            return Outcome::Lost;
        }
        self.run_names.extend(name);
        if event["heartbeat"] == true {
            self.registrations.insert(run.clone(), at.div_euclid(1000));
        }
        let object = json!({"flow_id": run.0, "run_number": exposed(event, "run_id", "run_number"),
            "user_name": event["user_name"], "ts_epoch": at, "tags": event["tags"], "system_tags": event["system_tags"]});
        self.runs.insert(run, object);
        Outcome::Applied
    }

    fn register_step(&mut self, run: RunKey, event: &Value, at: i64) -> Outcome {
        let Some(of_run) = self.runs.get(&run) else { return Outcome::Rejected };
        let shown = of_run["run_number"].as_str().map_or_else(|| run.1.to_string(), str::to_owned);
        let step = text(event, "step_name");
        let object = json!({"flow_id": run.0, "run_number": shown, "step_name": step, "user_name": event["user_name"],
            "ts_epoch": at});
        if self.steps.contains_key(&(run.clone(), step.clone())) {
            return Outcome::Lost;
        }
        self.steps.insert((run, step), object);
        Outcome::Applied
    }

    fn register_task(&mut self, run: RunKey, event: &Value, at: i64) -> Outcome {
        let step = text(event, "step_name");
        if !self.steps.contains_key(&(run.clone(), step.clone())) {
            return Outcome::Rejected;
        }
        // A registration that comes second changes nothing, but it shows that the run is alive.
        if event["heartbeat"] == true {
            self.registrations.insert(run.clone(), at.div_euclid(1000));
        }
        let key = (run.0.clone(), number(event, "task_id"));
        let name = event["task_name"].as_str().map(|name| (run.clone(), step.clone(), name.to_owned()));
        if self.tasks.contains_key(&key) || name.as_ref().is_some_and(|name| self.task_names.contains(name)) {
            return Outcome::Lost;
        }
        self.task_names.extend(name);
        let (artifacts, metadata) = (BTreeMap::new(), BTreeMap::new());
        self.tasks.insert(key, Task { run, step, event: event.clone(), at, artifacts, metadata });
        Outcome::Applied
    }

    fn task_of(&mut self, run: &RunKey, event: &Value) -> Option<&mut Task> {
        let task = self.tasks.get_mut(&(run.0.clone(), number(event, "task_id")))?;
        (task.run == *run && task.step == text(event, "step_name")).then_some(task)
    }

    fn register_artifacts(&mut self, run: &RunKey, event: &Value, at: i64) -> Outcome {
        let Some(task) = self.task_of(run, event) else { return Outcome::Rejected };
        let before = task.artifacts.len();
        for entry in event["entries"].as_array().into_iter().flatten() {
            task.artifacts.entry((number(entry, "attempt_id"), text(entry, "name"))).or_insert((at, entry.clone()));
        }
        if task.artifacts.len() == before { Outcome::Lost } else { Outcome::Applied }
    }

    fn register_metadata(&mut self, run: &RunKey, event: &Value, at: i64) -> Outcome {
        let Some(task) = self.task_of(run, event) else { return Outcome::Rejected };
        for (id, entry) in (number(event, "first_id")..).zip(event["entries"].as_array().into_iter().flatten()) {
            task.metadata.insert(id, (at, entry.clone()));
        }
        let tells = |entry: &Value| entry["field_name"] == "attempt_ok" || entry["field_name"] == "attempt";
        if event["step_name"] == "end" && event["entries"].as_array().into_iter().flatten().any(tells) {
            *self.outcomes.entry(run.clone()).or_default() += 1;
        }
        Outcome::Applied
    }

    fn mutate_tags(&mut self, run: &RunKey, event: &Value) -> Outcome {
        let Some(object) = self.runs.get_mut(run) else { return Outcome::Rejected };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let (add, remove) = (list(&event["add"]), list(&event["remove"]));
        let mut tags: Vec<Value> = list(&object["tags"]).into_iter().filter(|tag| !remove.contains(tag)).collect();
        for tag in add {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        object["tags"] = tags.into();
        *self.tag_changes.entry(run.clone()).or_default() += 1;
        Outcome::Applied
    }

    /// A run as the API shows it.
    pub fn run(&self, key: &RunKey) -> Option<Value> {
        let mut object = self.runs.get(key)?.clone();
        object["last_heartbeat_ts"] = json!(self.run_beats.get(key).or(self.registrations.get(key)));
        let owner = format!("user:{}", text(&object, "user_name"));
        let owned = object["system_tags"].as_array().is_some_and(|tags| tags.contains(&json!(owner)));
        if owned && !object["user_name"].is_null() {
            object["user"] = object["user_name"].clone();
        }
        Some(object)
    }

    /// Gives an object its run's tags.
    fn with_parent_columns(&self, run: &RunKey, mut object: Value) -> Value {
        for field in ["tags", "system_tags"] {
            object[field] = self.runs.get(run).map_or(Value::Null, |run| run[field].clone());
        }
        object
    }

    /// Steps of a run as the API shows them.
    pub fn steps_of(&self, run: &RunKey) -> Vec<Value> {
        let steps = self.steps.iter().filter(|((of, _), _)| of == run);
        steps.map(|(_, step)| self.with_parent_columns(run, step.clone())).collect()
    }

    fn task_base(&self, task: &Task) -> Value {
        let run_number = self.runs.get(&task.run).map_or(Value::Null, |run| run["run_number"].clone());
        json!({"flow_id": task.run.0, "run_number": run_number, "step_name": task.step,
            "task_id": exposed(&task.event, "task_name", "task_id")})
    }

    /// A task as the API shows it.
    pub fn task(&self, task: &Task) -> Value {
        let mut object = self.task_base(task);
        object["user_name"] = task.event["user_name"].clone();
        object["ts_epoch"] = task.at.into();
        let key = (task.run.0.clone(), number(&task.event, "task_id"));
        let registered = (task.event["heartbeat"] == true).then(|| task.at.div_euclid(1000));
        object["last_heartbeat_ts"] = json!(self.task_beats.get(&key).copied().or(registered));
        self.with_parent_columns(&task.run, object)
    }

    /// Metadata of a task as the API shows it.
    pub fn metadata(&self, task: &Task) -> Vec<Value> {
        let entry = |(id, (at, entry)): (&i64, &(i64, Value))| {
            let mut object = self.task_base(task);
            for field in ["field_name", "value", "type", "user_name", "tags", "system_tags"] {
                object[field] = entry[field].clone();
            }
            object["id"] = (*id).into();
            object["ts_epoch"] = (*at).into();
            object
        };
        task.metadata.iter().map(entry).collect()
    }

    /// Artifacts of a task's attempt as the API shows them.
    pub fn artifacts(&self, task: &Task, attempt: i64) -> Vec<Value> {
        let of_attempt = task.artifacts.iter().filter(|((of, _), _)| *of == attempt);
        let entry = |(at, entry): &(i64, Value)| {
            let mut object = self.task_base(task);
            for field in ["name", "location", "ds_type", "sha", "type", "content_type", "user_name", "attempt_id"] {
                object[field] = entry[field].clone();
            }
            object["ts_epoch"] = (*at).into();
            self.with_parent_columns(&task.run, object)
        };
        of_attempt.map(|(_, artifact)| entry(artifact)).collect()
    }

    /// The latest attempt that any artifact of a task has.
    pub fn latest_attempt(task: &Task) -> i64 {
        task.artifacts.keys().map(|(attempt, _)| *attempt).max().unwrap_or(0)
    }
}
