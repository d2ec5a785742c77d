//! The events of one batch, sorted by kind, and the columns that they become.

use std::collections::HashSet;

use daybook_projector::{
    projection::Decoded,
    tables::{Column, json_array},
};
use daybook_schemas::position::Position;

use crate::events::{
    ArtifactsRegistered, Event, FlowRegistered, HeartbeatRecorded, MetadataRegistered, RunStarted, RunTagsMutated,
    StepRegistered, TaskRegistered,
};

/// One event of a batch.
#[derive(Debug)]
pub(super) struct Item<'a, E> {
    pub(super) position: Position,
    /// When it was recorded, in milliseconds.
    pub(super) at: i64,
    pub(super) event: &'a E,
}

impl<E> Clone for Item<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Item<'_, E> {}

/// A batch sorted by kind; within a kind, events of one partition keep their order.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) flows: Vec<Item<'a, FlowRegistered>>,
    pub(super) runs: Vec<Item<'a, RunStarted>>,
    pub(super) steps: Vec<Item<'a, StepRegistered>>,
    pub(super) tasks: Vec<Item<'a, TaskRegistered>>,
    pub(super) artifacts: Vec<Item<'a, ArtifactsRegistered>>,
    pub(super) metadata: Vec<Item<'a, MetadataRegistered>>,
    pub(super) tags: Vec<Item<'a, RunTagsMutated>>,
    pub(super) heartbeats: Vec<Item<'a, HeartbeatRecorded>>,
}

impl<'a> Sorted<'a> {
    /// Sorts the events of a batch.
    pub(super) fn new(batch: &[&'a Decoded<Event>]) -> Self {
        let mut sorted = Self::default();
        for decoded in batch {
            let (position, at) = (decoded.position, decoded.envelope.occurred_at);
            match &decoded.envelope.event {
                Event::FlowRegistered(event) => sorted.flows.push(Item { position, at, event }),
                Event::RunStarted(event) => sorted.runs.push(Item { position, at, event }),
                Event::StepRegistered(event) => sorted.steps.push(Item { position, at, event }),
                Event::TaskRegistered(event) => sorted.tasks.push(Item { position, at, event }),
                Event::ArtifactsRegistered(event) => sorted.artifacts.push(Item { position, at, event }),
                Event::MetadataRegistered(event) => sorted.metadata.push(Item { position, at, event }),
                Event::RunTagsMutated(event) => sorted.tags.push(Item { position, at, event }),
                Event::HeartbeatRecorded(event) => sorted.heartbeats.push(Item { position, at, event }),
            }
        }
        sorted
    }
}

/// Whether two items have a key in common.
pub(super) fn repeats<'a, E, K: std::hash::Hash + Eq, I: IntoIterator<Item = K>>(
    items: &[Item<'a, E>],
    keys: impl Fn(&'a E) -> I,
) -> bool {
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().flat_map(|item| keys(item.event)).any(|key| !seen.insert(key))
}

/// A column of texts, one an item.
pub(super) fn texts<'a, E>(items: &[Item<'a, E>], of: impl Fn(&'a E) -> &'a str) -> Column {
    Column::Texts(items.iter().map(|item| Some(of(item.event).to_owned())).collect())
}

/// A column of texts that may be missing, one an item.
pub(super) fn optional_texts<'a, E>(items: &[Item<'a, E>], of: impl Fn(&'a E) -> &'a Option<String>) -> Column {
    Column::Texts(items.iter().map(|item| of(item.event).clone()).collect())
}

/// A column of lists, one an item, each as a JSON array.
pub(super) fn lists<'a, E>(items: &[Item<'a, E>], of: impl Fn(&'a E) -> &'a [String]) -> Column {
    Column::Texts(items.iter().map(|item| Some(json_array(of(item.event)))).collect())
}

/// A column of integers, one an item.
pub(super) fn ints<'a, E>(items: &[Item<'a, E>], of: impl Fn(&'a E) -> i64) -> Column {
    Column::Ints(items.iter().map(|item| Some(of(item.event))).collect())
}

/// The column of times.
pub(super) fn times<E>(items: &[Item<'_, E>]) -> Column {
    Column::Ints(items.iter().map(|item| Some(item.at)).collect())
}

/// The column of first heartbeats, in seconds; missing for clients that send none.
pub(super) fn first_beats<'a, E>(items: &[Item<'a, E>], beats: impl Fn(&'a E) -> bool) -> Column {
    Column::Ints(items.iter().map(|item| beats(item.event).then_some(item.at.div_euclid(1000))).collect())
}

/// The two columns of positions: partition and offset.
pub(super) fn positions<E>(items: &[Item<'_, E>]) -> [Column; 2] {
    let partitions = items.iter().map(|item| Some(i64::from(item.position.partition.id))).collect();
    [Column::Ints(partitions), offsets(items)]
}

/// The column of offsets.
pub(super) fn offsets<E>(items: &[Item<'_, E>]) -> Column {
    Column::Ints(items.iter().map(|item| Some(item.position.offset)).collect())
}

/// A number of entries as the tables keep it.
pub(super) fn entries_count(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}
