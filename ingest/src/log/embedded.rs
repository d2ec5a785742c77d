//! The log in one SQLite file: WAL, `synchronous=FULL`, one thread that commits the appends of many
//! writers together (group commit).
//!
//! One table of records, one partition a topic. The newest records are also kept in memory, so that a reader at the end
//! does not read the file. A lock on the folder keeps a second process out. Durability of SQLite:
//! <https://www.sqlite.org/wal.html>.

mod beside;
mod damage;
mod reader;
mod tail;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use daybook_schemas::{
    Topic,
    position::{Offset, Partition, PartitionId, Vector},
    topics,
};
use rusqlite::Connection;
use tokio::sync::mpsc;

pub use self::beside::LogBeside;
use self::{tail::Tails, writer::Writer};
use crate::{
    append::now_ms,
    log::{AppendError, BoxFuture, Done, EventLog, LogError, NewRecord, ReadLimits, Reader, Waiting, identity},
    sqlite::{opened_files::OpenedFiles, wal, wal_end::WalEnd},
};

/// Largest value, inclusive; the same as on Kafka, so that a log can move there.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Appends that may wait for the writer; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Bytes of newest records kept in memory, per topic.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

const SCHEMA: &str = include_str!("embedded/schema.sql");
/// The file that holds the log.
const FILE: &str = "log.db";

/// The embedded log.
pub struct EmbeddedLog {
    id: String,
    path: PathBuf,
    files: Arc<OpenedFiles>,
    topics: RwLock<Vec<Topic>>,
    /// Held while topics are added.
    adding: tokio::sync::Mutex<()>,
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Reads the end of the file, which others may have changed.
    looks: Mutex<Connection>,
    _lock: File,
}

/// What the writer publishes and readers wait for.
struct Shared {
    tails: Tails,
    /// Why the last commit failed.
    failure: Mutex<Option<String>>,
}

impl Shared {
    fn new() -> Self {
        Self { tails: Tails::new(TAIL_BYTES_MAX), failure: Mutex::default() }
    }

    /// Records the outcome of a commit.
    fn note(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// The one partition of a topic.
const fn partition(topic: Topic) -> Partition {
    Partition { topic, id: 0 }
}

impl EmbeddedLog {
    /// Opens the log in `folder` with these topics and creates what is missing. Holds the folder's lock until it is
    /// dropped.
    pub fn open(folder: &Path, topics: &[Topic]) -> Result<Self, LogError> {
        Self::open_or_create(folder, topics, true)
    }

    /// Opens a log that tables were built from: nothing is created in place of one that is not there.
    pub fn open_existing(folder: &Path, topics: &[Topic]) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        // An empty file is a new database to SQLite.
        let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0);
        if is_there { Self::open_or_create(folder, topics, false) } else { Err(missing(&path)) }
    }

    fn open_or_create(folder: &Path, topics: &[Topic], creates: bool) -> Result<Self, LogError> {
        let unusable = |what: &str, error: &dyn std::fmt::Display| {
            LogError::Unusable(format!("{what} in {}: {error}", folder.display()))
        };
        topics::declare(topics);
        let mut topics = topics.to_vec();
        topics.sort();
        fs::create_dir_all(folder).map_err(|e| unusable("cannot create the data directory", &e))?;
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let open = || -> rusqlite::Result<(Connection, bool)> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(wal::BUSY_WAIT)?;
            let is_earlier = has_earlier_layout(&connection)?;
            Ok((connection, is_earlier))
        };
        let (mut connection, is_earlier) = open().map_err(|e| damage::sort(&path, "open", &e))?;
        if is_earlier {
            return Err(earlier_layout(folder));
        }
        let shared = Arc::new(Shared::new());
        let mut prepare = || -> rusqlite::Result<wal::WriteAheadLog> {
            connection.execute_batch(SCHEMA)?;
            // What a crash left there.
            wal::empty(&connection);
            let write_ahead = wal::checkpoint_in_background(&mut connection, &path)?;
            for (partition, end) in read_ends(&connection, &topics)?.0 {
                shared.tails.start_at(partition, end);
            }
            Ok(write_ahead)
        };
        let write_ahead = prepare().map_err(|e| damage::sort(&path, "open", &e))?;
        let id = identify(&mut connection, &path, &topics, &shared, creates)?;
        let looks = open_read_only(&path).map_err(|e| damage::sort(&path, "open", &e))?;
        let files = Arc::new(OpenedFiles::at(&path).map_err(|e| unusable("cannot find the files of log.db", &e))?);
        let (queue, appends) = mpsc::channel(QUEUE_APPENDS_MAX);
        let writer = Writer {
            connection,
            write_ahead,
            end: WalEnd::new(&path),
            files: Arc::clone(&files),
            shared: Arc::clone(&shared),
            lost: None,
        };
        let writer = writer.start(appends)?;
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        let (topics, adding, looks) = (RwLock::new(topics), tokio::sync::Mutex::default(), Mutex::new(looks));
        Ok(Self { id, path, files, topics, adding, shared, queue, writer, looks, _lock: lock })
    }

    /// Adds a topic, unless the log has it. It is part of the log once it holds the log's id.
    async fn add_topic(&self, topic: Topic, creates: bool) -> Result<(), LogError> {
        let _adding = self.adding.lock().await;
        if self.topics().contains(&topic) {
            return Ok(());
        }
        let end = {
            let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
            read_end(&looks, topic).map_err(|e| damage::of_reading(&self.path, &e))?
        };
        if end > 0 {
            // The writer knows the end of what it has written itself.
            if self.shared.tails.end(partition(topic)) == 0 {
                self.shared.tails.start_at(partition(topic), end);
            }
            let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
            let read = tokio::task::spawn_blocking(move || read_id(&path, shared, topic)).await;
            let id =
                read.unwrap_or_else(|e| Err(LogError::Unavailable(format!("reading topic {topic} ended: {e}"))))?;
            let known = self.topics().first().map(|first| (*first, self.id.clone()));
            identity::agree(&known.into_iter().chain([(topic, id)]).collect::<Vec<_>>())?;
        } else if creates {
            let first = identity::first_record(topic, &self.id, now_ms())?;
            self.append(vec![first]).await.map_err(|error| LogError::Unavailable(error.to_string()))?;
        } else {
            return Err(LogError::Absent(format!("{} has no topic {topic}", self.path.display())));
        }
        topics::declare(&[topic]);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.push(topic);
        topics.sort();
        Ok(())
    }
}

/// The id in the first record of a topic.
fn read_id(path: &Path, shared: Arc<Shared>, topic: Topic) -> Result<String, LogError> {
    let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: Duration::ZERO };
    identity::read(topic, &mut reader::open(path, shared, &identity::start(topic))?, limits)
}

/// Reads the id that all topics share, and writes it to new topics.
fn identify(
    connection: &mut Connection,
    path: &Path,
    topics: &[Topic],
    shared: &Arc<Shared>,
    creates: bool,
) -> Result<String, LogError> {
    let (mut ids, mut new) = (Vec::new(), Vec::new());
    for topic in topics {
        if shared.tails.end(partition(*topic)) == 0 {
            new.push(*topic);
            continue;
        }
        ids.push((*topic, read_id(path, Arc::clone(shared), *topic)?));
    }
    let known = identity::agree(&ids)?;
    if known.is_none() && !creates {
        return Err(missing(path));
    }
    let id = known.unwrap_or_else(identity::new_id);
    let first = |topic: &Topic| identity::first_record(*topic, &id, now_ms());
    let first = new.iter().map(first).collect::<Result<Vec<_>, _>>()?;
    if !first.is_empty() {
        let written = writer::commit(connection, path, shared, &[&first]);
        let written = written.map_err(|e| LogError::Unusable(format!("cannot write {}: {e}", path.display())))?;
        shared.tails.push(written.records);
    }
    Ok(id)
}

fn has_earlier_layout(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(include_str!("embedded/earlier_layout.sql"), [], |row| Ok(row.get::<_, i64>(0)? > 0))
}

/// The error for a folder with a log of the earlier layout: a new log must not start beside an old one.
fn earlier_layout(folder: &Path) -> LogError {
    let place = folder.display();
    LogError::Unusable(format!(
        "{place} holds a log of an earlier layout, which this version does not read; export its events with the version that \
         wrote it and post them to /api/v1/events of this one, or give --data-dir an empty directory"
    ))
}

/// Opens the log in `folder` read-only, also while another process writes it.
pub fn open_reader(folder: &Path, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
    Ok(Box::new(reader::open(&folder.join(FILE), Arc::new(Shared::new()), from)?.polling_the_file()))
}

/// The current end of these topics of the log in `folder`, also while another process writes it.
pub fn end(folder: &Path, topics: &[Topic]) -> Result<Vector, LogError> {
    topics::declare(topics);
    let path = folder.join(FILE);
    let unreadable = |error: rusqlite::Error| damage::sort(&path, "read", &error);
    let connection = open_read_only(&path).map_err(unreadable)?;
    if has_earlier_layout(&connection).map_err(unreadable)? {
        return Err(earlier_layout(folder));
    }
    read_ends(&connection, topics).map_err(unreadable)
}

/// The error for a folder with tables and without the log that they were built from.
fn missing(path: &Path) -> LogError {
    let (file, folder) = (path.display(), path.parent().unwrap_or(path).display());
    LogError::Unusable(format!(
        "{file} is missing or empty, but tables that were built from it are in {folder}: restore {file}, or begin anew \
         without what it held by deleting control.db*, all other files *.db* there but log.db*, and the folder search \
         there"
    ))
}

fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The end of each topic.
fn read_ends(connection: &Connection, topics: &[Topic]) -> rusqlite::Result<Vector> {
    let end = |topic: &Topic| Ok((partition(*topic), read_end(connection, *topic)?));
    topics.iter().map(end).collect::<rusqlite::Result<_>>().map(Vector)
}

fn read_end(connection: &Connection, topic: Topic) -> rusqlite::Result<Offset> {
    let mut statement = connection.prepare_cached(include_str!("embedded/end.sql"))?;
    statement.query_row((topic.name(), partition(topic).id), |row| row.get(0))
}

/// Takes the folder's lock; an error if another process holds it.
fn lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join("lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|e| LogError::Unusable(format!("cannot open {}: {e}", path.display())))?;
    file.try_lock().map_err(|_| {
        let place = folder.display();
        LogError::Unusable(format!(
            "another daybook process has the data directory {place} open; stop it or use another"
        ))
    })?;
    Ok(file)
}

impl EventLog for EmbeddedLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add_topics<'a>(&'a self, topics: &'a [Topic], creates: bool) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            for topic in topics {
                self.add_topic(*topic, creates).await?;
            }
            Ok(())
        })
    }

    fn partition_count(&self, _topic: Topic) -> PartitionId {
        1
    }

    fn append_then(&self, records: Vec<NewRecord>, done: Done) {
        if let Some(error) = super::too_large(&records, RECORD_BYTES_MAX) {
            return done(Err(error));
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(queue) = queue else { return done(Err(AppendError::closed())) };
        super::enqueue(&queue, records, done);
    }

    fn end(&self, topics: &[Topic]) -> Result<Vector, LogError> {
        self.files.check().map_err(|reason| {
            self.shared.note(Some(reason.clone()));
            LogError::Unusable(reason)
        })?;
        // In this order: the file only grows.
        let end = |topic: &Topic| (partition(*topic), self.shared.tails.end(partition(*topic)));
        let known = Vector(topics.iter().map(end).collect());
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let of_file = read_ends(&looks, topics).map_err(|e| damage::of_reading(&self.path, &e));
        let shorter = |of_file: Vector| match known.0.iter().find(|(it, end)| of_file.next(**it) < **end) {
            Some((partition, end)) => Err(damage::lost(&self.path, *partition, of_file.next(*partition), end - 1)),
            None => Ok(()),
        };
        of_file.and_then(shorter).inspect_err(|error| self.shared.note(Some(error.to_string())))?;
        Ok(known)
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(reader::open(&self.path, Arc::clone(&self.shared), from)?))
    }

    fn flush(&self, _limit: Duration) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the embedded log's writer panicked");
        }
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn describe(&self) -> String {
        format!("embedded, {}", self.path.display())
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.flush(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_finds_the_older_record_by_its_key() {
        let connection = Connection::open_in_memory().unwrap_or_else(|error| panic!("{error}"));
        connection.execute_batch(SCHEMA).unwrap_or_else(|error| panic!("{error}"));
        let explain = concat!("EXPLAIN QUERY PLAN\n", include_str!("embedded/compact.sql"));
        let plan = connection.query_row(explain, ("t", 0, "k", 1), |row| row.get::<_, String>("detail"));
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        assert!(plan.contains("records_by_key"), "each heartbeat would read the whole topic: {plan}");
    }
}
