//! The fold of the Metaflow projection: how records are grouped into batches must not show in the tables (I5), and both
//! engines give the same rows.

mod random_log;

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::log::Record;
use daybook_metaflow::{
    events::{
        EVENTS, Event, FlowRegistered, RunStarted, StepRegistered, TaskRegistered,
        ids::{EXPLICIT_RUN_NUMBER_MAX, FlowId, RUN_NUMBER_MAX, RunNumber, StepName, TaskId},
    },
    projection::Metaflow,
};
use daybook_projector::{
    batch::{self, Move},
    bookkeeping::checkpoints,
    generation,
    projection::{Batch, Decoded, Projection, Report},
    tables::{Cell, Params, Row, Statement, Tables},
};
use daybook_schemas::{
    Envelope, EventSet, codec,
    position::{Position, Vector},
};
use daybook_tests::random::Random;

use self::random_log::random_log;
use crate::tables::{blocking, generation as make_generation, places};

macro_rules! dump {
    ($($name:literal: $sql:literal),+ $(,)?) => { [$(Statement { name: $name, postgres: $sql, sqlite: $sql, columns: None }),+] };
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
    "keys": "SELECT record_key, idempotency_key, kind, number, entries, topic, record_offset FROM idempotency_keys ORDER BY 1, 2",
    "numbers": "SELECT sequence, highest FROM numbers ORDER BY sequence",
);

/// How a batch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    InSteps,
    /// By a plan where the batch has one, else in steps.
    Planned,
}

/// The record of an event.
pub(crate) fn record<E: EventSet>(decoded: &Decoded<E>) -> Record {
    let key = Some(decoded.envelope.event.key().into_bytes().into());
    let value = codec::encode(&decoded.envelope).unwrap_or_else(|error| panic!("{error}"));
    Record { position: decoded.position, key, value: value.into() }
}

/// A batch of events, by way of their records.
fn decoded(batch: &[Decoded<Event>]) -> Box<dyn Batch> {
    let records: Vec<Record> = batch.iter().map(record).collect();
    let batch = Metaflow.batch(&records, &|_| 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(batch.rejected(), []);
    batch
}

/// Commits a batch by a plan; `None`, and nothing changed, if that cannot be done.
fn commit_plan(tables: &dyn Tables, batch: &[Decoded<Event>]) -> Option<Report> {
    let shape = generation::definition(&Metaflow).unwrap_or_else(|error| panic!("{error}")).plans;
    let (nowhere, notification) = (Vector::default(), "test metaflow/0@1".to_owned());
    let checkpoints = checkpoints::Move { from: &nowhere, to: &nowhere, is_live: true };
    let (batch, moved) = (decoded(batch), Move { checkpoints, hashes: &BTreeMap::new(), notification });
    batch::commit_plan(batch.as_ref(), &moved, tables, &shape).unwrap_or_else(|error| panic!("{error}"))
}

/// Applies a batch; returns what came of it.
fn apply(tables: &dyn Tables, batch: &[Decoded<Event>], way: Way) -> Report {
    if way == Way::Planned
        && let Some(report) = commit_plan(tables, batch)
    {
        return report;
    }
    let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
    let report = decoded(batch).apply(transaction.as_mut()).unwrap_or_else(|error| panic!("{error}"));
    transaction.commit().unwrap_or_else(|error| panic!("{error}"));
    report
}

/// Of what was taken as it is, the rows are what the events say: a writer is answered from the event alone.
fn check_taken(batch: &[Decoded<Event>], report: &Report, taken: &mut Vec<String>) {
    for decoded in batch {
        let rejected = report.rejected.iter().any(|rejected| rejected.position == decoded.position);
        let table = match decoded.envelope.event {
            Event::RunStarted(_) => "runs",
            Event::TaskRegistered(_) => "tasks",
            _ => continue,
        };
        if !rejected && !report.read_back.contains(&decoded.position) {
            taken.push(format!("{table} {}", decoded.position.offset));
        }
    }
}

/// Folds a log in batches of given sizes; returns what was rejected and all rows.
pub(crate) async fn fold(
    tables: Arc<dyn Tables>,
    log: Vec<Decoded<Event>>,
    mut sizes: impl FnMut() -> usize + Send + 'static,
    way: Way,
) -> Vec<String> {
    blocking(move || {
        let (mut rest, mut lines, mut taken) = (log.as_slice(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(sizes().clamp(1, rest.len()));
            rest = left;
            let report = apply(tables.as_ref(), batch, way);
            check_taken(batch, &report, &mut taken);
            lines.extend(report.rejected.iter().map(|it| format!("rejected {}: {}", it.position, it.reason)));
        }
        lines.sort();
        let mut transaction = tables.begin().unwrap_or_else(|error| panic!("{error}"));
        for dump in &DUMPS {
            let rows = transaction.read(dump, &Params::One(Vec::new())).unwrap_or_else(|error| panic!("{error}"));
            let cell = |cell: &Cell| match cell {
                cell if cell.is_null() => "null".to_owned(),
                Cell::Int(Some(value)) => value.to_string(),
                Cell::Text(Some(value)) => format!("{value:?}"),
                other => format!("{other:?}"),
            };
            let line = |row: &Row| row.0.iter().map(cell).collect::<Vec<_>>().join(" ");
            lines.extend(rows.iter().map(|row| format!("{} {}", dump.name, line(row))));
        }
        for taken in &taken {
            let (table, offset) = taken.split_once(' ').unwrap_or_default();
            let made = |line: &&String| line.starts_with(table) && line.ends_with(&format!(" {offset}"));
            assert_eq!(lines.iter().filter(made).count(), 1, "{table} has not one row of record {offset}");
        }
        lines
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_grouping_into_batches_does_not_show_and_both_engines_agree() {
    let mut random = Random::seeded("fold");
    let (places, mut tasks) = (places("fold"), 0);
    for round in 0..12 {
        let log = random_log(&mut random, 120);
        let mut results = Vec::new();
        for (index, place) in places.iter().enumerate() {
            for (kind, sizes, way) in [
                ("one by one", 1, Way::InSteps),
                ("all in one batch", 1000, Way::InSteps),
                ("mixed", 0, Way::InSteps),
                ("one by one, planned", 1, Way::Planned),
                ("mixed, planned", 0, Way::Planned),
            ] {
                let tables =
                    make_generation(place.store.as_ref(), round * 20 + i64::try_from(results.len()).unwrap_or(0) + 1)
                        .await;
                let mut mixed = Random::seeded(&format!("sizes of round {round}, engine {index}"));
                let size = move || if sizes == 0 { 1 + mixed.below(20) } else { sizes };
                results.push((kind, fold(tables, log.clone(), size, way).await));
            }
        }
        let (_, expected) = &results[0];
        tasks += expected.iter().filter(|line| line.starts_with("tasks")).count();
        for (kind, found) in &results {
            assert_eq!(found, expected, "round {round}, {kind}");
        }
    }
    assert!(tasks > 0, "no log made any tasks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_batch_is_committed_by_a_plan_and_one_that_is_not_is_declined_and_changes_nothing() {
    for place in places("planned") {
        let tables = make_generation(place.store.as_ref(), 1).await;
        let (flow_id, run_number, step_name) = (FlowId::from("F"), RunNumber(1), StepName::from("s"));
        let (user_name, tags, system_tags) = (None, vec![], vec![]);
        let parents = [
            Event::FlowRegistered(FlowRegistered {
                flow_id: flow_id.clone(),
                user_name: None,
                tags: vec![],
                system_tags: vec![],
            }),
            Event::RunStarted(RunStarted {
                flow_id: flow_id.clone(),
                run_number,
                run_id: None,
                user_name: None,
                tags: vec![],
                system_tags: vec![],
                heartbeat: true,
            }),
            Event::StepRegistered(StepRegistered {
                flow_id: flow_id.clone(),
                run_number,
                step_name: step_name.clone(),
                user_name: None,
                tags: vec![],
                system_tags: vec![],
            }),
        ];
        let task = TaskRegistered {
            flow_id,
            run_number,
            step_name,
            task_id: TaskId(7),
            task_name: Some("t".to_owned()),
            user_name,
            tags,
            system_tags,
            heartbeat: true,
        };
        let other = TaskRegistered { task_id: TaskId(8), task_name: None, ..task.clone() };
        let mut events = parents.to_vec();
        events.extend([task.clone(), other.clone(), task].map(Event::TaskRegistered));
        let decoded = |(offset, event): (usize, Event)| Decoded {
            position: Position::new(EVENTS, 0, i64::try_from(offset).unwrap_or(0)),
            envelope: Envelope::new(1_700_000_000_000, event),
        };
        let log: Vec<Decoded<Event>> = events.into_iter().enumerate().map(decoded).collect();
        let read = Arc::clone(&tables);
        let done = blocking(move || {
            apply(tables.as_ref(), &log[..3], Way::InSteps);
            // Two new tasks; one of them again; one that is new beside one that is not.
            let again = Decoded { position: Position::new(EVENTS, 0, 6), ..log[3].clone() };
            let mixed = [again, Decoded { position: Position::new(EVENTS, 0, 7), ..decoded((7, other_task())) }];
            [&log[3..5], &log[5..6], &mixed].map(|batch| commit_plan(tables.as_ref(), batch).is_some())
        })
        .await;
        assert_eq!(done, [true, false, false], "{}", place.store.describe());
        let rows = read.read(&DUMPS[5], Params::One(Vec::new())).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rows.len(), 2, "a batch that was declined left rows behind");
    }
}

fn other_task() -> Event {
    Event::TaskRegistered(TaskRegistered {
        flow_id: FlowId::from("F"),
        run_number: RunNumber(1),
        step_name: StepName::from("s"),
        task_id: TaskId(9),
        task_name: None,
        user_name: None,
        tags: vec![],
        system_tags: vec![],
        heartbeat: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_rejected_or_lost_leaves_no_idempotency_key() {
    for place in places("keys") {
        for (number, size) in [(1, 1), (2, 100)] {
            let tables = make_generation(place.store.as_ref(), number).await;
            let flow = |name: &str| {
                let flow_id = FlowId::from(name);
                Event::FlowRegistered(FlowRegistered { flow_id, user_name: None, tags: vec![], system_tags: vec![] })
            };
            let step = |flow: &str| {
                let (flow_id, run_number, step_name) = (FlowId::from(flow), RunNumber(1), StepName::from("s"));
                let (user_name, tags, system_tags) = (None, vec![], vec![]);
                Event::StepRegistered(StepRegistered { flow_id, run_number, step_name, user_name, tags, system_tags })
            };
            // The step has no run: it is rejected, and its key is free for the flow's second registration, which loses.
            let events = [
                (step("F"), Some("a")),
                (flow("F"), Some("b")),
                (flow("F"), Some("a")),
                (flow("G"), Some("a")),
                (flow("G"), Some("b")),
                (flow("G"), Some("a")),
                (flow("F"), None),
            ];
            let decoded = |(offset, (event, key)): (usize, (Event, Option<&str>))| {
                let position = Position::new(EVENTS, 0, i64::try_from(offset).unwrap_or(0));
                let mut envelope = Envelope::new(1_700_000_000_000, event);
                envelope.idempotency_key = key.map(str::to_owned);
                Decoded { position, envelope }
            };
            let log = events.into_iter().enumerate().map(decoded).collect();
            let lines = fold(tables, log, move || size, Way::Planned).await;
            let keys: Vec<_> = lines.iter().filter(|line| line.starts_with("keys")).collect();
            let kept = [
                r#"keys "F" "b" "FlowRegistered" 0 0 "metaflow" 1"#,
                r#"keys "G" "a" "FlowRegistered" 0 0 "metaflow" 3"#,
            ];
            assert_eq!(keys, kept, "{}, batches of {size}", place.store.describe());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_no_import_may_give_do_not_count_as_the_highest() {
    for place in places("highest") {
        for (number, way) in [(1, Way::InSteps), (2, Way::Planned)] {
            let tables = make_generation(place.store.as_ref(), number).await;
            let (flow_id, user_name) = (FlowId::from("F"), None);
            let (tags, system_tags) = (vec![], vec![]);
            let flow = Event::FlowRegistered(FlowRegistered { flow_id, user_name, tags, system_tags });
            let run = |number| {
                let (flow_id, run_number, user_name) = (FlowId::from("F"), RunNumber(number), None);
                let (run_id, tags, system_tags, heartbeat) = (None, vec![], vec![], false);
                Event::RunStarted(RunStarted { flow_id, run_number, run_id, user_name, tags, system_tags, heartbeat })
            };
            let events = [flow, run(EXPLICIT_RUN_NUMBER_MAX), run(EXPLICIT_RUN_NUMBER_MAX + 1), run(RUN_NUMBER_MAX)];
            let decoded = |(offset, event): (usize, Event)| {
                let position = Position::new(EVENTS, 0, i64::try_from(offset).unwrap_or(0));
                Decoded { position, envelope: Envelope::new(1_700_000_000_000, event) }
            };
            let log = events.into_iter().enumerate().map(decoded).collect();
            let lines = fold(tables, log, || 2, way).await;
            let numbers: Vec<_> = lines.iter().filter(|line| line.starts_with("numbers")).collect();
            assert_eq!(numbers, [r#"numbers "metaflow.runs" 1073741824"#], "{}", place.store.describe());
            assert_eq!(lines.iter().filter(|line| line.starts_with("runs")).count(), 3);
        }
    }
}

#[test]
fn a_record_that_a_newer_program_wrote_is_no_violation_but_waits_for_that_program() {
    let flow_id = FlowId::from("F");
    let event = Event::FlowRegistered(FlowRegistered { flow_id, user_name: None, tags: vec![], system_tags: vec![] });
    let known = Decoded { position: Position::new(EVENTS, 0, 1), envelope: Envelope::new(1_700_000_000_000, event) };
    let known = record(&known);
    // Schema id 199 is in the domain's range and not released yet; 777 is nobody's.
    let of_id =
        |id: u8, high: u8| Record { value: [&[0, 0, 0, high, id], &known.value[5..]].concat().into(), ..known.clone() };
    let newer = Metaflow.batch(&[known.clone(), of_id(199, 0)], &|_| 1).err();
    assert!(newer.is_some_and(|newer| newer.reason.contains("199")), "a newer record was decoded or quarantined");
    // Ids of the core are no domain's.
    let newer = Metaflow.batch(&[known.clone(), of_id(99, 0)], &|_| 1).err();
    assert!(newer.is_some_and(|newer| newer.reason.contains("99")), "a newer record of the core was quarantined");
    let foreign = Metaflow.batch(&[known.clone(), of_id(9, 3)], &|_| 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(foreign.rejected().len(), 1);
}
