//! Control storage: the generations and the control row of each domain, the leases of instances, and the last number
//! taken of each sequence.

mod domain;
mod entry;
mod joint;
mod leases;
pub mod notes;
mod stopped;

use std::{sync::Arc, time::Duration};

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, SequenceError},
};
use daybook_projector::{
    row, statements,
    tables::{Cell, FromRow, Params, Row, Statement, Store, Tables, TablesError, Transaction},
};
use tokio::sync::watch;

pub use self::{
    domain::DomainControl,
    entry::{Entry, State},
    leases::Instance,
};
use self::{domain::DomainRow, entry::GenerationRow};
pub(crate) use self::{
    joint::JointControl,
    leases::{Granted, LeaseOf, LeaseSeen},
};
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
    SET_STOPPED = "control/set_stopped";
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
    NOTE_READS = "control/note_reads";
    LIST_INSTANCES = "control/list_instances", split, InstanceRow;
    FORGET_EXPIRED = "control/forget_expired", split;
    FORGET_ACKNOWLEDGEMENTS = "control/forget_acknowledgements";
    FORGET_READS = "control/forget_reads";
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
        reads_ms: i64,
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
    /// The generation has to be verified again.
    #[error("generation {generation} was verified too long ago, or another generation was live then")]
    Stale {
        /// The generation.
        generation: i64,
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

    /// Fails if a generation is ready, but was verified too long ago, or before another one became live.
    pub fn expect_verified(&self, generation: i64, verified_max: Duration) -> Result<(), ChangeError> {
        let mut found = self.entries.iter().filter(|entry| entry.generation == generation);
        match found.any(|entry| entry.is_stale(self.now, verified_max) || entry.is_of_former_live(&self.entries)) {
            true => Err(ChangeError::Stale { generation }),
            false => Ok(()),
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

    /// The store that it is in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Why it cannot be used until a restart, as far as it is seen without a read.
    pub fn failure(&self) -> Option<String> {
        self.tables.failure()
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
                    // Changes before this were not heard.
                    self.wake();
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
        Entry::read_all(&rows)
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
            let entry = decide(&row, entries_of(domain, transaction)?)?;
            transaction.execute(&ADD_GENERATION, &Params::One(entry.added(domain)))?;
            Ok(entry)
        })
        .await
    }

    /// Notes a generation's state if it has an expected one; false if it has another one.
    pub async fn move_state(&self, domain: &'static str, from: State, to: NewState) -> Result<bool, TablesError> {
        self.in_transaction(move |transaction| {
            if lock_state(domain, to.generation, transaction)? != Some(from) {
                return Ok(false);
            }
            transaction.execute(&SET_STATE, &to.params(domain))?;
            Ok(true)
        })
        .await
    }

    /// Notes that a generation is loading, and where its load ends, if it is planned; returns its state before.
    pub async fn begin_load(
        &self,
        domain: &'static str,
        generation: i64,
        goal: String,
    ) -> Result<Option<State>, TablesError> {
        self.in_transaction(move |transaction| {
            let found = lock_state(domain, generation, transaction)?;
            if found == Some(State::Planned) {
                let goal = vec![domain.into(), generation.into(), goal.into()];
                transaction.execute(&SET_GOAL, &Params::One(goal))?;
                transaction.execute(&SET_STATE, &NewState::new(generation, State::Loading).params(domain))?;
            }
            Ok(found)
        })
        .await
    }

    /// Notes that a generation is promoted as soon as it is ready.
    pub async fn set_promotes(&self, domain: &str, generation: i64) -> Result<(), TablesError> {
        self.write(&SET_PROMOTES, vec![domain.into(), generation.into(), 1.into()]).await
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
            let seen = Seen { row, now, holders, entries: entries_of(domain, transaction)? };
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

    async fn write(&self, statement: &'static Statement, params: Vec<Cell>) -> Result<(), TablesError> {
        self.tables.write(statement, params).await?;
        self.wake();
        Ok(())
    }
}

/// The payload of the notification that control storage has changed.
pub(crate) const CHANGED: &str = "changed";

fn entries_of(domain: &str, transaction: &mut dyn Transaction) -> Result<Vec<Entry>, TablesError> {
    let rows = transaction.read(&LIST_GENERATIONS, &Params::One(vec![domain.into()]))?;
    Entry::read_all(&rows)
}

/// Locks a domain; the state of a generation, if there is such a one.
fn lock_state(domain: &str, generation: i64, transaction: &mut dyn Transaction) -> Result<Option<State>, TablesError> {
    transaction.read(&LOCK_DOMAIN, &Params::One(vec![domain.into()]))?;
    let entries = entries_of(domain, transaction)?;
    Ok(entries.iter().find(|entry| entry.generation == generation).map(|entry| entry.state))
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

impl NumberSource for Control {
    fn take(&self, sequence: &'static str, count: i64, above: i64) -> BoxFuture<'_, Result<i64, SequenceError>> {
        Box::pin(async move {
            let take = || self.tables.write(&TAKE_NUMBERS, vec![sequence.into(), count.into(), above.into()]);
            let taken = match take().await {
                // Its connection had ended, or led to a former primary: another one is opened.
                Err(TablesError::Moved(_)) => take().await,
                taken => taken,
            };
            let rows = taken.map_err(|error| SequenceError(error.to_string()))?;
            let row = rows.first().ok_or_else(|| SequenceError("control storage returned no number".to_owned()))?;
            let taken = TakenRow::read(row).map_err(|error| SequenceError(error.to_string()))?;
            Ok(taken.last_number - count + 1)
        })
    }
}
