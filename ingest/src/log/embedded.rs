//! The log in one SQLite file: WAL, `synchronous=FULL`, one thread that commits whatever many writers brought at once.
//!
//! One partition a topic. The newest records also stay in memory, so that a reader at the end does not read the file.
//! A lock on the folder keeps a second process out. SQLite's durability: <https://www.sqlite.org/wal.html>.

mod reader;
mod tail;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use daybook_schemas::{
    position::{Offset, Partition, PartitionId, Vector},
    topics::Topic,
};
use rusqlite::Connection;
use tokio::sync::mpsc;

use self::tail::Tails;
use crate::{
    append::now_ms,
    log::{AppendError, Done, EventLog, LogError, NewRecord, ReadLimits, Reader, Waiting, identity},
    sqlite::wal,
};

/// Largest value, inclusive; the same as on Kafka, so that a log can move there.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Appends that may wait for the writer; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Bytes of newest records kept in memory, per topic.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

const SCHEMA: &str = include_str!("embedded/schema.sql");

/// The embedded log.
pub struct EmbeddedLog {
    id: String,
    path: PathBuf,
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
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

    /// Notes what came of a commit.
    fn note(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// The one partition of a topic.
fn partition(topic: Topic) -> Partition {
    Partition { topic, id: 0 }
}

impl EmbeddedLog {
    /// Opens the log in `folder`, creating it if there is none. Takes the folder's lock for as long as it lives.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let unusable = |what: &str, error: &dyn std::fmt::Display| {
            LogError::Unusable(format!("{what} in {}: {error}", folder.display()))
        };
        fs::create_dir_all(folder).map_err(|e| unusable("cannot create the data directory", &e))?;
        let lock = lock(folder)?;
        let path = folder.join("log.db");
        let open = || -> rusqlite::Result<(Connection, Shared)> {
            let mut connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch(SCHEMA)?;
            wal::checkpoint_in_background(&mut connection, &path)?;
            let shared = Shared::new();
            for (topic, end) in Topic::ALL.into_iter().zip(read_ends(&connection)?) {
                shared.tails.start_at(partition(topic), end);
            }
            Ok((connection, shared))
        };
        let (mut connection, shared) = open().map_err(|e| unusable("cannot open log.db", &e))?;
        let shared = Arc::new(shared);
        if shared.tails.end(partition(Topic::Events)) == 0 {
            let first = identity::first_record(now_ms())?;
            writer::commit(&mut connection, &shared, &[&[first]]).map_err(|e| unusable("cannot write log.db", &e))?;
        }
        let mut reader = reader::open(&path, Arc::clone(&shared), &identity::start())?;
        let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: Duration::ZERO };
        let id = identity::read(&mut reader, limits)?;
        let (queue, appends) = mpsc::channel(QUEUE_APPENDS_MAX);
        let writer = writer::start(connection, Arc::clone(&shared), appends)?;
        Ok(Self { id, path, shared, queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(writer)), _lock: lock })
    }
}

/// Opens the log in `folder` for reading alone, also while another process writes it.
pub fn open_reader(folder: &Path, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
    Ok(Box::new(reader::open(&folder.join("log.db"), Arc::new(Shared::new()), from)?.polling_the_file()))
}

/// Where the log in `folder` ends now, also while another process writes it.
pub fn end(folder: &Path) -> Result<Vector, LogError> {
    let path = folder.join("log.db");
    let open = || Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    let ends = open().and_then(|connection| read_ends(&connection));
    let ends = ends.map_err(|e| LogError::Unusable(format!("cannot read {}: {e}", path.display())))?;
    Ok(Vector(Topic::ALL.into_iter().map(partition).zip(ends).collect()))
}

/// The end of each topic, in the order of [`Topic::ALL`].
fn read_ends(connection: &Connection) -> rusqlite::Result<[Offset; 2]> {
    let end = |sql| connection.query_row(sql, [], |row| row.get(0));
    Ok([end(include_str!("embedded/end_of_events.sql"))?, end(include_str!("embedded/end_of_heartbeats.sql"))?])
}

/// Takes the folder's lock, or says who has it.
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

    fn end(&self) -> Result<Vector, LogError> {
        let end = |topic| (partition(topic), self.shared.tails.end(partition(topic)));
        Ok(Vector(Topic::ALL.map(end).into()))
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
