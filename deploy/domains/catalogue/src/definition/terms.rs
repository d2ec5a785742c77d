//! Lists of terms: a reference to a revision of a term list, or terms that the definition holds itself.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::reader::Section;

/// Longest name of a term list, in characters, inclusive.
const NAME_CHARACTERS_MAX: usize = 59;

/// Where terms come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Terms {
    /// A term list.
    List(TermListReference),
    /// These terms.
    Inline(Vec<String>),
}

/// A term list at a revision, such as `sensitive@latest` or `tags-exact@3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermListReference {
    /// The name of the list: a letter a-z, then at most 58 of a-z, 0-9, _ and -.
    pub name: String,
    /// The revision.
    pub revision: TermListRevision,
}

/// The revision of a term list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermListRevision {
    /// The newest one when a refresh is planned.
    Latest,
    /// The one of this number, from 1.
    Number(u64),
}

/// A text that refers to no term list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a term list with a revision, such as sensitive@latest or sensitive@3")]
pub struct NotATermList(String);

impl FromStr for TermListReference {
    type Err = NotATermList;

    fn from_str(text: &str) -> Result<Self, NotATermList> {
        let fault = || NotATermList(text.to_owned());
        let (name, revision) = text.split_once('@').ok_or_else(fault)?;
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= NAME_CHARACTERS_MAX
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let is_number = revision.bytes().all(|byte| byte.is_ascii_digit()) && !revision.starts_with('0');
        let revision = match revision.parse() {
            _ if revision == "latest" => TermListRevision::Latest,
            Ok(number) if is_number => TermListRevision::Number(number),
            _ => return Err(fault()),
        };
        if is_name { Ok(Self { name: name.to_owned(), revision }) } else { Err(fault()) }
    }
}

impl fmt::Display for TermListReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision {
            TermListRevision::Latest => write!(formatter, "{}@latest", self.name),
            TermListRevision::Number(number) => write!(formatter, "{}@{number}", self.name),
        }
    }
}

impl Serialize for TermListReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a reference to a term list, or a list of terms.
pub(super) fn read(section: &Section<'_>, key: &str) -> Option<Terms> {
    match section.get(key)?.is_array() {
        true => section.texts(key).map(Terms::Inline),
        false => section.parsed(key, "not-a-term-list").map(Terms::List),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_list_and_a_revision() {
        for text in ["sensitive@latest", "tags-exact@3", "a@18446744073709551615"] {
            let reference: TermListReference = text.parse().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(reference.to_string(), text);
        }
        for text in ["sensitive", "@3", "a@", "a@0", "a@03", "a@-1", "a@+1", "a@newest", "A@1", "a b@1", "a@1@2", ""] {
            assert!(text.parse::<TermListReference>().is_err(), "{text}");
        }
    }
}
