//! Names of collections, fields and tables: a letter `a` to `z`, then at most 58 of `a` to `z`, `0` to `9` and `_`.
//!
//! Statements are made of them, so they are parsed where they enter. Names that the tables need themselves are
//! reserved.

use std::{borrow::Borrow, fmt};

use serde::Serialize;

/// Longest name, in characters, inclusive.
pub const CHARACTERS_MAX: usize = 59;

/// Columns that the tables add themselves, and those that PostgreSQL keeps for itself.
const RESERVED_COLUMNS: [&str; 13] = [
    "record_id",
    "revision",
    "flags",
    "record_partition",
    "record_offset",
    "raw",
    "position",
    "ctid",
    "xmin",
    "xmax",
    "cmin",
    "cmax",
    "tableoid",
];
/// Tables that a generation adds itself.
const RESERVED_TABLES: [&str; 5] = ["takedowns", "counts", "definition", "record_state", "records"];
/// Beginnings of names that belong to Daybook and to the engines.
const RESERVED_PREFIXES: [&str; 3] = ["daybook_", "sqlite_", "pg_"];

/// A name of a collection, field or table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Identifier(String);

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: a letter a-z comes first, then at most 58 of a-z, 0-9 and _")]
pub struct NotAnIdentifier(String);

impl Identifier {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NotAnIdentifier> {
        let is_first = text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_name = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_first && is_name && text.len() <= CHARACTERS_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAnIdentifier(text.chars().take(CHARACTERS_MAX + 1).collect()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tables need a column of this name themselves.
    pub fn is_reserved_column(&self) -> bool {
        is_reserved(&self.0, &RESERVED_COLUMNS)
    }

    /// Whether a generation needs a table of this name itself.
    pub fn is_reserved_table(&self) -> bool {
        is_reserved(&self.0, &RESERVED_COLUMNS) || is_reserved(&self.0, &RESERVED_TABLES)
    }
}

fn is_reserved(name: &str, names: &[&str]) -> bool {
    names.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

// Names are compared as their texts, so maps by name take texts.
impl Borrow<str> for Identifier {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Identifier {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_ascii_within_bounds() {
        let longest = "a".repeat(CHARACTERS_MAX);
        for text in ["a", "image", "a_1", longest.as_str()] {
            assert_eq!(Identifier::parse(text).map(|name| name.to_string()).as_deref(), Ok(text));
        }
        let too_long = "a".repeat(CHARACTERS_MAX + 1);
        for text in ["", "_a", "1a", "A", "a-b", "a b", "\u{e9}", "a\"", "a\0", "a\n", too_long.as_str()] {
            assert!(Identifier::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_column_that_the_typed_table_has_itself_is_reserved() {
        for template in
            [include_str!("../records/sql/typed.postgres.sql"), include_str!("../records/sql/typed.sqlite.sql")]
        {
            let columns = template.lines().filter_map(|line| line.strip_prefix("    ")?.split(' ').next());
            let columns: Vec<&str> = columns.collect();
            assert_eq!(columns, RESERVED_COLUMNS[..columns.len()], "{template}");
        }
    }

    #[test]
    fn names_that_the_tables_need_are_reserved() {
        for (text, is_column, is_table) in [
            ("record_id", true, true),
            ("raw", true, true),
            ("record_offset", true, true),
            ("daybook_x", true, true),
            ("xmin", true, true),
            ("counts", false, true),
            ("daybook", false, false),
            ("title", false, false),
        ] {
            let name = Identifier::parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((name.is_reserved_column(), name.is_reserved_table()), (is_column, is_table), "{text}");
        }
    }
}
