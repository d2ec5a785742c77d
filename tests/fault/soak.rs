//! A soak: half of what the machine can do, for as long as asked, and nothing grows but what is stored.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    writers::Step,
};
use serde_json::json;
use tokio::{task::JoinSet, time::interval_at};

/// Clients at work.
const CLIENTS: usize = 8;
/// How long the clients work as fast as they can, to find out how fast that is.
const FULL_SPEED: Duration = Duration::from_secs(2);
/// One round of the soak: 10 000 of them are half an hour.
const ROUND: Duration = Duration::from_millis(180);
/// Handles of what a server opens once, at its first use: a reader of Kafka has nine, with its threads' pipes. A busy machine
/// may get to that after the first look. What leaks grows with the writes, of which there are hundreds.
const OPENED_ONCE: usize = 27;

/// What must stay flat.
#[derive(Debug)]
struct Use {
    resident_mib: usize,
    handles: usize,
    sockets: usize,
    stored_bytes: u64,
    written: usize,
}

impl Use {
    fn of(server: &Server, place: &Place, written: usize) -> Self {
        let process = format!("/proc/{}", server.pid());
        let handles: Vec<_> = fs::read_dir(format!("{process}/fd")).into_iter().flatten().flatten().collect();
        let socket =
            |path: &Path| fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket"));
        let sockets = handles.iter().filter(|handle| socket(&handle.path())).count();
        let stored_bytes = place.stored_bytes();
        Self { resident_mib: server.memory_kib("VmRSS") / 1024, handles: handles.len(), sockets, stored_bytes, written }
    }

    /// Bytes stored for each write since an earlier look.
    fn bytes_per_write(&self, since: &Self) -> u64 {
        let writes = u64::try_from(self.written - since.written).unwrap_or(0).max(1);
        self.stored_bytes.saturating_sub(since.stored_bytes) / writes
    }
}

/// One task with an artifact and a metadata entry.
async fn write(api: &Api, path: &str, written: &AtomicUsize) {
    let answer = api.post(&format!("{path}/task"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let task = answer.json()["task_id"].to_string();
    let artifact = json!([{"name": "x", "location": "l", "ds_type": "d"}]);
    let metadata = json!([{"field_name": "f", "value": "v"}]);
    for (kind, body) in [("artifact", artifact), ("metadata", metadata)] {
        let answer = api.post(&format!("{path}/tasks/{task}/{kind}"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    written.fetch_add(3, Ordering::Relaxed);
}

/// Lets the clients write for a while, each once an interval.
async fn work(api: &Api, path: &str, every: Duration, during: Duration, written: &Arc<AtomicUsize>) {
    let (mut clients, began) = (JoinSet::new(), Instant::now());
    for _ in 0..CLIENTS {
        let (api, path, written) = (api.clone(), path.to_owned(), Arc::clone(written));
        clients.spawn(async move {
            let mut pace = interval_at(tokio::time::Instant::now(), every);
            while began.elapsed() < during {
                pace.tick().await;
                write(&api, &path, &written).await;
            }
        });
    }
    clients.join_all().await;
}

async fn soak(backend: Backend) {
    let place = Place::new("soak", backend);
    let server = Server::start(&place);
    let path = Step::make(&server.api, "F").await.path();
    let written = Arc::new(AtomicUsize::new(0));
    work(&server.api, &path, Duration::from_micros(1), FULL_SPEED, &written).await;
    let (cycles, clients) = (written.load(Ordering::Relaxed) / 3, u32::try_from(CLIENTS).unwrap_or(1));
    let every = FULL_SPEED * clients * 2 / u32::try_from(cycles).unwrap_or(1).max(1);
    let whole = ROUND * u32::try_from(crate::rounds(30)).unwrap_or(u32::MAX).min(10_000);
    let mut looks = Vec::new();
    for _ in 0..4 {
        work(&server.api, &path, every, whole / 4, &written).await;
        looks.push(Use::of(&server, &place, written.load(Ordering::Relaxed)));
        eprintln!("soak {backend:?}: {:?}", looks.last());
    }
    let [first, second, _, last] = looks.as_slice() else { panic!("four looks") };
    assert!(last.resident_mib <= first.resident_mib * 5 / 4 + 32, "memory grows");
    assert!(last.written - first.written > 2 * OPENED_ONCE, "too few writes to see a leak");
    assert!(last.handles <= first.handles + OPENED_ONCE, "handles grow");
    assert!(last.sockets <= first.sockets + OPENED_ONCE, "connections grow");
    let (early, late) = (second.bytes_per_write(first), last.bytes_per_write(second));
    // The files grow in steps of their own.
    let step = 16 * 1024 * 1024 / u64::try_from(last.written - second.written).unwrap_or(1).max(1);
    assert!(late <= early * 3 / 2 + step, "a write takes more room than before: {early} and then {late} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_half_load_nothing_grows_but_what_is_stored_embedded() {
    soak(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_half_load_nothing_grows_but_what_is_stored_on_kafka_and_postgres() {
    soak(Backend::Distributed).await;
}
