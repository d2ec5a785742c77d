//! Reads the text of a setting: the types that several areas use. The error says what is expected.

use std::{path::PathBuf, time::Duration};

use super::{
    listen::Listen,
    setting::{Setting, Takes},
};

/// A path.
pub(crate) fn path(text: &str, setting: &Setting) -> Result<PathBuf, String> {
    if text.is_empty() { Err(setting.takes.expected()) } else { Ok(PathBuf::from(text)) }
}

/// A whole number within the setting's bounds.
pub(crate) fn whole<T: TryFrom<u64>>(text: &str, setting: &Setting) -> Result<T, String> {
    let (min, max) = match setting.takes {
        Takes::Whole { min, max } => (min, max),
        _ => (0, u64::MAX),
    };
    let number = text.trim().parse::<u64>().ok().filter(|number| (min..=max).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| setting.takes.expected())
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(text: &str, setting: &Setting) -> Result<Duration, String> {
    whole(text, setting).map(Duration::from_millis)
}

/// A duration in hours.
pub(crate) fn hours(text: &str, setting: &Setting) -> Result<Duration, String> {
    whole(text, setting).map(|hours: u64| Duration::from_secs(hours * 3600))
}

/// Where to listen.
pub(crate) fn listen(text: &str, setting: &Setting) -> Result<Listen, String> {
    Listen::parse(text).ok_or_else(|| setting.takes.expected())
}
