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

use super::{Shared, damage, partition, read_end};
use crate::{
    log::{AppendError, LogError, NewRecord, Record, Waiting},
    sqlite::{
        opened_files::OpenedFiles,
        wal::{self, WriteAheadLog},
        wal_end::WalEnd,
    },
};

/// Appends that one commit covers at most.
const COMMIT_APPENDS_MAX: usize = 1024;
/// Bytes of values after which a commit takes no further append.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) write_ahead: WriteAheadLog,
    pub(super) end: WalEnd,
    pub(super) files: Arc<OpenedFiles>,
    pub(super) shared: Arc<Shared>,
    /// Why nothing is written any more: a commit went to files that are not those of the log now.
    pub(super) lost: Option<String>,
}

/// Records of a transaction, which are not yet published.
pub(super) struct Committed {
    pub(super) records: Vec<Record>,
    /// Of each call.
    positions: Vec<Vec<Position>>,
}

impl Writer {
    /// Starts the thread, which ends with the queue.
    pub(super) fn start(mut self, mut appends: mpsc::Receiver<Waiting>) -> Result<JoinHandle<()>, LogError> {
        let run = move || {
            self.write(&mut appends);
            self.close();
        };
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(run);
        thread.map_err(|e| LogError::Unusable(format!("cannot start the log's writer: {e}")))
    }

    fn write(&mut self, appends: &mut mpsc::Receiver<Waiting>) {
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
            match self.append(&calls) {
                Ok(mut positions) => {
                    self.shared.note(None);
                    for ((records, done), positions) in waiting.drain(..).zip(positions.drain(..)) {
                        debug_assert_eq!(records.len(), positions.len());
                        done(Ok(positions));
                    }
                }
                Err(error) => {
                    tracing::error!(error, "cannot append to the embedded log: {error}");
                    self.shared.note(Some(error.clone()));
                    for (_, done) in waiting.drain(..) {
                        done(Err(AppendError::Unavailable(error.clone())));
                    }
                }
            }
        }
    }

    /// Commits and publishes the records of several calls; returns the positions of each call.
    fn append(&mut self, calls: &[&[NewRecord]]) -> Result<Vec<Vec<Position>>, String> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        self.files.check()?;
        let committed = commit(&mut self.connection, self.files.path(), &self.shared, calls);
        let committed = committed.map_err(|error| error.to_string())?;
        // Also afterwards: nothing is acknowledged that went to a file that is not there any more.
        self.prove().inspect_err(|lost| self.lost = Some(lost.clone()))?;
        self.shared.tails.push(committed.records);
        Ok(committed.positions)
    }

    /// Fails with the reason unless the files hold what was committed.
    fn prove(&mut self) -> Result<(), String> {
        self.files.check()?;
        self.end.check(self.write_ahead.pages())
    }

    /// Leaves the whole log in its file alone. Files that others have changed are left as they are.
    fn close(mut self) {
        if self.write_ahead.pages() == 0 || self.lost.is_some() {
            return;
        }
        match self.prove() {
            Ok(()) => wal::empty(&self.connection),
            Err(lost) => tracing::error!(lost, "the embedded log was harmed while it was open: {lost}"),
        }
    }
}

fn bytes_of((records, _): &Waiting) -> usize {
    records.iter().map(|record| record.value.len()).sum()
}

/// Commits the records of several calls in one transaction.
pub(super) fn commit(
    connection: &mut Connection,
    path: &Path,
    shared: &Shared,
    calls: &[&[NewRecord]],
) -> Result<Committed, LogError> {
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
    Ok(Committed { records: committed, positions })
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
