//! Tables on PostgreSQL, through sqlx: a schema for control, one for each generation, a pool for each.
//!
//! `search_path` is fixed when a connection is made, so no statement names a schema and none can mix two. Transactions
//! block their thread on the runtime that opened the store; reads are async. A server that says nothing at all is given up
//! after the time-out, which is the client's as well as the server's: the connection is closed and another one is made.

mod connections;
mod failures;
mod lists;

use std::{str::FromStr, sync::Arc, time::Duration};

use daybook_ingest::log::BoxFuture;
use sqlx::{
    AssertSqlSafe, Column as _, Executor, PgConnection, PgPool, Row as _, TypeInfo,
    postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode},
    query::Query,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};

use self::{
    connections::{Connections, Taken},
    failures::error,
};
use crate::{
    lease::LEASE,
    statement,
    tables::{AtOnce, Cell, Chunks, Column, Params, Render, Row, Statement, Store, Tables, TablesError, Transaction},
};

/// How to reach PostgreSQL. `Debug` is left out: the options hold a password.
#[derive(Clone)]
pub struct Config {
    /// Where and as whom.
    pub connect: PgConnectOptions,
    /// Name of the control schema; generations' schemas begin with it.
    pub schema: String,
    /// Connections of one pool, at most.
    pub connections_max: u32,
    /// How long a request waits for a connection, and a statement for its end.
    pub timeout: Duration,
}

impl Config {
    /// Reads a `postgres://` URL. sqlx's TLS modes are not libpq's: `allow` would never use TLS, so it is taken as
    /// `prefer`; `require` with a root certificate verifies it, as libpq does.
    pub fn from_url(url: &str) -> Result<PgConnectOptions, String> {
        let options = PgConnectOptions::from_str(url).map_err(|e| e.to_string())?;
        let mode = match options.get_ssl_mode() {
            PgSslMode::Allow => PgSslMode::Prefer,
            PgSslMode::Require if url.contains("sslrootcert=") => PgSslMode::VerifyCa,
            mode => mode,
        };
        Ok(options.ssl_mode(mode))
    }
}

/// The store on PostgreSQL.
pub struct PostgresStore {
    config: Config,
    handle: Handle,
}

/// The tables of one schema.
struct PostgresTables {
    handle: Handle,
    timeout: Duration,
    /// Short reads.
    reads: Connections,
    /// Long lists and reads aside, so that slow readers never take the connections of short reads.
    lists: Connections,
    /// How to connect for notifications.
    listening: PgConnectOptions,
    /// The projector's one writer.
    writes: Arc<Writer>,
    schema: String,
}

/// The connection for writing, with a runtime of its own that the writing thread drives itself: a statement's answer wakes no
/// other thread, which counts where a batch is many statements one after another.
struct Writer {
    connections: Connections,
    activity: Arc<lists::Activity>,
    /// Always there but while this is dropped.
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
/// Taken while a schema is made, so that two processes do not make it at once.
const LOCK: Statement = statement!("postgres/lock");
/// How long a listening connection may be silent before it is asked whether it lives, and how long it has to answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const NOTIFY: Statement = statement!("postgres/notify");
/// SQLSTATEs by which a statement declines: of our own functions, and of a row that is there already (`unique_violation`).
const DECLINED: [&str; 2] = ["DB002", "23505"];

impl PostgresStore {
    /// A store; connects when it is first used. Must be called on a runtime.
    pub fn new(config: Config) -> Self {
        Self { config, handle: Handle::current() }
    }

    fn connect(&self, schema: &str, options: &[(&str, &str)]) -> PgConnectOptions {
        let timeout = format!("{}ms", self.config.timeout.as_millis());
        let settings = [("search_path", schema), ("statement_timeout", &timeout), ("application_name", "daybook")];
        // Statements are prepared once and look rows up by key: planning each run anew would cost more than it could
        // gain, and no plan of theirs is worth compiling.
        let plans = [("plan_cache_mode", "force_generic_plan"), ("jit", "off"), ("client_min_messages", "warning")];
        self.config.connect.clone().options(settings).options(plans).options(options.iter().copied())
    }

    /// How long to wait for a connection.
    fn wait_max(&self) -> Duration {
        self.config.timeout.min(Duration::from_secs(5))
    }

    fn connections(&self, schema: &str, count_max: u32, options: &[(&str, &str)]) -> Connections {
        Connections::new(self.connect(schema, options), count_max, self.wait_max())
    }

    fn tables(&self, schema: &str) -> Result<PostgresTables, TablesError> {
        // Rows are looked up by key and listed in the order of an index: no plan may read a whole table, however small that
        // was when planned.
        let by_index = [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
        // A writer that is frozen in the middle of a batch must not keep the checkpoints locked: others take over by then.
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
            listening: self.connect(schema, &[]),
            writes: Arc::new(Writer {
                connections: self.connections(schema, 1, &of_writer),
                activity: Arc::default(),
                runtime: Some(runtime),
            }),
            schema: schema.to_owned(),
        })
    }

    async fn run_scripts(&self, schema: &str, scripts: &[&'static str]) -> Result<(), TablesError> {
        let pool = pool_of_one(self.connect(schema, &[]), self.wait_max());
        let create = async {
            let mut transaction = pool.begin().await?;
            transaction.execute(LOCK.postgres).await?;
            for script in scripts {
                // A schema's name comes from configuration, which allows letters, digits and underscores alone.
                let script = script.replace("{schema}", schema);
                transaction.execute(sqlx::raw_sql(AssertSqlSafe(script))).await?;
            }
            transaction.commit().await
        };
        let outcome = create.await.map_err(|e| error("create schema", &e));
        pool.close().await;
        outcome
    }
}

impl Store for PostgresStore {
    fn control(&self) -> BoxFuture<'_, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move {
            self.run_scripts(&self.config.schema, &[CREATE_CONTROL]).await?;
            self.open(&self.config.schema).await
        })
    }

    fn schema(&self, domain: &str, generation: i64) -> String {
        format!("{}_{domain}_g{generation:04}", self.config.schema)
    }

    fn create<'a>(&'a self, schema: &'a str, ddl: &'a [&'static Statement]) -> BoxFuture<'a, Result<(), TablesError>> {
        let mut scripts = vec!["CREATE SCHEMA IF NOT EXISTS {schema};"];
        scripts.extend(ddl.iter().map(|statement| statement.postgres));
        Box::pin(async move { self.run_scripts(schema, &scripts).await })
    }

    fn open<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, Result<Arc<dyn Tables>, TablesError>> {
        Box::pin(async move { Ok(Arc::new(self.tables(schema)?) as Arc<dyn Tables>) })
    }

    fn shared(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let connect = &self.config.connect;
        let (host, port, mode) = (connect.get_host(), connect.get_port(), connect.get_ssl_mode());
        let database = connect.get_database().unwrap_or("postgres");
        format!("postgres, {host}:{port}/{database}, schema {}, TLS mode {mode:?}", self.config.schema)
    }
}

/// sqlx's own pool, for what is seldom done or keeps its connection.
fn pool_of_one(connect: PgConnectOptions, wait_max: Duration) -> PgPool {
    PgPoolOptions::new().max_connections(1).acquire_timeout(wait_max).connect_lazy_with(connect)
}

struct PostgresTransaction<'a> {
    tables: &'a PostgresTables,
    runtime: &'a Runtime,
    /// `None` once it is given back. What was not committed ends with its connection, in whatever state that is.
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
        outcome.map_err(|e| error(statement, &e))
    }
}

/// Runs something on a connection, for as long as the time-out allows. One on which it fails, or that says nothing, is closed.
async fn within<T>(
    timeout: Duration,
    connections: &Connections,
    statement: &str,
    run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, TablesError>,
) -> Result<T, TablesError> {
    let mut taken = connections.take().await.map_err(|e| error(statement, &e))?;
    let outcome = tokio::time::timeout(timeout, run(taken.connection())).await;
    let outcome = outcome.unwrap_or_else(|_| Err(silent(statement, timeout)));
    match outcome {
        Ok(_) => taken.give_back(),
        Err(_) => drop(taken),
    }
    outcome
}

/// A server that has not answered in time.
fn silent(statement: &str, timeout: Duration) -> TablesError {
    TablesError::Unavailable(format!("no answer to {statement} within {timeout:?}"))
}

impl PostgresTables {
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
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError> {
        let runtime = self.writes.runtime()?;
        self.writes.activity.note();
        let taken = runtime.block_on(self.writes.connections.take()).map_err(|e| error("begin", &e))?;
        let mut transaction = PostgresTransaction { tables: self, runtime, taken: Some(taken) };
        transaction.run("begin", async |connection| connection.execute("BEGIN").await)?;
        Ok(Box::new(transaction))
    }

    fn runs_at_once(&self) -> bool {
        true
    }

    fn run_at_once(&self, statement: &Statement, arrays: &[Column]) -> Result<AtOnce, TablesError> {
        let runtime = self.writes.runtime()?;
        self.writes.activity.note();
        let run =
            within(self.timeout, &self.writes.connections, statement.name, async |connection| {
                match bind_columns(sqlx::query(statement.postgres), arrays).execute(connection).await {
                    Ok(_) => Ok(AtOnce::Done),
                    Err(sqlx::Error::Database(database))
                        if database.code().is_some_and(|code| DECLINED.contains(&code.as_ref())) =>
                    {
                        Ok(AtOnce::Declined)
                    }
                    Err(failed) => Err(error(statement.name, &failed)),
                }
            });
        runtime.block_on(run)
    }

    fn write<'a>(
        &'a self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        // On the writer's one connection: a lock that belongs to a connection, as a lease's, stays with it.
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

    fn read_aside<'a>(
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
        Box::pin(async move {
            // A pool for each listener: it never waits for the connection of one that is dead.
            let pool = pool_of_one(self.listening.clone(), ANSWER_MAX);
            let mut listener = PgListener::connect_with(&pool).await.map_err(|e| error("listen", &e))?;
            listener.listen(&self.schema).await.map_err(|e| error("listen", &e))?;
            let (sender, receiver) = mpsc::channel(64);
            self.handle.spawn(async move {
                loop {
                    let payload = match tokio::time::timeout(SILENCE_MAX, listener.recv()).await {
                        Ok(Ok(notification)) => notification.payload().to_owned(),
                        Ok(Err(error)) => {
                            tracing::warn!(error = %error, "notifications from PostgreSQL are interrupted: {error}");
                            tokio::time::sleep(Duration::from_millis(500)).await;
                            String::new()
                        }
                        // Nothing to tell, or a connection that is dead without saying so: then the receiver asks for another.
                        Err(_) => match tokio::time::timeout(ANSWER_MAX, listener.execute("SELECT 1")).await {
                            Ok(Ok(_)) => continue,
                            _ => return,
                        },
                    };
                    if sender.send(payload).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Some(receiver))
        })
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn execute(&mut self, statement: &Statement, params: &Params) -> Result<u64, TablesError> {
        let done = self.run(statement.name, async |connection| bind(statement, params).execute(connection).await)?;
        Ok(done.rows_affected())
    }

    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        let rows = self.run(statement.name, async |connection| bind(statement, params).fetch_all(connection).await)?;
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

type PgQuery<'q> = Query<'q, sqlx::Postgres, PgArguments>;

fn bind<'q>(statement: &Statement, params: &'q Params) -> PgQuery<'q> {
    let query = sqlx::query(statement.postgres);
    match params {
        Params::One(cells) => cells.iter().fold(query, |query, cell| match cell {
            Cell::Int(value) => query.bind(*value),
            Cell::Text(value) => query.bind(value.as_deref()),
        }),
        Params::Many(columns) => bind_columns(query, columns),
    }
}

/// Binds columns as arrays. An empty one is bound as null, which the server need not parse; to `UNNEST` and to a comparison
/// of `CARDINALITY` both are the same.
fn bind_columns<'q>(query: PgQuery<'q>, columns: &'q [Column]) -> PgQuery<'q> {
    columns.iter().fold(query, |query, column| match column {
        Column::Ints(values) => query.bind(Some(values).filter(|values| !values.is_empty())),
        Column::Texts(values) => query.bind(Some(values).filter(|values| !values.is_empty())),
    })
}

async fn fetch(connection: &mut PgConnection, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
    let rows = bind(statement, params).fetch_all(connection).await.map_err(|e| error(statement.name, &e))?;
    rows.iter().map(cells).collect()
}

fn cells(row: &PgRow) -> Result<Row, TablesError> {
    let cell = |(index, column): (usize, &sqlx::postgres::PgColumn)| {
        let shape = |_| TablesError::Shape { column: index };
        match column.type_info().name() {
            "INT8" => row.try_get_unchecked(index).map(Cell::Int).map_err(shape),
            "TEXT" => row.try_get_unchecked(index).map(Cell::Text).map_err(shape),
            _ => Err(TablesError::Shape { column: index }),
        }
    };
    row.columns().iter().enumerate().map(cell).collect::<Result<_, _>>().map(Row)
}
