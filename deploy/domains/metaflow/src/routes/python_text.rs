//! Texts as Python shows them in messages.

use std::{fmt::Write as _, sync::LazyLock};

use regex::Regex;

/// What Python escapes beyond ASCII: all that is no letter, mark, digit, punctuation or symbol.
static UNPRINTABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{C}\p{Z}]").expect("a constant pattern that is valid"));

/// A text between quotes, as Python's `repr` writes it.
pub(super) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter == quote => out.extend(['\\', letter]),
            _ if is_printable(letter) => out.push(letter),
            _ => escape(&mut out, letter),
        }
    }
    out.push(quote);
    out
}

fn is_printable(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        _ => !UNPRINTABLE.is_match(letter.encode_utf8(&mut [0; 4])),
    }
}

fn escape(out: &mut String, letter: char) {
    let code = u32::from(letter);
    // Writing into a text cannot fail.
    let _infallible = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

#[cfg(test)]
mod tests {
    use super::quoted;

    /// As Python 3.12 writes them.
    #[test]
    fn texts_are_quoted_and_escaped_as_in_python() {
        for (text, expected) in [
            ("user:ann", "'user:ann'"),
            ("user:o'brien", "\"user:o'brien\""),
            ("a\"b", "'a\"b'"),
            ("a'b\"c", r#"'a\'b"c'"#),
            ("a\\b", r"'a\\b'"),
            ("a\nb\r\t", r"'a\nb\r\t'"),
            ("\u{1}\u{7f}\u{a0}\u{ad}", r"'\x01\x7f\xa0\xad'"),
            ("\u{200b}\u{2028}\u{3000}\u{e000}", r"'\u200b\u2028\u3000\ue000'"),
            ("\u{e0001}\u{10ffff}", r"'\U000e0001\U0010ffff'"),
            ("ü 一 😀 e\u{301}", "'ü 一 😀 e\u{301}'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
