//! Heartbeats in the fold of the Metaflow projection: the last one of the topic wins, whatever its time, and the order of
//! the topics does not show.

use daybook_metaflow::events::{
    EVENTS, Event, FlowRegistered, HEARTBEATS, HeartbeatRecorded, RunStarted, StepRegistered, TaskRegistered,
    ids::{FlowId, RunNumber, StepName, TaskId},
};
use daybook_projector::projection::Decoded;
use daybook_schemas::{Envelope, position::Position};

use crate::{
    fold::{Way, fold},
    tables::{generation as make_generation, places},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_heartbeat_of_the_topic_wins_also_over_one_from_the_future() {
    for place in places("beats") {
        let beat = |offset: i64, at: i64| {
            let (flow_id, run_number) = (FlowId::from("F"), RunNumber(1));
            let task_id = (offset % 2 == 1).then_some(TaskId(5));
            let step_name = task_id.map(|_| StepName::from("s"));
            let event = Event::HeartbeatRecorded(HeartbeatRecorded { flow_id, run_number, step_name, task_id });
            Decoded { position: Position::new(HEARTBEATS, 0, offset), envelope: Envelope::new(at, event) }
        };
        let log = vec![beat(0, 5_000), beat(1, 6_000), beat(2, 9_000), beat(3, 9_500), beat(4, 7_000), beat(5, 8_000)];
        let mut generation = 0;
        for way in [Way::InSteps, Way::Planned] {
            for size in [1, 4, 100] {
                generation += 1;
                let tables = make_generation(place.store.as_ref(), generation).await;
                let lines = fold(tables, log.clone(), move || size, way).await;
                let expected = ["run_heartbeats \"F\" 1 7", "task_heartbeats \"F\" 5 8"];
                assert_eq!(lines, expected, "{way:?}, {size} a batch");
            }
        }
        // What compaction leaves of the topic gives the same rows.
        let tables = make_generation(place.store.as_ref(), generation + 1).await;
        let lines = fold(tables, log[4..].to_vec(), || 1, Way::Planned).await;
        assert_eq!(lines, ["run_heartbeats \"F\" 1 7", "task_heartbeats \"F\" 5 8"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_kept_apart_from_heartbeats_so_that_the_order_of_topics_does_not_show() {
    for place in places("registered") {
        let (flow_id, run_number, step_name) = (FlowId::from("F"), RunNumber(1), StepName::from("s"));
        let (user_name, tags, system_tags) = (None, Vec::new(), Vec::new());
        let heartbeat = true;
        let task = |id: i64| {
            let (flow_id, step_name) = (FlowId::from("F"), StepName::from("s"));
            let (task_id, task_name, user_name) = (TaskId(id), None, None);
            let (tags, system_tags) = (Vec::new(), Vec::new());
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
        };
        let (tags2, system_tags2, tags3, system_tags3) = (tags.clone(), tags.clone(), tags.clone(), tags.clone());
        let run = RunStarted {
            flow_id: flow_id.clone(),
            run_number,
            run_id: None,
            user_name: None,
            tags: tags2,
            system_tags: system_tags2,
            heartbeat,
        };
        let step = StepRegistered {
            flow_id: flow_id.clone(),
            run_number,
            step_name,
            user_name: None,
            tags: tags3,
            system_tags: system_tags3,
        };
        let flow = FlowRegistered { flow_id: flow_id.clone(), user_name, tags, system_tags };
        let beat = HeartbeatRecorded { flow_id, run_number, step_name: None, task_id: None };
        let times = [1_000, 2_000, 3_000, 9_000, 4_000];
        let events =
            [Event::FlowRegistered(flow), Event::RunStarted(run), Event::StepRegistered(step), task(1), task(2)];
        let registered = |(offset, (event, at)): (usize, (Event, i64))| Decoded {
            position: Position::new(EVENTS, 0, i64::try_from(offset).unwrap_or(0)),
            envelope: Envelope::new(at, event),
        };
        let events: Vec<Decoded<Event>> = events.into_iter().zip(times).enumerate().map(registered).collect();
        let envelope = Envelope::new(5_000, Event::HeartbeatRecorded(beat));
        let beat = Decoded { position: Position::new(HEARTBEATS, 0, 0), envelope };
        let mut results = Vec::new();
        for (index, place_of_beat) in [0, 2, 4, 5].into_iter().enumerate() {
            for (way, size) in [(Way::InSteps, 1), (Way::InSteps, 100), (Way::Planned, 3)] {
                let mut log = events.clone();
                log.insert(place_of_beat, beat.clone());
                let number = i64::try_from(index * 10 + size).unwrap_or(0);
                let tables =
                    make_generation(place.store.as_ref(), number + 1000 * i64::from(way == Way::Planned)).await;
                results.push(fold(tables, log, move || size, way).await);
            }
        }
        assert!(results[0].contains(&"run_heartbeats \"F\" 1 5".to_owned()), "{:?}", results[0]);
        let runs = results[0].iter().find(|line| line.starts_with("runs ")).cloned().unwrap_or_default();
        assert!(runs.contains(" 4 "), "the last registration of a task counts: {runs}");
        assert!(results.iter().all(|result| result == &results[0]), "{results:#?}");
    }
}
