//! One event of every kind, with and without its optional fields, for the golden files.

use super::{
    Artifact, ArtifactsRegistered, Event, FlowRegistered, HeartbeatRecorded, MetadataEntry, MetadataRegistered,
    RunStarted, RunTagsMutated, StepRegistered, TaskRegistered,
    ids::{FlowId, MetadataId, RunNumber, StepName, TaskId},
};

fn flow_id() -> FlowId {
    FlowId::from("Größe")
}

const RUN: RunNumber = RunNumber(7);
const TASK: TaskId = TaskId(99);

fn step_name() -> StepName {
    StepName::from("start")
}

fn tags() -> Vec<String> {
    vec!["a".to_owned(), "user:ü".to_owned()]
}

fn user() -> Option<String> {
    Some("ann".to_owned())
}

fn run(run_id: Option<&str>, heartbeat: bool) -> Event {
    let (run_id, user_name, tags, system_tags) = (run_id.map(str::to_owned), user(), tags(), vec![]);
    let (flow_id, run_number) = (flow_id(), RUN);
    Event::RunStarted(RunStarted { flow_id, run_number, run_id, user_name, tags, system_tags, heartbeat })
}

fn step() -> Event {
    let (flow_id, run_number, step_name) = (flow_id(), RUN, step_name());
    let (user_name, tags, system_tags) = (None, vec![], tags());
    Event::StepRegistered(StepRegistered { flow_id, run_number, step_name, user_name, tags, system_tags })
}

fn task(task_name: Option<&str>) -> Event {
    Event::TaskRegistered(TaskRegistered {
        flow_id: flow_id(),
        run_number: RUN,
        step_name: step_name(),
        task_id: TASK,
        task_name: task_name.map(str::to_owned),
        user_name: None,
        tags: vec![],
        system_tags: tags(),
        heartbeat: true,
    })
}

fn artifacts() -> Event {
    let artifact = Artifact {
        name: "x".into(),
        location: "s3://b/k".into(),
        ds_type: "s3".into(),
        sha: Some("ab12".into()),
        r#type: Some("artifact".into()),
        content_type: None,
        user_name: user(),
        attempt_id: 3,
        tags: tags(),
        system_tags: vec![],
    };
    let (flow_id, run_number, step_name, task_id) = (flow_id(), RUN, step_name(), TASK);
    Event::ArtifactsRegistered(ArtifactsRegistered { flow_id, run_number, step_name, task_id, entries: vec![artifact] })
}

fn metadata() -> Event {
    let entry = MetadataEntry {
        field_name: "attempt".into(),
        value: "0".into(),
        r#type: "attempt".into(),
        user_name: None,
        tags: tags(),
        system_tags: tags(),
    };
    Event::MetadataRegistered(MetadataRegistered {
        flow_id: flow_id(),
        run_number: RUN,
        step_name: step_name(),
        task_id: TASK,
        first_id: MetadataId(5),
        entries: vec![entry],
    })
}

fn beat(of_task: bool) -> Event {
    let (step_name, task_id) = (of_task.then(step_name), of_task.then_some(TASK));
    Event::HeartbeatRecorded(HeartbeatRecorded { flow_id: flow_id(), run_number: RUN, step_name, task_id })
}

/// The samples, by the name of their golden file.
pub(super) fn samples() -> Vec<(&'static str, Event)> {
    let flow = FlowRegistered { flow_id: flow_id(), user_name: user(), tags: tags(), system_tags: vec![] };
    let change = RunTagsMutated { flow_id: flow_id(), run_number: RUN, add: tags(), remove: vec!["old".into()] };
    vec![
        ("flow-registered", Event::FlowRegistered(flow)),
        ("run-started", run(None, true)),
        ("run-started-named", run(Some("argo-1"), false)),
        ("step-registered", step()),
        ("task-registered", task(None)),
        ("task-registered-named", task(Some("t-1"))),
        ("artifacts-registered", artifacts()),
        ("metadata-registered", metadata()),
        ("run-tags-mutated", Event::RunTagsMutated(change)),
        ("heartbeat-recorded-run", beat(false)),
        ("heartbeat-recorded-task", beat(true)),
    ]
}
