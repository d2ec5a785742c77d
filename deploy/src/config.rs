//! The one place that reads configuration: command line, environment, file. All faults are reported at once.

mod database;
mod settings;

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use daybook_ingest::log::kafka::Address;
use daybook_projector::{search::elasticsearch, tables::postgres};
use percent_encoding::percent_decode_str;

pub(crate) use self::settings::Settings;

/// A checked configuration. No `Debug`: it holds secrets.
pub(crate) struct Config {
    pub(crate) roles: Roles,
    pub(crate) log: Log,
    pub(crate) tables: Tables,
    pub(crate) search: Search,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) migration_listen: Option<SocketAddr>,
    pub(crate) path_prefix: String,
    pub(crate) body_bytes_max: usize,
    pub(crate) requests_max: usize,
    pub(crate) wait_max: Duration,
    pub(crate) shutdown_max: Duration,
    pub(crate) run_inactive_cutoff_seconds: i64,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
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

/// Which log.
pub(crate) enum Log {
    Embedded,
    Kafka(Address),
}

/// Which tables.
pub(crate) enum Tables {
    Sqlite,
    Postgres(Box<postgres::Config>),
}

/// Which search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Search {
    Off,
    Embedded,
    Elasticsearch(elasticsearch::Address),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

/// Reads and checks the configuration; `env` looks up a variable. A command that does not serve works with a part of it:
/// how the parts go together is not its business.
pub(crate) fn load(
    flags: &Settings,
    serves: bool,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Config, Vec<String>> {
    let mut faults = Vec::new();
    let mut given = flags.clone();
    given.fill_from(&Settings::from_environment(&env));
    if let Some(path) = given.config.clone() {
        match read_file(&path) {
            Ok(file) => {
                given.fill_from(&Settings::from_metaflow(&env));
                given.fill_from(&file);
            }
            Err(fault) => faults.push(fault),
        }
    } else {
        given.fill_from(&Settings::from_metaflow(&env));
    }
    let config = check(&given, &env, &mut faults);
    // Parts that are faulty by themselves are not compared: what follows from a fault is not another one.
    if serves && faults.is_empty() {
        check_together(&config, &mut faults);
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn read_file(path: &str) -> Result<Settings, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read the file {path}: {e}"))?;
    toml::from_str(&text).map_err(|e| format!("the file {path} is wrong: {}", e.to_string().trim().replace('\n', " ")))
}

/// A number within bounds, or a fault.
fn number<T>(faults: &mut Vec<String>, name: &str, text: Option<&str>, default: T, min: T, max: T) -> T
where
    T: std::str::FromStr + PartialOrd + Copy + std::fmt::Display,
{
    let Some(text) = text else { return default };
    match text.trim().parse::<T>() {
        Ok(value) if value >= min && value <= max => value,
        _ => {
            faults.push(format!("{name} is {text:?}, not a whole number from {min} to {max}"));
            default
        }
    }
}

fn check(given: &Settings, env: &impl Fn(&str) -> Option<String>, faults: &mut Vec<String>) -> Config {
    let roles = check_roles(given.roles.as_deref().unwrap_or("api,projector"), faults);
    let log = check_log(given.log.as_deref().unwrap_or("embedded"), faults);
    let tables = check_tables(given, env, faults);
    let search = check_search(given.search.as_deref(), &tables, faults);
    let default = SocketAddr::from(([127, 0, 0, 1], 8080));
    let listen = address(faults, "--listen", given.listen.as_deref()).unwrap_or(default);
    let migration_listen = address(faults, "--migration-listen", given.migration_listen.as_deref());
    let path_prefix = check_prefix(given.path_prefix.as_deref().unwrap_or_default(), faults);
    let log_format = match given.log_format.as_deref().unwrap_or("human") {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        other => {
            faults.push(format!("--log-format is {other:?}, not human or json"));
            LogFormat::Human
        }
    };
    let mut bounded =
        |name, text: &Option<String>, default, min, max| number(faults, name, text.as_deref(), default, min, max);
    let body_mib = bounded("--body-mib-max", &given.body_mib_max, 64, 1, 1024);
    let requests_max = bounded("--requests-max", &given.requests_max, 4096, 1, 1_000_000);
    let wait_ms = bounded("--wait-ms-max", &given.wait_ms_max, 15_000, 1, 600_000);
    let shutdown_ms = bounded("--shutdown-ms-max", &given.shutdown_ms_max, 20_000, 1, 600_000);
    let cutoff = bounded("--run-inactive-cutoff-seconds", &given.run_inactive_cutoff_seconds, 360, 1, 1_000_000_000);
    Config {
        roles,
        log,
        tables,
        search,
        data_dir: PathBuf::from(given.data_dir.as_deref().unwrap_or("daybook-data")),
        listen,
        migration_listen,
        path_prefix,
        body_bytes_max: usize::try_from(body_mib).unwrap_or(64) * 1024 * 1024,
        requests_max: usize::try_from(requests_max).unwrap_or(4096),
        wait_max: Duration::from_millis(u64::try_from(wait_ms).unwrap_or(15_000)),
        shutdown_max: Duration::from_millis(u64::try_from(shutdown_ms).unwrap_or(20_000)),
        run_inactive_cutoff_seconds: cutoff,
        log_format,
        log_level: given.log_level.clone().unwrap_or_else(|| "info".to_owned()),
    }
}

/// Faults of parts that do not go together.
fn check_together(config: &Config, faults: &mut Vec<String>) {
    match (&config.log, &config.tables) {
        (Log::Embedded, Tables::Postgres(_)) => faults.push(
            "a local log under network tables would be lost with this machine: give --log kafka://… too, or leave --tables \
             (and MF_METADATA_DB_*) out"
                .to_owned(),
        ),
        (Log::Kafka(_), Tables::Sqlite) => faults.push(
            "a log on Kafka needs tables that every instance can reach: give --tables postgres://…".to_owned(),
        ),
        (Log::Embedded, Tables::Sqlite) if !(config.roles.api && config.roles.projector) => {
            faults.push("with an embedded log and tables one process has all roles: leave --roles out".to_owned());
        }
        _ => {}
    }
    if config.search == Search::Embedded && matches!(config.tables, Tables::Postgres(_)) {
        faults.push(
            "an embedded search index is one process' own, and these tables are not: give --search off".to_owned(),
        );
    }
}

fn check_search(text: Option<&str>, tables: &Tables, faults: &mut Vec<String>) -> Search {
    match (text, tables) {
        (None, Tables::Sqlite) | (Some("embedded"), _) => Search::Embedded,
        (None, Tables::Postgres(_)) | (Some("off"), _) => Search::Off,
        (Some(url), _) => match elasticsearch::Address::parse(url) {
            Ok(address) => Search::Elasticsearch(address),
            Err(error) => {
                faults.push(format!("--search: {error}, embedded or off"));
                Search::Off
            }
        },
    }
}

fn check_roles(text: &str, faults: &mut Vec<String>) -> Roles {
    let mut roles = Roles { api: false, projector: false };
    for role in text.split(',').map(str::trim) {
        match role {
            "api" => roles.api = true,
            "projector" => roles.projector = true,
            other => faults.push(format!("--roles names {other:?}; there are api and projector")),
        }
    }
    roles
}

fn check_log(text: &str, faults: &mut Vec<String>) -> Log {
    if text == "embedded" {
        return Log::Embedded;
    }
    match Address::parse(text, |value| percent_decode_str(value).decode_utf8_lossy().into_owned()) {
        Ok(address) => Log::Kafka(address),
        Err(error) => {
            faults.push(format!("--log: {error}, or embedded"));
            // A stand-in, so that faults that follow from this one are not reported as well.
            Log::Kafka(Address::default())
        }
    }
}

fn check_tables(given: &Settings, env: &impl Fn(&str) -> Option<String>, faults: &mut Vec<String>) -> Tables {
    let from_metaflow = database::url_from_metaflow(env);
    match given.tables.clone().or(from_metaflow) {
        None => Tables::Sqlite,
        Some(text) if text == "sqlite" => Tables::Sqlite,
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            database::check(&url, given, faults)
                .map_or_else(database::stand_in, |config| Tables::Postgres(Box::new(config)))
        }
        Some(_) => {
            faults.push("--tables is neither sqlite nor a postgres:// URL".to_owned());
            database::stand_in()
        }
    }
}

fn address(faults: &mut Vec<String>, name: &str, text: Option<&str>) -> Option<SocketAddr> {
    let text = text?;
    match text.replace("localhost:", "127.0.0.1:").parse() {
        Ok(address) => Some(address),
        Err(_) => {
            faults.push(format!("{name} is {text:?}, not an address and port as in 127.0.0.1:8080"));
            None
        }
    }
}

fn check_prefix(text: &str, faults: &mut Vec<String>) -> String {
    let prefix = text.trim_end_matches('/');
    if prefix.is_empty() {
        return String::new();
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if !prefix.starts_with('/') || prefix.contains("//") || !prefix.chars().all(legal) {
        faults.push(format!("--path-prefix is {text:?}, not a path as in /metadata"));
        return String::new();
    }
    prefix.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(pairs: &[(&str, &str)], flags: Settings) -> Result<Config, Vec<String>> {
        load(&flags, true, |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_given_is_the_embedded_default_on_loopback() {
        let config = load_with(&[], Settings::default()).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert!(matches!((config.log, config.tables), (Log::Embedded, Tables::Sqlite)));
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.roles.names(), "api,projector");
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let flags = Settings { log: Some("kafka:/x".into()), listen: Some("nowhere".into()), ..Settings::default() };
        let faults = load_with(&[("DAYBOOK_ROLES", "api,cook"), ("DAYBOOK_REQUESTS_MAX", "-1")], flags).err();
        let faults = faults.unwrap_or_default();
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_metaflow_s() {
        let env = [("DAYBOOK_LISTEN", "127.0.0.1:1"), ("MF_METADATA_PORT", "2"), ("MF_METADATA_HOST", "0.0.0.0")];
        let port =
            |pairs: &[(&str, &str)], flags: Settings| load_with(pairs, flags).map(|config| config.listen.port()).ok();
        let flags = Settings { listen: Some("127.0.0.1:3".into()), ..Settings::default() };
        assert_eq!(port(&env, flags), Some(3));
        assert_eq!(port(&env, Settings::default()), Some(1));
        assert_eq!(port(&env[1..], Settings::default()), Some(2));
    }

    #[test]
    fn metaflow_s_database_variables_name_the_tables() {
        let env = [
            ("MF_METADATA_DB_HOST", "db"),
            ("MF_METADATA_DB_USER", "u"),
            ("MF_METADATA_DB_PSWD", "p@ss/word"),
            ("MF_METADATA_DB_NAME", "n"),
            ("MF_METADATA_DB_SSL_MODE", "require"),
        ];
        let flags = Settings { log: Some("kafka://b:9092".into()), ..Settings::default() };
        let config = load_with(&env, flags).unwrap_or_else(|faults| panic!("{faults:?}"));
        let Tables::Postgres(postgres) = config.tables else { panic!("not PostgreSQL") };
        assert_eq!((postgres.connect.get_host(), postgres.connect.get_database()), ("db", Some("n")));
        let local = load_with(&env, Settings::default()).err().unwrap_or_default();
        assert!(local.iter().any(|fault| fault.contains("local log")), "{local:?}");
    }
}
