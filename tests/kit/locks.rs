//! Tables of PostgreSQL that can be read and not written, for as long as a test wants.

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

/// A lock on the tasks' table; it ends when dropped.
pub struct Locked(Child);

impl Locked {
    /// Takes the lock in a schema of a database, and waits until it is held.
    ///
    /// # Panics
    /// If that fails.
    pub fn take(postgres: &str, schema: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.args([postgres, "-AtXq", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn().unwrap_or_else(|error| panic!("cannot run psql: {error}"));
        let script = format!("BEGIN; LOCK TABLE \"{schema}\".tasks IN EXCLUSIVE MODE; SELECT 'held';\n");
        let written = child.stdin.as_mut().map(|stdin| stdin.write_all(script.as_bytes()));
        let said = child.stdout.take().and_then(|stdout| BufReader::new(stdout).lines().next()?.ok());
        assert_eq!(said.as_deref(), Some("held"), "{written:?}");
        Self(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // One that has ended already holds nothing.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
