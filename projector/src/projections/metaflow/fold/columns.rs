//! What each kind of event becomes: columns in the order of the statements that insert them, and which items of a batch have
//! a key in common.

use std::collections::BTreeMap;

use daybook_schemas::events::{
    Artifact, ArtifactsRegistered, HeartbeatRecorded, MetadataEntry, MetadataRegistered, RunStarted, TaskRegistered,
};

use super::entries_count;
use crate::{
    projections::metaflow::items::{
        Item, Sorted, first_beats, ints, lists, optional_texts, positions, repeats, texts, times,
    },
    run_tags::json_array,
    tables::Column,
};

pub(super) fn runs(items: &[Item<'_, RunStarted>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        optional_texts(items, |event| &event.run_id),
        optional_texts(items, |event| &event.user_name),
        times(items),
        lists(items, |event| &event.tags),
        lists(items, |event| &event.system_tags),
        first_beats(items, |event| event.heartbeat),
        partition,
        offset,
    ]
}

pub(super) fn runs_repeat(items: &[Item<'_, RunStarted>]) -> bool {
    repeats(items, |event| {
        let number = (event.flow_id.as_str(), event.run_number.0, None);
        let name = event.run_id.as_deref().map(|name| (event.flow_id.as_str(), 0, Some(name)));
        std::iter::once(number).chain(name)
    })
}

pub(super) fn tasks(items: &[Item<'_, TaskRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        texts(items, |event| event.step_name.as_str()),
        ints(items, |event| event.task_id.0),
        optional_texts(items, |event| &event.task_name),
        optional_texts(items, |event| &event.user_name),
        times(items),
        first_beats(items, |event| event.heartbeat),
        partition,
        offset,
    ]
}

pub(super) fn tasks_repeat(items: &[Item<'_, TaskRegistered>]) -> bool {
    repeats(items, |event| {
        let number = (event.flow_id.as_str(), event.task_id.0, None);
        let place = |name| (event.flow_id.as_str(), event.run_number.0, Some((event.step_name.as_str(), name)));
        std::iter::once(number).chain(event.task_name.as_deref().map(place))
    })
}

pub(super) fn artifacts(items: &[Item<'_, ArtifactsRegistered>]) -> Vec<Column> {
    let entries: Vec<_> =
        items.iter().flat_map(|item| item.event.entries.iter().map(move |entry| (item, entry))).collect();
    let text =
        |of: fn(&Artifact) -> &str| Column::Texts(entries.iter().map(|(_, it)| Some(of(it).to_owned())).collect());
    let optional =
        |of: fn(&Artifact) -> &Option<String>| Column::Texts(entries.iter().map(|(_, it)| of(it).clone()).collect());
    vec![
        Column::texts(entries.iter().map(|(item, _)| item.event.flow_id.as_str())),
        Column::ints(entries.iter().map(|(item, _)| item.event.run_number.0)),
        Column::texts(entries.iter().map(|(item, _)| item.event.step_name.as_str())),
        Column::ints(entries.iter().map(|(item, _)| item.event.task_id.0)),
        text(|entry| &entry.name),
        text(|entry| &entry.location),
        text(|entry| &entry.ds_type),
        optional(|entry| &entry.sha),
        optional(|entry| &entry.r#type),
        optional(|entry| &entry.content_type),
        optional(|entry| &entry.user_name),
        Column::ints(entries.iter().map(|(_, entry)| i64::from(entry.attempt_id))),
        Column::ints(entries.iter().map(|(item, _)| item.at)),
        Column::ints(entries.iter().map(|(item, _)| i64::from(item.position.partition.id))),
        Column::ints(entries.iter().map(|(item, _)| item.position.offset)),
    ]
}

pub(super) fn artifacts_repeat(items: &[Item<'_, ArtifactsRegistered>]) -> bool {
    repeats(items, |event| {
        let key = |entry: &'_ Artifact| (event.flow_id.as_str(), event.task_id, entry.attempt_id, entry.name.clone());
        event.entries.iter().map(key)
    })
}

/// The latest attempts that artifacts raise: tasks, flows, attempts.
pub(super) fn attempts<'a>(items: impl Iterator<Item = &'a Item<'a, ArtifactsRegistered>>) -> Vec<Column> {
    let mut latest: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for item in items {
        let attempt = item.event.entries.iter().map(|entry| i64::from(entry.attempt_id)).max().unwrap_or(0);
        if attempt > 0 {
            let highest = latest.entry((item.event.task_id.0, item.event.flow_id.as_str())).or_default();
            *highest = attempt.max(*highest);
        }
    }
    by_number_and_flow(latest)
}

pub(super) fn metadata(items: &[Item<'_, MetadataRegistered>]) -> Vec<Column> {
    let entries: Vec<_> = items.iter().flat_map(metadata_entries).collect();
    let text = |of: fn(&MetadataEntry) -> &str| {
        Column::Texts(entries.iter().map(|(.., it)| Some(of(it).to_owned())).collect())
    };
    vec![
        Column::texts(entries.iter().map(|(item, ..)| item.event.flow_id.as_str())),
        Column::ints(entries.iter().map(|(item, ..)| item.event.run_number.0)),
        Column::texts(entries.iter().map(|(item, ..)| item.event.step_name.as_str())),
        Column::ints(entries.iter().map(|(item, ..)| item.event.task_id.0)),
        Column::ints(entries.iter().map(|(_, id, _)| *id)),
        text(|entry| &entry.field_name),
        text(|entry| &entry.value),
        text(|entry| &entry.r#type),
        Column::Texts(entries.iter().map(|(.., entry)| entry.user_name.clone()).collect()),
        Column::ints(entries.iter().map(|(item, ..)| item.at)),
        Column::texts(entries.iter().map(|(.., entry)| json_array(&entry.tags))),
        Column::texts(entries.iter().map(|(.., entry)| json_array(&entry.system_tags))),
        Column::ints(entries.iter().map(|(item, ..)| i64::from(item.position.partition.id))),
        Column::ints(entries.iter().map(|(item, ..)| item.position.offset)),
    ]
}

/// The entries of an event, each with its id.
fn metadata_entries<'a>(
    item: &Item<'a, MetadataRegistered>,
) -> impl Iterator<Item = (Item<'a, MetadataRegistered>, i64, &'a MetadataEntry)> {
    let item = *item;
    let entry = move |(index, entry)| (item, item.event.first_id.0 + entries_count(index), entry);
    item.event.entries.iter().enumerate().map(entry)
}

/// The newest beat of each heart, of runs and of tasks: numbers, flows, beats. A registered task beats its run's heart too.
pub(super) fn hearts<'a>(
    tasks: impl Iterator<Item = &'a Item<'a, TaskRegistered>>,
    items: &'a [Item<'a, HeartbeatRecorded>],
) -> [Vec<Column>; 2] {
    let (mut of_runs, mut of_tasks) = (BTreeMap::new(), BTreeMap::new());
    for item in tasks.filter(|item| item.event.heartbeat) {
        beat(&mut of_runs, (item.event.run_number.0, item.event.flow_id.as_str()), item.at);
    }
    for item in items {
        match item.event.task_id {
            Some(task) => beat(&mut of_tasks, (task.0, item.event.flow_id.as_str()), item.at),
            None => beat(&mut of_runs, (item.event.run_number.0, item.event.flow_id.as_str()), item.at),
        }
    }
    [of_runs, of_tasks].map(by_number_and_flow)
}

/// Notes a beat, if it is newer than the heart's newest.
fn beat<'a>(hearts: &mut BTreeMap<(i64, &'a str), i64>, heart: (i64, &'a str), at_ms: i64) {
    let seconds = at_ms.div_euclid(1000);
    hearts.entry(heart).and_modify(|newest| *newest = seconds.max(*newest)).or_insert(seconds);
}

fn by_number_and_flow(values: BTreeMap<(i64, &str), i64>) -> Vec<Column> {
    let numbers = Column::ints(values.keys().map(|(number, _)| *number));
    let flows = Column::texts(values.keys().map(|(_, flow)| *flow));
    vec![numbers, flows, Column::ints(values.into_values())]
}

/// The highest number of each sequence in a batch, so that sequences can go on where the log ends.
pub(super) fn numbers(sorted: &Sorted<'_>) -> Vec<Column> {
    let last_id = |event: &'_ MetadataRegistered| event.first_id.0 + entries_count(event.entries.len()) - 1;
    let highest = [
        ("metaflow.runs", sorted.runs.iter().map(|item| item.event.run_number.0).max()),
        ("metaflow.tasks", sorted.tasks.iter().map(|item| item.event.task_id.0).max()),
        ("metaflow.metadata", sorted.metadata.iter().map(|item| last_id(item.event)).max()),
    ];
    let highest: Vec<_> = highest.iter().filter_map(|(sequence, highest)| Some((*sequence, (*highest)?))).collect();
    let sequences = Column::texts(highest.iter().map(|(sequence, _)| *sequence));
    vec![sequences, Column::ints(highest.iter().map(|(_, highest)| *highest))]
}
