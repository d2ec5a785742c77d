//! Which documents the filtered search leaves out: those with a sensitive term, or with a flag.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Fields,
    definition::{Compat, Definition, indexes::Filtered, terms::Terms},
    terms::{self, SensitiveTerms, hits::TermHits, list::TermList, searched::SearchedTexts},
    values::canonical::sha256_hex,
};

/// What makes a document sensitive.
pub(crate) struct Sensitivity {
    terms: SensitiveTerms,
    texts: SearchedTexts,
    also_exclude: Vec<String>,
    /// The attributes of fields that have other names.
    attributes: BTreeMap<String, String>,
    /// Whether texts of the row are searched beyond those of the document.
    pub(super) reads_row: bool,
    /// A number that differs for another content.
    pub(super) digest: u32,
}

impl Sensitivity {
    /// Of a definition whose lists are resolved; `None` if it filters nothing.
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        let Filtered { terms, fields, also_exclude, match_full_text } = &definition.filtered;
        let list = match terms {
            Some(Terms::Inline(terms)) => TermList::parse(&terms.join("\n")),
            // `Definition::resolved` leaves none.
            Some(Terms::List(_)) | None => TermList::parse(""),
        };
        if terms.is_none() && also_exclude.is_empty() {
            return None;
        }
        let compat = match definition.compat {
            Some(Compat::OpenverseStrict) => terms::Compat::Strict,
            None => terms::Compat::Words,
        };
        let content = format!("{:?}", (list.hash(), compat, fields, also_exclude, match_full_text));
        Some(Self {
            terms: SensitiveTerms::new(&list, compat),
            texts: SearchedTexts::new(fields, *match_full_text),
            also_exclude: also_exclude.clone(),
            attributes: BTreeMap::new(),
            reads_row: *match_full_text,
            digest: sha256_hex(&content).get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0),
        })
    }

    /// Looks for attributes by the names that documents have.
    pub(super) fn rename(&mut self, renamed: &BTreeMap<String, String>) {
        self.texts.rename(renamed);
        for name in &self.also_exclude {
            if let Some(attribute) = renamed.get(name) {
                // The name may also be that of a flag.
                self.attributes.insert(name.clone(), attribute.clone());
            }
        }
    }

    /// Whether a document is left out, given the row that it was made of.
    pub(super) fn holds(&self, row: &Fields, document: &Fields, flags: &BTreeMap<String, bool>) -> bool {
        let is_set = |name: &String| {
            let attribute = self.attributes.get(name).unwrap_or(name);
            flags.get(name) == Some(&true) || document.get(attribute) == Some(&Value::Bool(true))
        };
        self.also_exclude.iter().any(is_set) || self.terms.matches(self.texts.of(row, document)).is_some()
    }

    /// Counts the terms that a document holds.
    pub(crate) fn count(&self, row: &Fields, document: &Fields, hits: &mut TermHits) {
        self.terms.count(self.texts.of(row, document), hits);
    }

    /// The terms that no counted document holds.
    pub(crate) fn without_hit(&self, hits: &TermHits) -> Vec<&str> {
        self.terms.without_hit(hits)
    }
}
