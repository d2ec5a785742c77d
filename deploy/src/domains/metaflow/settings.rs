//! Area `metaflow`: settings of Metaflow's API.

use crate::config::{
    Listen,
    Preset::{Nothing, Value},
    Setting, Takes,
    Takes::{Text, Whole},
    area, read,
};

const ADDRESS: Takes =
    Text { name: "ADDRESS:PORT", expected: "an address or a name, and a port, as in 127.0.0.1:8082 or [::1]:8082" };
const PATH: Takes = Text { name: "PATH", expected: "a path, as in /metadata" };

area! {
    /// The settings of Metaflow's API.
    Settings, "metaflow" {
        migration_listen: Option<Listen> = read::optional_listen, "migration_listen", "migration-listen", ADDRESS,
            Nothing { described: "not served", example: "127.0.0.1:8082" },
            "Address and port of the API of Metaflow's migration service.";
        path_prefix: String = prefix, "path_prefix", "path-prefix", PATH,
            Nothing { described: "no prefix", example: "/metadata" },
            "Path that the paths of Metaflow's API begin with.";
        run_inactive_cutoff_seconds: i64 = read::whole, "run_inactive_cutoff_seconds", "run-inactive-cutoff-seconds",
            Whole { min: 1, max: 1_000_000_000 }, Value("360"),
            "Seconds after the last heartbeat at which a run counts as failed.";
    }
}

fn prefix(text: &str, setting: &Setting) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let is_path = prefix.starts_with('/') && !prefix.contains("//") && prefix.chars().all(legal);
    if prefix.is_empty() || is_path { Ok(prefix.to_owned()) } else { Err(setting.takes.expected()) }
}
