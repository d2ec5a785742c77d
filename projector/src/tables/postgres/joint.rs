//! A transaction over several schemas, on a connection of its own. Each statement runs with its schema as search path.

use std::time::Duration;

use sqlx::{Executor, PgConnection};
use tokio::runtime::Handle;

use super::{NOTIFY, connections::Taken, failures::error, fetch, silent, values::bind};
use crate::{
    statement,
    tables::{JointTransaction, Params, Row, Statement, TablesError},
};

const ENTER_SCHEMA: Statement = statement!("enter_schema");

/// An open transaction. It is rolled back by closing its connection.
pub(super) struct Joint {
    handle: Handle,
    taken: Taken,
    /// How long a statement may take.
    timeout: Duration,
    /// The schema of the last statement.
    schema: String,
}

/// Begins a transaction on a connection that nobody else uses.
pub(super) fn begin(handle: Handle, taken: Taken, timeout: Duration) -> Result<Joint, TablesError> {
    let mut joint = Joint { handle, taken, timeout, schema: String::new() };
    joint.run("begin", async |connection| connection.execute("BEGIN").await.map_err(|e| error("begin", &e)))?;
    Ok(joint)
}

impl Joint {
    fn run<T>(
        &mut self,
        statement: &str,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, TablesError>,
    ) -> Result<T, TablesError> {
        let (timeout, connection) = (self.timeout, self.taken.connection());
        let run = async { tokio::time::timeout(timeout, run(connection)).await };
        let outcome = self.handle.block_on(run).unwrap_or_else(|_| Err(silent(statement, timeout)));
        if let Err(failed) = &outcome {
            self.taken.note(failed);
        }
        outcome
    }

    fn enter(&mut self, schema: &str) -> Result<(), TablesError> {
        if self.schema != schema {
            let params = Params::One(vec![schema.into()]);
            self.run(ENTER_SCHEMA.name, async |connection| fetch(connection, &ENTER_SCHEMA, &params).await)?;
            schema.clone_into(&mut self.schema);
        }
        Ok(())
    }
}

impl JointTransaction for Joint {
    fn execute(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<u64, TablesError> {
        self.enter(schema)?;
        let query = bind(statement, params)?;
        self.run(statement.name, async |connection| {
            let done = query.execute(connection).await.map_err(|e| error(statement.name, &e))?;
            Ok(done.rows_affected())
        })
    }

    fn read(&mut self, schema: &str, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        self.enter(schema)?;
        self.run(statement.name, async |connection| fetch(connection, statement, params).await)
    }

    fn notify(&mut self, schema: &str, payload: &str) -> Result<(), TablesError> {
        self.execute(schema, &NOTIFY, &Params::One(vec![schema.into(), payload.into()])).map(|_| ())
    }

    fn commit(mut self: Box<Self>) -> Result<(), TablesError> {
        self.run("commit", async |connection| connection.execute("COMMIT").await.map_err(|e| error("commit", &e)))?;
        Ok(())
    }
}
