//! Lists, streamed row by row on connections of their own.
//!
//! A long list gives way to a projector at work: reading fifty thousand rows as fast as one client takes them keeps more than one
//! processor busy, here and in PostgreSQL, and each batch would wait for its turn between them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{BoxStream, Fuse},
};
use sqlx::{Row as _, postgres::PgRow};
use tokio::time::Instant;

use super::{Connections, bind, error, silent};
use crate::tables::{ChunkSender, Chunks, Cursor, Next, Params, Render, Statement, TablesError};

/// Chunks that are made without a pause: pages and short lists.
const PROMPT_CHUNKS: usize = 8;
/// The pause after each further chunk while the projector is at work: about 20 MB/s are left.
const PAUSE: Duration = Duration::from_millis(3);
/// Rows that are read for nothing, at most, to keep a connection whose list needs no more of them.
const REST_ROWS_MAX: usize = 2000;
/// For how long a projector that has written counts as being at work.
const AT_WORK: Duration = Duration::from_millis(50);

/// When the projector last wrote.
#[derive(Default)]
pub(super) struct Activity(Mutex<Option<Instant>>);

impl Activity {
    /// Notes that it writes.
    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|wrote| wrote.elapsed() < AT_WORK)
    }
}

/// A list on its way to its reader.
pub(super) struct List {
    statement: &'static Statement,
    render: Render,
    sender: ChunkSender,
    sent: usize,
    paused: Duration,
    timeout: Duration,
    activity: Arc<Activity>,
}

impl List {
    pub(super) fn open(
        statement: &'static Statement,
        render: Render,
        timeout: Duration,
        activity: Arc<Activity>,
    ) -> (Self, Chunks) {
        let (sender, receiver) = ChunkSender::open();
        (Self { statement, render, sender, sent: 0, paused: Duration::ZERO, timeout, activity }, receiver)
    }

    /// Sends the whole list, and at its end what it failed on.
    pub(super) async fn run(mut self, connections: &Connections, params: &Params) {
        let (statement, timeout) = (self.statement, self.timeout);
        let mut taken = match connections.take().await {
            Ok(taken) => taken,
            Err(failed) => return self.sender.end(Err(error(statement.name, &failed)), || true).await,
        };
        let mut rows = bind(statement, params).fetch(taken.connection()).fuse();
        let outcome = self.send_rows(&mut rows).await;
        let failed = outcome.is_err();
        self.sender.end(outcome, || true).await;
        let ended = !failed && read_on(&mut rows, statement, timeout).await;
        drop(rows);
        if ended {
            taken.give_back();
        }
    }

    async fn send_rows(&mut self, rows: &mut Rows<'_>) -> Result<(), TablesError> {
        while let Some(row) = next_row(rows, self.statement, self.timeout).await? {
            let next = (self.render)(&PgCursor(&row), &mut self.sender.chunk)?;
            if let Some(chunk) = self.sender.full()
                && !self.send(chunk).await
            {
                return Ok(());
            }
            if next == Next::Stop {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a chunk; false if it gave up.
    async fn send(&mut self, chunk: Vec<u8>) -> bool {
        let sent = self.sender.send(chunk, || true).await;
        self.sent += 1;
        // The server's time-out is for the whole statement: most of it is left for the rows.
        let may_pause = self.sent > PROMPT_CHUNKS && self.paused < self.timeout / 4;
        if sent && may_pause && self.activity.is_recent() {
            tokio::time::sleep(PAUSE).await;
            self.paused += PAUSE;
        }
        sent
    }
}

/// Rows as the server sends them; fused, so that one may ask again after the last.
type Rows<'a> = Fuse<BoxStream<'a, Result<PgRow, sqlx::Error>>>;

/// Reads to the end of a list that nobody needs more of; false if that is too far, and another connection costs less.
async fn read_on(rows: &mut Rows<'_>, statement: &Statement, timeout: Duration) -> bool {
    for _ in 0..REST_ROWS_MAX {
        match next_row(rows, statement, timeout).await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// The next row, most of which are there already. The time-out tells a server that is silent; the whole list has its own, the server's.
async fn next_row(rows: &mut Rows<'_>, statement: &Statement, timeout: Duration) -> Result<Option<PgRow>, TablesError> {
    let row = match rows.try_next().now_or_never() {
        Some(row) => row,
        None => match tokio::time::timeout(timeout, rows.try_next()).await {
            Ok(row) => row,
            Err(_) => return Err(silent(statement.name, timeout)),
        },
    };
    row.map_err(|e| error(statement.name, &e))
}

struct PgCursor<'a>(&'a PgRow);

impl Cursor for PgCursor<'_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| TablesError::Shape { column })
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| TablesError::Shape { column })
    }
}
