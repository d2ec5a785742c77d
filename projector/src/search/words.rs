//! Words: how a text becomes terms, the same for documents and queries, on every engine.
//!
//! A word is a run of letters and digits with the marks that stand on them; everything else separates. Each letter of a
//! script that is written without spaces is a word of its own, so that a part of such a text is found as a phrase.
//! Engines get terms that are made here, so that none has a notion of words of its own.
//!
//! A term is the word in canonical composition (NFC) without the difference of case. Invariant: texts that are
//! canonically equivalent, such as the NFC and the NFD form of one text, have the same terms.

pub mod canonical;
pub mod english;
mod scripts;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Raised when texts become other terms or other forms: indexes are then made again.
pub const VERSION: u32 = 3;
/// Longest term, in bytes, inclusive; longer words are cut.
pub const TERM_BYTES_MAX: usize = 128;

/// A word of a text and its place, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The term.
    pub term: String,
    /// Where it begins.
    pub from: usize,
    /// Where it ends, exclusive.
    pub to: usize,
    /// Whether it is one letter of a script that is written without spaces: no longer word begins with it.
    pub alone: bool,
}

/// What a character does to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It belongs to a word, with its neighbours.
    Letter,
    /// It is a word.
    Alone,
    /// It belongs to what stands before it.
    Mark,
    Space,
    Separator,
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            c if c.is_ascii_alphanumeric() => Self::Letter,
            c if c.is_whitespace() => Self::Space,
            c if c.is_ascii() => Self::Separator,
            // Some marks count as alphabetic, so this comes first.
            c if is_mark(c) => Self::Mark,
            c if !c.is_alphanumeric() => Self::Separator,
            c if scripts::is_without_spaces(c) => Self::Alone,
            _ => Self::Letter,
        }
    }
}

/// Whether a character belongs to what stands before it: a mark, or one that is not seen.
pub(super) fn is_mark(c: char) -> bool {
    !c.is_ascii() && (is_combining_mark(c) || is_unseen(c))
}

/// Characters within words that only say how their neighbours are drawn. They are no part of a term.
const fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// The words of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = text.char_indices().map(|(at, c)| (at, at + c.len_utf8(), Class::of(c))).peekable();
    // Whether a mark has nothing to stand on here; then it begins a word.
    let mut is_bare = true;
    std::iter::from_fn(move || {
        loop {
            let (from, mut to, first) = rest.next()?;
            match first {
                Class::Space => is_bare = true,
                Class::Separator => is_bare = false,
                Class::Mark if !is_bare => {}
                Class::Letter | Class::Alone | Class::Mark => {
                    let alone = first == Class::Alone;
                    let belongs = |class: Class| class == Class::Mark || class == Class::Letter && !alone;
                    while let Some((_, end, _)) = rest.next_if(|(_, _, class)| belongs(*class)) {
                        to = end;
                    }
                    let term = term(&text[from..to]);
                    if !term.is_empty() {
                        return Some(Word { term, from, to, alone });
                    }
                }
            }
        }
    })
}

/// The term of a word.
fn term(word: &str) -> String {
    let mut term = folded(word);
    term.truncate(term.floor_char_boundary(TERM_BYTES_MAX));
    term
}

/// A text in canonical composition, without the difference of case and without characters that are not seen.
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = text.nfd().filter(|c| !is_unseen(*c)).flat_map(fold);
    // The dot on an i says nothing: İ is I with it.
    let mut has_dot = false;
    let undotted = folded.filter(|c| {
        if !is_mark(*c) {
            has_dot = matches!(c, 'i' | 'j');
        }
        !(has_dot && *c == '\u{307}')
    });
    undotted.nfc().collect()
}

/// A character without its case. Upper case unites what only lower case tells apart, such as σ and ς, or ß and ss.
fn fold(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The beginning of a text of so many characters, without a word that goes on behind it. Of a word that is longer than
/// its term, the beginning is kept.
pub fn beginning(text: &str, characters_max: usize) -> &str {
    let Some((end, next)) = text.char_indices().nth(characters_max) else { return text };
    let is_cut = |word: &Word| word.from < end && end < word.to;
    match words(&text[..end + next.len_utf8()]).find(is_cut) {
        // Three bytes of a term come from nine of its word, at most.
        Some(word) if end - word.from <= 4 * TERM_BYTES_MAX => &text[..word.from],
        _ => &text[..end],
    }
}

/// The terms of a text, separated by spaces: what engines index.
pub fn terms(text: &str) -> String {
    let mut terms = String::with_capacity(text.len());
    for word in words(text) {
        if !terms.is_empty() {
            terms.push(' ');
        }
        terms.push_str(&word.term);
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decomposed(text: &str) -> String {
        text.nfd().collect()
    }

    #[test]
    fn everything_but_letters_and_digits_separates() {
        assert_eq!(terms("Team:ML-Ops v2.1/Prod_x"), "team ml ops v2 1 prod x");
        assert_eq!(terms("ÉCOLE Ünï"), "école ünï");
        assert_eq!(terms(" -:./ "), "");
    }

    #[test]
    fn case_is_folded() {
        for (one, other) in [
            ("Straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("ΟΔΟΣ", "οδος"),
            ("οδός", "ΟΔΌΣ"),
            ("İstanbul", "istanbul"),
            ("Ǆ", "ǆ"),
            ("ﬁne", "FINE"),
            ("ᾳ", "ΑΙ"),
            ("ѝ", "Ѝ"),
        ] {
            assert_eq!(terms(one), terms(other), "{one} {other}");
            assert_eq!(terms(&decomposed(one)), terms(other), "{one} {other}");
        }
    }

    #[test]
    fn marks_belong_to_their_words() {
        assert_eq!(terms("cafe\u{301}s"), "cafés");
        assert_eq!(terms("x\u{337}y q\u{323}\u{307} q\u{307}\u{323}"), "x\u{337}y q\u{323}\u{307} q\u{323}\u{307}");
        assert_eq!(terms("हिन्दी"), "हिन्दी");
        // On a separator, a mark separates, as the precomposed one does; on nothing, it begins a word.
        assert_eq!(terms("a≠b"), "a b");
        assert_eq!(terms("a=\u{338}b"), "a b");
        assert_eq!(terms("\u{301}a"), "\u{301}a");
        // What is not seen does not cut a word and is no part of it.
        assert_eq!(terms("co\u{ad}op می\u{200c}خواهم \u{feff}x"), "coop میخواهم x");
        assert_eq!(terms("\u{200d}\u{fe0f} ☎\u{fe0f}"), "");
    }

    #[test]
    fn without_spaces_each_letter_is_a_word() {
        assert_eq!(terms("東京都v2の"), "東 京 都 v2 の");
        assert_eq!(terms("か\u{3099}ガ"), "が ガ");
        assert_eq!(terms("ภาษา"), "ภ า ษ า");
        assert_eq!(terms("한국 한국"), "한국 한국");
        assert!(words("京").all(|word| word.alone) && !words("v").any(|word| word.alone));
    }

    #[test]
    fn texts_that_are_canonically_equivalent_have_the_same_terms() {
        // No character beyond this has another form.
        for c in (0..0x2_fa20).filter_map(char::from_u32) {
            for text in [format!("{c}"), format!("a{c}b"), format!("-{c}b"), format!("{c}\u{301}京"), format!("i{c}")]
            {
                let (of_nfc, of_nfd) = (text.nfc().collect::<String>(), decomposed(&text));
                if of_nfc != of_nfd {
                    assert_eq!([terms(&of_nfc), terms(&of_nfd)], [terms(&text), terms(&text)], "{text:?}");
                }
            }
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "é-Ab e\u{301}x京";
        let places: Vec<_> = words(text).map(|word| &text[word.from..word.to]).collect();
        assert_eq!(places, ["é", "Ab", "e\u{301}x", "京"]);
    }

    #[test]
    fn a_folded_text_is_composed_and_keeps_its_separators() {
        for (text, expected) in [
            ("By-NC 2.0", "by-nc 2.0"),
            (" Cafe\u{301} NOIR ", " café noir "),
            ("STRASSE straße", "strasse strasse"),
            ("co\u{ad}op", "coop"),
            ("a=\u{338}b", "a≠b"),
        ] {
            assert_eq!(folded(text), expected);
        }
        assert!(folded(&"é".repeat(500)).len() > TERM_BYTES_MAX);
    }

    #[test]
    fn a_beginning_has_no_part_of_a_word() {
        for (text, max, expected) in [
            ("ab café", 7, "ab café"),
            ("ab cafe\u{301}", 7, "ab "),
            ("ab cafe\u{301} x", 8, "ab cafe\u{301}"),
            ("ab cafés", 7, "ab "),
            ("ab co\u{ad}op", 5, "ab "),
            ("ab-cd", 2, "ab"),
            ("東京都", 2, "東京"),
            ("か\u{3099}か\u{3099}", 3, "か\u{3099}"),
            ("", 0, ""),
            ("ab", 0, ""),
        ] {
            assert_eq!(beginning(text, max), expected, "{text:?}");
        }
        let long = "한".nfd().collect::<String>().repeat(200);
        let kept = beginning(&long, 599);
        assert_eq!((kept.chars().count(), terms(kept)), (599, terms(&long)));
    }

    #[test]
    fn a_long_word_is_cut_the_same_way_each_time() {
        for long in ["ü".repeat(500), "q\u{323}\u{307}".repeat(500), format!("q{}", "\u{307}\u{323}".repeat(500))] {
            let cut = terms(&long);
            assert!(cut.len() <= TERM_BYTES_MAX && cut.len() > TERM_BYTES_MAX - 4);
            assert_eq!(terms(&cut), cut);
            assert_eq!(terms(&decomposed(&long)), cut);
        }
    }
}
