//! The variables of Metaflow's own metadata service, as settings of daybook.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{config::Environment, domains::FromVariables};

/// TLS modes that are passed on.
const MODES: [&str; 5] = ["allow", "prefer", "require", "verify-ca", "verify-full"];

/// Converts a value of Metaflow's into one of Daybook's.
type Convert = fn(&str) -> String;

/// The settings from the variables.
pub(crate) fn variables(environment: &Environment) -> Vec<FromVariables> {
    let converted: [(_, _, Convert); 5] = [
        ("path-prefix", "PATH_PREFIX", str::to_owned),
        ("tables-connections-max", "MF_METADATA_DB_POOL_MAX", str::to_owned),
        ("tables-timeout-ms", "MF_METADATA_DB_TIMEOUT", milliseconds),
        ("run-inactive-cutoff-seconds", "RUN_INACTIVE_CUTOFF_TIME", str::to_owned),
        ("log-level", "LOGLEVEL", level),
    ];
    let converted = converted.into_iter().filter_map(|(flag, variable, convert)| {
        let text = convert(environment.get(variable)?);
        Some(FromVariables { flag, text, variables: variable.to_owned() })
    });
    let made = [
        address(environment, "listen", "MF_METADATA_PORT", Some("8080")),
        address(environment, "migration-listen", "MF_MIGRATION_PORT", None),
        tables(environment),
    ];
    // An empty prefix counts as none, so that the file's applies.
    let is_given = |found: &FromVariables| found.flag != "path-prefix" || !found.text.is_empty();
    converted.filter(is_given).chain(made.into_iter().flatten()).collect()
}

/// Seconds as milliseconds. Anything else is returned unchanged, and the check refuses it.
fn milliseconds(seconds: &str) -> String {
    seconds.parse::<u64>().map_or(seconds.to_owned(), |seconds| seconds.saturating_mul(1000).to_string())
}

/// Python's names of levels.
fn level(level: &str) -> String {
    level.to_lowercase().replace("warning", "warn").replace("critical", "error")
}

/// An address of `MF_METADATA_HOST` and a port; without a default port, only if the port is given.
fn address(
    environment: &Environment,
    flag: &'static str,
    port: &str,
    default_port: Option<&str>,
) -> Option<FromVariables> {
    const HOST: &str = "MF_METADATA_HOST";
    let (host, given_port) = (environment.get(HOST), environment.get(port));
    if given_port.is_none() && (host.is_none() || default_port.is_none()) {
        return None;
    }
    let text = format!("{}:{}", host.unwrap_or("127.0.0.1"), given_port.or(default_port)?);
    Some(FromVariables { flag, text, variables: named(environment, &[HOST, port]) })
}

/// The URL of the tables, if any variable names them.
fn tables(environment: &Environment) -> Option<FromVariables> {
    const DSN: &str = "MF_METADATA_DB_DSN";
    const PARTS: [&str; 5] = [
        "MF_METADATA_DB_HOST",
        "MF_METADATA_DB_PORT",
        "MF_METADATA_DB_USER",
        "MF_METADATA_DB_PSWD",
        "MF_METADATA_DB_NAME",
    ];
    if let Some(dsn) = environment.get(DSN).filter(|dsn| dsn.starts_with("postgres")) {
        return Some(FromVariables { flag: "tables", text: dsn.to_owned(), variables: DSN.to_owned() });
    }
    if PARTS.iter().all(|part| environment.get(part).is_none()) {
        return None;
    }
    let part = |index: usize, default: &'static str| environment.get(PARTS[index]).unwrap_or(default);
    let encoded = |index, default| utf8_percent_encode(part(index, default), NON_ALPHANUMERIC).to_string();
    let (host, port) = (part(0, "localhost"), part(1, "5432"));
    let (user, password, name) = (encoded(2, "postgres"), encoded(3, "postgres"), encoded(4, "postgres"));
    let mode = environment.get("MF_METADATA_DB_SSL_MODE").filter(|mode| MODES.contains(mode)).unwrap_or("disable");
    let mut text = format!("postgres://{user}:{password}@{host}:{port}/{name}?sslmode={mode}");
    for (variable, option) in [
        ("MF_METADATA_DB_SSL_CERT_PATH", "sslcert"),
        ("MF_METADATA_DB_SSL_KEY_PATH", "sslkey"),
        ("MF_METADATA_DB_SSL_ROOT_CERT_PATH", "sslrootcert"),
    ] {
        if let Some(path) = environment.get(variable).filter(|path| !path.is_empty()) {
            text.push_str(&format!("&{option}={}", utf8_percent_encode(path, NON_ALPHANUMERIC)));
        }
    }
    Some(FromVariables { flag: "tables", text, variables: named(environment, &PARTS) })
}

/// The variables that are set.
fn named(environment: &Environment, variables: &[&str]) -> String {
    let set = variables.iter().filter(|variable| environment.get(variable).is_some());
    set.copied().collect::<Vec<_>>().join(", ")
}
