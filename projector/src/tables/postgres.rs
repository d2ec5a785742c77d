//! Tables on PostgreSQL, through sqlx: a schema for control, one for each generation, a pool for each.
//!
//! `search_path` is fixed when a connection is made, so no statement names a schema and none can mix two. Transactions
//! block their thread on the runtime that opened the store; reads are async.

use std::{str::FromStr, sync::Arc, time::Duration};

use daybook_ingest::{
    log::BoxFuture,
    sequence::{NumberSource, Sequence, SequenceError},
};
use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Column as _, Executor, PgConnection, PgPool, Row as _, TypeInfo,
    postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode},
    query::Query,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};

use crate::{
    statement,
    tables::{
        AtOnce, Cell, ChunkSender, Chunks, Column, Cursor, Next, Params, READER_STALL_MAX, Render, Row, Statement,
        Store, Tables, TablesError, Transaction,
    },
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
    /// Short reads.
    reads: PgPool,
    /// Long lists, so that slow readers never take the connections of short reads.
    lists: PgPool,
    /// The projector's one writer.
    writes: Writer,
    schema: String,
}

/// Connections for writing, with a runtime of their own that the writing thread drives itself: a statement's answer wakes no
/// other thread, which counts where a batch is many statements one after another.
struct Writer {
    pool: PgPool,
    /// Always there but while this is dropped.
    runtime: Option<Runtime>,
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
const TAKE_RUNS: Statement = statement!("postgres/take_runs");
const TAKE_TASKS: Statement = statement!("postgres/take_tasks");
const TAKE_METADATA: Statement = statement!("postgres/take_metadata");
const RAISE_RUNS: Statement = statement!("postgres/raise_runs");
const RAISE_TASKS: Statement = statement!("postgres/raise_tasks");
const RAISE_METADATA: Statement = statement!("postgres/raise_metadata");
/// Taken while a schema is made, so that two processes do not make it at once.
const LOCK: Statement = statement!("postgres/lock");
const NOTIFY: Statement = statement!("postgres/notify");
/// SQLSTATEs of our own functions: another writer was faster; the statement declines.
const FASTER: &str = "DB001";
const DECLINED: &str = "DB002";

impl PostgresStore {
    /// A store; connects when it is first used. Must be called on a runtime.
    pub fn new(config: Config) -> Self {
        Self { config, handle: Handle::current() }
    }

    fn pool(&self, schema: &str, connections_max: u32, options: &[(&str, &str)]) -> PgPool {
        let timeout = format!("{}ms", self.config.timeout.as_millis());
        let settings = [("search_path", schema), ("statement_timeout", &timeout), ("application_name", "daybook")];
        // Statements are prepared once and look rows up by key: planning each run anew would cost more than it could
        // gain, and no plan of theirs is worth compiling.
        let plans = [("plan_cache_mode", "force_generic_plan"), ("jit", "off"), ("client_min_messages", "warning")];
        let connect = self.config.connect.clone().options(settings).options(plans).options(options.iter().copied());
        PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(self.config.timeout.min(Duration::from_secs(5)))
            .max_lifetime(Duration::from_secs(1800))
            .test_before_acquire(false)
            .connect_lazy_with(connect)
    }

    fn tables(&self, schema: &str) -> Result<PostgresTables, TablesError> {
        // Rows are looked up by key and listed in the order of an index: no plan may read a whole table, however small that
        // was when planned.
        let by_index = [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| TablesError::Unavailable(format!("cannot start the writer's runtime: {e}")))?;
        let pool = {
            // The pool looks after its connections on the runtime that it is made on.
            let _context = runtime.enter();
            self.pool(schema, 2, &by_index)
        };
        Ok(PostgresTables {
            handle: self.handle.clone(),
            reads: self.pool(schema, self.config.connections_max, &by_index),
            lists: self.pool(schema, (self.config.connections_max / 2).max(2), &by_index),
            writes: Writer { pool, runtime: Some(runtime) },
            schema: schema.to_owned(),
        })
    }

    async fn run_scripts(&self, schema: &str, scripts: &[&'static str]) -> Result<(), TablesError> {
        let pool = self.pool(schema, 1, &[]);
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

    fn numbers(&self, floor: [i64; 3]) -> BoxFuture<'_, Result<Arc<dyn NumberSource>, TablesError>> {
        Box::pin(async move {
            // Taking numbers waits for no disk: what reaches it later is the commit that applies an event with a number, and
            // that takes all that went before it along. After a crash of PostgreSQL only numbers that no row has yet may be
            // given out again, and the second writer of such a number is told to try again.
            let pool = self.pool(&self.config.schema, 2, &[("synchronous_commit", "off")]);
            let sequences = Sequences { pool };
            for (sequence, floor) in [Sequence::Run, Sequence::Task, Sequence::Metadata].into_iter().zip(floor) {
                let raised = sequences.raise(sequence, floor).await;
                raised.map_err(|e| TablesError::Unavailable(e.to_string()))?;
            }
            Ok(Arc::new(sequences) as Arc<dyn NumberSource>)
        })
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

/// Numbers from PostgreSQL's own sequences, which give none twice, over restarts and crashes.
struct Sequences {
    pool: PgPool,
}

impl Sequences {
    async fn call(&self, statement: &Statement, count: usize) -> Result<Vec<i64>, SequenceError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let numbers = sqlx::query_scalar(statement.postgres).bind(count).fetch_all(&self.pool).await;
        numbers.map_err(|e| SequenceError(error(statement.name, &e).to_string()))
    }
}

impl NumberSource for Sequences {
    fn take(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<Vec<i64>, SequenceError>> {
        let statement = match sequence {
            Sequence::Run => &TAKE_RUNS,
            Sequence::Task => &TAKE_TASKS,
            Sequence::Metadata => &TAKE_METADATA,
        };
        Box::pin(self.call(statement, count))
    }

    fn take_block(&self, sequence: Sequence, count: usize) -> BoxFuture<'_, Result<i64, SequenceError>> {
        Box::pin(async move {
            // Numbers of one call need not be consecutive, but those of one sequence step are: ask for one step of the
            // sequence, which is made as wide as the largest block.
            let width = usize::try_from(METADATA_STEP).unwrap_or(usize::MAX);
            let steps = count.div_ceil(width);
            loop {
                let first = self.take(sequence, steps).await?;
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
        let raise = raise(&self.pool, statement, highest);
        Box::pin(async move { raise.await.map_err(|e| SequenceError(error(statement.name, &e).to_string())) })
    }
}

/// Raises a sequence under the lock, so that one that raises late never takes back what others have given out since.
async fn raise(pool: &PgPool, statement: &Statement, highest: i64) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    transaction.execute(LOCK.postgres).await?;
    sqlx::query(statement.postgres).bind(highest).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The increment of the sequence of metadata ids, as in `postgres/control.postgres.sql`.
const METADATA_STEP: i64 = 4096;

struct PostgresTransaction<'a> {
    runtime: &'a Runtime,
    /// `None` once committed.
    transaction: Option<sqlx::Transaction<'static, sqlx::Postgres>>,
    schema: &'a str,
}

impl PostgresTransaction<'_> {
    fn connection(&mut self) -> Result<(&Runtime, &mut PgConnection), TablesError> {
        let ended = || TablesError::Unavailable("the transaction has ended".to_owned());
        Ok((self.runtime, self.transaction.as_mut().ok_or_else(ended)?))
    }
}

impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        // Giving the connection back to the pool needs the runtime.
        let _context = self.runtime.enter();
        drop(self.transaction.take());
    }
}

impl Tables for PostgresTables {
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, TablesError> {
        let ended = || TablesError::Unavailable("the tables are being closed".to_owned());
        let runtime = self.writes.runtime.as_ref().ok_or_else(ended)?;
        let transaction = runtime.block_on(self.writes.pool.begin()).map_err(|e| error("begin", &e))?;
        Ok(Box::new(PostgresTransaction { runtime, transaction: Some(transaction), schema: &self.schema }))
    }

    fn runs_at_once(&self) -> bool {
        true
    }

    fn run_at_once(&self, statement: &Statement, arrays: &[Column]) -> Result<AtOnce, TablesError> {
        let ended = || TablesError::Unavailable("the tables are being closed".to_owned());
        let runtime = self.writes.runtime.as_ref().ok_or_else(ended)?;
        let query = bind_columns(sqlx::query(statement.postgres), arrays);
        match runtime.block_on(query.execute(&self.writes.pool)) {
            Ok(_) => Ok(AtOnce::Done),
            Err(sqlx::Error::Database(database)) if database.code().as_deref() == Some(DECLINED) => {
                Ok(AtOnce::Declined)
            }
            Err(failed) => Err(error(statement.name, &failed)),
        }
    }

    fn read<'a>(
        &'a self,
        statement: &'static Statement,
        params: Params,
    ) -> BoxFuture<'a, Result<Vec<Row>, TablesError>> {
        Box::pin(async move {
            let mut connection = self.reads.acquire().await.map_err(|e| error(statement.name, &e))?;
            fetch(&mut connection, statement, &params).await
        })
    }

    fn stream(&self, statement: &'static Statement, params: Vec<Cell>, mut render: Render) -> Chunks {
        let (mut sender, receiver) = ChunkSender::open();
        let pool = self.lists.clone();
        self.handle.spawn(async move {
            let params = Params::One(params);
            let run = async {
                let mut connection = pool.acquire().await.map_err(|e| error(statement.name, &e))?;
                let mut rows = bind(statement, &params).fetch(&mut *connection);
                while let Some(row) = rows.try_next().await.map_err(|e| error(statement.name, &e))? {
                    let next = render(&PgCursor(&row), &mut sender.chunk)?;
                    if let Some(chunk) = sender.full()
                        && sender.chunks.send_timeout(Ok(chunk), READER_STALL_MAX).await.is_err()
                    {
                        return Ok(());
                    }
                    if next == Next::Stop {
                        break;
                    }
                }
                Ok(())
            };
            let last = match run.await {
                Ok(()) if sender.chunk.is_empty() => return,
                Ok(()) => Ok(std::mem::take(&mut sender.chunk)),
                Err(error) => Err(error),
            };
            // A reader that has gone away does not want the rest.
            let _gone = sender.chunks.send_timeout(last, READER_STALL_MAX).await;
        });
        receiver
    }

    fn listen(&self) -> BoxFuture<'_, Result<Option<mpsc::Receiver<String>>, TablesError>> {
        Box::pin(async move {
            let mut listener = PgListener::connect_with(&self.reads).await.map_err(|e| error("listen", &e))?;
            listener.listen(&self.schema).await.map_err(|e| error("listen", &e))?;
            let (sender, receiver) = mpsc::channel(64);
            self.handle.spawn(async move {
                loop {
                    let payload = match listener.recv().await {
                        Ok(notification) => notification.payload().to_owned(),
                        Err(error) => {
                            tracing::warn!(error = %error, "notifications from PostgreSQL are interrupted: {error}");
                            tokio::time::sleep(Duration::from_millis(500)).await;
                            String::new()
                        }
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
        let (runtime, connection) = self.connection()?;
        let done =
            runtime.block_on(bind(statement, params).execute(connection)).map_err(|e| error(statement.name, &e))?;
        Ok(done.rows_affected())
    }

    fn read(&mut self, statement: &Statement, params: &Params) -> Result<Vec<Row>, TablesError> {
        let (runtime, connection) = self.connection()?;
        runtime.block_on(fetch(connection, statement, params))
    }

    fn notify(&mut self, payload: &str) -> Result<(), TablesError> {
        self.execute(&NOTIFY, &Params::One(vec![self.schema.into(), payload.into()])).map(|_| ())
    }

    fn commit(mut self: Box<Self>) -> Result<(), TablesError> {
        let commit = self.transaction.take().map(sqlx::Transaction::commit);
        let committed = commit.map_or(Ok(()), |commit| self.runtime.block_on(commit));
        committed.map_err(|e| error("commit", &e))
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

fn bind_columns<'q>(query: PgQuery<'q>, columns: &'q [Column]) -> PgQuery<'q> {
    columns.iter().fold(query, |query, column| match column {
        Column::Ints(values) => query.bind(values),
        Column::Texts(values) => query.bind(values),
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

struct PgCursor<'a>(&'a PgRow);

impl Cursor for PgCursor<'_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| TablesError::Shape { column })
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| TablesError::Shape { column })
    }
}

/// Sorts an error by how the caller can react. SQLSTATE classes: PostgreSQL documentation, appendix A.
fn error(statement: &str, error: &sqlx::Error) -> TablesError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Configuration(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::TypeNotFound { .. } => {
                TablesError::Refused { statement: statement.to_owned(), reason: error.to_string() }
            }
            _ => TablesError::Unavailable(error.to_string()),
        };
    };
    match database.code().as_deref() {
        Some("40001" | "40P01" | "55P03" | FASTER) => TablesError::Conflict(database.message().to_owned()),
        Some(code) if ["08", "53", "57", "58", "25", "28"].iter().any(|class| code.starts_with(class)) => {
            TablesError::Unavailable(database.message().to_owned())
        }
        Some(code) if code.starts_with("22") || code.starts_with("54") => {
            TablesError::Value { statement: statement.to_owned(), reason: database.message().to_owned() }
        }
        _ => TablesError::Refused { statement: statement.to_owned(), reason: database.message().to_owned() },
    }
}
