//! Canonical composition (NFC): what whole values and their beginnings are compared by.

use std::{borrow::Cow, collections::HashSet, sync::LazyLock};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark, is_nfc};

use crate::search::document::cut;

/// Longest whole value that is kept, in bytes, inclusive: the longest term of Lucene. Longer ones are cut.
pub const WHOLE_BYTES_MAX: usize = 32_766;
/// No character beyond this has another form.
const OTHER_MAX: char = '\u{2fa1f}';

/// A text in its canonical composition: alike for texts that are canonically equivalent.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// What a whole value is compared by: its composition, as far as values are kept.
pub fn comparable(text: &str) -> Cow<'_, str> {
    match composed(text) {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, WHOLE_BYTES_MAX)),
        Cow::Owned(composed) => Cow::Owned(cut(&composed, WHOLE_BYTES_MAX).to_owned()),
    }
}

/// The beginning of a composed text that has no other form: if the composition of a text begins with the whole, the text
/// itself begins with this.
pub fn invariable(composed: &str) -> &str {
    let end = composed.char_indices().find(|(_, c)| has_other_forms(*c));
    end.map_or(composed, |(end, _)| &composed[..end])
}

/// Whether a character of a composed text may come from other characters.
fn has_other_forms(c: char) -> bool {
    static OF_OTHERS: LazyLock<HashSet<char>> = LazyLock::new(|| {
        let composed = |other: char| other.nfc().next().filter(|c| *c != other);
        ('\u{80}'..=OTHER_MAX).filter_map(composed).collect()
    });
    is_combining_mark(c) || !c.nfd().eq([c]) || OF_OTHERS.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositions_are_cut_alike() {
        // Three times as long when it is composed.
        let note = '\u{1d160}';
        let text = String::from_iter([note; 4_000]);
        assert_eq!(comparable(&text).len(), WHOLE_BYTES_MAX - WHOLE_BYTES_MAX % 4);
        assert_eq!(comparable(&text), comparable(&text.nfd().collect::<String>()));
        let long = "x".repeat(WHOLE_BYTES_MAX + 1);
        assert_eq!(&*comparable(&long), &long[1..]);
        assert_eq!(comparable("cafe\u{301}"), "café");
    }

    #[test]
    fn what_has_no_other_form_is_the_same_in_every_text() {
        for (text, expected) in [
            ("team:ml", "team:ml"),
            ("café", "caf"),
            ("été", ""),
            ("100 Kg", "100 "),
            ("поезд", "поезд"),
            ("x\u{337}", "x"),
            ("東京", "東京"),
            ("한국", ""),
            ("クラス", "クラス"),
        ] {
            assert_eq!(invariable(text), expected);
        }
        for c in ('\0'..=OTHER_MAX).filter(|c| !is_combining_mark(*c)) {
            for text in [format!("a{c}"), format!("{c}\u{301}"), format!("{c}\u{323}\u{301}")] {
                let of_text = composed(&text).into_owned();
                for beginning in of_text.char_indices().map(|(at, c)| &of_text[..at + c.len_utf8()]) {
                    let fixed = invariable(beginning);
                    assert!(text.starts_with(fixed), "{text:?} does not begin with {fixed:?}");
                }
            }
        }
    }
}
