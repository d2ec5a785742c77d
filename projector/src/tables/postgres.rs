//! Tables on PostgreSQL, through sqlx: a schema for control, one for each generation, a pool for each.
//!
//! `search_path` is set when a connection is opened, so no statement names a schema and none can mix two. Transactions
//! block their thread; reads are async. The time-out of a statement applies on the server and on the client: if the
//! server does not answer at all, the connection is closed and replaced.

mod address;
mod connections;
mod failures;
mod joint;
mod listening;
mod lists;
mod names;
mod open_count;
mod plan;
mod session;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use daybook_ingest::log::BoxFuture;
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Executor, PgConnection, SqlSafeStr, Statement as _};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};

pub use self::address::{Address, Fault, is_address, pairs, variable_names};
use self::{
    connections::{Connections, Epoch, Taken},
    failures::error,
    listening::Listening,
    names::schema_name,
    open_count::OpenCount,
    session::Session,
    values::{bind, cells},
};
use crate::{
    space::Space,
    statement,
    tables::{
        Cell, Chunks, JointTransaction, LEASE, Params, Plan, PlanOutcome, PlanShape, Render, Row, SchemaDefinition,
        Statement, Store, Tables, TablesError, Transaction, cell::check_columns,
    },
};

/// How to reach PostgreSQL. `Debug` is left out: the address holds a password.
#[derive(Clone)]
pub struct Config {
    /// Where and as whom.
    pub address: Address,
    /// Name of the control schema; generations' schemas begin with it.
    pub schema: String,
    /// Connections of one pool, at most.
    pub connections_max: u32,
    /// How long a request waits for a connection, and a statement for its end.
    pub timeout: Duration,
}

impl Config {
    /// How long to wait for a connection.
    fn wait_max(&self) -> Duration {
        self.timeout.min(self.address.connect_timeout.unwrap_or(WAIT_MAX))
    }
}

/// The store on PostgreSQL.
pub struct PostgresStore {
    config: Config,
    handle: Handle,
    /// Both shared by all pools.
    epoch: Epoch,
    open_count: OpenCount,
    /// Shared by all schemas.
    listening: Listening,
}

/// The tables of one schema.
struct PostgresTables {
    handle: Handle,
    timeout: Duration,
    /// Short reads.
    reads: Connections,
    /// Long lists and background reads, so that slow readers never take the connections of short reads.
    lists: Connections,
    listening: Listening,
    epoch: Epoch,
    /// The projector's one writer.
    writes: Arc<Writer>,
    /// The statements that run plans, by the digest of their shape; usually one.
    calls: Mutex<HashMap<String, Arc<str>>>,
    schema: String,
}

/// The connection for writing, with its own runtime that the writing thread drives: a statement's answer wakes no other
/// thread, which saves time in batches of many statements.
struct Writer {
    connections: Connections,
    activity: Arc<lists::Activity>,
    /// `None` only during drop.
    runtime: Option<Runtime>,
}

impl Writer {
    fn runtime(&self) -> Result<&Runtime, TablesError> {
        self.runtime.as_ref().ok_or_else(|| TablesError::Unavailable("the tables are being closed".to_owned()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Unlike its drop, this may happen on an async worker.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const CREATE_CONTROL: &str = include_str!("postgres/control.sql");
const CREATE_SCHEMA: &str = include_str!("postgres/create_schema.sql");
const REMOVE_SCHEMA: &str = include_str!("postgres/remove_schema.sql");
/// Held while a schema is created, so that two processes do not create it concurrently.
const LOCK: Statement = statement!("postgres/lock");
/// How long to wait for a connection, unless the address says something else.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections that are kept while nobody uses them; more, if the pools of one schema may have more.
const KEPT_MAX: usize = 50;
/// How long a joint transaction waits for a lock, and how long its client may be silent.
const JOINT_WAIT_MAX: Duration = Duration::from_millis(250);
/// The statement's name in errors of plans.
const PLAN: &str = "plan";
const NOTIFY: Statement = statement!("postgres/notify");
const SPACE: Statement = statement!("postgres/space");

impl PostgresStore {
    /// A store; connects when it is first used. Must be called on a runtime.
    pub fn new(config: Config) -> Self {
        let (handle, epoch) = (Handle::current(), Epoch::default());
        // It reads no tables.
        let session = Session { exists: false, ..Session::of(&config, &config.schema, &[]) };
        let listening = Listening::new(handle.clone(), session, epoch.clone());
        let of_pools = usize::try_from(2 * config.connections_max).unwrap_or(usize::MAX);
        let open_count = OpenCount::new(of_pools.max(KEPT_MAX));
        Self { config, handle, epoch, open_count, listening }
    }

    /// Sessions on a schema that exists.
    fn session(&self, schema: &str, options: &[(&'static str, &str)]) -> Session {
        Session::of(&self.config, schema, options)
    }

    fn connections(&self, schema: &str, count_max: u32, options: &[(&'static str, &str)]) -> Connections {
        Connections::new(&self.handle, self.session(schema, options), count_max, &self.epoch, &self.open_count)
    }

    fn tables(&self, schema: &str) -> Result<PostgresTables, TablesError> {
        // Rows are looked up by key and listed in the order of an index: no plan may scan a table, however small it was
        // when planned.
        let by_index = [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
        // A writer that hangs in the middle of a batch must not keep the checkpoints locked, so that others can take over.
        let idle_max = format!("{}ms", LEASE.as_millis());
        let of_writer = [by_index.as_slice(), &[("idle_in_transaction_session_timeout", &idle_max)]].concat();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| TablesError::Unavailable(format!("cannot start the writer's runtime: {e}")))?;
        Ok(PostgresTables {
            handle: self.handle.clone(),
            timeout: self.config.timeout,
            reads: self.connections(schema, self.config.connections_max, &by_index),
            lists: self.connections(schema, (self.config.connections_max / 2).max(2), &by_index),
            listening: self.listening.clone(),
            epoch: self.epoch.clone(),
            writes: Arc::new(Writer {
                connections: self.connections(schema, 1, &of_writer),
                activity: Arc::default(),
                runtime: Some(runtime),
            }),
            calls: Mutex::default(),
            schema: schema.to_owned(),
        })
    }

    async fn run_scripts(&self, schema: &str, scripts: &[&str]) -> Result<(), TablesError> {
        let session = Session { exists: false, ..self.session(schema, &[]) };
        let (mut connection, _) = self.bounded(session.open()).await?;
        let create = async {
            let mut transaction = connection.begin().await?;
            transaction.execute(LOCK.postgres).await?;
            for script in scripts {
                // A schema's name comes from configuration, which allows letters, digits and underscores alone.
                let script = script.replace("{schema}", schema);
                transaction.execute(sqlx::raw_sql(AssertSqlSafe(script))).await?;
            }
            transaction.commit().await
        };
        create.await.map_err(|e| error("create schema", &e))?;
        connection.close().await.map_err(|e| error("close", &e))
    }

    /// Bounds a start of sessions.
    async fn bounded<T>(&self, starting: impl Future<Output = Result<T, TablesError>>) -> Result<T, TablesError> {
        let limit = 2 * self.config.wait_max();
        let outcome = tokio::time::timeout(limit, starting).await;
        outcome.unwrap_or_else(|_| Err(TablesError::Unavailable(format!("no new connections within {limit:?}"))))
    }
}

impl Store for PostgresStore {
    fn control(&self) -> BoxFuture<'_, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move {
            let session = Session { exists: false, ..self.session(&self.config.schema, &[]) };
            self.bounded(session.check_pooler()).await?;
            self.run_scripts(&self.config.schema, &[CREATE_CONTROL]).await?;
            self.open(&self.config.schema).await
        })
    }

    fn control_schema(&self) -> String {
        self.config.schema.clone()
    }

    fn schema(&self, domain: &str, generation: i64) -> String {
        schema_name(&self.config.schema, domain, generation)
    }

    fn create<'a>(
        &'a self,
        schema: &'a str,
        definition: &'a SchemaDefinition,
    ) -> BoxFuture<'a, Result<(), TablesError>> {
        Box::pin(async move {
            let plans = plan::script(&definition.plans)?;
            let ddl = definition.ddl.iter().map(|ddl| ddl.postgres.as_ref());
            let scripts: Vec<&str> = std::iter::once(CREATE_SCHEMA).chain(ddl).chain([plans.as_str()]).collect();
            self.run_scripts(schema, &scripts).await
        })
    }

    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move { Ok(Arc::new(self.tables(schema)?) as Arc<dyn Tables>) })
    }

    fn remove<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<(), TablesError>> {
        Box::pin(async move { self.run_scripts(schema, &[REMOVE_SCHEMA]).await })
    }

    fn space<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Space, TablesError>> {
        Box::pin(async move {
            let session = Session { exists: false, ..self.session(schema, &[]) };
            let (mut connection, _look) = self.bounded(session.open()).await?;
            let read = sqlx::query_scalar::<_, i64>(SPACE.postgres).bind(schema).fetch_one(&mut connection);
            let read = tokio::time::timeout(self.config.timeout, read).await;
            let used = read.map_err(|_| silent(SPACE.name, self.config.timeout))?.map_err(|e| error(SPACE.name, &e))?;
            connection.close().await.map_err(|e| error("close", &e))?;
            // The server does not tell what is free on its disk.
            Ok(Space { used: u64::try_from(used).unwrap_or(0), free: None })
        })
    }

    fn begin_joint(&self) -> Result<Box<dyn JointTransaction>, TablesError> {
        let lock_max = format!("{}ms", JOINT_WAIT_MAX.as_millis());
        let options = [("lock_timeout", lock_max.as_str()), ("idle_in_transaction_session_timeout", lock_max.as_str())];
        let connections = self.connections(&self.config.schema, 1, &options);
        let taken = self.handle.block_on(connections.take())?;
        joint::begin(self.handle.clone(), taken, self.config.timeout).map(|joint| Box::new(joint) as _)
    }

    fn shared(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let connect = &self.config.address.connect;
        let (host, port) = (connect.get_host(), connect.get_port());
        let mode = connect.get_ssl_mode();
        let database = connect.get_database().unwrap_or("postgres");
        format!("postgres, {host}:{port}/{database}, schema {}, TLS mode {mode:?}", self.config.schema)
    }

    fn contents(&self) -> String {
        let database = self.config.address.connect.get_database().unwrap_or("postgres");
        format!("the schemas {0} and {0}_* of the database {database}", self.config.schema)
    }
}

struct PostgresTransaction<'a> {
    tables: &'a PostgresTables,
    runtime: &'a Runtime,
    /// `None` once it is returned. An uncommitted transaction is rolled back by closing its connection.
    taken: Option<Taken>,
}

impl PostgresTransaction<'_> {
    fn run<T>(
        &mut self,
        statement: &str,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, TablesError> {
        let ended = || TablesError::Unavailable("the transaction has ended".to_owned());
        let connection = self.taken.as_mut().ok_or_else(ended)?.connection();
        let timeout = self.tables.timeout;
        // The timer is made on the runtime that drives it.
        let run = async { tokio::time::timeout(timeout, run(connection)).await };
        let outcome = self.runtime.block_on(run).map_err(|_| silent(statement, timeout))?;
        let outcome = outcome.map_err(|e| error(statement, &e));
        if let (Err(failed), Some(taken)) = (&outcome, &self.taken) {
            taken.note(failed);
        }
        outcome
    }
}

/// Runs a statement on a connection, within the time-out. After a failure or a time-out the connection is closed.
async fn within<T>(
    timeout: Duration,
    connections: &Connections,
    statement: &str,
    run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, TablesError>,
) -> Result<T, TablesError> {
    on(timeout, connections.take().await?, statement, run).await
}

/// The same on a connection that was taken.
async fn on<T>(
    timeout: Duration,
    mut taken: Taken,
    statement: &str,
    run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, TablesError>,
) -> Result<T, TablesError> {
    let outcome = tokio::time::timeout(timeout, run(taken.connection())).await;
    let outcome = outcome.unwrap_or_else(|_| Err(silent(statement, timeout)));
    match &outcome {
        Ok(_) => taken.give_back(),
        Err(failed) => taken.note(failed),
    }
    outcome
}

/// The error for a time-out.
fn silent(statement: &str, timeout: Duration) -> TablesError {
    TablesError::Unavailable(format!("no answer to {statement} within {timeout:?}"))
}

impl PostgresTables {
    /// The statement that runs a shape's plans, made when it is first needed.
    fn call(&self, shape: &PlanShape) -> Result<Arc<str>, TablesError> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = calls.get(shape.digest()) {
            return Ok(Arc::clone(call));
        }
        let call = plan::call(shape)?;
        calls.insert(shape.digest().to_owned(), Arc::clone(&call));
        Ok(call)
    }

    /// Takes the connection for writing, once its server may be committed to.
    async fn take_to_commit(&self) -> Result<Taken, TablesError> {
        let taken = self.writes.connections.take().await?;
        self.epoch.hold().await;
        Ok(taken)
    }

    fn read_from<'a>(
        &self,
        connections: &'a Connections,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        Box::pin(within(self.timeout, connections, statement.name, async move |connection| {
            fetch(connection, statement, &params).await
        }))
    }
}

impl Tables for PostgresTables {
    fn takeovers(&self) -> u64 {
        self.epoch.takeovers()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError> {
        let runtime = self.writes.runtime()?;
        self.writes.activity.note();
        let taken = runtime.block_on(self.take_to_commit())?;
        let mut transaction = PostgresTransaction { tables: self, runtime, taken: Some(taken) };
        transaction.run("begin", async |connection| connection.execute("BEGIN").await)?;
        Ok(Box::new(transaction))
    }

    fn commit_plan(&self, plan: &Plan<'_>) -> Result<PlanOutcome, TablesError> {
        for (shaped, columns) in plan.steps() {
            check_columns(shaped.statement, columns)?;
        }
        let call = self.call(plan.shape)?;
        let runtime = self.writes.runtime()?;
        self.writes.activity.note();
        let taken = runtime.block_on(self.take_to_commit())?;
        let run =
            on(self.timeout, taken, PLAN, async |connection| match plan::bind(&call, plan).execute(connection).await {
                Ok(_) => Ok(PlanOutcome::Committed),
                Err(sqlx::Error::Database(database))
                    if database.code().is_some_and(|code| plan::DECLINED.contains(&code.as_ref())) =>
                {
                    Ok(PlanOutcome::Declined)
                }
                Err(failed) => Err(error(PLAN, &failed)),
            });
        runtime.block_on(run)
    }

    fn write<'a>(
        &'a self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        // Uses the writer's only connection, so that session locks, such as that of a lease, are kept.
        let (writer, timeout) = (Arc::clone(&self.writes), self.timeout);
        let write = move || {
            let runtime = writer.runtime()?;
            let params = Params::One(params);
            let run = within(timeout, &writer.connections, statement.name, async |connection| {
                fetch(connection, statement, &params).await
            });
            runtime.block_on(run)
        };
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(write).await;
            written.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a write ended: {e}"))))
        })
    }

    fn read<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        self.read_from(&self.reads, statement, params)
    }

    fn read_background<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        self.read_from(&self.lists, statement, params)
    }

    fn stream(&self, statement: &'static Statement, params: Vec<Cell>, render: Render) -> Chunks {
        let (list, receiver) = lists::List::open(statement, render, self.timeout, Arc::clone(&self.writes.activity));
        let connections = self.lists.clone();
        self.handle.spawn(async move { list.run(&connections, &Params::One(params)).await });
        receiver
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<mpsc::Receiver<String>>, TablesError>> {
        Box::pin(async move { self.listening.listen(&self.schema).await.map(Some) })
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn execute(&mut self, statement: &Statement, params: &Params) -> Result<u64, TablesError> {
        let query = bind(statement, params)?;
        let done = self.run(statement.name, async |connection| query.execute(connection).await)?;
        Ok(done.rows_affected())
    }

    fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, TablesError> {
        let text = statement.postgres.into_sql_str();
        let prepared = self.run(statement.name, async |connection| connection.prepare(text).await)?;
        Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        let query = bind(statement, params)?;
        let rows = self.run(statement.name, async |connection| query.fetch_all(connection).await)?;
        rows.iter().map(cells).collect()
    }

    fn notify(&mut self, payload: &str) -> Result<(), TablesError> {
        let schema = self.tables.schema.as_str();
        self.execute(&NOTIFY, &Params::One(vec![schema.into(), payload.into()])).map(|_| ())
    }

    fn commit(mut self: Box<Self>) -> Result<(), TablesError> {
        self.run("commit", async |connection| connection.execute("COMMIT").await)?;
        if let Some(taken) = self.taken.take() {
            taken.give_back();
        }
        Ok(())
    }
}

/// Reads the rows of a statement.
async fn fetch(connection: &mut PgConnection, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
    let rows = bind(statement, params)?.fetch_all(connection).await.map_err(|e| error(statement.name, &e))?;
    rows.iter().map(cells).collect()
}
