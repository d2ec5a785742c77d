//! Area `tables`: which tables, and how PostgreSQL is used.

use std::time::Duration;

use daybook_projector::tables::postgres;

use super::{
    given::Given,
    read,
    setting::{
        Preset::Value,
        Setting,
        Takes::{Secret, Text, Whole},
        area,
    },
};

const URL: super::setting::Takes = Secret {
    name: "URL",
    expected: "sqlite, postgres://user:password@host:port/database[?sslmode=mode], or libpq's key=value words",
};
const SCHEMA: super::setting::Takes =
    Text { name: "NAME", expected: "1 to 40 small letters, digits and underscores, not beginning with a digit or pg_" };

/// Connections for reading, at least.
pub(crate) const CONNECTIONS_MIN: u64 = 2;
pub(crate) const CONNECTIONS_MAX: u64 = 1000;

area! {
    /// The tables' settings.
    TablesSettings, "tables" {
        url: Option<String> = url, "url", "tables", URL, Value("sqlite"),
            "The tables: embedded (SQLite), or on PostgreSQL.";
        schema: String = schema, "schema", "tables-schema", SCHEMA, Value("daybook"),
            "The control schema in PostgreSQL; the schemas of generations begin with its name.";
        connections_max: u32 = read::whole, "connections_max", "tables-connections-max", Whole { min: CONNECTIONS_MIN, max: CONNECTIONS_MAX },
            Value("10"), "Connections to PostgreSQL for reading, at most.";
        timeout: Duration = read::milliseconds, "timeout_ms", "tables-timeout-ms", Whole { min: 100, max: 3_600_000 },
            Value("60000"), "Milliseconds that a statement in PostgreSQL may take.";
    }
}

/// Which tables.
pub(crate) enum Tables {
    Sqlite,
    Postgres(Box<postgres::Config>),
}

impl Tables {
    /// Checks what is given.
    pub(crate) fn check(given: &Given, faults: &mut Vec<String>) -> Option<Self> {
        let TablesSettings { url, schema, connections_max, timeout } = TablesSettings::check(given, faults)?;
        let Some(url) = url else { return Some(Self::Sqlite) };
        let (address, found) = match postgres::Address::parse_with(&url, &given.libpq) {
            Ok(address) => (Some(address.clone()), address.check_files()),
            Err(found) => (None, found),
        };
        let setting = TablesSettings::SETTINGS.first()?;
        let fault = |fault: &postgres::Fault| {
            if fault.is_of_variables() {
                return format!("the address of the tables cannot be used: {fault}");
            }
            given.fault(setting, &format!("an address of PostgreSQL: {fault}"))
        };
        faults.extend(found.iter().map(fault));
        let address = address.filter(|_| found.is_empty())?;
        Some(Self::Postgres(Box::new(postgres::Config { address, schema, connections_max, timeout })))
    }
}

/// The URL of PostgreSQL; none for SQLite.
fn url(text: &str, setting: &Setting) -> Result<Option<String>, String> {
    match text {
        "sqlite" => Ok(None),
        url if postgres::is_address(url) => Ok(Some(url.to_owned())),
        _ => Err(setting.takes.expected()),
    }
}

fn schema(text: &str, setting: &Setting) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins_well = text.starts_with(|c: char| !c.is_ascii_digit()) && !text.starts_with("pg_");
    if begins_well && text.chars().all(legal) && text.len() <= 40 {
        Ok(text.to_owned())
    } else {
        Err(setting.takes.expected())
    }
}
