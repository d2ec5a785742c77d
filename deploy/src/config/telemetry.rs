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

fn log_level(text: &str, setting: &Setting) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| setting.takes.expected())
}
