//! The real services that `deploy/services` starts, and names that no other test uses.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

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

/// A name that no other test of any run has: small letters, digits and underscores.
pub fn unique(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() % 1_000_000_000_000);
    format!("{test}_{now:x}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
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
