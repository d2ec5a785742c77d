//! Listens for notifications of commits, on a connection of its own.

use std::time::Duration;

use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{runtime::Handle, sync::mpsc};

use super::{connections::Epoch, failures, session::Session};
use crate::tables::TablesError;

/// How long the connection may be silent before it is pinged, and the time-out of the ping.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Notifications that wait to be taken, at most.
const WAITING_MAX: usize = 64;

/// The payloads that are sent to a channel, until the connection fails or the epoch ends.
pub(super) async fn listen(
    handle: &Handle,
    session: &Session,
    channel: &str,
    epoch: &Epoch,
) -> Result<mpsc::Receiver<String>, TablesError> {
    let (begun, epoch) = (epoch.now(), epoch.clone());
    // One pool per listener: it never waits for the connection of a dead listener.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(session.wait_max);
    let pool = pool.connect_lazy_with(session.connect.clone());
    let mut listener = PgListener::connect_with(&pool).await.map_err(|error| failures::of_connecting(&error))?;
    listener.eager_reconnect(false);
    let look = session.begin(&mut listener).await?;
    let changed = || TablesError::Unavailable("the server of PostgreSQL is being changed".to_owned());
    let joined = epoch.join(begun, look.server).ok_or_else(changed)?;
    listener.listen(channel).await.map_err(|error| failures::error("listen", &error))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    handle.spawn(async move {
        loop {
            let received = tokio::select! {
                () = epoch.ended(joined) => return,
                received = tokio::time::timeout(SILENCE_MAX, listener.try_recv()) => received,
            };
            match received {
                Ok(Ok(Some(notification))) => {
                    if sender.send(notification.payload().to_owned()).await.is_err() {
                        return;
                    }
                }
                // What a new connection leads to must be looked at anew.
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "notifications from PostgreSQL are interrupted: {error}");
                    return;
                }
                // Nothing to report, or a dead connection.
                Err(_) => match tokio::time::timeout(ANSWER_MAX, listener.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    });
    Ok(receiver)
}
