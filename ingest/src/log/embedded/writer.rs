//! The one thread that writes the embedded log: it takes all appends that wait, commits them together, and answers.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use daybook_schemas::{
    position::{Offset, Position},
    topics::Topic,
};
use rusqlite::{Connection, Transaction};
use tokio::sync::mpsc;

use super::{Shared, partition};
use crate::log::{AppendError, LogError, NewRecord, Waiting};

/// Appends that one commit covers at most.
const COMMIT_APPENDS_MAX: usize = 1024;
/// Bytes of values after which a commit takes no further append.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) fn start(
    mut connection: Connection,
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
            match commit(&mut connection, &shared, &calls) {
                Ok(mut positions) => {
                    shared.note(None);
                    for ((records, done), positions) in waiting.drain(..).zip(positions.drain(..)) {
                        debug_assert_eq!(records.len(), positions.len());
                        done(Ok(positions));
                    }
                }
                Err(error) => {
                    shared.note(Some(error.to_string()));
                    tracing::error!(error = %error, "cannot append to the embedded log: {error}");
                    for (_, done) in waiting.drain(..) {
                        done(Err(AppendError::Unavailable(error.to_string())));
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
    shared: &Shared,
    calls: &[&[NewRecord]],
) -> rusqlite::Result<Vec<Vec<Position>>> {
    let mut ends = Topic::ALL.map(|topic| (topic, shared.tails.end(partition(topic))));
    let transaction = connection.transaction()?;
    let mut committed = Vec::new();
    let mut positions = Vec::with_capacity(calls.len());
    for records in calls {
        let mut of_call = Vec::with_capacity(records.len());
        for record in *records {
            let position = insert(&transaction, record, &mut ends)?;
            of_call.push(position);
            committed.push(record.at(position));
        }
        positions.push(of_call);
    }
    transaction.commit()?;
    shared.tails.push(committed);
    Ok(positions)
}

fn insert(
    transaction: &Transaction<'_>,
    record: &NewRecord,
    ends: &mut [(Topic, Offset)],
) -> rusqlite::Result<Position> {
    let sql = match record.topic {
        Topic::Events => include_str!("append_event.sql"),
        Topic::Heartbeats => include_str!("append_heartbeat.sql"),
    };
    let mut position = Position::new(record.topic, 0, 0);
    for (_, end) in ends.iter_mut().filter(|(topic, _)| *topic == record.topic) {
        position.offset = *end;
        *end += 1;
    }
    transaction.prepare_cached(sql)?.execute((position.offset, &record.key, &record.value))?;
    Ok(position)
}
