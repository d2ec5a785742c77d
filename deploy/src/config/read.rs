//! Reads the text of a setting: the types that several areas use. The error says what is expected.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::setting::{Setting, Takes};

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

/// An address and a port.
pub(crate) fn address(text: &str, setting: &Setting) -> Result<SocketAddr, String> {
    text.replace("localhost:", "127.0.0.1:").parse().map_err(|_| setting.takes.expected())
}

/// An address and a port, or nothing.
pub(crate) fn optional_address(text: &str, setting: &Setting) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() { Ok(None) } else { address(text, setting).map(Some) }
}
