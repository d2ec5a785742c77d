//! How many records hold each term of a list.
//!
//! Counts of several lanes merge in any order to the same counts. They belong to one revision of a list: merging those
//! of two lists means nothing.

use serde::{Deserialize, Serialize};

/// The number of records that hold a term, by the term's place in its list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TermHits {
    records: Vec<u64>,
}

impl TermHits {
    /// Returns how many records hold the term at a place of the list.
    pub fn of(&self, index: usize) -> u64 {
        self.records.get(index).copied().unwrap_or(0)
    }

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &Self) {
        self.reach(other.records.len());
        for (count, added) in self.records.iter_mut().zip(&other.records) {
            *count += added;
        }
    }

    pub(super) fn add(&mut self, index: usize) {
        self.reach(index + 1);
        self.records[index] += 1;
    }

    fn reach(&mut self, length: usize) {
        if self.records.len() < length {
            self.records.resize(length, 0);
        }
    }
}
