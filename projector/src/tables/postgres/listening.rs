//! Listens for notifications of commits: one connection for all schemas of a store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot},
};

use super::{connections::Epoch, failures, session::Session};
use crate::tables::TablesError;

/// How long the connection may be silent before it is pinged, and the time-out of the ping.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Notifications that wait to be taken by one receiver, at most.
const WAITING_MAX: usize = 64;
/// Attempts to subscribe while connections end.
const ATTEMPTS: usize = 2;

/// The receivers of notifications. When the connection fails or the epoch ends, all receivers end.
#[derive(Clone)]
pub(super) struct Listening {
    handle: Handle,
    session: Session,
    epoch: Epoch,
    /// Where to ask the connection that is open; `None` if none was opened yet.
    asked: Arc<Mutex<Option<mpsc::Sender<Ask>>>>,
}

/// Asks for the payloads that are sent to a channel.
struct Ask {
    channel: String,
    answer: oneshot::Sender<Result<mpsc::Receiver<String>, TablesError>>,
}

impl Listening {
    /// Connects when somebody first listens.
    pub(super) fn new(handle: Handle, session: Session, epoch: Epoch) -> Self {
        Self { handle, session, epoch, asked: Arc::default() }
    }

    /// The payloads that are sent to a channel.
    pub(super) async fn listen(&self, channel: &str) -> Result<mpsc::Receiver<String>, TablesError> {
        let mut asked = self.asked.lock().await;
        for _ in 0..ATTEMPTS {
            let connection = match asked.clone().filter(|connection| !connection.is_closed()) {
                Some(connection) => connection,
                None => {
                    let limit = 2 * self.session.wait_max;
                    let connected = tokio::time::timeout(limit, self.connect()).await;
                    let late =
                        |_| TablesError::Unavailable(format!("no connection for notifications within {limit:?}"));
                    asked.insert(connected.map_err(late)??).clone()
                }
            };
            let (answer, answered) = oneshot::channel();
            let sent = connection.send(Ask { channel: channel.to_owned(), answer }).await;
            if sent.is_ok()
                && let Ok(outcome) = answered.await
            {
                return outcome;
            }
            *asked = None;
        }
        Err(TablesError::Unavailable("the connection for notifications ended".to_owned()))
    }

    async fn connect(&self) -> Result<mpsc::Sender<Ask>, TablesError> {
        let begun = self.epoch.now();
        // One pool per connection: it never waits for the connection of a dead listener.
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.session.wait_max);
        let pool = pool.connect_lazy_with(self.session.connect.clone());
        let mut listener = PgListener::connect_with(&pool).await.map_err(|error| failures::of_connecting(&error))?;
        listener.eager_reconnect(false);
        let look = self.session.begin(&mut listener).await?;
        let changed = || TablesError::Unavailable("the server of PostgreSQL is being changed".to_owned());
        let joined = self.epoch.join(begun, look.server).ok_or_else(changed)?;
        let (asking, asks) = mpsc::channel(1);
        let (connection, epoch) = (Connection { listener, receivers: HashMap::new() }, self.epoch.clone());
        self.handle.spawn(async move {
            tokio::select! {
                () = epoch.ended(joined) => {}
                () = connection.run(asks) => {}
            }
        });
        Ok(asking)
    }
}

/// The open connection.
struct Connection {
    listener: PgListener,
    /// By channel.
    receivers: HashMap<String, Vec<mpsc::Sender<String>>>,
}

impl Connection {
    /// Hands notifications on until the connection fails, or nobody can ask for more.
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let received = tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => {
                        self.subscribe(ask).await;
                        continue;
                    }
                    None => return,
                },
                received = tokio::time::timeout(SILENCE_MAX, self.listener.try_recv()) => received,
            };
            match received {
                Ok(Ok(Some(notification))) => self.hand_on(notification.channel(), notification.payload()),
                // What a new connection leads to must be looked at anew.
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "notifications from PostgreSQL are interrupted: {error}");
                    return;
                }
                // Nothing to report, or a dead connection.
                Err(_) => match tokio::time::timeout(ANSWER_MAX, self.listener.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }

    async fn subscribe(&mut self, ask: Ask) {
        let outcome = match tokio::time::timeout(ANSWER_MAX, self.listener.listen(&ask.channel)).await {
            Ok(outcome) => outcome.map_err(|error| failures::error("listen", &error)),
            Err(_) => Err(TablesError::Unavailable("PostgreSQL does not answer".to_owned())),
        };
        let outcome = outcome.map(|()| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            self.receivers.retain(|_, receivers| {
                receivers.retain(|receiver| !receiver.is_closed());
                !receivers.is_empty()
            });
            self.receivers.entry(ask.channel).or_default().push(sender);
            receiver
        });
        // Who asked may be gone.
        let _gone = ask.answer.send(outcome);
    }

    /// Hands a notification to those who listen. One that takes none for long misses some, and is ended.
    fn hand_on(&mut self, channel: &str, payload: &str) {
        if let Some(receivers) = self.receivers.get_mut(channel) {
            receivers.retain(|receiver| receiver.try_send(payload.to_owned()).is_ok());
        }
    }
}
