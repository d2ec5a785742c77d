//! The variables of Metaflow's own metadata service, as settings of daybook. What is given is passed on as it is, so
//! that the check names the variable if it cannot be used. An empty variable is not given.

use crate::{config::Environment, domains::FromVariables};

/// Converts a value of Metaflow's into one of Daybook's.
type Convert = fn(&str) -> String;

const CONVERTED: [(&str, &str, Convert); 5] = [
    ("path-prefix", "PATH_PREFIX", str::to_owned),
    ("tables-connections-max", "MF_METADATA_DB_POOL_MAX", str::to_owned),
    ("tables-timeout-ms", "MF_METADATA_DB_TIMEOUT", milliseconds),
    ("run-inactive-cutoff-seconds", "RUN_INACTIVE_CUTOFF_TIME", str::to_owned),
    ("log-level", "LOGLEVEL", level),
];
pub(super) const HOST: &str = "MF_METADATA_HOST";
const PORT: &str = "MF_METADATA_PORT";
const MIGRATION_PORT: &str = "MF_MIGRATION_PORT";
const DSN: &str = "MF_METADATA_DB_DSN";
/// Parts of the tables' address: the variable, the key of libpq, and the value if it is not given.
const PARTS: [(&str, &str, Option<&str>); 9] = [
    ("MF_METADATA_DB_HOST", "host", Some("localhost")),
    ("MF_METADATA_DB_PORT", "port", Some("5432")),
    ("MF_METADATA_DB_USER", "user", Some("postgres")),
    ("MF_METADATA_DB_PSWD", "password", Some("postgres")),
    ("MF_METADATA_DB_NAME", "dbname", Some("postgres")),
    ("MF_METADATA_DB_SSL_MODE", "sslmode", Some("disable")),
    ("MF_METADATA_DB_SSL_CERT_PATH", "sslcert", None),
    ("MF_METADATA_DB_SSL_KEY_PATH", "sslkey", None),
    ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "sslrootcert", None),
];

/// The names of all variables that are read.
pub(crate) fn variable_names() -> Vec<&'static str> {
    let converted = CONVERTED.iter().map(|(_, variable, _)| *variable);
    let parts = PARTS.iter().map(|(variable, _, _)| *variable);
    converted.chain([HOST, PORT, MIGRATION_PORT, DSN]).chain(parts).collect()
}

/// The settings from the variables.
pub(crate) fn variables(environment: &Environment) -> Vec<FromVariables> {
    let converted = CONVERTED.into_iter().filter_map(|(flag, variable, convert)| {
        let text = convert(environment.get(variable)?);
        Some(FromVariables { flag, text, variables: variable.to_owned() })
    });
    let made = [
        address(environment, "listen", PORT, "8080"),
        address(environment, "migration-listen", MIGRATION_PORT, "8082"),
        tables(environment),
    ];
    converted.chain(made.into_iter().flatten()).collect()
}

/// Seconds as milliseconds. Anything else is returned unchanged, and the check refuses it.
fn milliseconds(seconds: &str) -> String {
    let number = seconds.trim().parse::<u64>();
    number.map_or_else(|_| seconds.to_owned(), |seconds| seconds.saturating_mul(1000).to_string())
}

/// Python's names of levels.
fn level(level: &str) -> String {
    let level = level.to_lowercase().replace("warning", "warn").replace("critical", "error");
    level.replace("fatal", "error").replace("notset", "trace")
}

/// An address of `MF_METADATA_HOST` and a port, if one of them is given.
fn address(
    environment: &Environment,
    flag: &'static str,
    port: &'static str,
    default_port: &str,
) -> Option<FromVariables> {
    let (host, given_port) = (environment.get(HOST), environment.get(port));
    if host.is_none() && given_port.is_none() {
        return None;
    }
    let (host, port_text) = (host.unwrap_or("127.0.0.1"), given_port.unwrap_or(default_port));
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let text = if is_bare_ipv6 { format!("[{host}]:{port_text}") } else { format!("{host}:{port_text}") };
    Some(FromVariables { flag, text, variables: named(environment, &[HOST, port]) })
}

/// The address of the tables, if any variable names them: the DSN as it is, or libpq's words.
fn tables(environment: &Environment) -> Option<FromVariables> {
    if let Some(dsn) = environment.get(DSN) {
        return Some(FromVariables { flag: "tables", text: dsn.to_owned(), variables: DSN.to_owned() });
    }
    let names = PARTS.map(|(variable, _, _)| variable);
    let variables = named(environment, &names);
    let word = |(variable, key, default): (&str, &str, Option<&str>)| {
        let value = match (key, environment.get(variable).or(default)?) {
            // Metaflow's own word for no TLS.
            ("sslmode", "disabled") => "disable",
            (_, value) => value,
        };
        Some(format!("{key}='{}'", value.replace('\\', r"\\").replace('\'', r"\'")))
    };
    let text = PARTS.into_iter().filter_map(word).collect::<Vec<_>>().join(" ");
    (!variables.is_empty()).then_some(FromVariables { flag: "tables", text, variables })
}

/// The variables that are set.
fn named(environment: &Environment, variables: &[&str]) -> String {
    let set = variables.iter().filter(|variable| environment.get(variable).is_some());
    set.copied().collect::<Vec<_>>().join(", ")
}
