//! The open connections of a process. If all places are taken, the connection that has waited longest for its client is
//! closed: so idle connections, however many, keep nobody out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::metrics::metrics;

/// When to look again for a connection that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The connections of a process, over all its addresses.
pub struct Connections {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    began: Instant,
}

#[derive(Default)]
struct State {
    next_id: u64,
    open: HashMap<u64, Arc<Client>>,
}

/// What a connection knows of its client.
pub(super) struct Client {
    /// Microseconds since the process began, at which the wait for the client began; 0 if there is none.
    waits_since: AtomicU64,
    closed: Notify,
    began: Instant,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    id: u64,
    pub(super) client: Arc<Client>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// At most so many are open.
    pub fn new(connections_max: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Self { places, state: Mutex::default(), began: Instant::now() })
    }

    /// Takes a place; another connection is closed if there is none.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return self.place(permit);
            }
            self.close_longest_waiting();
            let next = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_AGAIN, next).await {
                return self.place(permit);
            }
        }
    }

    /// Closes the connection that has waited longest for its client.
    pub(super) fn close_longest_waiting(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = state.open.iter().filter_map(|(id, client)| Some((client.waits_since()?, *id)));
        let longest = waiting.min().and_then(|(_, id)| state.open.remove(&id));
        if let Some(client) = longest {
            client.closed.notify_one();
            metrics().closed_connections.inc();
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let client = Arc::new(Client { waits_since: AtomicU64::new(0), closed: Notify::new(), began: self.began });
        client.is_waited_for(true);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.next_id;
        state.next_id += 1;
        state.open.insert(id, Arc::clone(&client));
        Place { connections: Arc::clone(self), id, client, _permit: permit }
    }
}

impl Client {
    /// Notes whether the connection waits for its client from now on. A wait that goes on keeps its beginning.
    pub(super) fn is_waited_for(&self, waits: bool) {
        if !waits {
            self.waits_since.store(0, Ordering::Relaxed);
        } else if self.waits_since.load(Ordering::Relaxed) == 0 {
            let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waits_since.store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Returns when the connection must be closed.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    fn waits_since(&self) -> Option<u64> {
        Some(self.waits_since.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_makes_room() {
        let connections = Connections::new(3);
        let (first, second, third) = (connections.take().await, connections.take().await, connections.take().await);
        first.client.is_waited_for(false);
        let next = connections.take();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        second.client.closed().await;
        drop(second);
        let next = next.await;
        assert!(first.client.closed().now_or_never().is_none() && third.client.closed().now_or_never().is_none());
        drop(next);
        assert_eq!(connections.places.available_permits(), 1);
    }
}
