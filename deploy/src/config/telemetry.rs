//! Area `telemetry`: what is logged, and how.

use tracing_subscriber::EnvFilter;

use super::setting::{
    Preset::Value,
    Setting,
    Takes::{OneOf, Text},
    area,
};

const FILTER: super::setting::Takes =
    Text { name: "LEVEL", expected: "error, warn, info, debug, trace, or a filter as in info,daybook_projector=debug" };

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// The crates of this program that log.
const CRATES: [&str; 6] =
    ["daybook", "daybook_schemas", "daybook_ingest", "daybook_projector", "daybook_reindexer", "daybook_query_api"];

area! {
    /// What is logged, and how.
    Telemetry, "telemetry" {
        log_format: LogFormat = log_format, "log_format", "log-format", OneOf(&["human", "json"]), Value("human"),
            "Form of log lines, which go to standard error.";
        log_level: String = log_level, "log_level", "log-level", FILTER, Value("info"),
            "Which log lines are written.";
    }
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

fn log_format(text: &str, setting: &Setting) -> Result<LogFormat, String> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(setting.takes.expected()),
    }
}

/// The level of lines that no part of a filter concerns, unless the filter has one.
const BASE: &str = "info";

/// A filter, checked as a whole and part by part: a word that is no level would be taken for the name of a module, and
/// nothing would be logged. Without a level for all lines, nothing else would be logged, errors neither.
fn log_level(text: &str, setting: &Setting) -> Result<String, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    let is_usable = |part: &&str| match part.rsplit_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(part),
    };
    let base = if parts.iter().any(|part| is_level(part)) { None } else { Some(BASE) };
    let filter = base.into_iter().chain(parts.iter().copied()).collect::<Vec<_>>().join(",");
    let is_filter = !parts.is_empty() && parts.iter().all(is_usable) && EnvFilter::try_new(&filter).is_ok();
    if is_filter { Ok(filter) } else { Err(setting.takes.expected()) }
}

/// Whether lines may come from there: the crates of this program have known names, others are not known here.
fn is_target(target: &str) -> bool {
    let name = target.split(['[', ':']).next().unwrap_or_default().trim();
    let is_known = !name.starts_with("daybook") || CRATES.contains(&name);
    !target.is_empty() && !name.is_empty() && is_known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_log_nothing_is_no_filter() {
        let setting = Telemetry::SETTINGS.iter().find(|setting| setting.key == "log_level");
        let setting = setting.unwrap_or_else(|| panic!("there is no such setting"));
        for text in ["info", "WARN", "off", "info,daybook_projector=debug", " info , sqlx::query=debug", "hyper=off"] {
            assert!(log_level(text, setting).is_ok(), "{text}");
        }
        for text in
            ["verbose", "", ",", "info,verbose", "daybook_projector=loud", "=info", "info,daybook_projektor=debug", "6"]
        {
            assert!(log_level(text, setting).is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_has_a_level_for_all_other_lines() {
        let setting = Telemetry::SETTINGS.iter().find(|setting| setting.key == "log_level");
        let setting = setting.unwrap_or_else(|| panic!("there is no such setting"));
        for (text, filter) in [
            ("foo=debug", "info,foo=debug"),
            ("daybook_projector=trace, foo=off", "info,daybook_projector=trace,foo=off"),
            ("foo=debug,warn", "foo=debug,warn"),
            ("off", "off"),
            (" debug ", "debug"),
        ] {
            assert_eq!(log_level(text, setting).as_deref(), Ok(filter), "{text}");
        }
    }

    #[test]
    fn the_crates_are_those_of_this_program() {
        let this = module_path!().split(':').next().unwrap_or_default();
        assert!(CRATES.contains(&this), "{this}");
    }
}
