//! Random logs of Metaflow's events.

use daybook_metaflow::events::{
    Artifact, ArtifactsRegistered, Event, FlowRegistered, HeartbeatRecorded, MetadataEntry, MetadataRegistered,
    RunStarted, RunTagsMutated, StepRegistered, TaskRegistered,
    ids::{FlowId, MetadataId, RunNumber, StepName, TaskId},
};
use daybook_projector::projection::Decoded;
use daybook_schemas::{Envelope, EventSet, position::Position};
use daybook_tests::random::Random;

const NAMES: [Option<&str>; 4] = [None, None, Some("x"), Some("y")];

/// An event that may fit what came before or not.
fn random_event(random: &mut Random) -> Event {
    let flow_id = FlowId::from(random.pick(&["A", "B"]));
    let number = |random: &mut Random| 1 + i64::try_from(random.below(3)).unwrap_or(0);
    let (run_number, task_id) = (RunNumber(number(random)), TaskId(number(random)));
    let step_name = StepName::from(random.pick(&["s", "t"]));
    let (user_name, tags, system_tags) = (None, vec![random.pick(&["a", "b"]).to_owned()], vec![]);
    let name = random.pick(&NAMES).map(str::to_owned);
    let heartbeat = random.one_in(2);
    let entries = 1 + random.below(3);
    match random.below(12) {
        0 => Event::FlowRegistered(FlowRegistered { flow_id, user_name, tags, system_tags }),
        1 | 2 => {
            Event::RunStarted(RunStarted { flow_id, run_number, run_id: name, user_name, tags, system_tags, heartbeat })
        }
        3 | 4 => Event::StepRegistered(StepRegistered { flow_id, run_number, step_name, user_name, tags, system_tags }),
        5 | 6 => {
            let task_name = name;
            Event::TaskRegistered(TaskRegistered {
                flow_id,
                run_number,
                step_name,
                task_id,
                task_name,
                user_name,
                tags,
                system_tags,
                heartbeat,
            })
        }
        7 | 8 => {
            let artifact = |random: &mut Random| Artifact {
                name: random.pick(&["n", "m"]).to_owned(),
                location: "l".into(),
                ds_type: "s3".into(),
                sha: None,
                r#type: None,
                content_type: None,
                user_name: None,
                attempt_id: i32::try_from(random.below(3)).unwrap_or(0),
                tags: vec![],
                system_tags: vec![],
            };
            let entries = (0..entries).map(|_| artifact(random)).collect();
            Event::ArtifactsRegistered(ArtifactsRegistered { flow_id, run_number, step_name, task_id, entries })
        }
        9 => {
            let entry = MetadataEntry {
                field_name: "f".into(),
                value: "v".into(),
                r#type: "t".into(),
                user_name: None,
                tags: vec![],
                system_tags: vec![],
            };
            let first_id = MetadataId(1 + i64::try_from(random.below(100)).unwrap_or(0));
            let entries = vec![entry; entries];
            Event::MetadataRegistered(MetadataRegistered { flow_id, run_number, step_name, task_id, first_id, entries })
        }
        10 => {
            let remove = vec![random.pick(&["a", "b"]).to_owned()];
            Event::RunTagsMutated(RunTagsMutated { flow_id, run_number, add: tags, remove })
        }
        _ => {
            let of_task = random.one_in(2);
            let (step_name, task_id) = (of_task.then_some(step_name), of_task.then_some(task_id));
            Event::HeartbeatRecorded(HeartbeatRecorded { flow_id, run_number, step_name, task_id })
        }
    }
}

/// A log of such events.
pub(super) fn random_log(random: &mut Random, records: usize) -> Vec<Decoded<Event>> {
    let decoded = |offset: usize| {
        let event = random_event(random);
        let position = Position::new(event.topic(), 0, i64::try_from(offset).unwrap_or(0));
        let at = 1_700_000_000_000 + i64::try_from(offset * 1000 + random.below(5000)).unwrap_or(0);
        let mut envelope = Envelope::new(at, event);
        envelope.idempotency_key = random.one_in(8).then(|| random.pick(&["k", "l", "m"]).to_owned());
        Decoded { position, envelope }
    };
    (0..records).map(decoded).collect()
}
