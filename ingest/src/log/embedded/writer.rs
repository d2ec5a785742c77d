//! The thread that writes the embedded log: it takes all queued appends, commits them together, and calls back.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use daybook_schemas::{
    Topic,
    position::{Offset, Position},
};
use rusqlite::{Connection, Transaction};
use tokio::sync::mpsc;

use super::{Shared, damage, opened_file::OpenedFile, partition, read_end};
use crate::log::{AppendError, LogError, NewRecord, Waiting};

/// Appends that one commit covers at most.
const COMMIT_APPENDS_MAX: usize = 1024;
/// Bytes of values after which a commit takes no further append.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) fn start(
    mut connection: Connection,
    file: Arc<OpenedFile>,
    shared: Arc<Shared>,
    mut appends: mpsc::Receiver<Waiting>,
) -> Result<JoinHandle<()>, LogError> {
    let run = move || {
        let mut waiting: Vec<Waiting> = Vec::new();
        while let Some(first) = appends.blocking_recv() {
            let mut bytes = bytes_of(&first);
            waiting.push(first);
            while waiting.len() < COMMIT_APPENDS_MAX
                && bytes < COMMIT_BYTES_MAX
                && let Ok(next) = appends.try_recv()
            {
                bytes += bytes_of(&next);
                waiting.push(next);
            }
            let calls: Vec<&[NewRecord]> = waiting.iter().map(|(records, _)| records.as_slice()).collect();
            let committed = file
                .check()
                .and_then(|()| commit(&mut connection, file.path(), &shared, &calls).map_err(|e| e.to_string()));
            // Also afterwards: nothing is acknowledged that went to a file that is not there any more.
            match committed.and_then(|positions| file.check().map(|()| positions)) {
                Ok(mut positions) => {
                    shared.note(None);
                    for ((records, done), positions) in waiting.drain(..).zip(positions.drain(..)) {
                        debug_assert_eq!(records.len(), positions.len());
                        done(Ok(positions));
                    }
                }
                Err(error) => {
                    tracing::error!(error, "cannot append to the embedded log: {error}");
                    shared.note(Some(error.clone()));
                    for (_, done) in waiting.drain(..) {
                        done(Err(AppendError::Unavailable(error.clone())));
                    }
                }
            }
        }
    };
    let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(run);
    thread.map_err(|e| LogError::Unusable(format!("cannot start the log's writer: {e}")))
}

fn bytes_of((records, _): &Waiting) -> usize {
    records.iter().map(|record| record.value.len()).sum()
}

/// Commits the records of several calls in one transaction; publishes them and returns the positions of each call.
pub(super) fn commit(
    connection: &mut Connection,
    path: &Path,
    shared: &Shared,
    calls: &[&[NewRecord]],
) -> Result<Vec<Vec<Position>>, LogError> {
    let sort = |error: rusqlite::Error| damage::of_reading(path, &error);
    let mut ends: HashMap<Topic, Offset> = HashMap::new();
    let transaction = connection.transaction().map_err(sort)?;
    for topic in calls.iter().flat_map(|records| records.iter()).map(|record| record.topic) {
        if let Entry::Vacant(entry) = ends.entry(topic) {
            // Somebody may have removed records: new ones must not take their offsets, or follow a gap.
            let (partition, end) = (partition(topic), shared.tails.end(partition(topic)));
            let of_file = read_end(&transaction, topic).map_err(sort)?;
            if of_file != end {
                return Err(damage::lost(path, partition, of_file.min(end), of_file.max(end) - 1));
            }
            entry.insert(end);
        }
    }
    let mut committed = Vec::new();
    let mut positions = Vec::with_capacity(calls.len());
    for records in calls {
        let mut of_call = Vec::with_capacity(records.len());
        for record in *records {
            let partition = partition(record.topic);
            let end = ends.entry(record.topic).or_default();
            let position = Position { partition, offset: *end };
            *end += 1;
            insert(&transaction, record, position).map_err(sort)?;
            of_call.push(position);
            committed.push(record.at(position));
        }
        positions.push(of_call);
    }
    transaction.commit().map_err(sort)?;
    shared.tails.push(committed);
    Ok(positions)
}

fn insert(transaction: &Transaction<'_>, record: &NewRecord, position: Position) -> rusqlite::Result<()> {
    let (topic, partition, offset) = (record.topic, position.partition.id, position.offset);
    let row = (topic.name(), partition, offset, &record.key, &record.value, topic.compacted());
    transaction.prepare_cached(include_str!("append.sql"))?.execute(row)?;
    if topic.compacted() {
        let key = (topic.name(), partition, &record.key, offset);
        transaction.prepare_cached(include_str!("compact.sql"))?.execute(key)?;
    }
    Ok(())
}
