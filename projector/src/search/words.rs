//! Words: how a text becomes terms, the same for documents and queries, on every engine.
//!
//! A word is a run of letters and digits, in lower case; everything else only separates. Engines get terms that are made
//! here, so that none has a notion of words of its own.

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
}

/// The words of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (from, first) = rest.by_ref().find(|(_, c)| c.is_alphanumeric())?;
        let (mut to, mut term) = (from, String::new());
        let mut next = Some((from, first));
        while let Some((at, c)) = next {
            to = at + c.len_utf8();
            if term.len() + 4 <= TERM_BYTES_MAX {
                term.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
            }
            next = rest.next_if(|(_, c)| c.is_alphanumeric());
        }
        Some(Word { term, from, to })
    })
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

    #[test]
    fn everything_but_letters_and_digits_separates() {
        assert_eq!(terms("Team:ML-Ops v2.1/Prod_x"), "team ml ops v2 1 prod x");
        assert_eq!(terms("Straße ÉCOLE 日本"), "straße école 日本");
        assert_eq!(terms(" -:./ "), "");
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "é-Ab";
        let places: Vec<_> = words(text).map(|word| &text[word.from..word.to]).collect();
        assert_eq!(places, ["é", "Ab"]);
    }

    #[test]
    fn a_long_word_is_cut_the_same_way_each_time() {
        let long = "ü".repeat(500);
        assert!(terms(&long).len() <= TERM_BYTES_MAX);
        assert_eq!(terms(&terms(&long)), terms(&long));
    }
}
