//! The only place that reads configuration: command line, environment, file. All faults are reported together.
//!
//! Each area has a file with its settings, declared once, and their checked values. `given` loads the texts from all
//! sources; checking turns them into a [`Config`].

mod environment;
mod example;
mod file;
mod flags;
mod given;
mod http;
mod listen;
mod log;
mod mask;
mod nearest;
mod process;
pub(crate) mod read;
mod rebuild;
mod search;
mod server;
mod setting;
mod show;
mod tables;
mod telemetry;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::tests::Golden;
pub(crate) use self::{
    environment::Environment,
    example::example,
    flags::{Everything, Flags, FromFlags, LogOnly},
    given::{Given, Loaded, Names, Origin, load},
    http::Http,
    listen::Listen,
    log::Log,
    process::Process,
    rebuild::Rebuild,
    search::Search,
    server::Server,
    setting::{Preset, Setting, Takes, area},
    show::Shown,
    tables::{CONNECTIONS_MAX, CONNECTIONS_MIN, Tables},
    telemetry::{LogFormat, Telemetry},
};
use self::{log::LogSettings, rebuild::RebuildSettings, search::SearchSettings, tables::TablesSettings};
use crate::domains;

/// A checked configuration. No `Debug`: it holds passwords.
pub(crate) struct Config {
    pub(crate) process: Process,
    pub(crate) log: Log,
    pub(crate) tables: Tables,
    pub(crate) search: Search,
    pub(crate) rebuild: Rebuild,
    pub(crate) http: Http,
    pub(crate) telemetry: Telemetry,
    pub(crate) domains: domains::Settings,
    pub(crate) names: Names,
}

impl Config {
    /// What gives the address of the tables, as messages name it.
    pub(crate) fn name_of_tables(&self) -> String {
        match &self.tables {
            Tables::Sqlite => self.names.of("data-dir").to_owned(),
            Tables::Postgres(postgres) => {
                let variables = postgres.address.variables();
                std::iter::once(self.names.of("tables")).chain(variables).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// The configuration that opening the log needs.
pub(crate) struct LogConfig {
    pub(crate) process: Process,
    pub(crate) log: Log,
    pub(crate) telemetry: Telemetry,
}

/// All settings, area by area.
pub(crate) fn settings() -> impl Iterator<Item = &'static Setting> {
    let areas = [
        Process::SETTINGS,
        LogSettings::SETTINGS,
        TablesSettings::SETTINGS,
        SearchSettings::SETTINGS,
        RebuildSettings::SETTINGS,
        Http::SETTINGS,
        Telemetry::SETTINGS,
    ];
    areas.into_iter().flatten().chain(domains::settings())
}

/// Checks all settings.
pub(crate) fn check(loaded: &Loaded) -> Result<Config, Vec<String>> {
    let (given, mut faults) = (&loaded.given, loaded.faults.clone());
    let process = Process::check(given, &mut faults);
    let log = LogSettings::check(given, &mut faults);
    let tables = Tables::check(given, &mut faults);
    let search = SearchSettings::check(given, &mut faults);
    let rebuild = RebuildSettings::check(given, &mut faults);
    let http = Http::check(given, &mut faults);
    let telemetry = Telemetry::check(given, &mut faults);
    let domains = domains::Settings::check(given, &mut faults);
    let config = (|| {
        let (log, search) = (log?.url, search?.url);
        Some(Config {
            process: process?,
            log,
            tables: tables?,
            search,
            rebuild: rebuild?.checked(),
            http: http?,
            telemetry: telemetry?,
            domains: domains?,
            names: given.names(),
        })
    })();
    // Settings are compared only if each is valid by itself: one fault must not cause a second one.
    match config {
        Some(config) if faults.is_empty() => {
            check_together(&config, given, &mut faults);
            if faults.is_empty() { Ok(config) } else { Err(faults) }
        }
        _ => Err(faults),
    }
}

/// Checks the settings that opening the log needs. Faults of other areas do not matter.
pub(crate) fn check_log(loaded: &Loaded) -> Result<LogConfig, Vec<String>> {
    let (given, mut faults) = (&loaded.given, loaded.faults.clone());
    let process = Process::check(given, &mut faults);
    let log = LogSettings::check(given, &mut faults);
    let telemetry = Telemetry::check(given, &mut faults);
    match (process, log, telemetry) {
        (Some(process), Some(log), Some(telemetry)) if faults.is_empty() => {
            Ok(LogConfig { process, log: log.url, telemetry })
        }
        _ => Err(faults),
    }
}

/// Adds the faults of settings that do not fit together.
fn check_together(config: &Config, given: &Given, faults: &mut Vec<String>) {
    let roles = config.process.roles;
    let origin = |flag| settings().find(|it| it.flag == flag).map_or(Origin::Default, |setting| given.origin(setting));
    match (&config.log, &config.tables) {
        (Log::Embedded, Tables::Postgres(_)) => faults.push(format!(
            "a local log under network tables (--tables, from {}) would be lost with this machine: give --log kafka://… \
             too, or leave the tables out",
            origin("tables")
        )),
        (Log::Kafka(_), Tables::Sqlite) => faults
            .push("a log on Kafka needs tables that every instance can reach: give --tables postgres://…".to_owned()),
        (Log::Embedded, Tables::Sqlite) if !(roles.api && roles.projector) => {
            faults.push("with an embedded log and tables one process has all roles: leave --roles out".to_owned());
        }
        _ => {}
    }
    if config.search == Search::Embedded && matches!(config.tables, Tables::Postgres(_)) {
        faults.push(
            "an embedded search index belongs to one process, and tables on PostgreSQL are shared: give --search off"
                .to_owned(),
        );
    }
}
