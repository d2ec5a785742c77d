//! A connection pool that takes and returns connections without a round trip.
//!
//! sqlx's pool pings each connection when it is returned: one more round trip for each statement, and the next statement
//! waits for it. Here only a connection that was idle is pinged, before it is used.

use std::{io, time::Duration};

use deadpool::{
    Runtime,
    managed::{
        self, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
    },
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

/// How long a connection is used for, at most.
const AGE_MAX: Duration = Duration::from_secs(1800);
/// A connection that was idle for longer is pinged before it is used, so that connections that the server closed at a
/// restart are found here, not by a request.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// The first and the longest pause between two attempts to reach a server that is not up yet.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// SQLSTATEs of a server that is starting, stopping or full: `cannot_connect_now`, `too_many_connections`.
const NOT_YET: [&str; 2] = ["57P03", "53300"];

/// A bounded pool of identical connections.
#[derive(Clone)]
pub(super) struct Connections(managed::Pool<Maker>);

impl Connections {
    /// A pool of at most so many connections, opened on demand. Callers wait for a free one for a bounded time.
    pub(super) fn new(connect: PgConnectOptions, count_max: u32, wait_max: Duration) -> Self {
        let mut config = PoolConfig::new(usize::try_from(count_max).unwrap_or(usize::MAX));
        config.timeouts = Timeouts { wait: Some(wait_max), create: Some(wait_max), recycle: Some(wait_max) };
        config.queue_mode = QueueMode::Lifo;
        let pool = managed::Pool::builder(Maker { connect, wait_max }).config(config).runtime(Runtime::Tokio1).build();
        // Building fails only without a runtime.
        Self(pool.expect("a runtime is named"))
    }

    /// Takes a connection. Its socket belongs to the runtime that this is first called on.
    pub(super) async fn take(&self) -> Result<Taken, sqlx::Error> {
        let taken = self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => late("all connections are in use"),
            PoolError::Timeout(_) => late("the server does not answer"),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => sqlx::Error::PoolClosed,
        })?;
        Ok(Taken(Some(taken)))
    }
}

fn late(reason: &str) -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason).into()
}

/// A connection in use. If it is dropped instead of returned, it is closed, because its state is unknown.
pub(super) struct Taken(Option<Object<Maker>>);

impl Taken {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("the connection was not returned yet")
    }

    /// Returns it to the pool after its last statement has ended.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

struct Maker {
    connect: PgConnectOptions,
    wait_max: Duration,
}

impl managed::Manager for Maker {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let (mut pause, end) = (PAUSE_MIN, Instant::now() + self.wait_max);
        loop {
            match PgConnection::connect_with(&self.connect).await {
                Ok(connection) => return Ok(connection),
                // The last error says more than that time is up.
                Err(error) if is_not_yet(&error) && Instant::now() + pause < end => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > AGE_MAX {
            return Err(RecycleError::message("it is too old"));
        }
        if metrics.last_used() > IDLE_TRUSTED {
            connection.ping().await?;
        }
        Ok(())
    }
}

/// Whether to retry the connection.
fn is_not_yet(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| NOT_YET.contains(&code.as_ref())),
        _ => false,
    }
}
