//! Lists, streamed row by row on separate connections.
//!
//! A long list yields to a busy projector: reading fifty thousand rows as fast as one client takes them keeps more than
//! one processor busy, here and in PostgreSQL, and delays every batch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{BoxStream, Fuse},
};
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::{
    Connections, error, silent,
    values::{PgCursor, bind},
};
use crate::tables::{ChunkSender, Chunks, Next, Params, Render, Statement, TablesError};

/// Chunks that are sent without a pause: pages and short lists.
const PROMPT_CHUNKS: usize = 8;
/// The pause after each further chunk while the projector is busy: limits a list to about 20 MB/s.
const PAUSE: Duration = Duration::from_millis(3);
/// Rows that are read and discarded, at most, to keep the connection of a list that ended early.
const REST_ROWS_MAX: usize = 2000;
/// How long the projector counts as busy after a write.
const AT_WORK: Duration = Duration::from_millis(50);

/// When the projector last wrote.
#[derive(Default)]
pub(super) struct Activity(Mutex<Option<Instant>>);

impl Activity {
    /// Records a write.
    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|wrote| wrote.elapsed() < AT_WORK)
    }
}

/// A list that is being sent.
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

    /// Sends the whole list, and an error at its end if it failed.
    pub(super) async fn run(mut self, connections: &Connections, params: &Params) {
        let (statement, timeout) = (self.statement, self.timeout);
        let query = match bind(statement, params) {
            Ok(query) => query,
            Err(failed) => return self.sender.end(Err(failed), || true).await,
        };
        let mut taken = match connections.take().await {
            Ok(taken) => taken,
            Err(failed) => return self.sender.end(Err(failed), || true).await,
        };
        let mut rows = query.fetch(taken.connection()).fuse();
        let outcome = self.send_rows(&mut rows).await;
        let failed = outcome.as_ref().err().cloned();
        self.sender.end(outcome, || true).await;
        let ended = failed.is_none() && read_on(&mut rows, statement, timeout).await;
        drop(rows);
        if let Some(failed) = failed {
            taken.note(&failed);
        } else if ended {
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

    /// Sends a chunk; false if the stream was cancelled.
    async fn send(&mut self, chunk: Vec<u8>) -> bool {
        let sent = self.sender.send(chunk, || true).await;
        self.sent += 1;
        // The server's time-out covers the whole statement: leave most of it for the rows.
        let may_pause = self.sent > PROMPT_CHUNKS && self.paused < self.timeout / 4;
        if sent && may_pause && self.activity.is_recent() {
            tokio::time::sleep(PAUSE).await;
            self.paused += PAUSE;
        }
        sent
    }
}

/// Rows as the server sends them; fused, so that it can be polled after the last.
type Rows<'a> = Fuse<BoxStream<'a, Result<PgRow, sqlx::Error>>>;

/// Discards the rest of a list; false if it is so long that a new connection costs less.
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

/// The next row, which is usually buffered already. The time-out detects a silent server; the server has its own
/// time-out for the whole list.
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
