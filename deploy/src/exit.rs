//! Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 denied, 5 conflict, 6 verification found
//! differences, 7 unavailable or timed out, 8 cancelled, 130 interrupted.

use std::{error::Error, fmt, io, process::ExitCode};

use anyhow::Result;
use daybook_ingest::log::LogError;
use daybook_projector::{log_check::Mismatch, search::SearchError, tables::TablesError};

use crate::output;

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Conflict = 5,
    Different = 6,
    Unavailable = 7,
    Cancelled = 8,
    Interrupted = 130,
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), source: None }
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// A failure with its cause.
    pub(crate) fn because(code: Code, text: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { code, text: text.into(), source: Some(Box::new(source)) }
    }

    /// All faults of the configuration.
    pub(crate) fn of_faults(faults: Vec<String>) -> Self {
        let count = faults.len();
        let head = if count == 1 { "fault".to_owned() } else { "faults".to_owned() };
        let lines: String = faults.iter().map(|fault| format!("\n  - {fault}")).collect();
        Self::new(Code::Usage, format!("the configuration has {count} {head}:{lines}"))
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Writes an error to standard error, and returns the exit code.
pub(crate) fn report(outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // The reader of the output has closed the pipe. What a server did to its connection is a failure.
    if error.downcast_ref::<Failure>().is_none() && error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let code = code_of(&error);
    if code != Code::Interrupted {
        output::tell(&format!("{error:#}"));
    }
    ExitCode::from(code as u8)
}

fn is_broken_pipe(cause: &(dyn Error + 'static)) -> bool {
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    kind.or(json) == Some(io::ErrorKind::BrokenPipe)
}

fn code_of(error: &anyhow::Error) -> Code {
    let code = |cause: &(dyn Error + 'static)| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.code);
        }
        if let Some(SearchError::Foreign(_) | SearchError::Unusable(_)) = cause.downcast_ref() {
            return Some(Code::Usage);
        }
        if let Some(Mismatch::Partitions { .. }) = cause.downcast_ref() {
            return Some(Code::Usage);
        }
        match cause.downcast_ref() {
            Some(LogError::Denied(_) | LogError::Settings(_)) => return Some(Code::Usage),
            Some(LogError::Unavailable(_)) => return Some(Code::Unavailable),
            _ => {}
        }
        match cause.downcast_ref() {
            Some(TablesError::Unusable(_)) => Some(Code::Usage),
            Some(error) if TablesError::is_retryable(error) => Some(Code::Unavailable),
            _ => None,
        }
    };
    error.chain().find_map(code).unwrap_or(Code::Failed)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_is_found_below_added_context() {
        let missing = Failure::new(Code::NotFound, "no record").into();
        assert_eq!(code_of(&missing), Code::NotFound);
        let log: Result<()> = Err(LogError::Unavailable("no broker".to_owned())).context("cannot open the log");
        assert_eq!(log.err().map(|error| code_of(&error)), Some(Code::Unavailable));
        let denied: Result<()> = Err(LogError::Denied("no such user".to_owned())).context("cannot open the log");
        assert_eq!(denied.err().map(|error| code_of(&error)), Some(Code::Usage));
        let settings: Result<()> = Err(LogError::Settings("retention.ms=1".to_owned())).context("cannot open the log");
        assert_eq!(settings.err().map(|error| code_of(&error)), Some(Code::Usage));
        let damaged: Result<()> = Err(LogError::Damaged("cut off".to_owned())).context("cannot open the log");
        assert_eq!(damaged.err().map(|error| code_of(&error)), Some(Code::Failed));
        let tables: Result<()> = Err(TablesError::Unavailable(String::new())).context("a").context("b");
        assert_eq!(tables.err().map(|error| code_of(&error)), Some(Code::Unavailable));
        let unusable: Result<()> = Err(TablesError::Unusable(String::new())).context("a");
        assert_eq!(unusable.err().map(|error| code_of(&error)), Some(Code::Usage));
        assert_eq!(code_of(&anyhow::anyhow!("anything else")), Code::Failed);
    }
}
