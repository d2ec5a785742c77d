//! Sensitive terms: which records the filtered index leaves out.
//!
//! Text and terms are cut into words; a term matches where its words follow one another in one text. Words are compared
//! in canonical composition and without regard to case, as those of searches are.

pub(crate) mod case;
pub mod hits;
pub mod list;
pub mod searched;
pub(crate) mod words;

use std::{collections::HashMap, ops::ControlFlow};

use crate::terms::{
    case::{folded, lower_case},
    hits::TermHits,
    list::TermList,
    words::words,
};

/// How terms match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// Terms match as sequences of words, without regard to case and canonical form.
    #[default]
    Words,
    /// A term matches only if it is one word in lower case, taken verbatim; every other term matches nothing. Words of
    /// texts are put in lower case, and are exactly what a `terms` query on a text field sees.
    Strict,
}

impl Compat {
    /// What a word is compared by; the result is the word itself or the buffer.
    fn compared<'a>(self, word: &'a str, buffer: &'a mut String) -> &'a str {
        match self {
            Self::Words => folded(word, buffer),
            Self::Strict => lower_case(word, buffer),
        }
    }
}

/// A term that occurs in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'t> {
    /// The term, as the list has it.
    pub term: &'t str,
    /// Its place in the list, from 0.
    pub index: usize,
    /// The place of the text among those that were searched, from 0.
    pub text: usize,
    /// The byte of the text where the match begins.
    pub from: usize,
    /// The byte where it ends, exclusive.
    pub to: usize,
}

/// A compiled term list.
#[derive(Debug)]
pub struct SensitiveTerms {
    terms: Vec<String>,
    compat: Compat,
    /// The terms by their first word, in the order of the list.
    by_first: HashMap<Box<str>, Vec<Candidate>>,
    /// For the first byte of a word, which lengths first words have: one bit a length, the last for all above.
    lengths: Box<[u64; 256]>,
}

/// A term whose first word has been found.
#[derive(Debug)]
struct Candidate {
    index: usize,
    /// The words after the first.
    rest: Box<[Box<str>]>,
}

impl SensitiveTerms {
    /// Compiles a list.
    pub fn new(list: &TermList, compat: Compat) -> Self {
        let terms = list.terms().to_vec();
        let (mut by_first, mut lengths) = (HashMap::<Box<str>, Vec<Candidate>>::new(), Box::new([0; 256]));
        let mut buffer = String::new();
        for (index, term) in terms.iter().enumerate() {
            let mut tokens = Vec::new();
            for (_, word) in words(term) {
                tokens.push(Box::<str>::from(compat.compared(word, &mut buffer)));
            }
            let is_verbatim = tokens.len() == 1 && *tokens[0] == **term;
            if tokens.is_empty() || compat == Compat::Strict && !is_verbatim {
                continue;
            }
            let rest = tokens.split_off(1).into_boxed_slice();
            for first in tokens {
                let (byte, bit) = shape(&first);
                lengths[byte] |= bit;
                by_first.entry(first).or_default().push(Candidate { index, rest: rest.clone() });
            }
        }
        Self { terms, compat, by_first, lengths }
    }

    /// Returns the first match: the earliest in the texts, and of several there the first in the list.
    pub fn matches<'x>(&self, texts: impl Iterator<Item = &'x str>) -> Option<Match<'_>> {
        let mut first = None;
        self.scan(texts, |found| {
            first = Some(found);
            ControlFlow::Break(())
        });
        first
    }

    /// Returns the same as `matches`, and counts every term that occurs once for this record.
    pub fn count<'x>(&self, texts: impl Iterator<Item = &'x str>, hits: &mut TermHits) -> Option<Match<'_>> {
        let (mut first, mut seen) = (None, Vec::new());
        self.scan(texts, |found| {
            if !seen.contains(&found.index) {
                seen.push(found.index);
                hits.add(found.index);
            }
            first.get_or_insert(found);
            ControlFlow::Continue(())
        });
        first
    }

    /// Returns the terms that no counted record holds, in the order of the list.
    pub fn without_hit(&self, hits: &TermHits) -> Vec<&str> {
        let is_unseen = |(index, _): &(usize, &String)| hits.of(*index) == 0;
        self.terms.iter().enumerate().filter(is_unseen).map(|(_, term)| term.as_str()).collect()
    }

    fn scan<'t, 'x>(
        &'t self,
        texts: impl Iterator<Item = &'x str>,
        mut found: impl FnMut(Match<'t>) -> ControlFlow<()>,
    ) {
        let (mut buffer, mut following) = (String::new(), String::new());
        for (number, text) in texts.enumerate() {
            for (from, word) in words(text) {
                for candidate in self.candidates(self.compat.compared(word, &mut buffer)) {
                    let Some(to) = candidate.end(self.compat, text, from + word.len(), &mut following) else {
                        continue;
                    };
                    let index = candidate.index;
                    let term = self.terms[index].as_str();
                    if found(Match { term, index, text: number, from, to }).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// The terms that begin with a word.
    fn candidates(&self, word: &str) -> &[Candidate] {
        let (byte, bit) = shape(word);
        if self.lengths[byte] & bit == 0 {
            return &[];
        }
        self.by_first.get(word).map_or(&[], Vec::as_slice)
    }
}

impl Candidate {
    /// Where the term ends in a text in which its first word ends at `at`; `None` if other words follow.
    fn end(&self, compat: Compat, text: &str, at: usize, buffer: &mut String) -> Option<usize> {
        if self.rest.is_empty() {
            return Some(at);
        }
        let (mut following, mut end) = (words(&text[at..]), at);
        for expected in &self.rest {
            let (from, word) = following.next()?;
            if compat.compared(word, buffer) != &**expected {
                return None;
            }
            end = at + from + word.len();
        }
        Some(end)
    }
}

/// The first byte of a word, and the bit of its length.
fn shape(word: &str) -> (usize, u64) {
    (word.as_bytes().first().copied().unwrap_or(0).into(), 1 << word.len().min(63))
}

#[cfg(test)]
mod tests;
