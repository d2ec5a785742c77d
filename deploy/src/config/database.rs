//! The PostgreSQL part of the configuration, from a URL or from Metaflow's own variables.

use std::time::Duration;

use daybook_projector::tables::postgres;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Settings, Tables, number};

/// The URL that Metaflow's variables name; `None` where none of them is set.
pub(super) fn url_from_metaflow(env: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let dsn = env("MF_METADATA_DB_DSN").filter(|dsn| dsn.starts_with("postgres"));
    if dsn.is_some() {
        return dsn;
    }
    let part = |name: &str| env(&format!("MF_METADATA_DB_{name}"));
    let named = ["HOST", "PORT", "USER", "PSWD", "NAME"].iter().any(|name| part(name).is_some());
    if !named {
        return None;
    }
    let encode = |text: String| utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
    let or = |name: &str, default: &str| part(name).unwrap_or_else(|| default.to_owned());
    let (user, password) = (encode(or("USER", "postgres")), encode(or("PSWD", "postgres")));
    let (host, port, name) = (or("HOST", "localhost"), or("PORT", "5432"), encode(or("NAME", "postgres")));
    let modes = ["allow", "prefer", "require", "verify-ca", "verify-full"];
    let mode = part("SSL_MODE").filter(|mode| modes.contains(&mode.as_str())).unwrap_or_else(|| "disable".to_owned());
    let mut url = format!("postgres://{user}:{password}@{host}:{port}/{name}?sslmode={mode}");
    for (variable, option) in
        [("SSL_CERT_PATH", "sslcert"), ("SSL_KEY_PATH", "sslkey"), ("SSL_ROOT_CERT_PATH", "sslrootcert")]
    {
        if let Some(path) = part(variable).filter(|path| !path.is_empty()) {
            url.push_str(&format!("&{option}={}", encode(path)));
        }
    }
    Some(url)
}

/// Checks a URL and what belongs to it.
pub(super) fn check(url: &str, given: &Settings, faults: &mut Vec<String>) -> Option<postgres::Config> {
    let schema = given.tables_schema.clone().unwrap_or_else(|| "daybook".to_owned());
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !schema.chars().all(legal)
        || schema.is_empty()
        || schema.len() > 40
        || schema.starts_with(|c: char| c.is_ascii_digit())
    {
        faults.push(format!("--tables-schema is {schema:?}, not 1 to 40 small letters, digits and underscores"));
    }
    let connections_max =
        number(faults, "--tables-connections-max", given.tables_connections_max.as_deref(), 10, 2, 1000);
    let timeout_ms = number(faults, "--tables-timeout-ms", given.tables_timeout_ms.as_deref(), 60_000, 100, 3_600_000);
    match postgres::Config::from_url(url) {
        Ok(connect) => {
            Some(postgres::Config { connect, schema, connections_max, timeout: Duration::from_millis(timeout_ms) })
        }
        Err(error) => {
            faults.push(format!("--tables is not a PostgreSQL URL: {error}"));
            None
        }
    }
}

/// Tables that stand in for faulty ones, so that faults that follow from those are not reported as well.
pub(super) fn stand_in() -> Tables {
    let connect = postgres::Config::from_url("postgres://localhost/postgres").unwrap_or_default();
    let (schema, timeout) = ("daybook".to_owned(), Duration::from_secs(60));
    Tables::Postgres(Box::new(postgres::Config { connect, schema, connections_max: 10, timeout }))
}
