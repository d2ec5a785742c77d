//! The log in one SQLite file: WAL, `synchronous=FULL`, one thread that commits whatever many writers brought at once.
//!
//! One partition a topic. The newest records also stay in memory, so that a reader at the end does not read the file.
//! A lock on the folder keeps a second process out. SQLite's durability: <https://www.sqlite.org/wal.html>.

mod reader;
mod writer;

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use daybook_schemas::{
    position::{Offset, Partition, PartitionId, Position, Vector},
    topics::Topic,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{
    accept::now_ms,
    log::{AppendError, BoxFuture, EventLog, LogError, NewRecord, ReadLimits, Reader, Record, identity},
};

/// Largest value, inclusive; the same as on Kafka, so that a log can move there.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Appends that may wait for the writer; more are refused.
const QUEUE_APPENDS_MAX: usize = 8192;
/// Bytes of newest records kept in memory, per topic.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

const SCHEMA: &str = include_str!("embedded/schema.sql");

/// Appends that wait together for one commit, and whom to tell.
type Append = (Vec<NewRecord>, oneshot::Sender<Result<Vec<Position>, AppendError>>);

/// The embedded log.
pub struct EmbeddedLog {
    id: String,
    path: PathBuf,
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Append>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

/// What the writer publishes and readers wait for.
struct Shared {
    tails: Mutex<Tails>,
    grown: Condvar,
    /// Why the last commit failed.
    failure: Mutex<Option<String>>,
}

#[derive(Default)]
struct Tails {
    events: Tail,
    heartbeats: Tail,
}

/// The newest records of one topic.
#[derive(Default)]
struct Tail {
    /// The offset that the next record will get.
    end: Offset,
    records: VecDeque<Record>,
    bytes: usize,
}

impl Shared {
    /// Notes what came of a commit.
    fn note(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

impl Tails {
    fn of(&mut self, topic: Topic) -> &mut Tail {
        match topic {
            Topic::Events => &mut self.events,
            Topic::Heartbeats => &mut self.heartbeats,
        }
    }
}

impl Tail {
    fn push(&mut self, record: Record) {
        self.end = record.position.offset + 1;
        self.bytes += record.value.len();
        self.records.push_back(record);
        while self.bytes > TAIL_BYTES_MAX
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.value.len();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            let connection = Connection::open(&path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch(SCHEMA)?;
            let mut tails = Tails::default();
            tails.events.end =
                connection.query_row(include_str!("embedded/end_of_events.sql"), [], |row| row.get(0))?;
            tails.heartbeats.end =
                connection.query_row(include_str!("embedded/end_of_heartbeats.sql"), [], |row| row.get(0))?;
            Ok((connection, Shared { tails: Mutex::new(tails), grown: Condvar::new(), failure: Mutex::default() }))
        };
        let (mut connection, shared) = open().map_err(|e| unusable("cannot open log.db", &e))?;
        let shared = Arc::new(shared);
        if shared.lock().events.end == 0 {
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
    let shared = Shared { tails: Mutex::default(), grown: Condvar::new(), failure: Mutex::default() };
    Ok(Box::new(reader::open(&folder.join("log.db"), Arc::new(shared), from)?.polling_the_file()))
}

/// Where the log in `folder` ends now, also while another process writes it.
pub fn end(folder: &Path) -> Result<Vector, LogError> {
    let path = folder.join("log.db");
    let read = || -> rusqlite::Result<[Offset; 2]> {
        let connection = Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let end = |sql| connection.query_row(sql, [], |row| row.get(0));
        Ok([end(include_str!("embedded/end_of_events.sql"))?, end(include_str!("embedded/end_of_heartbeats.sql"))?])
    };
    let ends = read().map_err(|e| LogError::Unusable(format!("cannot read {}: {e}", path.display())))?;
    Ok(Vector(Topic::ALL.into_iter().zip(ends).map(|(topic, end)| (Partition { topic, id: 0 }, end)).collect()))
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

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<Position>, AppendError>> {
        Box::pin(async move {
            if let Some(large) = records.iter().find(|record| record.value.len() > RECORD_BYTES_MAX) {
                return Err(AppendError::TooLarge { bytes: large.value.len(), bytes_max: RECORD_BYTES_MAX });
            }
            let (done, outcome) = oneshot::channel();
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let queue = queue.ok_or_else(|| AppendError::Unavailable("shutting down".to_owned()))?;
            queue.try_send((records, done)).map_err(|_| AppendError::Full)?;
            outcome.await.unwrap_or_else(|_| Err(AppendError::Unavailable("the log's writer ended".to_owned())))
        })
    }

    fn end(&self) -> Result<Vector, LogError> {
        let mut tails = self.shared.lock();
        let ends = Topic::ALL.map(|topic| (Partition { topic, id: 0 }, tails.of(topic).end));
        Ok(Vector(ends.into()))
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
