//! Streams rendered rows to a reader in chunks, through a bounded channel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::Instant,
};

use super::TablesError;

/// Bytes after which a chunk is sent.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that wait for a slow reader, at most.
const CHUNKS_MAX: usize = 4;
/// How long a stream waits for a slow reader before it is cancelled.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How often a waiting stream checks whether it may go on waiting.
const LOOK: Duration = Duration::from_millis(100);

type Item = Result<Vec<u8>, TablesError>;

/// Chunks of a stream, in order.
pub struct Chunks {
    items: mpsc::Receiver<Item>,
    ended: Arc<AtomicBool>,
}

impl Chunks {
    /// The next chunk, or `None` after the last one. A cancelled stream ends with an error, so that a part is never
    /// mistaken for the whole.
    pub async fn recv(&mut self) -> Option<Item> {
        let item = self.items.recv().await;
        if item.is_none() && !self.ended.load(Ordering::Acquire) {
            return Some(Err(TablesError::Unavailable(
                "a list was cancelled because it was read too slowly".to_owned(),
            )));
        }
        item
    }
}

/// Collects rendered rows into chunks and sends them; knows when the reader was dropped.
pub(super) struct ChunkSender {
    /// Rendered rows that were not sent yet.
    pub(super) chunk: Vec<u8>,
    items: mpsc::Sender<Item>,
    cancelled: bool,
    ended: Arc<AtomicBool>,
}

impl ChunkSender {
    pub(super) fn open() -> (Self, Chunks) {
        let ((sender, items), ended) = (mpsc::channel(CHUNKS_MAX), Arc::default());
        let chunks = Chunks { items, ended: Arc::clone(&ended) };
        (Self { chunk: Vec::with_capacity(CHUNK_BYTES), items: sender, cancelled: false, ended }, chunks)
    }

    /// The chunks of a refused stream: only the error.
    pub(super) fn refuse(error: TablesError) -> Chunks {
        let (sender, chunks) = Self::open();
        // The channel is new and empty: there is room.
        let _room = sender.items.try_send(Err(error));
        chunks
    }

    /// The current chunk, if it is full.
    pub(super) fn full(&mut self) -> Option<Vec<u8>> {
        (self.chunk.len() >= CHUNK_BYTES).then(|| std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES)))
    }

    /// Sends a chunk, waiting for the reader while `may_wait`. False if the stream was cancelled.
    pub(super) async fn send(&mut self, chunk: Vec<u8>, may_wait: impl Fn() -> bool) -> bool {
        self.send_item(Ok(chunk), may_wait).await
    }

    /// Ends the stream with the last chunk, or with an error.
    pub(super) async fn end(mut self, outcome: Result<(), TablesError>, may_wait: impl Fn() -> bool) {
        let rest = std::mem::take(&mut self.chunk);
        let all_sent = outcome.is_ok() && rest.is_empty();
        let ended = !self.cancelled && (all_sent || self.send_item(outcome.map(|()| rest), may_wait).await);
        self.ended.store(ended, Ordering::Release);
    }

    async fn send_item(&mut self, mut item: Item, may_wait: impl Fn() -> bool) -> bool {
        let until = Instant::now() + STALL_MAX;
        while may_wait() && Instant::now() < until {
            match self.items.send_timeout(item, LOOK).await {
                Ok(()) => return true,
                Err(SendTimeoutError::Closed(_)) => break,
                Err(SendTimeoutError::Timeout(back)) => item = back,
            }
        }
        self.cancelled = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The chunks that a reader gets after the sender was dropped.
    async fn seen(mut chunks: Chunks) -> (usize, Option<Item>) {
        let mut count = 0;
        while let Some(item) = chunks.recv().await {
            match item {
                Ok(_) => count += 1,
                Err(error) => return (count, Some(Err(error))),
            }
        }
        (count, None)
    }

    #[tokio::test]
    async fn a_cancelled_stream_is_never_mistaken_for_a_whole_one() {
        let (mut sender, chunks) = ChunkSender::open();
        sender.chunk = b"rest".to_vec();
        sender.end(Ok(()), || true).await;
        assert!(matches!(seen(chunks).await, (1, None)));

        for rest in ["", "rest"] {
            let (mut sender, chunks) = ChunkSender::open();
            let looks = Cell::new(0);
            let thrice = || looks.replace(looks.get() + 1) < CHUNKS_MAX + 3;
            while sender.send(vec![0], thrice).await {}
            sender.chunk = rest.as_bytes().to_vec();
            sender.end(Ok(()), || true).await;
            assert!(matches!(seen(chunks).await, (CHUNKS_MAX, Some(Err(TablesError::Unavailable(_))))));
        }

        let (sender, chunks) = ChunkSender::open();
        drop(sender);
        assert!(matches!(seen(chunks).await, (0, Some(Err(_)))), "one that ended early, as in a panic");
        let refused = ChunkSender::refuse(TablesError::Conflict("no".to_owned()));
        assert!(matches!(seen(refused).await, (0, Some(Err(TablesError::Conflict(_))))));
    }
}
