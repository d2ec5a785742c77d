//! The real services that `deploy/services` starts, and names that no other test uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// The address of a service.
///
/// # Panics
/// If the services were not started: the message says how.
pub fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run tests/run, or eval \"$(deploy/services/services.py up)\" before cargo test")
    })
}

/// The `kafka://` URL of the broker.
pub fn kafka() -> String {
    address("DAYBOOK_TEST_KAFKA")
}

/// The `postgres://` URL of the server.
pub fn postgres() -> String {
    address("DAYBOOK_TEST_POSTGRES")
}

/// Where the server listens besides 127.0.0.1: the folder of its socket, and its port.
pub fn postgres_socket() -> (String, u16) {
    let url = postgres();
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
    (address("DAYBOOK_TEST_POSTGRES_SOCKET"), port.unwrap_or_else(|| panic!("no port in {url}")))
}

/// The `http://` URL of Elasticsearch.
pub fn elasticsearch() -> String {
    address("DAYBOOK_TEST_ELASTICSEARCH")
}

/// Runs a statement with psql, and returns what it prints.
///
/// # Panics
/// If it fails.
pub fn sql(postgres: &str, statement: &str) -> String {
    let done = Command::new("psql").args([postgres, "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", statement]).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run psql: {error}"));
    assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A name that no other test of any run has: small letters, digits and underscores.
pub fn unique(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() % 1_000_000_000_000);
    format!("{test}_{now:x}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a Python script of the tests, by its path in `tests/`, to its end.
///
/// # Panics
/// If it fails.
pub fn python(script: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let done = Command::new(address("DAYBOOK_TEST_PYTHON")).arg(path).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run {script}: {error}"));
    assert!(done.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Services of one test's own, which it may kill; stopped when dropped.
pub struct OwnServices {
    home: PathBuf,
    /// Where they keep what the operating system's folder for temporary files would hold.
    temporary: Option<PathBuf>,
    /// Removed after them.
    _folder: Option<Folder>,
    _turn: Option<Turn>,
}

/// The turn of a test that starts an Elasticsearch of its own, until it is dropped. Several that start at a time take so
/// long that what waits for one of them gives up.
struct Turn;

static IS_TAKEN: Mutex<bool> = Mutex::new(false);
static IS_FREE: Condvar = Condvar::new();

impl Turn {
    /// Waits for it.
    fn take() -> Self {
        let is_taken = IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = IS_FREE.wait_while(is_taken, |is_taken| *is_taken);
        *free.unwrap_or_else(PoisonError::into_inner) = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *IS_TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        IS_FREE.notify_one();
    }
}

impl OwnServices {
    /// Starts services, named comma-separated.
    pub fn start(names: &str) -> Self {
        let folder = Folder::new("services");
        let turn = names.contains("elasticsearch").then(Turn::take);
        let own = Self { home: folder.0.clone(), temporary: None, _folder: Some(folder), _turn: turn };
        own.run(&["up", "--only", names]);
        own
    }

    /// Starts services that keep everything in a folder.
    pub fn start_in(folder: &Path, names: &str) -> Self {
        let turn = names.contains("elasticsearch").then(Turn::take);
        let home = folder.join("services");
        let own = Self { home, temporary: Some(folder.to_owned()), _folder: None, _turn: turn };
        own.run(&["up", "--only", names]);
        own
    }

    /// Whether one still runs.
    pub fn runs(&self, name: &str) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.of(name)["pid"])).unwrap_or_default();
        status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }

    /// Ends one at once, as a crash would.
    pub fn kill(&self, name: &str) {
        self.run(&["kill", "--only", name]);
    }

    /// Starts one again on the same data and ports, and waits until it answers.
    pub fn start_again(&self, name: &str) {
        self.run(&["start", "--only", name]);
    }

    /// What is known of a service.
    ///
    /// # Panics
    /// If nothing is.
    pub fn of(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.home.join("state.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(state[name].is_object(), "no service {name} in {text}");
        state[name].clone()
    }

    /// Where a broker keeps its data.
    pub fn data_of(&self, name: &str) -> PathBuf {
        self.home.join(name).join("data")
    }

    /// Where Elasticsearch keeps the shards of an index, by the index's id.
    pub fn shards_of(&self, index_id: &str) -> PathBuf {
        self.home.join("elasticsearch/data/indices").join(index_id)
    }

    /// The URL of a service.
    pub fn url(&self, name: &str) -> String {
        self.of(name)["url"].as_str().unwrap_or_default().to_owned()
    }

    /// A port of a service.
    pub fn port(&self, name: &str, field: &str) -> u16 {
        self.of(name)[field].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
    }

    fn run(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/services/services.py");
        let mut command = Command::new("python3");
        command.arg(script).args(arguments).env("DAYBOOK_SERVICES_DIR", &self.home);
        command.envs(self.temporary.iter().map(|temporary| ("TMPDIR", temporary)));
        let done = command.output();
        let done = done.unwrap_or_else(|error| panic!("cannot run services.py: {error}"));
        assert!(done.status.success(), "services.py {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for OwnServices {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

/// The port in a URL.
///
/// # Panics
/// If there is none.
pub fn port_of(url: &str) -> u16 {
    let port = url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {url}"))
}

/// A folder of one test, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes an empty folder.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(unique(&format!("daybook_{test}")));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the operating system's to clear away.
        let _left = fs::remove_dir_all(&self.0);
    }
}
