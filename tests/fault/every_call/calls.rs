//! Callers that use every route of the API, again and again, each request through the next instance: what was acknowledged
//! must be in the next answer.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use daybook_tests::api::{Answer, Api};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

const REGISTRY: &str = "/api/v1/schema-registry";
const RUN: &str = "/flows/{flow_id}/runs/{run_number}";
const STEP: &str = "/flows/{flow_id}/runs/{run_number}/steps/{step_name}";
const TASK: &str = "/flows/{flow_id}/runs/{run_number}/steps/{step_name}/tasks/{task_id}";
/// A flow with one run that all callers change.
pub(super) const SHARED: &str = "/flows/Shared/runs/1";

/// One call.
pub(super) struct Call {
    /// Method and route, as `openapi.json` names it.
    pub(super) route: String,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// What was wrong with it.
    pub(super) failure: Option<String>,
}

/// All calls so far.
#[derive(Default)]
pub(super) struct Calls {
    calls: Mutex<Vec<Call>>,
    count: watch::Sender<usize>,
    stop: watch::Sender<bool>,
    /// Whether callers leave time for what else is done: for a rebuild.
    pub(super) leave_time: AtomicBool,
}

impl Calls {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until so many more calls were answered.
    pub(super) async fn wait_for(&self, more: usize) {
        let mut count = self.count.subscribe();
        let target = *count.borrow() + more;
        let reached = count.wait_for(|count| *count >= target);
        let reached = tokio::time::timeout(std::time::Duration::from_secs(300), reached).await;
        assert!(reached.is_ok(), "the callers are stuck");
    }
}

/// What a caller calls.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Metadata,
    Search,
    System,
}

/// Calls the routes of one part, one after the other.
pub(super) struct Caller<'c> {
    pub(super) apis: Vec<Api>,
    pub(super) calls: &'c Calls,
    pub(super) part: Part,
    pub(super) index: usize,
    turn: usize,
    next: usize,
}

impl<'c> Caller<'c> {
    pub(super) fn new(apis: Vec<Api>, calls: &'c Calls, part: Part, index: usize) -> Self {
        Self { apis, calls, part, index, turn: 0, next: index }
    }

    pub(super) async fn run(mut self) {
        while !*self.calls.stop.borrow() {
            self.turn += 1;
            match self.part {
                Part::Metadata => self.metadata().await,
                Part::Search => self.search().await,
                Part::System => self.system().await,
            }
        }
    }

    /// A call through the next instance. It fails if the status or the answer is not as expected.
    async fn call(&mut self, ask: Ask<'_>, is_right: impl FnOnce(&Answer) -> bool) -> Answer {
        self.next += 1;
        let api = &self.apis[self.next % self.apis.len()];
        let method = ask.method.clone();
        let began = Instant::now();
        let answer = api.try_send(ask.method, &ask.path, ask.body.map(|body| body.to_string()), &ask.headers).await;
        let ended = Instant::now();
        let (answer, failure) = match answer {
            Ok(answer) if answer.status == ask.status && is_right(&answer) => (answer, None),
            Ok(answer) => {
                let generation = answer.header("daybook-generation");
                let shown: String = answer.text.chars().take(300).collect();
                let failure = format!("{} {}: {} of generation {generation}: {shown}", method, ask.path, answer.status);
                (answer, Some(failure))
            }
            Err(error) => (Answer::default(), Some(format!("{method} {}: {error}", ask.path))),
        };
        self.calls.lock().push(Call { route: format!("{method} {}", ask.route), began, ended, failure });
        self.calls.count.send_modify(|count| *count += 1);
        if self.calls.leave_time.load(Ordering::Relaxed) {
            // More of it on a slow machine.
            let mut stop = self.calls.stop.subscribe();
            let _stopped = tokio::time::timeout(ended - began, stop.wait_for(|stop| *stop)).await;
        }
        answer
    }

    async fn get(&mut self, route: &str, path: String, is_right: impl FnOnce(&Answer) -> bool) -> Answer {
        self.call(Ask::new(Method::GET, route, path), is_right).await
    }

    async fn post(&mut self, route: &str, path: String, body: Value) -> Answer {
        self.call(Ask::new(Method::POST, route, path).with(body), |_| true).await
    }

    /// Everything that Metaflow's client calls: what is made through one instance is read through the next.
    async fn metadata(&mut self) {
        let name = format!("c{}x{}", self.index, self.turn);
        let flow = format!("/flows/{name}");
        self.post("/flows/{flow_id}", flow.clone(), json!({"user_name": name})).await;
        self.get("/flows/{flow_id}", flow.clone(), |it| it.json()["flow_id"] == *name).await;
        let made = self.post("/flows/{flow_id}/run", format!("{flow}/run"), json!({"user_name": name})).await;
        let number = made.json()["run_number"].clone();
        let run = format!("{flow}/runs/{number}");
        self.get(RUN, run.clone(), |it| it.json()["run_number"] == number).await;
        self.get("/flows/{flow_id}/runs", format!("{flow}/runs"), |it| it.json()[0]["run_number"] == number).await;
        self.get("/flows", "/flows?_limit=5".to_owned(), |it| it.json().as_array().is_some_and(|it| !it.is_empty()))
            .await;
        let step = format!("{run}/steps/s");
        self.post(&format!("{STEP}/step"), format!("{step}/step"), json!({})).await;
        self.get(STEP, step.clone(), |it| it.json()["step_name"] == "s").await;
        self.get(&format!("{RUN}/steps"), format!("{run}/steps"), |it| count(it) == 1).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            let made = self.post(&format!("{STEP}/task"), format!("{step}/task"), json!({})).await;
            ids.push(made.json()["task_id"].clone());
        }
        self.pages(&format!("{STEP}/tasks"), &format!("{step}/tasks"), ids.len()).await;
        let id = ids[0].clone();
        let task = format!("{step}/tasks/{id}");
        self.get(TASK, task.clone(), |it| it.json()["task_id"] == id).await;
        let entry = json!([{"field_name": "f", "value": name, "type": "t"}]);
        self.post(&format!("{TASK}/metadata"), format!("{task}/metadata"), entry).await;
        self.get(&format!("{TASK}/metadata"), format!("{task}/metadata"), |it| it.json()[0]["value"] == *name).await;
        self.get(&format!("{RUN}/metadata"), format!("{run}/metadata"), |it| count(it) == 1).await;
        let filtered = format!("{step}/filtered_tasks?metadata_field_name=f&pattern={name}");
        self.get(&format!("{STEP}/filtered_tasks"), filtered, |it| count(it) == 1).await;
        let artifact = json!([{"name": "x", "location": "l", "ds_type": "d", "attempt_id": 0}]);
        self.post(&format!("{TASK}/artifact"), format!("{task}/artifact"), artifact).await;
        let is_artifact = |it: &Answer| it.json()["name"] == "x";
        let path = format!("{task}/artifacts/x");
        self.get(&format!("{TASK}/artifacts/{{name}}"), path.clone(), is_artifact).await;
        let of_attempt = format!("{TASK}/artifacts/{{name}}/attempt/{{attempt}}");
        self.get(&of_attempt, format!("{path}/attempt/0"), is_artifact).await;
        for (route, path) in [
            (format!("{TASK}/attempt/{{attempt}}/artifacts"), format!("{task}/attempt/0/artifacts")),
            (format!("{TASK}/artifacts"), format!("{task}/artifacts")),
            (format!("{STEP}/artifacts"), format!("{step}/artifacts")),
            (format!("{RUN}/artifacts"), format!("{run}/artifacts")),
        ] {
            self.get(&route, path, |it| count(it) == 1).await;
        }
        self.post(&format!("{RUN}/heartbeat"), format!("{run}/heartbeat"), json!({})).await;
        self.post(&format!("{TASK}/heartbeat"), format!("{task}/heartbeat"), json!({})).await;
        self.tags().await;
        self.bulk(&name).await;
    }

    /// Changes a tag of the run that all change. Each answer about it shows the tags of one moment.
    async fn tags(&mut self) {
        let (tag, is_added) = (format!("tag-{}", self.index), self.turn.is_multiple_of(2));
        let field = if is_added { "tags_to_add" } else { "tags_to_remove" };
        let ask = Ask::new(Method::PATCH, &format!("{RUN}/tag/mutate"), format!("{SHARED}/tag/mutate"));
        self.call(ask.with(json!({field: [tag]})), |_| true).await;
        let has = |row: &Value| row["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag))) == is_added;
        self.get(RUN, SHARED.to_owned(), |it| has(&it.json())).await;
        let is_right = |it: &Answer| {
            let rows = it.json().as_array().cloned().unwrap_or_default();
            rows.len() == 3 && rows.iter().all(|row| has(row) && row["tags"] == rows[0]["tags"])
        };
        self.get(&format!("{STEP}/tasks"), format!("{SHARED}/steps/s/tasks"), is_right).await;
    }

    /// Events that are recorded together.
    async fn bulk(&mut self, name: &str) {
        let event = json!({"type": "FlowRegistered", "event": {"flow_id": format!("{name}b")},
            "occurred_at": 1_700_000_000_000_i64});
        let ask = Ask::new(Method::POST, "/api/v1/events", "/api/v1/events".to_owned());
        self.call(ask.with(event), |it| it.json()["accepted"] == 1).await;
        let path = format!("/flows/{name}b");
        self.get("/flows/{flow_id}", path, |it| it.json()["flow_id"] == format!("{name}b")).await;
    }

    /// All pages of a list, which come from one generation, as does its cursor.
    async fn pages(&mut self, route: &str, path: &str, rows: usize) {
        let (mut seen, mut cursor, mut generation) = (Vec::new(), String::new(), String::new());
        for page in 0..rows {
            let path = format!("{path}?_limit=1&_cursor={cursor}");
            let answer = self
                .get(route, path, |it| {
                    let of_same = page == 0 || it.header("daybook-generation") == generation;
                    of_same && count(it) == 1 && it.header("x-next-cursor").is_empty() == (page + 1 == rows)
                })
                .await;
            cursor = answer.header("x-next-cursor").to_owned();
            generation = answer.header("daybook-generation").to_owned();
            seen.push(answer.json()[0]["task_id"].clone());
        }
    }

    /// A run that was just made is found, and so are its tags and its owner.
    async fn search(&mut self) {
        let name = format!("s{}x{}", self.index, self.turn);
        self.post("/flows/{flow_id}", format!("/flows/{name}"), json!({})).await;
        let body = json!({"user_name": name, "tags": [name]});
        let made = self.post("/flows/{flow_id}/run", format!("/flows/{name}/run"), body).await;
        let position = made.header("daybook-position").to_owned();
        let is_found = |it: &Answer| it.json()["hits"][0]["path"].as_str().is_some_and(|path| path.contains(&name));
        let has_value = |it: &Answer| it.text.contains(&format!("\"{name}\""));
        for path in [format!("/api/v1/search?type=run&flow={name}"), format!("/api/v1/search?type=run&q={name}")] {
            let ask = Ask::new(Method::GET, "/api/v1/search", path).header("daybook-min-position", &position);
            self.call(ask, is_found).await;
        }
        for values in ["/api/v1/tags", "/api/v1/users"] {
            let ask = Ask::new(Method::GET, values, format!("{values}?flow={name}"));
            self.call(ask.header("daybook-min-position", &position), has_value).await;
        }
    }

    /// What belongs to no domain, or reads nothing.
    async fn system(&mut self) {
        for path in [
            "/ping",
            "/version",
            "/healthcheck",
            "/health/live",
            "/health/ready",
            "/metrics",
            "/openapi.json",
            "/api/doc",
            "/api/v1/status",
            "/api/v1/quarantine",
            "/api/v1/generations",
            "/api/v1/rebuilds",
            "/api/v1/rebuilds/plan",
        ] {
            self.get(path, path.to_owned(), |_| true).await;
        }
        self.call(Ask::new(Method::GET, "/auth/token", "/auth/token".to_owned()).status(500), |_| true).await;
        self.get("/api/v1/generations/{generation}", "/api/v1/generations/1".to_owned(), |_| true).await;
        let report =
            Ask::new(Method::GET, "/api/v1/generations/{generation}/report", "/api/v1/generations/1/report".into());
        self.call(report.status(404), |_| true).await;
        self.get("/api/v1/rebuilds/{rebuild}", "/api/v1/rebuilds/metaflow-1".to_owned(), |_| true).await;
        let events = "/api/v1/rebuilds/metaflow-1/events".to_owned();
        self.get("/api/v1/rebuilds/{rebuild}/events", events, |it| it.text.contains("progress")).await;
        self.registry().await;
    }

    async fn registry(&mut self) {
        let subjects = self.get(&format!("{REGISTRY}/subjects"), format!("{REGISTRY}/subjects"), |_| true).await;
        let subjects = subjects.json();
        let mut subjects = subjects.as_array().into_iter().flatten().filter_map(Value::as_str);
        let subject = subjects.find(|subject| subject.ends_with("metaflow-value")).unwrap_or_default().to_owned();
        let id = format!("{REGISTRY}/schemas/ids/100");
        let by_id = self.get(&format!("{REGISTRY}/schemas/ids/{{id}}"), id, |_| true).await;
        let schema = json!({"schema": by_id.json()["schema"]});
        for (route, query) in [
            ("", ""),
            ("/subjects/{subject}/metadata", ""),
            ("/subjects/{subject}/versions", ""),
            ("/subjects/{subject}/versions/{version}", ""),
            ("/subjects/{subject}/versions/{version}/schema", ""),
            ("/subjects/{subject}/versions/{version}/referencedby", ""),
            ("/schemas", "?limit=1"),
            ("/schemas/types", ""),
            ("/schemas/ids/{id}/schema", ""),
            ("/schemas/ids/{id}/subjects", ""),
            ("/schemas/ids/{id}/versions", ""),
            ("/config", ""),
            ("/config/{subject}", ""),
            ("/mode", ""),
            ("/mode/{subject}", ""),
            ("/contexts", ""),
        ] {
            let path = route.replace("{subject}", &subject).replace("{version}", "1").replace("{id}", "100");
            self.get(&format!("{REGISTRY}{route}"), format!("{REGISTRY}{path}{query}"), |_| true).await;
        }
        let guid =
            Ask::new(Method::GET, &format!("{REGISTRY}/schemas/guids/{{guid}}"), format!("{REGISTRY}/schemas/guids/x"));
        self.call(guid.status(404), |_| true).await;
        for route in [
            "/subjects/{subject}",
            "/subjects/{subject}/versions",
            "/compatibility/subjects/{subject}/versions",
            "/compatibility/subjects/{subject}/versions/{version}",
        ] {
            let path = route.replace("{subject}", &subject).replace("{version}", "1");
            self.post(&format!("{REGISTRY}{route}"), format!("{REGISTRY}{path}"), schema.clone()).await;
        }
    }
}

fn count(answer: &Answer) -> usize {
    answer.json().as_array().map_or(0, Vec::len)
}

/// What is asked, and the status that is right.
struct Ask<'a> {
    method: Method,
    route: String,
    path: String,
    body: Option<Value>,
    headers: Vec<(&'a str, &'a str)>,
    status: u16,
}

impl<'a> Ask<'a> {
    fn new(method: Method, route: &str, path: String) -> Self {
        Self { method, route: route.to_owned(), path, body: None, headers: Vec::new(), status: 200 }
    }

    fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
