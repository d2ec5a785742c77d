//! Control storage: the generations and the control row of each domain, the leases of instances, and the last number
//! taken of each sequence.

mod domain;
mod entry;
pub mod notes;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, SequenceError},
};
use daybook_projector::{
    row, statements,
    tables::{
        Cell, Column, FromRow, JointTransaction, Params, Row, Statement, Store, Tables, TablesError, Transaction,
    },
};
use tokio::sync::watch;

pub use self::{
    domain::DomainControl,
    entry::{Entry, State},
};
use self::{domain::DomainRow, entry::GenerationRow};
use crate::switch::{
    DatabaseTime, Epoch,
    control::{ControlRow, SwitchError},
    lease::{Holder, Lease, LeaseNumber},
};

statements! {
    /// The statements of this file, so that a test can run each on every engine.
    pub STATEMENTS;
    LIST_GENERATIONS = "control/list_generations", GenerationRow;
    ADD_GENERATION = "control/add_generation", split;
    SET_STATE = "control/set_state", split;
    SET_GOAL = "control/set_goal";
    SET_PROMOTES = "control/set_promotes";
    READ_REPORT = "control/read_report", ReportRow;
    WRITE_REPORT = "control/write_report";
    ADD_DOMAIN = "control/add_domain";
    READ_DOMAIN = "control/read_domain", DomainRow;
    LOCK_DOMAIN = "control/lock_domain", split, DomainRow;
    SHARE_DOMAINS = "control/share_domains", split, DomainRow;
    WRITE_DOMAIN = "control/write_domain";
    READ_NOW = "control/read_now", split, NowRow;
    LIST_HOLDERS = "control/list_holders", HolderRow;
    READ_LEASE = "control/read_lease", LeaseRow;
    WRITE_LEASE = "control/write_lease", split;
    ACKNOWLEDGE = "control/acknowledge", split;
    LEAVE = "control/leave", split;
    LIST_INSTANCES = "control/list_instances", split, InstanceRow;
    FORGET_EXPIRED = "control/forget_expired", split;
    FORGET_ACKNOWLEDGEMENTS = "control/forget_acknowledgements";
    TAKE_NUMBERS = "control/take_numbers", split, TakenRow;
}

row! {
    struct ReportRow {
        report: String,
    }
}

row! {
    struct NowRow {
        now: i64,
    }
}

row! {
    struct HolderRow {
        number: i64,
        expires_at: i64,
        acknowledged: i64,
    }
}

row! {
    struct LeaseRow {
        number: i64,
        expires_at: i64,
    }
}

row! {
    struct InstanceRow {
        instance: String,
        roles: String,
        topics: String,
        leased: i64,
        connected: i64,
    }
}

row! {
    struct TakenRow {
        last_number: i64,
    }
}

/// Time to the next attempt to listen after one that failed.
const LISTEN_RETRY: Duration = Duration::from_millis(500);

/// Access to control storage. Clones share it.
#[derive(Clone)]
pub struct Control {
    store: Arc<dyn Store>,
    tables: Arc<dyn Tables>,
    /// Wakes those in this process who wait for changes.
    changed: watch::Sender<()>,
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

/// Why a control row was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The rules do not allow it.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// There is no such generation.
    #[error("there is no generation {generation}")]
    Unknown {
        /// The generation.
        generation: i64,
    },
    /// The generation's state does not allow it.
    #[error("generation {generation} is {state}")]
    State {
        /// The generation.
        generation: i64,
        /// Its state.
        state: &'static str,
    },
    /// Control storage, or a generation's tables, failed.
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// What a change of a control row is decided on, read while the row is locked.
#[derive(Debug)]
pub struct Seen {
    /// The row.
    pub row: ControlRow,
    /// The time.
    pub now: DatabaseTime,
    /// The leases, with what each has acknowledged.
    pub holders: Vec<Holder>,
    /// The generations.
    pub entries: Vec<Entry>,
}

impl Seen {
    /// Fails unless a generation has one of some states.
    pub fn expect_state(&self, generation: i64, is_expected: impl Fn(State) -> bool) -> Result<(), ChangeError> {
        let entry = self.entries.iter().find(|entry| entry.generation == generation);
        match entry.map(|entry| entry.state) {
            None => Err(ChangeError::Unknown { generation }),
            Some(state) if is_expected(state) => Ok(()),
            Some(state) => Err(ChangeError::State { generation, state: state.as_str() }),
        }
    }
}

/// A new state of a generation, with the reason for it.
#[derive(Debug, Clone)]
pub struct NewState {
    /// The generation.
    pub generation: i64,
    /// Its state from now on.
    pub state: State,
    /// Why; may be empty.
    pub reason: String,
}

impl NewState {
    /// A state that needs no reason.
    pub fn new(generation: i64, state: State) -> Self {
        Self { generation, state, reason: String::new() }
    }

    fn params(&self, domain: &str) -> Params {
        let (state, reason) = (self.state.as_str().into(), self.reason.replace('\0', "\u{fffd}").into());
        Params::One(vec![domain.into(), self.generation.into(), state, reason])
    }
}

impl Control {
    /// Opens control storage, and creates it if it is missing.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, TablesError> {
        let tables = store.control().await?;
        Ok(Self { store, tables, changed: watch::Sender::new(()) })
    }

    /// Its tables.
    pub fn tables(&self) -> &Arc<dyn Tables> {
        &self.tables
    }

    /// The store that it is in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Changes whenever this process has changed control storage, or has heard that another one did.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes those who wait for changes.
    pub fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Wakes those who wait for changes whenever another process has made one, until the task is dropped; returns
    /// immediately if there can be no other process. A change that is missed is found by those who look now and then.
    pub async fn hear(&self) {
        loop {
            match self.tables.listen().await {
                Ok(None) => return,
                Ok(Some(mut notifications)) => {
                    while notifications.recv().await.is_some() {
                        self.wake();
                    }
                }
                Err(error) => tracing::debug!(error = %error, "cannot listen for changes: {error}"),
            }
            tokio::time::sleep(LISTEN_RETRY).await;
        }
    }

    /// All generations of a domain, oldest first.
    pub async fn generations(&self, domain: &str) -> Result<Vec<Entry>, TablesError> {
        let rows = self.tables.read(&LIST_GENERATIONS, Params::One(vec![domain.into()])).await?;
        rows.iter().map(Entry::read).collect()
    }

    /// The control row of a domain; `None` before its first generation.
    pub async fn domain(&self, domain: &str) -> Result<Option<ControlRow>, TablesError> {
        let rows = self.tables.read(&READ_DOMAIN, Params::One(vec![domain.into()])).await?;
        rows.first().map(|row| Ok(DomainControl::read(row)?.row)).transpose()
    }

    /// The number of a domain's live generation.
    pub async fn live(&self, domain: &str) -> Result<Option<i64>, TablesError> {
        Ok(self.domain(domain).await?.map(|row| row.live.0))
    }

    /// The report of a generation's verification; empty if there is none.
    pub async fn report(&self, domain: &str, generation: i64) -> Result<String, TablesError> {
        let rows = self.tables.read(&READ_REPORT, Params::One(vec![domain.into(), generation.into()])).await?;
        Ok(rows.first().map(|row| ReportRow::read(row)).transpose()?.map(|row| row.report).unwrap_or_default())
    }

    /// Keeps the report of a generation's verification.
    pub async fn keep_report(&self, domain: &str, generation: i64, report: String) -> Result<(), TablesError> {
        self.write(&WRITE_REPORT, vec![domain.into(), generation.into(), report.into()]).await
    }

    /// Adds a domain's first generation and makes it the live one; nothing where another process did so before.
    pub async fn add_first(&self, domain: &str, entry: Entry) -> Result<(), TablesError> {
        self.write(&ADD_GENERATION, entry.added(domain)).await?;
        self.write(&ADD_DOMAIN, vec![domain.into(), entry.generation.into()]).await
    }

    /// Adds a generation that is not live; nothing where it was added before.
    pub async fn add(&self, domain: &str, entry: Entry) -> Result<(), TablesError> {
        self.write(&ADD_GENERATION, entry.added(domain)).await
    }

    /// Adds the generation that `decide` returns for the ones that exist, while no other process adds one.
    pub async fn add_new<E: From<TablesError> + Send + 'static>(
        &self,
        domain: &'static str,
        decide: impl FnOnce(&ControlRow, Vec<Entry>) -> Result<Entry, E> + Send + 'static,
    ) -> Result<Entry, E> {
        self.in_transaction(move |transaction| {
            let rows = transaction.read(&LOCK_DOMAIN, &Params::One(vec![domain.into()]))?;
            let row = row_of(domain, &rows)?;
            let rows = transaction.read(&LIST_GENERATIONS, &Params::One(vec![domain.into()]))?;
            let entries = rows.iter().map(Entry::read).collect::<Result<_, TablesError>>()?;
            let entry = decide(&row, entries)?;
            transaction.execute(&ADD_GENERATION, &Params::One(entry.added(domain)))?;
            Ok(entry)
        })
        .await
    }

    /// Notes a generation's state.
    pub async fn set_state(&self, domain: &'static str, state: NewState) -> Result<(), TablesError> {
        self.in_transaction(move |transaction| transaction.execute(&SET_STATE, &state.params(domain)).map(|_| ())).await
    }

    /// Notes a generation's state if it has an expected one; false if it has another one.
    pub async fn move_state(
        &self,
        domain: &'static str,
        from: &'static [State],
        to: NewState,
    ) -> Result<bool, TablesError> {
        self.in_transaction(move |transaction| {
            transaction.read(&LOCK_DOMAIN, &Params::One(vec![domain.into()]))?;
            let rows = transaction.read(&LIST_GENERATIONS, &Params::One(vec![domain.into()]))?;
            let entries = rows.iter().map(Entry::read).collect::<Result<Vec<_>, _>>()?;
            let found = entries.iter().find(|entry| entry.generation == to.generation).map(|entry| entry.state);
            if !found.is_some_and(|state| from.contains(&state)) {
                return Ok(false);
            }
            transaction.execute(&SET_STATE, &to.params(domain))?;
            Ok(true)
        })
        .await
    }

    /// Notes where a generation's load ends.
    pub async fn set_goal(&self, domain: &str, generation: i64, goal: String) -> Result<(), TablesError> {
        self.write(&SET_GOAL, vec![domain.into(), generation.into(), goal.into()]).await
    }

    /// Notes whether a generation is promoted as soon as it is ready.
    pub async fn set_promotes(&self, domain: &str, generation: i64, promotes: bool) -> Result<(), TablesError> {
        self.write(&SET_PROMOTES, vec![domain.into(), generation.into(), i64::from(promotes).into()]).await
    }

    /// Changes the control row of a domain, and states of generations with it: all or nothing.
    pub async fn change(
        &self,
        domain: &'static str,
        states: Vec<NewState>,
        decide: impl FnOnce(&Seen) -> Result<ControlRow, ChangeError> + Send + 'static,
    ) -> Result<ControlRow, ChangeError> {
        self.in_transaction(move |transaction| {
            let row = row_of(domain, &transaction.read(&LOCK_DOMAIN, &Params::One(vec![domain.into()]))?)?;
            let now = now_of(&transaction.read(&READ_NOW, &Params::One(Vec::new()))?)?;
            let holders = transaction.read(&LIST_HOLDERS, &Params::One(vec![domain.into()]))?;
            let holders = holders.iter().map(holder).collect::<Result<_, TablesError>>()?;
            let entries = transaction.read(&LIST_GENERATIONS, &Params::One(vec![domain.into()]))?;
            let entries = entries.iter().map(Entry::read).collect::<Result<_, TablesError>>()?;
            let seen = Seen { row, now, holders, entries };
            let changed = decide(&seen)?;
            transaction.execute(&WRITE_DOMAIN, &Params::One(domain::written(domain, &changed)))?;
            for state in &states {
                transaction.execute(&SET_STATE, &state.params(domain))?;
            }
            Ok(changed)
        })
        .await
    }

    /// Does something in one transaction of control storage, and wakes those who wait for changes, in all processes.
    async fn in_transaction<T: Send + 'static, E: From<TablesError> + Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let tables = Arc::clone(&self.tables);
        let run = move || {
            let mut transaction = tables.begin()?;
            let done = work(transaction.as_mut())?;
            transaction.notify(CHANGED)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = tokio::task::spawn_blocking(run).await;
        let done = done.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a transaction ended: {e}")).into()));
        self.wake();
        done
    }

    /// Releases an instance's lease.
    pub async fn leave(&self, instance: &str) -> Result<(), TablesError> {
        self.write(&LEAVE, vec![instance.into()]).await
    }

    /// Forgets the instances whose lease expired `age` ago.
    pub async fn forget_expired(&self, age: Duration) -> Result<(), TablesError> {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.write(&FORGET_EXPIRED, vec![age_ms.into()]).await?;
        self.write(&FORGET_ACKNOWLEDGEMENTS, Vec::new()).await
    }

    /// The instances that were not forgotten, in order of name.
    pub async fn instances(&self) -> Result<Vec<Instance>, TablesError> {
        let rows = self.tables.read(&LIST_INSTANCES, Params::One(Vec::new())).await?;
        let instance = |row| {
            let InstanceRow { instance, roles, topics, leased, connected } = InstanceRow::read(row)?;
            Ok(Instance { name: instance, roles, topics, leased: leased != 0, connected: connected != 0 })
        };
        rows.iter().map(|row| instance(row)).collect()
    }

    /// Takes or renews a lease by `decide`, which sees the control rows, under their share lock, and the lease as it is.
    pub(crate) async fn lease<E: From<TablesError> + Send + 'static>(
        &self,
        of: LeaseOf,
        decide: impl FnOnce(&LeaseSeen) -> Result<Granted, E> + Send + 'static,
    ) -> Result<Granted, E> {
        let tables = Arc::clone(&self.tables);
        let run = move || {
            let mut transaction = tables.begin()?;
            let rows = transaction.read(&SHARE_DOMAINS, &Params::One(Vec::new()))?;
            let domains = rows.iter().map(DomainControl::read).collect::<Result<_, TablesError>>()?;
            let now = now_of(&transaction.read(&READ_NOW, &Params::One(Vec::new()))?)?;
            let rows = transaction.read(&READ_LEASE, &Params::One(vec![of.instance.as_str().into()]))?;
            let lease = rows.first().map(lease_of).transpose()?;
            let granted = decide(&LeaseSeen { domains, now, lease })?;
            let Lease { number, expires_at } = granted.lease;
            let texts = [&of.instance, &of.roles, &of.topics].map(|text| Cell::Text(Some(text.clone())));
            let params = texts.into_iter().chain([number.0.into(), expires_at.0.into()]).collect();
            transaction.execute(&WRITE_LEASE, &Params::One(params))?;
            let acknowledged = &granted.acknowledged;
            let columns = vec![
                Column::texts(acknowledged.keys().map(|_| of.instance.as_str())),
                Column::texts(acknowledged.keys().copied()),
                Column::ints(acknowledged.values().map(|epoch| epoch.0)),
            ];
            transaction.execute(&ACKNOWLEDGE, &Params::Many(columns))?;
            transaction.commit()?;
            Ok(granted)
        };
        let done = tokio::task::spawn_blocking(run).await;
        done.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a renewal ended: {e}")).into()))
    }

    async fn write(&self, statement: &'static Statement, params: Vec<Cell>) -> Result<(), TablesError> {
        self.tables.write(statement, params).await?;
        self.wake();
        Ok(())
    }
}

/// The payload of the notification that control storage has changed.
pub(crate) const CHANGED: &str = "changed";

/// Whose lease.
pub(crate) struct LeaseOf {
    pub(crate) instance: String,
    /// Comma-separated, like the topics.
    pub(crate) roles: String,
    pub(crate) topics: String,
}

/// What a lease is decided on, read under the share lock of the control rows.
pub(crate) struct LeaseSeen {
    pub(crate) domains: Vec<DomainControl>,
    pub(crate) now: DatabaseTime,
    pub(crate) lease: Option<Lease>,
}

/// A lease that was granted, and what its instance has acknowledged of each domain.
pub(crate) struct Granted {
    pub(crate) lease: Lease,
    pub(crate) acknowledged: BTreeMap<&'static str, Epoch>,
}

/// The part of a switch that is in control storage, within a joint transaction.
pub(crate) struct JointControl<'j> {
    pub(crate) joint: &'j mut dyn JointTransaction,
    /// The schema of control storage.
    pub(crate) schema: String,
    pub(crate) domain: &'static str,
}

impl JointControl<'_> {
    /// Locks the control row, and reads the time afterwards.
    pub(crate) fn lock(&mut self) -> Result<(ControlRow, DatabaseTime), TablesError> {
        let rows = self.joint.read(&self.schema, &LOCK_DOMAIN, &Params::One(vec![self.domain.into()]))?;
        let now = self.joint.read(&self.schema, &READ_NOW, &Params::One(Vec::new()))?;
        Ok((row_of(self.domain, &rows)?, now_of(&now)?))
    }

    /// Writes the row and the states of generations.
    pub(crate) fn write(&mut self, row: &ControlRow, states: &[NewState]) -> Result<(), TablesError> {
        self.joint.execute(&self.schema, &WRITE_DOMAIN, &Params::One(domain::written(self.domain, row)))?;
        for state in states {
            self.joint.execute(&self.schema, &SET_STATE, &state.params(self.domain))?;
        }
        self.joint.notify(&self.schema, CHANGED)
    }
}

fn row_of(domain: &str, rows: &[Row]) -> Result<ControlRow, TablesError> {
    let missing = || TablesError::Unavailable(format!("control storage does not know {domain} yet"));
    Ok(DomainControl::read(rows.first().ok_or_else(missing)?)?.row)
}

fn now_of(rows: &[Row]) -> Result<DatabaseTime, TablesError> {
    Ok(DatabaseTime(NowRow::read(rows.first().ok_or(TablesError::Shape { column: "now" })?)?.now))
}

fn holder(row: &Row) -> Result<Holder, TablesError> {
    let HolderRow { number, expires_at, acknowledged } = HolderRow::read(row)?;
    let lease = Lease { number: LeaseNumber(number), expires_at: DatabaseTime(expires_at) };
    Ok(Holder { lease, acknowledged: Epoch(acknowledged) })
}

fn lease_of(row: &Row) -> Result<Lease, TablesError> {
    let LeaseRow { number, expires_at } = LeaseRow::read(row)?;
    Ok(Lease { number: LeaseNumber(number), expires_at: DatabaseTime(expires_at) })
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
