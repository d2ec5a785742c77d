//! Percentages and durations, read from texts such as `2 %` and `15m`. Both are exact.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

/// Largest percentage, inclusive, in per cent.
const PERCENT_MAX: u64 = 1_000_000;
/// Longest duration, inclusive, in days.
const DAYS_MAX: u64 = 3_660;
/// Units of a duration with their milliseconds, longest first.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A percentage in millionths: 2 % is 20,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

/// A text that is no percentage or no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {expected}")]
pub struct NotAMeasure {
    given: String,
    expected: &'static str,
}

impl NotAMeasure {
    fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.to_owned(), expected }
    }
}

impl Percent {
    /// A percentage of so many millionths.
    pub const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// The percentage in millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Whether `part` is at most this percentage of `whole`.
    pub fn covers(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 1_000_000 <= u128::from(self.0) * u128::from(whole)
    }
}

impl FromStr for Percent {
    type Err = NotAMeasure;

    fn from_str(text: &str) -> Result<Self, NotAMeasure> {
        millionths(text).map(Self).ok_or_else(|| {
            NotAMeasure::new(text, "a percentage such as \"2 %\", with at most 4 digits after the point")
        })
    }
}

fn millionths(text: &str) -> Option<u64> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 4 {
        return None;
    }
    let fraction = digits(fraction)? * 10_u64.pow(4 - u32::try_from(fraction.len()).ok()?);
    let whole = digits(whole).filter(|whole| *whole < PERCENT_MAX || *whole == PERCENT_MAX && fraction == 0)?;
    Some(whole * 10_000 + fraction)
}

/// A number of digits alone: no sign, no blank.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        match format!("{fraction:04}").trim_end_matches('0') {
            "" => write!(formatter, "{whole} %"),
            digits => write!(formatter, "{whole}.{digits} %"),
        }
    }
}

impl Period {
    /// A duration of so many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// The duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Period {
    type Err = NotAMeasure;

    fn from_str(text: &str) -> Result<Self, NotAMeasure> {
        milliseconds(text)
            .map(Self)
            .ok_or_else(|| NotAMeasure::new(text, "a duration such as \"7d\": a number and w, d, h, m, s or ms"))
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    digits(number)?.checked_mul(factor).filter(|milliseconds| *milliseconds <= DAYS_MAX * 86_400_000)
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.into_iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = fits.unwrap_or(("s", 1_000));
        write!(formatter, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact() {
        for (text, millionths, shown) in [
            ("2 %", 20_000, "2 %"),
            ("0%", 0, "0 %"),
            ("0.5 %", 5_000, "0.5 %"),
            ("12.3456%", 123_456, "12.3456 %"),
            ("1000000 %", 10_000_000_000, "1000000 %"),
        ] {
            let percent: Percent = text.parse().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((percent.millionths(), percent.to_string().as_str()), (millionths, shown), "{text}");
        }
        for text in ["", "%", "2", "-2 %", "+2 %", "2.%", ".5 %", "1.23456 %", "1e2 %", "1000001 %", "1000000.1 %"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_percentage_covers_its_part_of_a_whole() {
        let percent = Percent::from_millionths(20_000);
        for (part, whole, expected) in [(2, 100, true), (3, 100, false), (0, 0, true), (1, 0, false), (1, 49, false)] {
            assert_eq!(percent.covers(part, whole), expected, "{part} of {whole}");
        }
        assert!(Percent::from_millionths(1_000_000).covers(u64::MAX, u64::MAX));
    }

    #[test]
    fn durations_have_one_unit() {
        for (text, milliseconds, shown) in [
            ("7d", 604_800_000, "1w"),
            ("15m", 900_000, "15m"),
            ("1s", 1_000, "1s"),
            ("1500ms", 1_500, "1500ms"),
            ("48h", 172_800_000, "2d"),
            ("0s", 0, "0s"),
        ] {
            let period: Period = text.parse().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(period.duration(), Duration::from_millis(milliseconds), "{text}");
            assert_eq!(period.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(period), "{text}");
        }
        for text in ["", "7", "d", "-1d", "1.5h", "1h30m", "7 d", "7D", "1y", "3661d", "99999999999999999999s"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
