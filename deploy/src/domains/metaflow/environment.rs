//! The variables of Metaflow's own metadata service, as settings of daybook. What is given is passed on as it is, so
//! that the check names the variable if it cannot be used. An empty variable is not given.

use std::ops::RangeInclusive;

use daybook_projector::tables::postgres;

use crate::{
    config::{Environment, Listen},
    domains::FromVariables,
};

/// Converts a value of Metaflow's into one of Daybook's. The error says what is expected.
type Convert = fn(&str) -> Result<String, String>;

const CONVERTED: [(&str, &str, Convert); 5] = [
    ("path-prefix", "PATH_PREFIX", unchanged),
    ("tables-connections-max", "MF_METADATA_DB_POOL_MAX", unchanged),
    ("tables-timeout-ms", "MF_METADATA_DB_TIMEOUT", milliseconds),
    ("run-inactive-cutoff-seconds", "RUN_INACTIVE_CUTOFF_TIME", unchanged),
    ("log-level", "LOGLEVEL", level),
];
/// Of `MF_METADATA_DB_TIMEOUT`.
const TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3600;
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
        let given = environment.get(variable)?;
        let (text, faults) = match convert(given) {
            Ok(text) => (text, Vec::new()),
            Err(expected) => (given.to_owned(), vec![fault(variable, given, &expected)]),
        };
        Some(FromVariables { flag, text, variables: variable.to_owned(), faults })
    });
    let made = [
        address(environment, "listen", PORT, "8080"),
        address(environment, "migration-listen", MIGRATION_PORT, "8082"),
        tables(environment),
    ];
    converted.chain(made.into_iter().flatten()).collect()
}

/// A fault of one variable, which holds no secret.
fn fault(variable: &str, value: &str, expected: &str) -> String {
    format!("{variable} is {value:?}: expected {expected}")
}

/// For values that mean the same here.
fn unchanged(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

fn milliseconds(seconds: &str) -> Result<String, String> {
    let number = seconds.trim().parse::<u64>().ok().filter(|seconds| TIMEOUT_SECONDS.contains(seconds));
    let (min, max) = (TIMEOUT_SECONDS.start(), TIMEOUT_SECONDS.end());
    let expected = || format!("a whole number of seconds from {min} to {max}");
    number.map(|seconds| (seconds * 1000).to_string()).ok_or_else(expected)
}

/// Python's names of levels.
fn level(level: &str) -> Result<String, String> {
    Ok(match level.to_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        "notset" => "trace".to_owned(),
        "error" | "warn" | "info" | "debug" | "trace" => level.to_lowercase(),
        // The check of the setting shows it as it was given.
        _ => level.to_owned(),
    })
}

/// An address of `MF_METADATA_HOST` and a port, if one of them is given.
fn address(
    environment: &Environment,
    flag: &'static str,
    port: &'static str,
    default_port: &str,
) -> Option<FromVariables> {
    let (given_host, given_port) = (environment.get(HOST).map(str::trim), environment.get(port).map(str::trim));
    if given_host.is_none() && given_port.is_none() {
        return None;
    }
    let (host, port_text) = (given_host.unwrap_or("127.0.0.1"), given_port.unwrap_or(default_port));
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
    let mut faults = Vec::new();
    if let Some(given) = given_host
        && (given.is_empty() || Listen::parse(&format!("{host}:1")).is_none())
    {
        faults.push(fault(HOST, given, "an address or a name, as in 127.0.0.1, ::1 or localhost"));
    }
    if let Some(given) = given_port
        && Listen::parse(&format!("x:{given}")).is_none()
    {
        faults.push(fault(port, given, "a whole number from 0 to 65535"));
    }
    Some(FromVariables {
        flag,
        text: format!("{host}:{port_text}"),
        variables: set(environment, &[HOST, port]),
        faults,
    })
}

/// The address of the tables, if any variable names them: the DSN as it is, or libpq's words.
fn tables(environment: &Environment) -> Option<FromVariables> {
    if let Some(dsn) = environment.get(DSN) {
        let (text, variables) = (dsn.to_owned(), DSN.to_owned());
        return Some(FromVariables { flag: "tables", text, variables, faults: Vec::new() });
    }
    let variables = set(environment, &PARTS.map(|(variable, _, _)| variable));
    let word = |(variable, key, default): (&str, &str, Option<&str>)| {
        let value = match (key, environment.get(variable).or(default)?) {
            // Metaflow's own word for no TLS.
            ("sslmode", "disabled") => "disable",
            (_, value) => value,
        };
        Some(format!("{key}='{}'", value.replace('\\', r"\\").replace('\'', r"\'")))
    };
    let text = PARTS.into_iter().filter_map(word).collect::<Vec<_>>().join(" ");
    let found = postgres::Address::parse(&text).map_or_else(|found| found, |address| address.check_files());
    // A value may be a password in the wrong place: none is shown.
    let fault = |fault: postgres::Fault| {
        let named = PARTS.iter().filter(|(_, key, _)| fault.keys.contains(key)).map(|(variable, _, _)| *variable);
        let named = set(environment, &named.collect::<Vec<_>>());
        let named = if named.is_empty() { &variables } else { &named };
        format!("{named} cannot be used: {fault}")
    };
    let faults = found.into_iter().map(fault).collect();
    (!variables.is_empty()).then_some(FromVariables { flag: "tables", text, variables, faults })
}

/// Those of some variables that are set.
fn set(environment: &Environment, variables: &[&str]) -> String {
    let set = variables.iter().filter(|variable| environment.get(variable).is_some());
    set.copied().collect::<Vec<_>>().join(", ")
}
