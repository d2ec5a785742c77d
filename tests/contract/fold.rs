//! The fold of the Metaflow projection: how records are grouped into batches must not show in the tables (I5), and both
//! engines give the same rows.

use std::sync::Arc;

use daybook_projector::{
    projection::{Decoded, Projection},
    projections::metaflow::Metaflow,
    tables::{Params, Statement, Tables},
};
use daybook_schemas::{
    Envelope, Event,
    events::{
        Artifact, ArtifactsRegistered, FlowRegistered, HeartbeatRecorded, MetadataEntry, MetadataRegistered,
        RunStarted, RunTagsMutated, StepRegistered, TaskRegistered,
    },
    ids::{FlowId, MetadataId, RunNumber, StepName, TaskId},
    position::Position,
    topics::Topic,
};
use daybook_tests::random::Random;

use crate::tables::{blocking, generation, places};

macro_rules! dump {
    ($($name:literal: $sql:literal),+ $(,)?) => { [$(Statement { name: $name, postgres: $sql, sqlite: $sql }),+] };
}

/// Everything that the fold writes, in one order.
static DUMPS: [Statement; 11] = dump!(
    "flows": "SELECT flow_id, user_name, ts_epoch, tags, system_tags, record_offset FROM flows ORDER BY flow_id",
    "runs": "SELECT flow_id, run_number, run_id, ts_epoch, tags, heartbeat_at, record_offset FROM runs ORDER BY 1, 2",
    "run_heartbeats": "SELECT flow_id, run_number, beat_at FROM run_heartbeats ORDER BY flow_id, run_number",
    "task_heartbeats": "SELECT flow_id, task_id, beat_at FROM task_heartbeats ORDER BY flow_id, task_id",
    "steps": "SELECT flow_id, run_number, step_name, ts_epoch, record_offset FROM steps ORDER BY 1, 2, 3",
    "tasks": "SELECT flow_id, run_number, step_name, task_id, task_name, heartbeat_at, latest_attempt, record_offset FROM tasks ORDER BY 1, 4",
    "artifacts": "SELECT flow_id, task_id, task_name, attempt_id, name, ts_epoch, record_offset FROM artifacts ORDER BY 1, 2, 4, 5",
    "metadata": "SELECT flow_id, task_id, task_name, id, field_name, ts_epoch, record_offset FROM metadata ORDER BY 1, 2, 4, 7",
    "skips": "SELECT record_partition, record_offset, entries FROM skips ORDER BY record_partition, record_offset",
    "requests": "SELECT flow_id, idempotency_key, kind, number, entries, record_offset FROM requests ORDER BY 1, 2",
    "numbers": "SELECT sequence, highest FROM numbers ORDER BY sequence",
);

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

fn random_log(random: &mut Random, records: usize) -> Vec<Decoded> {
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

/// Folds a log in batches of given sizes; returns what was unapplied and all rows.
async fn fold(
    tables: Arc<dyn Tables>,
    log: Vec<Decoded>,
    mut sizes: impl FnMut() -> usize + Send + 'static,
) -> Vec<String> {
    blocking(move || {
        let (mut rest, mut lines) = (log.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(sizes().clamp(1, rest.len()));
            rest = left;
            let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
            let unapplied = Metaflow.apply(transaction.as_mut(), batch).unwrap_or_else(|error| panic!("{error}"));
            lines.extend(unapplied.iter().map(|it| format!("unapplied {}: {}", it.position, it.reason)));
            transaction.commit().unwrap_or_else(|error| panic!("{error}"));
        }
        lines.sort();
        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
        for dump in &DUMPS {
            let rows = transaction.read(dump, &Params::One(Vec::new())).unwrap_or_else(|error| panic!("{error}"));
            let cell = |cell: &daybook_projector::tables::Cell| match cell {
                daybook_projector::tables::Cell::Int(None) | daybook_projector::tables::Cell::Text(None) => {
                    "null".to_owned()
                }
                daybook_projector::tables::Cell::Int(Some(value)) => value.to_string(),
                daybook_projector::tables::Cell::Text(Some(value)) => format!("{value:?}"),
            };
            let line = |row: &daybook_projector::tables::Row| row.0.iter().map(cell).collect::<Vec<_>>().join(" ");
            lines.extend(rows.iter().map(|row| format!("{} {}", dump.name, line(row))));
        }
        lines
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_grouping_into_batches_does_not_show_and_both_engines_agree() {
    let mut random = Random::seeded("fold");
    let places = places("fold");
    for round in 0..12 {
        let log = random_log(&mut random, 120);
        let mut results = Vec::new();
        for (index, place) in places.iter().enumerate() {
            for (kind, sizes) in [("one by one", 1), ("all at once", 1000), ("mixed", 0)] {
                let tables =
                    generation(place.store.as_ref(), round * 10 + i64::try_from(results.len()).unwrap_or(0) + 1).await;
                let mut mixed = Random::seeded(&format!("sizes of round {round}, engine {index}"));
                let size = move || if sizes == 0 { 1 + mixed.below(20) } else { sizes };
                results.push((kind, fold(tables, log.clone(), size).await));
            }
        }
        let (_, expected) = &results[0];
        assert!(expected.iter().any(|line| line.starts_with("tasks")) || round > 0, "the log made no tasks");
        for (kind, found) in &results {
            assert_eq!(found, expected, "round {round}, {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_fold_to_the_newest_in_whatever_order_they_come() {
    for place in places("beats") {
        let tables = generation(place.store.as_ref(), 1).await;
        let beat = |offset: i64, at: i64| {
            let (flow_id, run_number) = (FlowId::from("F"), RunNumber(1));
            let event =
                Event::HeartbeatRecorded(HeartbeatRecorded { flow_id, run_number, step_name: None, task_id: None });
            Decoded { position: Position::new(Topic::Heartbeats, 0, offset), envelope: Envelope::new(at, event) }
        };
        let lines = fold(tables, vec![beat(0, 5_000), beat(1, 9_000), beat(2, 7_000)], || 1).await;
        assert_eq!(lines, ["run_heartbeats \"F\" 1 9"]);
    }
}
