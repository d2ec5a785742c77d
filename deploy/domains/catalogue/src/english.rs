//! Terms of English text, as the English analysis of the preset makes them, for indexes and queries alike.
//!
//! Words are cut at the word boundaries of Unicode. Overrides give some words their stem; every other word loses its
//! possessive ending, is put in lower case, is left out if it is a stop word, and is stemmed.

use rust_stemmers::{Algorithm, Stemmer};

use crate::terms::{case::lower_case, words::words};

/// Words and the stems that they get instead of those of the stemmer.
const OVERRIDES: [(&str, &str); 6] = [
    ("animals", "animal"),
    ("animal", "animal"),
    ("anime", "anime"),
    ("animate", "animate"),
    ("animated", "animate"),
    ("universe", "universe"),
];

/// Words that are left out, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Whether overrides see a word before or after it is put in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Overrides come first, so `Animals` misses them (preset `openverse-image`).
    OverridesFirst,
    /// Lower case comes first (preset `openverse-image-2`).
    LowerCaseFirst,
}

/// The analysis of English text.
pub struct English {
    order: Order,
    stemmer: Stemmer,
}

impl English {
    /// Makes the analysis.
    pub fn new(order: Order) -> Self {
        Self { order, stemmer: Stemmer::create(Algorithm::English) }
    }

    /// Returns the terms of a text, in order.
    pub fn terms<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        words(text).filter_map(|(_, word)| self.term(word))
    }

    /// The term of a word; `None` for a stop word.
    fn term(&self, word: &str) -> Option<String> {
        let mut buffer = String::new();
        let seen = match self.order {
            Order::OverridesFirst => word,
            Order::LowerCaseFirst => lower_case(word, &mut buffer),
        };
        if let Some((_, stem)) = OVERRIDES.iter().find(|(from, _)| *from == seen) {
            // The later steps change none of these stems.
            return Some((*stem).to_owned());
        }
        let term = lower_case(without_possessive(word), &mut buffer);
        if STOP_WORDS.binary_search(&term).is_ok() {
            return None;
        }
        Some(self.stemmer.stem(term).into_owned())
    }
}

/// The word without a last `'s`, with any of the three apostrophes.
fn without_possessive(word: &str) -> &str {
    let stem = word.strip_suffix(['s', 'S']);
    stem.and_then(|stem| stem.strip_suffix(['\'', '\u{2019}', '\u{ff07}'])).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(order: Order, cases: &[(&str, &[&str])]) {
        let english = English::new(order);
        for (text, expected) in cases {
            let terms: Vec<String> = english.terms(text).collect();
            assert_eq!(terms, *expected, "{text} with {order:?}");
        }
    }

    #[test]
    fn words_become_stems_in_either_order() {
        for order in [Order::OverridesFirst, Order::LowerCaseFirst] {
            check(
                order,
                &[
                    ("", &[]),
                    ("running", &["run"]),
                    ("Running shoes", &["run", "shoe"]),
                    ("The boats of the harbour", &["boat", "harbour"]),
                    ("AND Or nOt", &[]),
                    ("dog's DOG'S dog’s dog\u{ff07}s", &["dog", "dog", "dog", "dog"]),
                    ("animals animal anime", &["animal", "animal", "anime"]),
                    ("animate animated universe", &["animate", "animate", "universe"]),
                    ("animation universal", &["anim", "univers"]),
                    ("animal's", &["anim"]),
                    ("Atlético são", &["atlético", "são"]),
                    ("12.5 km", &["12.5", "km"]),
                ],
            );
        }
    }

    #[test]
    fn capitals_miss_the_overrides_unless_lower_case_comes_first() {
        let text = "Animals ANIME Universe Animated";
        check(Order::OverridesFirst, &[(text, &["anim", "anim", "univers", "anim"])]);
        check(Order::LowerCaseFirst, &[(text, &["animal", "anime", "universe", "animate"])]);
    }

    #[test]
    fn the_lists_are_as_the_steps_need_them() {
        assert!(STOP_WORDS.is_sorted());
        for (_, stem) in OVERRIDES {
            assert_eq!(without_possessive(stem), stem);
            assert_eq!(stem.to_lowercase(), stem);
            assert!(!STOP_WORDS.contains(&stem), "{stem}");
        }
    }
}
