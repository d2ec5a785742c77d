//! Reads rows by key, one query for all requests that ask at once.
//!
//! A request that comes alone is served at once. While a query is under way, keys gather for the next one: the busier the
//! service, the larger the batches, without ever waiting for one to fill.

use std::sync::Arc;

use daybook_projector::tables::{Cell, Column, Params, Row, Statement, Tables, TablesError};
use tokio::sync::{mpsc, oneshot};

/// Keys of one query, at most.
const BATCH_MAX: usize = 512;
/// Keys that may wait; more requests wait for room.
const QUEUE_MAX: usize = 4096;
/// Queries under way at once.
const LANES: usize = 2;

type Key = Vec<Cell>;
type Asked = (Key, oneshot::Sender<Result<Option<Row>, TablesError>>);

/// Loads at most one row a key.
#[derive(Clone)]
pub struct Loader {
    queue: mpsc::Sender<Asked>,
}

impl Loader {
    /// Starts the tasks that collect keys; they end when the last clone is dropped. The statement's rows begin with the
    /// ordinal of their key.
    pub fn start(tables: &Arc<dyn Tables>, statement: &'static Statement) -> Self {
        let (queue, keys) = mpsc::channel(QUEUE_MAX);
        let keys = Arc::new(tokio::sync::Mutex::new(keys));
        for _ in 0..LANES {
            tokio::spawn(collect(Arc::clone(tables), statement, Arc::clone(&keys)));
        }
        Self { queue }
    }

    /// The row of a key, without the ordinal.
    pub async fn load(&self, key: Key) -> Result<Option<Row>, TablesError> {
        let ended = || TablesError::Unavailable("shutting down".to_owned());
        let (asked, row) = oneshot::channel();
        self.queue.send((key, asked)).await.map_err(|_| ended())?;
        row.await.map_err(|_| ended())?
    }
}

async fn collect(
    tables: Arc<dyn Tables>,
    statement: &'static Statement,
    keys: Arc<tokio::sync::Mutex<mpsc::Receiver<Asked>>>,
) {
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        // Held while waiting: the other lane waits for the lock instead.
        if keys.lock().await.recv_many(&mut asked, BATCH_MAX).await == 0 {
            return;
        }
        asked.retain(|(_, asker)| !asker.is_closed());
        if asked.is_empty() {
            continue;
        }
        let params = Params::Many(columns(asked.iter().map(|(key, _)| key)));
        let outcome = tables.read(statement, params).await.and_then(|rows| by_ordinal(rows, asked.len()));
        match outcome {
            Ok(rows) => {
                for ((_, asker), row) in asked.drain(..).zip(rows) {
                    // An asker that has gone away does not want to know.
                    let _gone = asker.send(Ok(row));
                }
            }
            Err(error) => {
                for (_, asker) in asked.drain(..) {
                    let _gone = asker.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Keys as columns. All keys of a loader have the same shape.
fn columns<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for key in keys {
        for (index, cell) in key.iter().enumerate() {
            match (columns.get_mut(index), cell) {
                (Some(Column::Ints(values)), Cell::Int(value)) => values.push(*value),
                (Some(Column::Texts(values)), Cell::Text(value)) => values.push(value.clone()),
                (None, Cell::Int(value)) => columns.push(Column::Ints(vec![*value])),
                (None, Cell::Text(value)) => columns.push(Column::Texts(vec![value.clone()])),
                (Some(_), _) => debug_assert!(false, "keys of one loader differ in shape"),
            }
        }
    }
    columns
}

fn by_ordinal(rows: Vec<Row>, keys: usize) -> Result<Vec<Option<Row>>, TablesError> {
    let mut found = vec![None; keys];
    for mut row in rows {
        let ordinal = usize::try_from(row.int(0)?).map_err(|_| TablesError::Shape { column: 0 })?;
        row.0.remove(0);
        *found.get_mut(ordinal - 1).ok_or(TablesError::Shape { column: 0 })? = Some(row);
    }
    Ok(found)
}
