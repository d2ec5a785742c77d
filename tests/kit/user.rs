//! A user with the real, unmodified Metaflow client.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use crate::{
    process::{Place, Server},
    services,
};

/// A user who runs flows against a server.
pub struct User {
    /// Where it works.
    pub home: PathBuf,
    service: String,
}

impl User {
    /// A user of a server.
    pub fn new(place: &Place, server: &Server) -> Self {
        Self { home: place.folder.0.join("user"), service: server.api.base.clone() }
    }

    /// A Python program of `tests/e2e/flows`, set up to talk to the server.
    ///
    /// # Panics
    /// If there is no Python for it.
    pub fn python(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(services::address("DAYBOOK_TEST_PYTHON"));
        let flows = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("e2e/flows");
        std::fs::create_dir_all(&self.home).unwrap_or_else(|e| panic!("cannot make {}: {e}", self.home.display()));
        command.current_dir(&self.home).arg(flows.join(arguments[0])).args(&arguments[1..]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("METAFLOW")) {
            command.env_remove(name);
        }
        command
            .env("METAFLOW_DEFAULT_METADATA", "service")
            .env("METAFLOW_SERVICE_URL", &self.service)
            .env("METAFLOW_DEFAULT_DATASTORE", "local")
            .env("METAFLOW_DATASTORE_SYSROOT_LOCAL", &self.home)
            .env("METAFLOW_HOME", self.home.join("config"))
            .env("METAFLOW_USER", "ann")
            .env("USERNAME", "ann");
        command
    }

    /// Runs one to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let output = self.python(arguments).envs(environment.iter().copied()).output();
        output.unwrap_or_else(|error| panic!("cannot run {arguments:?}: {error}"))
    }

    /// Runs one that must succeed.
    ///
    /// # Panics
    /// If it does not; its output is shown.
    pub fn must(&self, arguments: &[&str]) {
        let output = self.run(arguments, &[]);
        assert!(output.status.success(), "{arguments:?} failed:\n{}", said(&output));
    }
}

/// What a program wrote.
pub fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
