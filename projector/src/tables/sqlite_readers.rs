//! Threads that read the SQLite files of a store: some for short reads; some of lower priority for long lists, so that a
//! list never delays a short read or a write; and one of lower priority for background reads.
//!
//! Each thread keeps connections to the files that it read last.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{self as blocking, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use daybook_ingest::{log::BoxFuture, sqlite::wal::WriteAheadLog};
use rusqlite::{Connection, OpenFlags};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    priority,
    tables::{Cell, ChunkSender, Chunks, Next, Params, Render, Row, Statement, TablesError, sqlite},
};

const OPEN: &str = include_str!("sqlite/open_reader.sql");
/// Threads for short reads.
const SHORT: usize = 2;
/// Threads for lists.
const LONG: usize = 4;
/// Threads for background reads.
const BACKGROUND: usize = 1;
/// Reads that may wait for a thread; more are refused.
const QUEUE_MAX: usize = 4096;
/// Lists that may wait for a thread; more are refused.
const LISTS_MAX: usize = 256;
/// Files that a thread keeps open.
const FILES_MAX: usize = 16;
/// How long a thread waits for work until it closes files that are no longer used.
const IDLE: Duration = Duration::from_secs(1);

/// The threads of a store. They end when it is dropped, and all of its tables.
pub(super) struct ReadingThreads {
    short: blocking::SyncSender<Job>,
    long: blocking::SyncSender<Job>,
    background: blocking::SyncSender<Job>,
}

/// Reads one file.
pub(super) struct Readers {
    threads: Arc<ReadingThreads>,
    file: Arc<File>,
}

struct File {
    path: PathBuf,
    statements_max: usize,
    write_ahead: WriteAheadLog,
}

/// A read of a file. It gets a failure if the file cannot be opened.
struct Job {
    file: Arc<File>,
    read: Box<dyn FnOnce(Result<&Connection, TablesError>) + Send>,
}

/// A file that a thread has open.
struct Opened {
    file: Weak<File>,
    connection: Connection,
}

impl ReadingThreads {
    /// Starts the threads.
    pub(super) fn start() -> Result<Self, TablesError> {
        let pool = |name: &str, threads: usize, queue_max: usize, is_low: bool| {
            let (sender, receiver) = blocking::sync_channel::<Job>(queue_max);
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..threads {
                let receiver = Arc::clone(&receiver);
                let run = move || {
                    if is_low {
                        priority::lower();
                    }
                    work(&receiver);
                };
                let started = thread::Builder::new().name(name.to_owned()).spawn(run);
                started.map_err(|e| TablesError::Unavailable(format!("cannot start a reader: {e}")))?;
            }
            Ok(sender)
        };
        let short = pool("tables-read", SHORT, QUEUE_MAX, false)?;
        let long = pool("tables-list", LONG, LISTS_MAX, true)?;
        let background = pool("tables-background", BACKGROUND, QUEUE_MAX, true)?;
        Ok(Self { short, long, background })
    }
}

/// Reads until the store and its tables are dropped.
fn work(receiver: &Mutex<blocking::Receiver<Job>>) {
    let mut open: Vec<Opened> = Vec::new();
    loop {
        // Holds the lock while waiting; the other threads wait for the lock.
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(IDLE);
        match job {
            Ok(Job { file, read }) => read(take(&mut open, &file)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        open.retain(|opened| opened.file.strong_count() > 0);
    }
}

/// The connection to a file. The one that was used last is at the end.
fn take<'a>(open: &'a mut Vec<Opened>, file: &Arc<File>) -> Result<&'a Connection, TablesError> {
    let opened = match open.iter().position(|opened| opened.file.as_ptr() == Arc::as_ptr(file)) {
        Some(at) => open.remove(at),
        None => Opened { file: Arc::downgrade(file), connection: file.open()? },
    };
    if open.len() == FILES_MAX {
        open.remove(0);
    }
    Ok(&open.push_mut(opened).connection)
}

impl File {
    fn open(&self) -> Result<Connection, TablesError> {
        let open = || -> rusqlite::Result<Connection> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.execute_batch(OPEN)?;
            connection.set_prepared_statement_cache_capacity(self.statements_max);
            sqlite::row_functions::register(&connection)?;
            Ok(connection)
        };
        open().map_err(|e| sqlite::error("open", &e))
    }
}

impl Readers {
    /// Readers of a file.
    pub(super) fn new(
        threads: Arc<ReadingThreads>,
        path: PathBuf,
        statements_max: usize,
        write_ahead: WriteAheadLog,
    ) -> Self {
        Self { threads, file: Arc::new(File { path, statements_max, write_ahead }) }
    }

    pub(super) fn read(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        self.read_on(&self.threads.short, statement, params)
    }

    pub(super) fn read_background(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        self.read_on(&self.threads.background, statement, params)
    }

    pub(super) fn stream(&self, statement: &'static Statement, params: Vec<Cell>, mut render: Render) -> Chunks {
        let (mut sender, chunks) = ChunkSender::open();
        let (handle, write_ahead) = (Handle::current(), self.file.write_ahead.clone());
        let read = move |connection: Result<&Connection, TablesError>| {
            let guard = write_ahead.begin_read();
            let may_wait = || !guard.must_end();
            let outcome = connection.and_then(|connection| {
                sqlite::visit(connection, statement, params, &mut |row| {
                    let next = render(row, &mut sender.chunk)?;
                    let sent = match sender.full() {
                        Some(full) => handle.block_on(sender.send(full, may_wait)),
                        None => true,
                    };
                    Ok(next == Next::More && sent)
                })
            });
            handle.block_on(sender.end(outcome, may_wait));
        };
        match self.threads.long.try_send(Job { file: Arc::clone(&self.file), read: Box::new(read) }) {
            Ok(()) => chunks,
            Err(_) => ChunkSender::refuse(TablesError::Unavailable("too many lists are being read".to_owned())),
        }
    }

    /// Queues a read for a thread.
    fn read_on(
        &self,
        threads: &blocking::SyncSender<Job>,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        let (done, outcome) = oneshot::channel();
        let read = move |connection: Result<&Connection, TablesError>| {
            // Fails only if the receiver was dropped.
            let _gone = done.send(connection.and_then(|connection| sqlite::read(connection, statement, &params)));
        };
        let queued = threads.try_send(Job { file: Arc::clone(&self.file), read: Box::new(read) });
        Box::pin(async move {
            queued.map_err(|_| TablesError::Unavailable("too many reads wait".to_owned()))?;
            outcome.await.unwrap_or_else(|_| Err(TablesError::Unavailable("the reader ended".to_owned())))
        })
    }
}
