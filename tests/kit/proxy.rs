//! A TCP proxy that does harm on demand: delays, holds back, swallows answers, cuts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What is done to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing.
    None,
    /// Each piece is passed on later.
    Delay(Duration),
    /// Nothing is passed on, either way, until the harm ends: a network that drops.
    Hold,
    /// What clients say is passed on, what they are answered is thrown away; when the harm ends, such connections are cut.
    Mute,
    /// Connections are cut, and new ones at once.
    Cut,
}

/// A running proxy; ends when dropped.
pub struct Proxy {
    /// Where it listens, on loopback.
    pub port: u16,
    target: Arc<AtomicU16>,
    harm: Arc<watch::Sender<Harm>>,
    /// How often all connections were cut.
    cuts: Arc<watch::Sender<u64>>,
    round_trips: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of loopback, 0 for any, and passes on to another.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.unwrap_or_else(|error| panic!("the proxy cannot listen on {port}: {error}"));
        let port = listener.local_addr().map_or(port, |address| address.port());
        let (harm, cuts) = (Arc::new(watch::Sender::new(Harm::None)), Arc::new(watch::Sender::new(0)));
        let (of_task, cuts_of_task, round_trips) =
            (Arc::clone(&harm), Arc::clone(&cuts), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&round_trips);
        let target = Arc::new(AtomicU16::new(target));
        let of_new = Arc::clone(&target);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let harm = of_task.subscribe();
                if *harm.borrow() != Harm::Cut {
                    let mut cuts = cuts_of_task.subscribe();
                    let passing = pass(client, of_new.load(Ordering::Relaxed), harm, Arc::clone(&counted));
                    tokio::spawn(async move {
                        tokio::select! {
                            () = passing => {}
                            _cut = cuts.changed() => {}
                        }
                    });
                }
            }
        });
        Self { port, target, harm, cuts, round_trips, task }
    }

    /// Passes new connections on to another port; those that are open stay where they are.
    pub fn redirect(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// Begins to do harm, or ends it.
    pub fn set(&self, harm: Harm) {
        self.harm.send_replace(harm);
    }

    /// How often clients have said something after an answer, or first: requests in one go, in however many pieces, are one.
    pub fn round_trips(&self) -> usize {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Cuts all connections once; new ones are let through.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, target: u16, mut harm: watch::Receiver<Harm>, round_trips: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _unsupported = (client.set_nodelay(true), server.set_nodelay(true));
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let (mut said, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut muted, mut answers) = (false, true);
    loop {
        let now = *harm.borrow_and_update();
        muted |= now == Harm::Mute;
        if now == Harm::Cut || muted && now == Harm::None {
            return;
        }
        if now == Harm::Hold {
            if harm.changed().await.is_err() {
                return;
            }
            continue;
        }
        let passed = tokio::select! {
            changed = harm.changed() => changed.is_ok(),
            read = from_client.read(&mut said) => {
                if answers && matches!(read, Ok(1..)) {
                    round_trips.fetch_add(1, Ordering::Relaxed);
                    answers = false;
                }
                forward(read, &said, &mut to_server, now).await
            }
            read = from_server.read(&mut answered) => {
                answers = true;
                match now {
                    Harm::Mute => read.is_ok_and(|bytes| bytes > 0),
                    now => forward(read, &answered, &mut to_client, now).await,
                }
            }
        };
        if !passed {
            return;
        }
    }
}

/// Passes a piece on; false at the end of the connection.
async fn forward(
    read: std::io::Result<usize>,
    piece: &[u8],
    to: &mut (impl AsyncWriteExt + Unpin),
    harm: Harm,
) -> bool {
    if let Harm::Delay(delay) = harm {
        tokio::time::interval_at(tokio::time::Instant::now() + delay, delay).tick().await;
    }
    match read {
        Ok(0) | Err(_) => false,
        Ok(bytes) => to.write_all(&piece[..bytes]).await.is_ok(),
    }
}
