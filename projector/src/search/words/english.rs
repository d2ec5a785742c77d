//! Stems of English words: words that differ in their endings alone, such as `boat` and `boats`, have one stem.
//!
//! A word loses a possessive ending, and gets the stem that overrides give it, or else that of the stemmer (Porter's
//! second algorithm for English, <https://snowballstem.org/algorithms/english/stemmer.html>).

use rust_stemmers::{Algorithm, Stemmer};
use serde::Serialize;

use super::{Word, is_mark, words};
use crate::search::shape::Name;

/// How English words become stems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct English {
    /// Words in lower case, and the stems that they have instead of those of the stemmer.
    pub overrides: Vec<(Name, Name)>,
    /// Whether a word with capitals has no override.
    pub overrides_see_case: bool,
}

impl English {
    /// The stems of a text, in order.
    pub fn stems(&self, text: &str) -> Vec<String> {
        words(text).filter_map(|word| self.stem(text, &word)).collect()
    }

    /// The stem of a word of a text; `None` for a possessive ending.
    pub fn stem(&self, text: &str, word: &Word) -> Option<String> {
        if is_possessive(text, word) {
            return None;
        }
        let seen = if self.overrides_see_case { &text[word.from..word.to] } else { word.term.as_str() };
        match self.overrides.iter().find(|(from, _)| from == seen) {
            Some((_, stem)) => Some(stem.to_string()),
            None => Some(Stemmer::create(Algorithm::English).stem(&word.term).into_owned()),
        }
    }
}

/// Whether a word is the ending of the one before it, as in `dog's`.
fn is_possessive(text: &str, word: &Word) -> bool {
    let before = text[..word.from].strip_suffix(['\'', '\u{2019}', '\u{ff07}']);
    word.term == "s" && before.is_some_and(|before| before.trim_end_matches(is_mark).ends_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(overrides_see_case: bool) -> English {
        English { overrides: vec![("animals".into(), "animal".into())], overrides_see_case }
    }

    #[test]
    fn words_of_one_stem_are_alike() {
        for (text, stems) in [
            ("", vec![]),
            ("Running boats, boat; ran", vec!["run", "boat", "boat", "ran"]),
            ("the harbours of the Thames", vec!["the", "harbour", "of", "the", "thame"]),
            ("dog's DOG'S dog\u{2019}s dogs", vec!["dog"; 4]),
            ("'s s x-s", vec!["s", "s", "x", "s"]),
            ("Atlético são 12 京", vec!["atlético", "são", "12", "京"]),
            ("cafe\u{301}s caf\u{e9}s cafe\u{301}'s caf\u{e9}'s", vec!["café"; 4]),
        ] {
            assert_eq!(english(false).stems(text), stems, "{text}");
        }
    }

    #[test]
    fn overrides_come_before_the_stemmer() {
        assert_eq!(english(false).stems("animals Animals animal"), ["animal", "animal", "anim"]);
        assert_eq!(english(true).stems("animals Animals"), ["animal", "anim"]);
    }
}
