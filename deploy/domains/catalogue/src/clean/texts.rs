//! Rules of texts: replacing a text by a part of it, and removing what is not meant to be seen.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::Fields;

/// Replaces a text by the first group of a pattern, where the pattern matches and the group is not empty.
#[derive(Debug, Clone)]
pub struct CaptureRule {
    /// The field, a text.
    pub field: String,
    /// The values that a record must have, by field.
    pub conditions: BTreeMap<String, Value>,
    /// The pattern; it needs a group.
    pub pattern: Regex,
}

/// Makes one blank of each run of white space, trims it at both ends, and removes control characters.
#[derive(Debug, Clone)]
pub struct SanitizeTextRule {
    /// The fields, each a text.
    pub fields: Vec<String>,
}

impl CaptureRule {
    pub(super) fn applies(&self, fields: &Fields) -> bool {
        self.conditions.iter().all(|(field, value)| fields.get(field) == Some(value))
    }

    /// The part that is captured; `None` if that changes nothing.
    pub(super) fn captured(&self, text: &str) -> Option<String> {
        let part = self.pattern.captures(text)?.get(1)?.as_str();
        (!part.is_empty() && part.len() < text.len()).then(|| part.to_owned())
    }
}

/// The text without control characters and superfluous white space; `None` if there are none.
pub(super) fn sanitized(text: &str) -> Option<String> {
    if is_sane(text) {
        return None;
    }
    let mut result = String::with_capacity(text.len());
    let mut has_gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            has_gap = !result.is_empty();
        } else if !c.is_control() {
            if has_gap {
                result.push(' ');
            }
            has_gap = false;
            result.push(c);
        }
    }
    Some(result)
}

fn is_sane(text: &str) -> bool {
    // A blank before the text, so that a blank at its beginning is one too many.
    let mut last = ' ';
    for c in text.chars() {
        let is_superfluous = c.is_whitespace() && (c != ' ' || last == ' ');
        if is_superfluous || c.is_control() {
            return false;
        }
        last = c;
    }
    last != ' ' || text.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wiki_titles() -> CaptureRule {
        let pattern = Regex::new(r"^File:?(.*?)(?:\.(?:jpg|jpeg|png|gif|bmp|svg))?$");
        let pattern = pattern.unwrap_or_else(|e| panic!("{e}"));
        CaptureRule {
            field: "title".to_owned(),
            conditions: [("source".to_owned(), json!("wikimedia"))].into(),
            pattern,
        }
    }

    #[test]
    fn a_capture_replaces_the_text_where_the_pattern_matches() {
        for (title, expected) in [
            ("File:Old pier.jpg", Some("Old pier")),
            ("File:Old pier.JPG", Some("Old pier.JPG")),
            ("FileOld pier.svg", Some("Old pier")),
            ("Old pier.jpg", None),
            ("File:.jpg", None),
            ("File:", None),
            ("", None),
        ] {
            assert_eq!(wiki_titles().captured(title).as_deref(), expected, "{title}");
        }
    }

    #[test]
    fn a_capture_applies_to_records_with_the_given_value() {
        for (source, expected) in [(json!("wikimedia"), true), (json!("flickr"), false), (Value::Null, false)] {
            let fields: Fields = [("source".to_owned(), source.clone())].into_iter().collect();
            assert_eq!(wiki_titles().applies(&fields), expected, "{source}");
        }
        assert!(!wiki_titles().applies(&Fields::new()));
        assert!(CaptureRule { conditions: BTreeMap::new(), ..wiki_titles() }.applies(&Fields::new()));
    }

    #[test]
    fn text_has_single_blanks_and_no_control_characters_afterwards() {
        for (text, expected) in [
            ("Old pier", None),
            ("", None),
            ("Old  pier", Some("Old pier")),
            ("Old\tpier\r\n", Some("Old pier")),
            (" Old pier", Some("Old pier")),
            ("Old\u{a0}pier", Some("Old pier")),
            ("Ol\u{0}d \u{7} pi\u{9b}er", Some("Old pier")),
            (" \n ", Some("")),
        ] {
            assert_eq!(sanitized(text).as_deref(), expected, "{text:?}");
            let again = expected.and_then(sanitized);
            assert_eq!(again, None, "{text:?} a second time");
        }
    }
}
