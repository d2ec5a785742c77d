//! Control storage: the generations, the live generation of each domain, the leases of instances, and the last number
//! taken of each sequence.

use std::{sync::Arc, time::Duration};

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, SequenceError},
};

use crate::{
    row, statements,
    tables::{Cell, FromRow, Params, Statement, Tables, TablesError},
};

statements! {
    /// The statements of this file, so that a test can run each on every engine.
    pub STATEMENTS;
    LIST_GENERATIONS = "control/list_generations", GenerationRow;
    ADD_GENERATION = "control/add_generation";
    READ_LIVE = "control/read_live", LiveRow;
    ADD_LIVE = "control/add_live";
    SWITCH_LIVE = "control/switch_live";
    SET_STATE = "control/set_state";
    RENEW_LEASE = "control/renew_lease", split;
    LEAVE = "control/leave", split;
    LIST_INSTANCES = "control/list_instances", split, InstanceRow;
    FORGET_EXPIRED = "control/forget_expired", split;
    TAKE_NUMBERS = "control/take_numbers", split, TakenRow;
}

row! {
    struct GenerationRow {
        generation: i64,
        schema: String,
        state: String,
        fingerprint: String,
        log_id: String,
    }
}

row! {
    struct LiveRow {
        generation: i64,
    }
}

row! {
    struct InstanceRow {
        instance: String,
        roles: String,
        topics: String,
        leased: bool,
        connected: bool,
    }
}

row! {
    struct TakenRow {
        last_number: i64,
    }
}

/// Access to control storage.
#[derive(Clone)]
pub struct Control {
    tables: Arc<dyn Tables>,
}

/// Where a generation stands in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is filled from the log.
    Loading,
    /// It answers requests.
    Live,
    /// It answered requests before the live one, and is kept as the way back.
    Previous,
    /// It was a previous one. Its tables and its index are gone.
    Retired,
    /// It was given up before it was promoted. Its tables and its index are gone.
    Cancelled,
}

impl State {
    const ALL: [Self; 5] = [Self::Loading, Self::Live, Self::Previous, Self::Retired, Self::Cancelled];

    /// Its name in control storage.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Live => "live",
            Self::Previous => "previous",
            Self::Retired => "retired",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(name: &str) -> Result<Self, TablesError> {
        let unknown = || TablesError::Refused {
            statement: LIST_GENERATIONS.name.to_owned(),
            reason: format!("a newer program wrote the state {name}"),
        };
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(unknown)
    }
}

/// A generation as control storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub generation: i64,
    /// The schema of its tables.
    pub schema: String,
    /// Its state.
    pub state: State,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The log that it was built from.
    pub log_id: String,
}

/// A process that has a lease, or had one recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// The topics that it knows, comma-separated.
    pub topics: String,
    /// Whether its lease has not expired.
    pub leased: bool,
    /// Whether it still has its connection: false once it has ended, and while it is unreachable.
    pub connected: bool,
}

impl Entry {
    /// The parameters of [`ADD_GENERATION`].
    fn added(self, domain: &'static str) -> Vec<Cell> {
        let Self { generation, schema, state, fingerprint, log_id } = self;
        let texts = [schema, state.as_str().to_owned(), fingerprint, log_id].map(|text| Cell::Text(Some(text)));
        [domain.into(), generation.into()].into_iter().chain(texts).collect()
    }
}

impl Control {
    /// Control storage in these tables.
    pub fn new(tables: Arc<dyn Tables>) -> Self {
        Self { tables }
    }

    /// All generations of a domain, oldest first.
    pub async fn generations(&self, domain: &str) -> Result<Vec<Entry>, TablesError> {
        let rows = self.tables.read(&LIST_GENERATIONS, Params::One(vec![domain.into()])).await?;
        let entry = |row| {
            let GenerationRow { generation, schema, state, fingerprint, log_id } = GenerationRow::read(row)?;
            Ok(Entry { generation, schema, state: State::parse(&state)?, fingerprint, log_id })
        };
        rows.iter().map(|row| entry(row)).collect()
    }

    /// The number of a domain's live generation.
    pub async fn live(&self, domain: &str) -> Result<Option<i64>, TablesError> {
        let rows = self.tables.read(&READ_LIVE, Params::One(vec![domain.into()])).await?;
        rows.first().map(|row| Ok(LiveRow::read(row)?.generation)).transpose()
    }

    /// Adds a domain's first generation and makes it the live one; nothing where another process did so before.
    pub async fn add_first(&self, domain: &'static str, entry: Entry) -> Result<(), TablesError> {
        let live = vec![domain.into(), entry.generation.into()];
        self.write(vec![(&ADD_GENERATION, entry.added(domain)), (&ADD_LIVE, live)]).await
    }

    /// Adds a generation that is not live; nothing where it was added before.
    pub async fn add(&self, domain: &'static str, entry: Entry) -> Result<(), TablesError> {
        self.write(vec![(&ADD_GENERATION, entry.added(domain))]).await
    }

    /// Notes a generation's state.
    pub async fn set_state(&self, domain: &'static str, generation: i64, state: State) -> Result<(), TablesError> {
        self.write(vec![(&SET_STATE, vec![domain.into(), generation.into(), state.as_str().into()])]).await
    }

    /// Makes another generation the live one, and the one that was live the previous one: all or nothing. Fails with a
    /// conflict if `from` is not live any more.
    pub async fn switch(&self, domain: &'static str, from: i64, to: i64) -> Result<(), TablesError> {
        let tables = Arc::clone(&self.tables);
        let switch = move || {
            let mut transaction = tables.begin()?;
            let mut run = |statement, params| transaction.execute(statement, &Params::One(params));
            if run(&SWITCH_LIVE, vec![domain.into(), from.into(), to.into()])? == 0 {
                return Err(TablesError::Conflict(format!("generation {from} of {domain} is not live any more")));
            }
            run(&SET_STATE, vec![domain.into(), from.into(), State::Previous.as_str().into()])?;
            run(&SET_STATE, vec![domain.into(), to.into(), State::Live.as_str().into()])?;
            transaction.commit()
        };
        let switched = tokio::task::spawn_blocking(switch).await;
        switched.unwrap_or_else(|error| Err(TablesError::Unavailable(format!("a switch ended: {error}"))))
    }

    /// Renews an instance's lease, or takes it. Roles and topics are comma-separated.
    pub async fn renew_lease(
        &self,
        instance: &str,
        roles: &str,
        topics: &str,
        lease: Duration,
    ) -> Result<(), TablesError> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let params = vec![instance.into(), roles.into(), topics.into(), lease_ms.into()];
        self.write(vec![(&RENEW_LEASE, params)]).await
    }

    /// Releases this instance's lease.
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
        let instance = |row| {
            let InstanceRow { instance, roles, topics, leased, connected } = InstanceRow::read(row)?;
            Ok(Instance { name: instance, roles, topics, leased, connected })
        };
        rows.iter().map(|row| instance(row)).collect()
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
            let row = rows.first().ok_or_else(|| SequenceError("control storage returned no number".to_owned()))?;
            let taken = TakenRow::read(row).map_err(|error| SequenceError(error.to_string()))?;
            Ok(taken.last_number - count + 1)
        })
    }
}
