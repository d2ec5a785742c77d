//! Reads rows by key, with one query for all concurrent requests.
//!
//! A single request is served immediately. While a query runs, keys are collected for the next one: batches grow with
//! the load, and no request waits for a batch to fill.

use std::sync::Arc;

use daybook_projector::tables::{Cell, Column, FromRow, NoColumns, Params, Row, Statement, Tables, TablesError};
use tokio::sync::{mpsc, oneshot};

/// Keys of one query, at most.
const BATCH_MAX: usize = 512;
/// Keys that may wait; more requests wait for room.
const QUEUE_MAX: usize = 4096;
/// Concurrent queries.
const QUERIES: usize = 2;

type Key = Vec<Cell>;
type Pending = (Key, oneshot::Sender<Result<Option<Row>, TablesError>>);

/// Loads at most one row a key.
#[derive(Clone)]
pub struct Loader {
    queue: mpsc::Sender<Pending>,
}

impl Loader {
    /// Starts the tasks that collect keys; they end when the last clone is dropped. The statement's rows begin with the
    /// ordinal of their key.
    pub fn start(tables: &Arc<dyn Tables>, statement: &'static Statement) -> Self {
        let (queue, keys) = mpsc::channel(QUEUE_MAX);
        let keys = Arc::new(tokio::sync::Mutex::new(keys));
        for _ in 0..QUERIES {
            tokio::spawn(collect(Arc::clone(tables), statement, Arc::clone(&keys)));
        }
        Self { queue }
    }

    /// The row of a key, without the ordinal.
    pub async fn load(&self, key: Key) -> Result<Option<Row>, TablesError> {
        let ended = || TablesError::Unavailable("shutting down".to_owned());
        let (sender, row) = oneshot::channel();
        self.queue.send((key, sender)).await.map_err(|_| ended())?;
        row.await.map_err(|_| ended())?
    }
}

async fn collect(
    tables: Arc<dyn Tables>,
    statement: &'static Statement,
    keys: Arc<tokio::sync::Mutex<mpsc::Receiver<Pending>>>,
) {
    let mut pending: Vec<Pending> = Vec::new();
    loop {
        // Held while waiting for keys: the other tasks wait for the lock instead.
        if keys.lock().await.recv_many(&mut pending, BATCH_MAX).await == 0 {
            return;
        }
        pending.retain(|(_, sender)| !sender.is_closed());
        if pending.is_empty() {
            continue;
        }
        let params = Params::Many(Column::of_rows(pending.iter().map(|(key, _)| key.clone())));
        let outcome = tables.read(statement, params).await.and_then(|rows| by_ordinal(rows, pending.len()));
        match outcome {
            Ok(rows) => {
                for ((_, sender), row) in pending.drain(..).zip(rows) {
                    // The caller may have been cancelled.
                    let _cancelled = sender.send(Ok(row));
                }
            }
            Err(error) => {
                for (_, sender) in pending.drain(..) {
                    let _cancelled = sender.send(Err(error.clone()));
                }
            }
        }
    }
}

fn by_ordinal(rows: Vec<Row>, keys: usize) -> Result<Vec<Option<Row>>, TablesError> {
    let mut found = vec![None; keys];
    for mut row in rows {
        let (index, NoColumns) = NoColumns::read_keyed(&row)?;
        row.0.remove(0);
        *found.get_mut(index).ok_or(TablesError::Shape { column: "ordinal" })? = Some(row);
    }
    Ok(found)
}
