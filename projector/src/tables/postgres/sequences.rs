//! Numbers from PostgreSQL's own sequences.

use std::time::Duration;

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, Sequence, SequenceError},
};
use sqlx::{Connection as _, Executor, PgConnection};

use super::{Connections, LOCK, error, within};
use crate::{statement, tables::Statement};

const TAKE_RUNS: Statement = statement!("take_runs");
const TAKE_TASKS: Statement = statement!("take_tasks");
const TAKE_METADATA: Statement = statement!("take_metadata");
const RAISE_RUNS: Statement = statement!("raise_runs");
const RAISE_TASKS: Statement = statement!("raise_tasks");
const RAISE_METADATA: Statement = statement!("raise_metadata");

/// Numbers from PostgreSQL's own sequences, which give none twice, over restarts and crashes.
///
/// Taking a number for a request that waits for it waits for no disk: the commit that applies its event takes all that went
/// before it there, so after a crash of PostgreSQL only numbers that no row has yet may be given out again, and the second
/// writer of such a number is told to try again. What is taken ahead stays in memory and is used later, so taking it waits.
pub(super) struct Sequences {
    pub(super) durable: Connections,
    pub(super) prompt: Connections,
    pub(super) timeout: Duration,
}

impl Sequences {
    async fn call(
        &self,
        connections: &Connections,
        sequence: Sequence,
        count: usize,
    ) -> Result<Vec<i64>, SequenceError> {
        let statement = match sequence {
            Sequence::Run => &TAKE_RUNS,
            Sequence::Task => &TAKE_TASKS,
            Sequence::Metadata => &TAKE_METADATA,
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let numbers = within(self.timeout, connections, statement.name, async |connection| {
            let numbers = sqlx::query_scalar(statement.postgres).bind(count).fetch_all(connection).await;
            numbers.map_err(|e| error(statement.name, &e))
        });
        numbers.await.map_err(|e| SequenceError(e.to_string()))
    }
}

impl NumberSource for Sequences {
    fn take(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>> {
        Box::pin(self.call(&self.prompt, sequence, count))
    }

    fn take_ahead(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>> {
        Box::pin(self.call(&self.durable, sequence, count))
    }

    fn take_block(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<i64, SequenceError>> {
        Box::pin(async move {
            // Numbers of one call need not be consecutive, but those of one sequence step are: ask for one step of the
            // sequence, which is made as wide as the largest block.
            let width = usize::try_from(METADATA_STEP).unwrap_or(usize::MAX);
            let steps = count.div_ceil(width);
            loop {
                let first = self.take_ahead(sequence, steps).await?;
                let consecutive = first.windows(2).all(|pair| pair[1] == pair[0] + METADATA_STEP);
                if let (true, Some(first)) = (consecutive, first.first()) {
                    return Ok(*first);
                }
            }
        })
    }

    fn raise(&self, sequence: Sequence, highest: i64) -> BoxFuture<'_, Result<(), SequenceError>> {
        let statement = match sequence {
            Sequence::Run => &RAISE_RUNS,
            Sequence::Task => &RAISE_TASKS,
            Sequence::Metadata => &RAISE_METADATA,
        };
        Box::pin(async move {
            let raised = within(self.timeout, &self.durable, statement.name, async |connection| {
                raise(connection, statement, highest).await.map_err(|e| error(statement.name, &e))
            });
            raised.await.map_err(|e| SequenceError(e.to_string()))
        })
    }
}

/// Raises a sequence under the lock, so that one that raises late never takes back what others have given out since.
async fn raise(connection: &mut PgConnection, statement: &Statement, highest: i64) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute(LOCK.postgres).await?;
    sqlx::query(statement.postgres).bind(highest).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The increment of the sequence of metadata ids, as in `postgres/control.postgres.sql`.
const METADATA_STEP: i64 = 4096;
