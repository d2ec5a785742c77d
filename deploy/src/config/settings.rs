//! Settings as they are given, unchecked, and where they may come from.

use clap::Args;
use serde::Deserialize;

const LOG_HELP: &str =
    "The log: embedded, or kafka://host:9092[,host:9092][/prefix][?librdkafka.option=value]. [default: embedded]";
const TABLES_HELP: &str =
    "The tables: sqlite, or postgres://user:password@host:port/database[?sslmode=mode]. [default: sqlite]";
const SEARCH_HELP: &str = "Search: embedded (with sqlite tables), http[s]://[user:password@]host:port[/prefix] for Elasticsearch, or off. \
     [default: embedded with sqlite tables, else off]";

/// Settings as they are given. Every field is also `DAYBOOK_<NAME>` in the environment and a key of the TOML file.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// A TOML file with these settings, named as here with underscores.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// What this process does: api, projector, or both. [default: api,projector]
    #[arg(long, global = true)]
    pub(crate) roles: Option<String>,
    /// The log. The help text is not a doc comment, as rustdoc would take its brackets for links.
    #[arg(long, global = true, value_name = "URL", help = LOG_HELP)]
    pub(crate) log: Option<String>,
    /// The tables.
    #[arg(long, global = true, value_name = "URL", help = TABLES_HELP)]
    pub(crate) tables: Option<String>,
    /// Search.
    #[arg(long, global = true, value_name = "URL", help = SEARCH_HELP)]
    pub(crate) search: Option<String>,
    /// The control schema in PostgreSQL; generations' schemas begin with it. [default: daybook]
    #[arg(long, global = true)]
    pub(crate) tables_schema: Option<String>,
    /// Connections to PostgreSQL for reading, at most. [default: 10]
    #[arg(long, global = true)]
    pub(crate) tables_connections_max: Option<String>,
    /// Milliseconds that a statement may take. [default: 60000]
    #[arg(long, global = true)]
    pub(crate) tables_timeout_ms: Option<String>,
    /// Where the embedded log and tables are kept. [default: ./daybook-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Address and port of the API. [default: 127.0.0.1:8080]
    #[arg(long, global = true)]
    pub(crate) listen: Option<String>,
    /// Address and port of the API of Metaflow's migration service. [default: not served]
    #[arg(long, global = true)]
    pub(crate) migration_listen: Option<String>,
    /// What the paths of Metaflow's API begin with. [default: nothing]
    #[arg(long, global = true)]
    pub(crate) path_prefix: Option<String>,
    /// Largest request body, in MiB. [default: 64]
    #[arg(long, global = true)]
    pub(crate) body_mib_max: Option<String>,
    /// Requests worked on at once; more are answered 503. [default: 4096]
    #[arg(long, global = true)]
    pub(crate) requests_max: Option<String>,
    /// Milliseconds that a request may wait for the tables. [default: 15000]
    #[arg(long, global = true)]
    pub(crate) wait_ms_max: Option<String>,
    /// Milliseconds that requests under way get at shutdown. [default: 20000]
    #[arg(long, global = true)]
    pub(crate) shutdown_ms_max: Option<String>,
    /// Seconds after the last heartbeat at which a run counts as failed. [default: 360]
    #[arg(long, global = true)]
    pub(crate) run_inactive_cutoff_seconds: Option<String>,
    /// How log lines look: human or json. [default: human]
    #[arg(long, global = true)]
    pub(crate) log_format: Option<String>,
    /// Which log lines are shown: error, warn, info, debug, or a filter as in info,daybook_projector=debug. [default: info]
    #[arg(long, global = true)]
    pub(crate) log_level: Option<String>,
}

macro_rules! for_each_setting {
    ($macro:ident) => {
        $macro!(
            config,
            roles,
            log,
            tables,
            search,
            tables_schema,
            tables_connections_max,
            tables_timeout_ms,
            data_dir,
            listen,
            migration_listen,
            path_prefix,
            body_mib_max,
            requests_max,
            wait_ms_max,
            shutdown_ms_max,
            run_inactive_cutoff_seconds,
            log_format,
            log_level
        )
    };
}

impl Settings {
    /// Takes what is not given yet from settings that count less.
    pub(crate) fn fill_from(&mut self, other: &Self) {
        macro_rules! fill {
            ($($name:ident),*) => {
                $(if self.$name.is_none() { self.$name.clone_from(&other.$name); })*
            };
        }
        for_each_setting!(fill);
    }

    /// The `DAYBOOK_*` variables.
    pub(crate) fn from_environment(env: &impl Fn(&str) -> Option<String>) -> Self {
        macro_rules! read {
            ($($name:ident),*) => {
                Self { $($name: env(&format!("DAYBOOK_{}", stringify!($name).to_uppercase())),)* }
            };
        }
        for_each_setting!(read)
    }

    /// Metaflow's own variables, but for those of the database.
    pub(crate) fn from_metaflow(env: &impl Fn(&str) -> Option<String>) -> Self {
        let (host, port) = (env("MF_METADATA_HOST"), env("MF_METADATA_PORT"));
        let listen = (host.is_some() || port.is_some()).then(|| {
            let host = host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
            format!("{host}:{}", port.as_deref().unwrap_or("8080"))
        });
        let migration_listen =
            env("MF_MIGRATION_PORT").map(|port| format!("{}:{port}", host.as_deref().unwrap_or("127.0.0.1")));
        let seconds = env("MF_METADATA_DB_TIMEOUT");
        Self {
            listen,
            migration_listen,
            path_prefix: env("PATH_PREFIX").filter(|prefix| !prefix.is_empty()),
            tables_connections_max: env("MF_METADATA_DB_POOL_MAX"),
            tables_timeout_ms: seconds
                .map(|text| text.parse::<u64>().map_or(text, |seconds| (seconds * 1000).to_string())),
            run_inactive_cutoff_seconds: env("RUN_INACTIVE_CUTOFF_TIME"),
            log_level: env("LOGLEVEL")
                .map(|level| level.to_lowercase().replace("warning", "warn").replace("critical", "error")),
            ..Self::default()
        }
    }
}
