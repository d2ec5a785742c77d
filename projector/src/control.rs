//! Control storage: which generations there are, which one is live in each domain, which instances hold a lease, and the last
//! number taken of each sequence.

use std::{sync::Arc, time::Duration};

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, SequenceError},
};

use crate::{
    statement,
    tables::{Cell, Params, Row, Statement, Tables, TablesError},
};

const LIST_GENERATIONS: Statement = statement!("control/list_generations");
const ADD_GENERATION: Statement = statement!("control/add_generation");
const READ_LIVE: Statement = statement!("control/read_live");
const ADD_LIVE: Statement = statement!("control/add_live");
const RENEW_LEASE: Statement = statement!("control/renew_lease", split);
const LEAVE: Statement = statement!("control/leave", split);
const LIST_INSTANCES: Statement = statement!("control/list_instances", split);
const FORGET_EXPIRED: Statement = statement!("control/forget_expired", split);
const TAKE_NUMBERS: Statement = statement!("control/take_numbers", split);

/// The statements of this file, so that a test can run each on every engine.
pub const STATEMENTS: [&Statement; 9] = [
    &LIST_GENERATIONS,
    &ADD_GENERATION,
    &READ_LIVE,
    &ADD_LIVE,
    &RENEW_LEASE,
    &LEAVE,
    &LIST_INSTANCES,
    &FORGET_EXPIRED,
    &TAKE_NUMBERS,
];

/// Access to control storage.
#[derive(Clone)]
pub struct Control {
    tables: Arc<dyn Tables>,
}

/// A generation as control storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub generation: i64,
    /// The schema of its tables.
    pub schema: String,
    /// Where it stands in its life.
    pub state: String,
    /// What shaped it.
    pub fingerprint: String,
    /// The log that it was built from.
    pub log_id: String,
}

/// A process that has a lease, or had one not long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// Whether its lease has time left.
    pub leased: bool,
    /// Whether it has its connection still: false once it has ended, and while it cannot be reached.
    pub connected: bool,
}

impl Control {
    /// Control storage in these tables.
    pub fn new(tables: Arc<dyn Tables>) -> Self {
        Self { tables }
    }

    /// All generations of a domain, oldest first.
    pub async fn generations(&self, domain: &str) -> Result<Vec<Entry>, TablesError> {
        let entry = |row: &Row| {
            Ok(Entry {
                generation: row.int(0)?,
                schema: row.text(1)?.to_owned(),
                state: row.text(2)?.to_owned(),
                fingerprint: row.text(3)?.to_owned(),
                log_id: row.text(4)?.to_owned(),
            })
        };
        self.tables.read(&LIST_GENERATIONS, Params::One(vec![domain.into()])).await?.iter().map(entry).collect()
    }

    /// The number of a domain's live generation.
    pub async fn live(&self, domain: &str) -> Result<Option<i64>, TablesError> {
        let rows = self.tables.read(&READ_LIVE, Params::One(vec![domain.into()])).await?;
        rows.first().map(|row| row.int(0)).transpose()
    }

    /// Adds a domain's first generation and makes it the live one; nothing where another process did so before.
    pub async fn add_first(&self, domain: &'static str, entry: Entry) -> Result<(), TablesError> {
        let Entry { generation, schema, state, fingerprint, log_id } = entry;
        let texts = [schema, state, fingerprint, log_id].map(|text| Cell::Text(Some(text)));
        let mut added = vec![domain.into(), generation.into()];
        added.extend(texts);
        let live = vec![domain.into(), generation.into()];
        self.write(vec![(&ADD_GENERATION, added), (&ADD_LIVE, live)]).await
    }

    /// Renews this instance's lease, or takes it.
    pub async fn renew_lease(&self, instance: &str, roles: &str, lease: Duration) -> Result<(), TablesError> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        self.write(vec![(&RENEW_LEASE, vec![instance.into(), roles.into(), lease_ms.into()])]).await
    }

    /// Gives this instance's lease up.
    pub async fn leave(&self, instance: &str) -> Result<(), TablesError> {
        self.write(vec![(&LEAVE, vec![instance.into()])]).await
    }

    /// Forgets the instances whose lease expired `age` ago.
    pub async fn forget_expired(&self, age: Duration) -> Result<(), TablesError> {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.write(vec![(&FORGET_EXPIRED, vec![age_ms.into()])]).await
    }

    /// The instances that were not forgotten, in order of name.
    pub async fn instances(&self) -> Result<Vec<Instance>, TablesError> {
        let rows = self.tables.read(&LIST_INSTANCES, Params::One(Vec::new())).await?;
        let instance = |row: &Row| {
            let (name, roles) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
            Ok(Instance { name, roles, leased: row.int(2)? == 1, connected: row.int(3)? == 1 })
        };
        rows.iter().map(instance).collect()
    }

    async fn write(&self, statements: Vec<(&'static Statement, Vec<Cell>)>) -> Result<(), TablesError> {
        for (statement, params) in statements {
            self.tables.write(statement, params).await?;
        }
        Ok(())
    }
}

impl NumberSource for Control {
    fn take(&self, sequence: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>> {
        Box::pin(async move {
            let taken = self.tables.write(&TAKE_NUMBERS, vec![sequence.into(), count.into(), above.into()]).await;
            let rows = taken.map_err(|error| SequenceError(error.to_string()))?;
            let row = rows.first().ok_or_else(|| SequenceError("control storage gave no number".to_owned()))?;
            let last = row.int(0).map_err(|error| SequenceError(error.to_string()))?;
            Ok(last - count + 1)
        })
    }
}
