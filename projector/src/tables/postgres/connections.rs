//! A connection pool that takes and returns connections without a round trip.
//!
//! sqlx's pool pings each connection when it is returned: one more round trip for each statement, and the next statement
//! waits for it. Here only a connection that was idle is pinged, before it is used.
//!
//! After a failover, a former primary that is still up answers reads as it did before. Three rules keep such answers from
//! being given ([`Epoch`]):
//!
//! - All sessions of a process lead to one server. A session that meets another one, and an error that says "this
//!   connection leads to the wrong server", empty all pools of the store.
//! - A connection is used only if its server has shown within [`PROOF`] that it takes writes.
//! - A process commits nothing to another server than before until [`HOLD`] has passed, when no process reads from the
//!   former one any more.
//!
//! They rely on the failover: the former primary takes no writes once the new one does.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{
        self, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
        WeakPool,
    },
};
use sqlx::PgConnection;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{
    open_count::{Counted, OpenCount},
    session::{self, Session},
};
use crate::tables::TablesError;

/// How long a connection is used for, at most.
const AGE_MAX: Duration = Duration::from_secs(1800);
/// How long a connection is used after its server has shown that it takes writes. Connections that the server closed at
/// a restart are found by the same question, not by a request.
const PROOF: Duration = Duration::from_secs(1);
/// How long a connection that nobody uses is kept, so that a schema that is rarely used takes no connections; and how long
/// where the store has many.
const IDLE_MAX: Duration = Duration::from_secs(60);
const IDLE_MAX_OF_MANY: Duration = Duration::from_secs(1);
/// How long nothing is committed to another server than before: longer than `PROOF`, so that clocks may differ in speed
/// and a statement may begin a little after it was decided on.
const HOLD: Duration = Duration::from_millis(1500);
/// Attempts to open a session while others find that the server has changed.
const OPENINGS: usize = 3;
/// How much longer the pool waits for a new connection than the attempt itself, which knows the reason.
const PATIENCE: Duration = Duration::from_millis(500);

/// Counts how often the store had to connect anew. Connections of an earlier epoch are not used again.
#[derive(Clone, Default)]
pub(super) struct Epoch(Arc<watch::Sender<Current>>);

#[derive(Default)]
struct Current {
    number: u64,
    /// When the last server was started that a session met: no two servers have the same.
    server: Option<i64>,
    /// How often a session met another server than those before it.
    takeovers: u64,
    /// Nothing is committed before.
    held_until: Option<Instant>,
}

impl Epoch {
    /// Its number now.
    pub(super) fn now(&self) -> u64 {
        self.0.borrow().number
    }

    /// How often another server has taken over.
    pub(super) fn takeovers(&self) -> u64 {
        self.0.borrow().takeovers
    }

    /// Ends the epoch of a connection, if it has not ended yet.
    fn end(&self, epoch: u64) {
        let ended = self.0.send_if_modified(|now| {
            let current = now.number == epoch;
            now.number += u64::from(current);
            current
        });
        if ended {
            tracing::warn!("PostgreSQL takes no writes or ends its sessions: all connections are closed");
        }
    }

    /// Takes a session that was begun in an epoch and met a server; the epoch that it belongs to. None if the epoch has
    /// ended meanwhile: where the session leads to is not known to be the present server.
    pub(super) fn join(&self, begun: u64, server: i64) -> Option<u64> {
        let mut joined = None;
        let moved = self.0.send_if_modified(|now| {
            if now.number != begun {
                return false;
            }
            let moved = now.server.is_some_and(|other| other != server);
            now.server = Some(server);
            if moved {
                now.number += 1;
                now.takeovers += 1;
                now.held_until = Some(Instant::now() + HOLD);
            }
            joined = Some(now.number);
            moved
        });
        if moved {
            tracing::warn!("another server of PostgreSQL has taken over, or it was restarted: connecting anew");
        }
        joined
    }

    /// Waits until the present server may be written to.
    pub(super) async fn hold(&self) {
        let held_until = self.0.borrow().held_until;
        if let Some(until) = held_until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Returns when an epoch has ended.
    pub(super) async fn ended(&self, epoch: u64) {
        let mut current = self.0.subscribe();
        // The sender lives as long as this.
        let _ended = current.wait_for(|now| now.number != epoch).await;
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
    pub(super) fn new(
        handle: &Handle,
        session: Session,
        count_max: u32,
        epoch: &Epoch,
        open_count: &OpenCount,
    ) -> Self {
        let mut config = PoolConfig::new(usize::try_from(count_max).unwrap_or(usize::MAX));
        let (wait, create) = (Some(session.wait_max), Some(session.wait_max + PATIENCE));
        config.timeouts = Timeouts { wait, create, recycle: wait };
        config.queue_mode = QueueMode::Lifo;
        let maker = Maker { session, epoch: epoch.clone(), open_count: open_count.clone() };
        let pool = managed::Pool::builder(maker).config(config).runtime(Runtime::Tokio1).build();
        // Building fails only without a runtime.
        let pool = pool.expect("a runtime is named");
        handle.spawn(close_idle(pool.weak(), open_count.clone()));
        Self { pool, epoch: epoch.clone() }
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

/// Closes connections that nobody uses, until the pool is dropped.
async fn close_idle(pool: WeakPool<Maker>, open_count: OpenCount) {
    let mut grown = open_count.grown();
    loop {
        let next_look = if open_count.surplus() > 0 { IDLE_MAX_OF_MANY } else { IDLE_MAX / 4 };
        tokio::select! {
            () = tokio::time::sleep(next_look) => {}
            // The sender lives as long as this.
            _ = grown.changed() => {}
        }
        let Some(pool) = pool.upgrade() else { return };
        let mut surplus = open_count.surplus();
        pool.retain(|_, metrics| {
            let is_surplus = surplus > 0 && metrics.last_used() >= IDLE_MAX_OF_MANY;
            surplus -= usize::from(is_surplus);
            !is_surplus && metrics.last_used() < IDLE_MAX
        });
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
    open_count: OpenCount,
}

/// An open connection.
struct Opened {
    connection: PgConnection,
    epoch: u64,
    /// When it was asked whether its server takes writes.
    proven_at: Instant,
    /// Until it is closed.
    _counted: Counted,
}

impl managed::Manager for Maker {
    type Type = Opened;
    type Error = TablesError;

    async fn create(&self) -> Result<Opened, TablesError> {
        for _ in 0..OPENINGS {
            let begun = self.epoch.now();
            let (connection, look) = self.session.open().await?;
            if let Some(epoch) = self.epoch.join(begun, look.server) {
                let (proven_at, _counted) = (look.asked_at, self.open_count.add());
                return Ok(Opened { connection, epoch, proven_at, _counted });
            }
        }
        Err(TablesError::Unavailable("the server of PostgreSQL is being changed".to_owned()))
    }

    async fn recycle(&self, opened: &mut Opened, metrics: &Metrics) -> RecycleResult<TablesError> {
        if metrics.age() > AGE_MAX {
            return Err(RecycleError::message("it is too old"));
        }
        if opened.epoch != self.epoch.now() {
            return Err(RecycleError::message("it may lead to the wrong server"));
        }
        if opened.proven_at.elapsed() > PROOF {
            let asked_at = Instant::now();
            let takes_writes = session::takes_writes(&mut opened.connection).await;
            if !takes_writes.map_err(|_| RecycleError::message("it is broken"))? {
                self.epoch.end(opened.epoch);
                return Err(RecycleError::message("its server takes no writes"));
            }
            opened.proven_at = asked_at;
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
        epoch.end(0);
        epoch.end(0);
        assert_eq!(epoch.now(), 1);
        epoch.end(1);
        assert_eq!(epoch.now(), 2);
    }

    #[tokio::test]
    async fn a_session_on_another_server_ends_the_epoch_and_holds_commits_back() {
        let (epoch, began) = (Epoch::default(), Instant::now());
        let held_until = || epoch.0.borrow().held_until;
        assert_eq!((epoch.join(0, 1), epoch.join(0, 1)), (Some(0), Some(0)));
        // The same server, after some of its sessions were ended.
        epoch.end(0);
        assert_eq!((epoch.join(0, 1), epoch.join(1, 1)), (None, Some(1)), "begun before the end");
        assert_eq!(epoch.takeovers(), 0);
        assert_eq!(held_until(), None, "the first server and the same one hold nothing back");
        let other = Epoch::clone(&epoch);
        let ended = tokio::spawn(async move { other.ended(1).await });
        assert_eq!((epoch.join(1, 2), epoch.join(1, 1)), (Some(2), None), "a session on the former server");
        assert_eq!(epoch.takeovers(), 1);
        assert!(ended.await.is_ok());
        assert!(held_until().is_some_and(|until| until >= began + HOLD) && HOLD > PROOF);
        epoch.hold().await;
        assert!(held_until().is_some_and(|until| until <= Instant::now()));
    }
}
