//! Patterns of values: regular expressions of Rust's `regex`, which differ from PostgreSQL's in two points that are
//! mended here: `.` also matches a newline, and a `{` before anything but a digit stands for itself.

use daybook_query_api::error::ApiError;
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern, at most.
const BYTES_MAX: usize = 1024 * 1024;

/// Compiles a pattern.
pub(super) fn compile(pattern: &str) -> Result<Regex, ApiError> {
    let pattern =
        RegexBuilder::new(&with_literal_braces(pattern)).dot_matches_new_line(true).size_limit(BYTES_MAX).build();
    pattern.map_err(|e| ApiError::invalid("pattern", format!("invalid pattern: {e}")))
}

/// The pattern with each `{` escaped that begins neither a bound nor the name after an escape, as in `\p{Greek}`.
fn with_literal_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                out.push(letter);
                let escaped = letters.next();
                out.extend(escaped);
                if matches!(escaped, Some('p' | 'P' | 'x' | 'u' | 'U' | 'b')) {
                    out.extend(letters.next_if_eq(&'{'));
                }
            }
            '{' if !letters.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn a_brace_that_begins_no_bound_stands_for_itself() {
        for (pattern, value, found) in [
            ("{", "a{b", true),
            ("^x{$", "x{", true),
            ("^x{,2}$", "x{,2}", true),
            ("^x{,2}$", "xx", false),
            ("^[{]a{b}$", "{a{b}", true),
            (r"^\{\\{$", r"{\{", true),
            ("^x{2}$", "xx", true),
            ("^x{1,}y{1,2}$", "xxyy", true),
            (r"^\p{Greek}\x{62}$", "αb", true),
        ] {
            assert_eq!(compile(pattern).map(|pattern| pattern.is_match(value)).ok(), Some(found), "{pattern}");
        }
        for pattern in ["x{2", "{2}", "x{2,1}", "("] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_dot_matches_a_newline_and_anchors_only_the_ends() {
        for (pattern, found) in [("^(?:.*)$", true), ("l1.l2", true), ("l1$", false), ("^l2", false)] {
            assert_eq!(compile(pattern).map(|pattern| pattern.is_match("l1\nl2")).ok(), Some(found), "{pattern}");
        }
    }
}
