//! A connection pool that takes and returns connections without a round trip.
//!
//! sqlx's pool pings each connection when it is returned: one more round trip for each statement, and the next statement
//! waits for it. Here only a connection that was idle is pinged, before it is used.
//!
//! An error that says "this connection leads to the wrong server" empties all pools of the store ([`Epoch`]): a former
//! primary answers reads as it did before.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{
        self, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
    },
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;

use super::session::Session;
use crate::tables::TablesError;

/// How long a connection is used for, at most.
const AGE_MAX: Duration = Duration::from_secs(1800);
/// A connection that was idle for longer is pinged before it is used, so that connections that the server closed at a
/// restart are found here, not by a request.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// How much longer the pool waits for a new connection than the attempt itself, which knows the reason.
const PATIENCE: Duration = Duration::from_millis(500);

/// Counts how often the store had to connect anew. Connections of an earlier epoch are not used again.
#[derive(Clone, Default)]
pub(super) struct Epoch(Arc<watch::Sender<u64>>);

impl Epoch {
    fn now(&self) -> u64 {
        *self.0.borrow()
    }

    /// Ends the epoch of a connection, if it has not ended yet.
    fn end(&self, epoch: u64) {
        let ended = self.0.send_if_modified(|now| {
            let current = *now == epoch;
            *now += u64::from(current);
            current
        });
        if ended {
            tracing::warn!("PostgreSQL takes no writes or ends its sessions: all connections are closed");
        }
    }

    /// To learn that the epoch has ended.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A bounded pool of identical connections.
#[derive(Clone)]
pub(super) struct Connections {
    pool: managed::Pool<Maker>,
    epoch: Epoch,
}

impl Connections {
    /// A pool of at most so many connections, opened on demand. Callers wait for a free one for a bounded time.
    pub(super) fn new(session: Session, count_max: u32, epoch: &Epoch) -> Self {
        let mut config = PoolConfig::new(usize::try_from(count_max).unwrap_or(usize::MAX));
        let (wait, create) = (Some(session.wait_max), Some(session.wait_max + PATIENCE));
        config.timeouts = Timeouts { wait, create, recycle: wait };
        config.queue_mode = QueueMode::Lifo;
        let maker = Maker { session, epoch: epoch.clone() };
        let pool = managed::Pool::builder(maker).config(config).runtime(Runtime::Tokio1).build();
        // Building fails only without a runtime.
        Self { pool: pool.expect("a runtime is named"), epoch: epoch.clone() }
    }

    /// Takes a connection. Its socket belongs to the runtime that this is first called on.
    pub(super) async fn take(&self) -> Result<Taken, TablesError> {
        let unavailable = |reason: &str| TablesError::Unavailable(reason.to_owned());
        let taken = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => unavailable("all connections to PostgreSQL are in use"),
            PoolError::Timeout(_) => unavailable("PostgreSQL does not answer"),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                unavailable("the connections to PostgreSQL are closed")
            }
        })?;
        Ok(Taken { taken: Some(taken), epoch: self.epoch.clone() })
    }
}

/// A connection in use. If it is dropped instead of returned, it is closed, because its state is unknown.
pub(super) struct Taken {
    taken: Option<Object<Maker>>,
    epoch: Epoch,
}

impl Taken {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.taken.as_mut().expect("the connection was not returned yet").connection
    }

    /// Records a failure on it. If that says that the server is the wrong one, all connections to it are given up.
    pub(super) fn note(&self, failed: &TablesError) {
        if let (TablesError::Moved(_), Some(taken)) = (failed, &self.taken) {
            self.epoch.end(taken.epoch);
        }
    }

    /// Returns it to the pool after its last statement has ended.
    pub(super) fn give_back(mut self) {
        drop(self.taken.take());
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop(self.taken.take().map(Object::take));
    }
}

struct Maker {
    session: Session,
    epoch: Epoch,
}

/// An open connection.
struct Opened {
    connection: PgConnection,
    epoch: u64,
}

impl managed::Manager for Maker {
    type Type = Opened;
    type Error = TablesError;

    async fn create(&self) -> Result<Opened, TablesError> {
        let epoch = self.epoch.now();
        Ok(Opened { connection: self.session.open().await?, epoch })
    }

    async fn recycle(&self, opened: &mut Opened, metrics: &Metrics) -> RecycleResult<TablesError> {
        if metrics.age() > AGE_MAX {
            return Err(RecycleError::message("it is too old"));
        }
        if opened.epoch != self.epoch.now() {
            return Err(RecycleError::message("it may lead to the wrong server"));
        }
        if metrics.last_used() > IDLE_TRUSTED {
            opened.connection.ping().await.map_err(|_| RecycleError::message("it is broken"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_once_however_many_of_its_connections_fail() {
        let epoch = Epoch::default();
        let listening = epoch.subscribe();
        epoch.end(0);
        epoch.end(0);
        assert_eq!((epoch.now(), listening.has_changed().ok()), (1, Some(true)));
        epoch.end(1);
        assert_eq!(epoch.now(), 2);
    }
}
