//! Area `metaflow`: settings of Metaflow's API.

use crate::config::{
    Listen,
    Preset::{Nothing, Value},
    Setting, Takes,
    Takes::{OneOf, Text, Whole},
    area, read,
};

const ADDRESS: Takes = Text {
    name: "ADDRESS:PORT|off",
    expected: "an address or a name, and a port, as in 127.0.0.1:8082 or [::1]:8082; or off",
};
const PATH: Takes = Text { name: "PATH", expected: "a path, as in /metadata" };

area! {
    /// The settings of Metaflow's API.
    Settings, "metaflow" {
        migration_listen: Option<Listen> = listen, "migration_listen", "migration-listen", ADDRESS,
            Value("127.0.0.1:8082"),
            "Address and port of the API of Metaflow's migration service. If the default is taken, it is not served.";
        migration_upgrade: bool = on_or_off, "migration_upgrade", "migration-upgrade", OneOf(&["on", "off"]), Value("on"),
            "Whether an upgrade can be begun there.";
        path_prefix: String = prefix, "path_prefix", "path-prefix", PATH,
            Nothing { described: "no prefix", example: "/metadata" },
            "Path that the paths of Metaflow's API begin with.";
        run_inactive_cutoff_seconds: i64 = read::whole, "run_inactive_cutoff_seconds", "run-inactive-cutoff-seconds",
            Whole { min: 1, max: 1_000_000_000 }, Value("360"),
            "Seconds after the last heartbeat at which a run counts as failed.";
    }
}

fn listen(text: &str, setting: &Setting) -> Result<Option<Listen>, String> {
    if text == "off" { Ok(None) } else { read::listen(text, setting).map(Some) }
}

fn on_or_off(text: &str, setting: &Setting) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(setting.takes.expected()),
    }
}

fn prefix(text: &str, setting: &Setting) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let is_path = prefix.starts_with('/') && !prefix.contains("//") && prefix.chars().all(legal);
    if prefix.is_empty() || is_path { Ok(prefix.to_owned()) } else { Err(setting.takes.expected()) }
}
