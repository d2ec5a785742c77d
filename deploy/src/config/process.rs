//! Area `process`: what a process does, where it keeps its data, how long it may take to stop.

use std::{path::PathBuf, time::Duration};

use super::{
    read,
    setting::{
        Preset::Value,
        Setting,
        Takes::{SomeOf, Text, Whole},
        area,
    },
};

const DIRECTORY: super::setting::Takes = Text { name: "DIR", expected: "the path of a directory" };

area! {
    /// The process as a whole.
    Process, "process" {
        roles: Roles = roles, "roles", "roles", SomeOf(&["api", "projector"]), Value("api,projector"),
            "What this process does: answer requests (api), apply the log to the tables (projector), or both.";
        data_dir: PathBuf = read::path, "data_dir", "data-dir", DIRECTORY, Value("daybook-data"),
            "Directory of the embedded log, tables and search index.";
        shutdown_max: Duration = read::milliseconds, "shutdown_ms_max", "shutdown-ms-max", Whole { min: 1, max: 600_000 },
            Value("20000"), "Milliseconds that requests in progress get at shutdown.";
    }
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) api: bool,
    pub(crate) projector: bool,
}

impl Roles {
    pub(crate) fn names(self) -> String {
        let names = [(self.api, "api"), (self.projector, "projector")];
        names.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

fn roles(text: &str, setting: &Setting) -> Result<Roles, String> {
    let mut roles = Roles { api: false, projector: false };
    for role in text.split(',').map(str::trim) {
        match role {
            "api" => roles.api = true,
            "projector" => roles.projector = true,
            _ => return Err(setting.takes.expected()),
        }
    }
    Ok(roles)
}
