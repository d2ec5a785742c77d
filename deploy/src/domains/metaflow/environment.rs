//! The variables of Metaflow's own metadata service, as settings of daybook. What is given is passed on as it is, so
//! that the check names the variable if it cannot be used. An empty variable is not given.

use std::ops::RangeInclusive;

use daybook_projector::tables::postgres;

use crate::{
    config::{CONNECTIONS_MAX, CONNECTIONS_MIN, Environment, Listen},
    domains::FromVariables,
};

/// Converts a value of Metaflow's into one of Daybook's. The error says what is expected.
type Convert = fn(&str) -> Result<String, String>;

const CONVERTED: [(&str, &str, Convert); 6] = [
    ("path-prefix", "PATH_PREFIX", unchanged),
    ("migration-upgrade", "MF_MIGRATION_ENDPOINTS_ENABLED", on_or_off),
    ("tables-connections-max", POOL_MAX, connections),
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
const DB_PORT: &str = "MF_METADATA_DB_PORT";
const POOL_MAX: &str = "MF_METADATA_DB_POOL_MAX";
/// Parts of the tables' address: the variable, the key of libpq, and the value if it is not given.
const PARTS: [(&str, &str, Option<&str>); 9] = [
    ("MF_METADATA_DB_HOST", "host", Some("localhost")),
    (DB_PORT, "port", Some("5432")),
    ("MF_METADATA_DB_USER", "user", Some("postgres")),
    ("MF_METADATA_DB_PSWD", "password", Some("postgres")),
    ("MF_METADATA_DB_NAME", "dbname", Some("postgres")),
    ("MF_METADATA_DB_SSL_MODE", "sslmode", None),
    ("MF_METADATA_DB_SSL_CERT_PATH", "sslcert", None),
    ("MF_METADATA_DB_SSL_KEY_PATH", "sslkey", None),
    ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "sslrootcert", None),
];

const TABLE_NAMES: &str = "the tables have fixed names, in the schema of DAYBOOK_TABLES_SCHEMA";
const ONE_SERVER: &str = "reads and writes go to one server";
const RETRIES: &str = "a start tries again for a minute";
const TOKENS: &str = "Daybook issues no tokens";
/// The variables of Metaflow's services that are not used, and why, or what takes their place.
const UNUSED: [(&str, &str); 21] = [
    ("DB_SCHEMA_NAME", "DAYBOOK_TABLES_SCHEMA names the schema"),
    ("DB_TABLE_NAME_FLOWS", TABLE_NAMES),
    ("DB_TABLE_NAME_RUNS", TABLE_NAMES),
    ("DB_TABLE_NAME_STEPS", TABLE_NAMES),
    ("DB_TABLE_NAME_TASKS", TABLE_NAMES),
    ("DB_TABLE_NAME_METADATA", TABLE_NAMES),
    ("DB_TABLE_NAME_ARTIFACT", TABLE_NAMES),
    ("DB_TRIGGER_CREATE", "the tables have no triggers"),
    ("AIOPG_ECHO", "DAYBOOK_LOG_LEVEL=info,sqlx::query=debug logs statements"),
    ("USE_SEPARATE_READER_POOL", ONE_SERVER),
    ("MF_METADATA_DB_READ_REPLICA_HOST", ONE_SERVER),
    ("MF_METADATA_DB_POOL_MIN", "a connection is opened when it is needed"),
    ("MF_SERVICE_CONNECTION_RETRIES", RETRIES),
    ("MF_SERVICE_CONNECTION_RETRY_WAITTIME_SECONDS", RETRIES),
    ("MF_SERVICE_STARTUP_RETRIES", RETRIES),
    ("MF_SERVICE_STARTUP_WAITTIME_SECONDS", RETRIES),
    ("MF_USER_IAM_ROLE", TOKENS),
    ("MF_REGION", TOKENS),
    ("MF_STS_ENDPOINT", TOKENS),
    ("MF_BASEURL", "no answer holds an absolute URL"),
    ("ORIGIN_TO_ALLOW_CORS_FROM", "a proxy in front can add headers of CORS"),
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

/// Warnings about variables that are not used as they are given.
pub(crate) fn warnings(environment: &Environment) -> Vec<String> {
    let unused = UNUSED.iter().filter(|(variable, _)| environment.get(variable).is_some());
    let unused = unused.map(|(variable, why)| format!("the environment variable {variable} is not used: {why}"));
    let changed = environment.get(POOL_MAX).and_then(|given| Some((given, nearest_connections(given)?)));
    let changed = changed.map(|(given, used)| format!("{POOL_MAX} is {given:?}: Daybook uses {used}"));
    unused.chain(changed).collect()
}

/// A fault of one variable, which holds no secret.
fn fault(variable: &str, value: &str, expected: &str) -> String {
    format!("{variable} is {value:?}: expected {expected}")
}

/// A value without the white space around it. White space alone is no value, and is not the empty one either.
fn trimmed(value: &str) -> &str {
    let inner = value.trim();
    if inner.is_empty() { value } else { inner }
}

/// For values that mean the same here.
fn unchanged(value: &str) -> Result<String, String> {
    Ok(trimmed(value).to_owned())
}

/// 0 is off; every other number is on.
fn on_or_off(value: &str) -> Result<String, String> {
    let number = value.trim().parse::<i64>().map_err(|_| "a whole number; 0 is off".to_owned())?;
    Ok(if number == 0 { "off" } else { "on" }.to_owned())
}

/// Numbers that Metaflow's service takes and Daybook does not become the nearest one.
fn connections(value: &str) -> Result<String, String> {
    nearest_connections(value).map_or_else(|| unchanged(value), |used| Ok(used.to_string()))
}

/// The number of connections in place of one out of range; 0 means any number there.
fn nearest_connections(given: &str) -> Option<u64> {
    let number = given.trim().parse::<u64>().ok()?;
    let wanted = if number == 0 { CONNECTIONS_MAX } else { number };
    Some(wanted.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)).filter(|used| *used != number)
}

fn milliseconds(seconds: &str) -> Result<String, String> {
    let number = seconds.trim().parse::<u64>().ok().filter(|seconds| TIMEOUT_SECONDS.contains(seconds));
    let (min, max) = (TIMEOUT_SECONDS.start(), TIMEOUT_SECONDS.end());
    let expected = || format!("a whole number of seconds from {min} to {max}");
    number.map(|seconds| (seconds * 1000).to_string()).ok_or_else(expected)
}

/// Python's names of levels.
fn level(level: &str) -> Result<String, String> {
    let level = trimmed(level);
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
        // It wins over the parts. The port is a number in any case, as there; any other part may be a text of any kind.
        let port = environment.get(DB_PORT).filter(|port| port.trim().parse::<u16>().is_err());
        let faults = port.map(|_| format!("{DB_PORT} cannot be used: port is no number, or out of range"));
        let (text, variables) = (dsn.to_owned(), DSN.to_owned());
        return Some(FromVariables { flag: "tables", text, variables, faults: faults.into_iter().collect() });
    }
    let variables = set(environment, &PARTS.map(|(variable, _, _)| variable));
    let word = |(variable, key, default): (&str, &str, Option<&str>)| {
        let value = match (key, environment.get(variable).or(default)?) {
            // Metaflow's service then gives no mode: libpq's own rule counts.
            ("sslmode", mode) if mode.trim() == "disabled" => return None,
            ("host" | "port" | "sslmode", value) => trimmed(value),
            (_, value) => value,
        };
        Some(format!("{key}='{}'", value.replace('\\', r"\\").replace('\'', r"\'")))
    };
    let text = PARTS.into_iter().filter_map(word).collect::<Vec<_>>().join(" ");
    let found = postgres::Address::parse_with(&text, &environment.of_libpq());
    let found = found.map_or_else(|found| found, |address| address.check_files());
    // A value may be a password in the wrong place: none is shown.
    let fault = |fault: postgres::Fault| {
        let named = PARTS.iter().filter(|(_, key, _)| fault.keys.contains(key)).map(|(variable, _, _)| *variable);
        let named = set(environment, &named.chain(fault.variables.iter().copied()).collect::<Vec<_>>());
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
