//! Connections: their limits, deadlines for clients that send or read nothing, graceful shutdown.

mod open;

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::watch,
    time::{Sleep, sleep},
};
use tower::ServiceExt;

use self::open::Client;
pub use self::open::Connections;

/// How long a client may take to send a request's head, on a new or a kept connection.
const HEAD_MAX: Duration = Duration::from_secs(75);
/// How long a client may read nothing while there is something for it.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 100;
/// Serves the current routes until `shutdown` ends; then finishes the requests in progress, for at most `grace`.
pub async fn serve(
    listener: TcpListener,
    connections: Arc<Connections>,
    routes: watch::Receiver<Router>,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = async {
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((stream, connections.take().await))
        };
        let accepted = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely there are no file handles left: another connection must end first.
                connections.close_longest_waiting();
                tracing::warn!(error = %error, "cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are written in one piece; waiting for more to send only delays them.
        let _unsupported = stream.set_nodelay(true);
        let routes = routes.clone();
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let router = routes.borrow().clone();
            let answer = router.oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(
                TokioIo::new(Unread::new(stream, UNREAD_MAX, Some(Arc::clone(&place.client)))),
                TowerToHyperService::new(service),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client may close its connection at any time.
            tokio::select! {
                _ = connection => {}
                () = place.client.closed() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests did not finish within {} s and were cut off", grace.as_secs());
    }
}

/// A connection that fails if its client reads nothing for too long.
struct Unread<S> {
    stream: S,
    unread_max: Duration,
    /// Runs while a write waits for the client.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Learns when the connection waits for it.
    client: Option<Arc<Client>>,
}

impl<S> Unread<S> {
    const fn new(stream: S, unread_max: Duration, client: Option<Arc<Client>>) -> Self {
        Self { stream, unread_max, deadline: None, client }
    }

    fn is_waited_for(&self, waits: bool) {
        if let Some(client) = &self.client {
            client.is_waited_for(waits);
        }
    }

    /// The outcome of a write, or a failure if it waits for too long.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_waited_for(written.is_pending());
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let unread_max = self.unread_max;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(unread_max)));
        ready!(deadline.as_mut().poll(context));
        self.deadline = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unread<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, out);
        self.is_waited_for(read.is_pending());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unread<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off_and_one_that_reads_is_not() {
        let (ours, mut theirs) = duplex(4);
        let mut unread = Unread::new(ours, Duration::from_millis(10), None);
        let stalled = unread.write_all(b"more than fits").await;
        assert_eq!(stalled.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        let mut read = Vec::new();
        let (written, _) = tokio::join!(
            async {
                unread.unread_max = Duration::from_secs(3600);
                unread.write_all(b"more than fits").await?;
                unread.shutdown().await
            },
            theirs.read_to_end(&mut read)
        );
        assert!(written.is_ok(), "{written:?}");
        assert!(read.ends_with(b"more than fits"));
    }
}
