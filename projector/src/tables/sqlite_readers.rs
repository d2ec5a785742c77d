//! Threads that read SQLite files: some for short reads; some of lower priority for long lists, so that a list never
//! delays a short read or a write; and one of the lowest priority for background reads.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc as blocking},
    thread,
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

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Readers {
    short: blocking::SyncSender<Job>,
    long: blocking::SyncSender<Job>,
    background: blocking::SyncSender<Job>,
    write_ahead: WriteAheadLog,
}

impl Readers {
    /// Starts the threads; they end when the readers are dropped.
    pub(super) fn start(path: &Path, statements_max: usize, write_ahead: WriteAheadLog) -> Result<Self, TablesError> {
        let pool = |name: &str, threads: usize, queue_max: usize, is_low: bool| {
            let (sender, receiver) = blocking::sync_channel::<Job>(queue_max);
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..threads {
                let connection = open(path, statements_max)?;
                let receiver = Arc::clone(&receiver);
                let run = move || {
                    if is_low {
                        priority::lower();
                    }
                    loop {
                        // Holds the lock while waiting; the other threads wait for the lock.
                        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { return };
                        job(&connection);
                    }
                };
                let started = thread::Builder::new().name(name.to_owned()).spawn(run);
                started.map_err(|e| TablesError::Unavailable(format!("cannot start a reader: {e}")))?;
            }
            Ok(sender)
        };
        let short = pool("tables-read", SHORT, QUEUE_MAX, false)?;
        let long = pool("tables-list", LONG, LISTS_MAX, true)?;
        let background = pool("tables-background", BACKGROUND, QUEUE_MAX, true)?;
        Ok(Self { short, long, background, write_ahead })
    }

    pub(super) fn read(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        read_on(&self.short, statement, params)
    }

    pub(super) fn read_background(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
        read_on(&self.background, statement, params)
    }

    pub(super) fn stream(&self, statement: &'static Statement, params: Vec<Cell>, mut render: Render) -> Chunks {
        let (mut sender, chunks) = ChunkSender::open();
        let (handle, write_ahead) = (Handle::current(), self.write_ahead.clone());
        let job: Job = Box::new(move |connection| {
            let guard = write_ahead.begin_read();
            let may_wait = || !guard.must_end();
            let outcome = sqlite::visit(connection, statement, params, &mut |row| {
                let next = render(row, &mut sender.chunk)?;
                let sent = match sender.full() {
                    Some(full) => handle.block_on(sender.send(full, may_wait)),
                    None => true,
                };
                Ok(next == Next::More && sent)
            });
            handle.block_on(sender.end(outcome, may_wait));
        });
        match self.long.try_send(job) {
            Ok(()) => chunks,
            Err(_) => ChunkSender::refuse(TablesError::Unavailable("too many lists are being read".to_owned())),
        }
    }
}

/// Queues a read for a thread.
fn read_on(
    threads: &blocking::SyncSender<Job>,
    statement: &'static Statement,
    params: Params,
) -> BoxFuture<'static, Result<Vec<Row>, TablesError>> {
    let (done, outcome) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        // Fails only if the receiver was dropped.
        let _gone = done.send(sqlite::read(connection, statement, &params));
    });
    let queued = threads.try_send(job);
    Box::pin(async move {
        queued.map_err(|_| TablesError::Unavailable("too many reads wait".to_owned()))?;
        outcome.await.unwrap_or_else(|_| Err(TablesError::Unavailable("the reader ended".to_owned())))
    })
}

fn open(path: &Path, statements_max: usize) -> Result<Connection, TablesError> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(OPEN)?;
        connection.set_prepared_statement_cache_capacity(statements_max);
        sqlite::row_functions::register(&connection)?;
        Ok(connection)
    };
    open().map_err(|e| sqlite::error("open", &e))
}
