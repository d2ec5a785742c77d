//! Log lines, to standard error: for people, or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, Telemetry};

/// Starts logging, and logs the warnings about the configuration.
pub(crate) fn start(telemetry: &Telemetry, warnings: &[String]) {
    let filter = EnvFilter::new(&telemetry.log_level);
    // Nobody may read the lines any longer; to complain about that on standard error would panic.
    let lines = fmt::layer().log_internal_errors(false).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match telemetry.log_format {
        LogFormat::Human => registry.with(lines.with_target(false)).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
