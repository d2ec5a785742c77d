//! Newtypes for the identifiers of Metaflow's objects, and their form as path segments.
//!
//! Runs and tasks have a number that the server assigns and, if the client chose one, a name. Names are never numeric, so
//! a segment of digits is a number and any other segment is a name.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id! {
    /// Name of a flow.
    FlowId
}
text_id! {
    /// Name of a step, unique in its run.
    StepName
}
number_id! {
    /// Number of a run, from one sequence over all flows; positive.
    RunNumber
}
number_id! {
    /// Number of a task, from one sequence over all runs; positive.
    TaskId
}
number_id! {
    /// Id of a metadata entry; positive, unique over all tasks.
    MetadataId
}

/// How a client names a run or a task in a path: by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NumberOrName {
    /// The server's number.
    Number(i64),
    /// The client's name.
    Name(String),
    /// A number that no row can have.
    OutOfRange,
}

impl NumberOrName {
    /// Reads a decoded path segment. `max` is the greatest number that the kind of object can have, inclusive.
    pub fn parse(segment: &str, max: i64) -> Self {
        if segment.is_empty() || !segment.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Name(segment.to_owned());
        }
        match segment.parse::<i64>() {
            Ok(number) if number <= max => Self::Number(number),
            _ => Self::OutOfRange,
        }
    }
}

/// Greatest run number, inclusive: Metaflow's own service keeps it in a signed 32-bit column.
pub const RUN_NUMBER_MAX: i64 = i32::MAX as i64;
/// Greatest run number that an import may give explicitly, inclusive: half of all.
pub const EXPLICIT_RUN_NUMBER_MAX: i64 = 1 << 30;
/// Greatest task id, inclusive.
pub const TASK_ID_MAX: i64 = i64::MAX;
/// Greatest id of a task or metadata entry that an import may give explicitly, inclusive: half of all.
pub const EXPLICIT_ID_MAX: i64 = 1 << 62;

/// Whether every character is numeric, so that the text cannot be a name: digits of any script, fractions and the like.
/// Ideographs that mean numbers are letters here.
pub fn is_numeric(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_numeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_numbers_and_anything_else_is_a_name() {
        assert_eq!(NumberOrName::parse("17", RUN_NUMBER_MAX), NumberOrName::Number(17));
        assert_eq!(NumberOrName::parse("17a", RUN_NUMBER_MAX), NumberOrName::Name("17a".into()));
        assert_eq!(NumberOrName::parse("-1", RUN_NUMBER_MAX), NumberOrName::Name("-1".into()));
        assert_eq!(NumberOrName::parse("", RUN_NUMBER_MAX), NumberOrName::Name(String::new()));
    }

    #[test]
    fn digits_and_fractions_are_numeric_and_letters_are_not() {
        for text in ["7", "٣", "²", "½", "Ⅷ", "1²"] {
            assert!(is_numeric(text), "{text}");
        }
        for text in ["", "-1", "1.5", "7a", "一"] {
            assert!(!is_numeric(text), "{text}");
        }
    }

    #[test]
    fn numbers_past_the_column_are_out_of_range() {
        assert_eq!(NumberOrName::parse("2147483647", RUN_NUMBER_MAX), NumberOrName::Number(2_147_483_647));
        assert_eq!(NumberOrName::parse("2147483648", RUN_NUMBER_MAX), NumberOrName::OutOfRange);
        assert_eq!(NumberOrName::parse("99999999999999999999", TASK_ID_MAX), NumberOrName::OutOfRange);
    }
}
