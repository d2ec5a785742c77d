//! Idempotency keys: the first event with one counts, in each flow.

use std::collections::{BTreeMap, HashSet, btree_map};

use daybook_schemas::{Event, position::Position, topics::Topic};

use super::{Fold, INSERT_REQUESTS, READ_REQUESTS, entries_count};
use crate::{
    projection::Decoded,
    tables::{Column, TablesError},
};

impl Fold<'_> {
    /// Notes the idempotency keys of a batch; returns the positions of events whose key was used before. Heartbeats are left
    /// out: they come from another topic, in no order against the events, and applying one twice changes nothing.
    pub(super) fn requests(&mut self, batch: &[Decoded]) -> Result<HashSet<Position>, TablesError> {
        let keyed = |decoded: &'_ Decoded| {
            if decoded.envelope.event.topic() != Topic::Events {
                return None;
            }
            let (flow, key) = (decoded.envelope.event.flow_id()?, decoded.envelope.idempotency_key.as_ref()?);
            Some((flow.0.clone(), key.clone()))
        };
        let mut repeated = HashSet::new();
        let mut first: BTreeMap<(String, String), &Decoded> = BTreeMap::new();
        for decoded in batch {
            let Some(key) = keyed(decoded) else { continue };
            if let btree_map::Entry::Vacant(entry) = first.entry(key) {
                entry.insert(decoded);
            } else {
                repeated.insert(decoded.position);
            }
        }
        if first.is_empty() {
            return Ok(repeated);
        }
        let keys = |entries: &[((String, String), &Decoded)]| {
            let flows = Column::texts(entries.iter().map(|((flow, _), _)| flow.as_str()));
            vec![flows, Column::texts(entries.iter().map(|((_, key), _)| key.as_str()))]
        };
        let mut entries: Vec<_> = first.into_iter().collect();
        let known: HashSet<usize> =
            self.read(&READ_REQUESTS, keys(&entries))?.into_iter().map(|(index, _)| index).collect();
        repeated.extend(known.iter().map(|index| entries[*index].1.position));
        entries.retain(|(_, decoded)| !repeated.contains(&decoded.position));
        let mut columns = keys(&entries);
        columns.push(Column::texts(entries.iter().map(|(_, decoded)| decoded.envelope.event.kind())));
        columns.push(Column::ints(entries.iter().map(|(_, decoded)| number_of(&decoded.envelope.event))));
        columns.push(Column::ints(entries.iter().map(|(_, decoded)| entries_of(&decoded.envelope.event))));
        columns.push(Column::ints(entries.iter().map(|(_, decoded)| i64::from(decoded.position.partition.id))));
        columns.push(Column::ints(entries.iter().map(|(_, decoded)| decoded.position.offset)));
        self.execute(&INSERT_REQUESTS, columns)?;
        Ok(repeated)
    }
}

/// The number by which a retried request finds what its first try made.
fn number_of(event: &Event) -> i64 {
    match event {
        Event::RunStarted(event) => event.run_number.0,
        Event::TaskRegistered(event) => event.task_id.0,
        _ => 0,
    }
}

/// How many entries a request had, for those that are answered with a count.
fn entries_of(event: &Event) -> i64 {
    match event {
        Event::ArtifactsRegistered(event) => entries_count(event.entries.len()),
        Event::MetadataRegistered(event) => entries_count(event.entries.len()),
        _ => 0,
    }
}
