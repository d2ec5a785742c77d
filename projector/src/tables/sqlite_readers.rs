//! Threads that read the SQLite files of a store: some for short reads; some of lower priority for long lists and for
//! background reads, so that these delay neither a short read nor a write.
//!
//! Each thread keeps connections to the files that it read last.

mod queue;

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use daybook_ingest::{log::BoxFuture, sqlite::wal::WriteAheadLog};
use rusqlite::{Connection, OpenFlags};
use tokio::{runtime::Handle, sync::oneshot};

use self::queue::Queue;
use crate::{
    priority,
    tables::{Cell, ChunkSender, Chunks, Next, Params, Render, Row, Statement, TablesError, sqlite},
};

const OPEN: &str = include_str!("sqlite/open_reader.sql");
/// Files that a thread keeps open.
const FILES_MAX: usize = 16;
/// How long a thread waits for work until it closes files that are no longer used.
const IDLE: Duration = Duration::from_secs(1);

/// Threads for reads of one kind.
struct Pool {
    name: &'static str,
    threads: usize,
    /// Of them, those that may read one file at a time.
    of_file: usize,
    /// Reads that may wait; more are refused.
    waiting_max: usize,
    is_low: bool,
}

const SHORT: Pool = Pool { name: "tables-read", threads: 2, of_file: 2, waiting_max: 4096, is_low: false };
const LONG: Pool = Pool { name: "tables-list", threads: 8, of_file: 4, waiting_max: 256, is_low: true };
const BACKGROUND: Pool = Pool { name: "tables-background", threads: 2, of_file: 1, waiting_max: 4096, is_low: true };

/// The threads of a store. They end when it is dropped, and all of its tables.
pub(super) struct ReadingThreads {
    short: Arc<Queue<Job>>,
    long: Arc<Queue<Job>>,
    background: Arc<Queue<Job>>,
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

type Read = Box<dyn FnOnce(Result<&Connection, TablesError>) + Send>;

/// A read of a file. It gets a failure if the file cannot be opened.
struct Job {
    file: Arc<File>,
    read: Read,
}

impl Job {
    fn push_to(self, queue: &Queue<Self>) -> bool {
        queue.push(Arc::as_ptr(&self.file).addr(), self)
    }
}

/// A file that a thread has open.
struct Opened {
    file: Weak<File>,
    connection: Connection,
}

impl Pool {
    fn start(&self) -> Result<Arc<Queue<Job>>, TablesError> {
        let queue = Queue::new(self.waiting_max, self.of_file);
        for _ in 0..self.threads {
            let (queue, is_low) = (Arc::clone(&queue), self.is_low);
            let run = move || {
                if is_low {
                    priority::lower();
                }
                work(&queue);
            };
            let started = thread::Builder::new().name(self.name.to_owned()).spawn(run);
            started.map_err(|e| TablesError::Unavailable(format!("cannot start a reader: {e}")))?;
        }
        Ok(queue)
    }
}

impl ReadingThreads {
    /// Starts the threads.
    pub(super) fn start() -> Result<Self, TablesError> {
        Ok(Self { short: SHORT.start()?, long: LONG.start()?, background: BACKGROUND.start()? })
    }
}

impl Drop for ReadingThreads {
    fn drop(&mut self) {
        for queue in [&self.short, &self.long, &self.background] {
            queue.close();
        }
    }
}

/// Reads until the queue is closed.
fn work(queue: &Queue<Job>) {
    let mut open: Vec<Opened> = Vec::new();
    loop {
        match queue.next(IDLE) {
            queue::Next::Read(number, Job { file, read }) => {
                read(take(&mut open, &file));
                queue.ended(number);
            }
            queue::Next::Idle => {}
            queue::Next::End => return,
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
        match self.job(read).push_to(&self.threads.long) {
            true => chunks,
            false => ChunkSender::refuse(TablesError::Unavailable("too many lists are being read".to_owned())),
        }
    }

    fn job(&self, read: impl FnOnce(Result<&Connection, TablesError>) + Send + 'static) -> Job {
        Job { file: Arc::clone(&self.file), read: Box::new(read) }
    }

    /// Queues a read for a thread.
    fn read_on(
        &self,
        queue: &Queue<Job>,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        let (done, outcome) = oneshot::channel();
        let read = move |connection: Result<&Connection, TablesError>| {
            // Fails only if the receiver was dropped.
            let _gone = done.send(connection.and_then(|connection| sqlite::read(connection, statement, &params)));
        };
        let is_queued = self.job(read).push_to(queue);
        Box::pin(async move {
            if !is_queued {
                return Err(TablesError::Unavailable("too many reads wait".to_owned()));
            }
            outcome.await.unwrap_or_else(|_| Err(TablesError::Unavailable("the reader ended".to_owned())))
        })
    }
}
