//! Term lists: one term a line.
//!
//! Invariant: the terms are distinct, in the order of the text, and none is blank.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Longest text of a list, in bytes, inclusive.
pub const LIST_BYTES_MAX: usize = 512 << 10;

/// The terms of one revision of a term list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermList {
    terms: Vec<String>,
    hash: String,
}

impl TermList {
    /// Reads a text of one term a line; blank lines, duplicates, carriage returns and a byte order mark are dropped.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let mut seen = HashSet::new();
        let terms = lines.filter(|line| !line.trim().is_empty() && seen.insert(*line));
        let terms: Vec<String> = terms.map(str::to_owned).collect();
        let mut hash = Sha256::new();
        for term in &terms {
            hash.update(term);
            hash.update("\n");
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { terms, hash }
    }

    /// Returns the terms as a text, one a line.
    pub fn text(&self) -> String {
        self.terms.join("\n")
    }

    /// Returns the terms.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// Returns the SHA-256 of the terms with a line feed after each, in hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_duplicates_and_carriage_returns_are_dropped() {
        for (text, expected) in [
            ("", vec![]),
            ("\n \t\r\n\r\n", vec![]),
            ("water\r\nbird\nwater\n\nGrand Union Canal", vec!["water", "bird", "Grand Union Canal"]),
            ("\u{feff}bird\nBird\n bird", vec!["bird", "Bird", " bird"]),
        ] {
            assert_eq!(TermList::parse(text).terms(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_terms_and_not_of_how_they_are_written() {
        let list = TermList::parse("a\r\nb\r\n\r\na");
        assert_eq!(list.hash(), TermList::parse("a\nb\n").hash());
        assert_ne!(list.hash(), TermList::parse("ab").hash());
        assert_ne!(list.hash(), TermList::parse("b\na").hash());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(TermList::parse("\n").hash(), empty);
    }
}
