//! The term lists that a definition refers to.
//!
//! `@latest` means the newest revision when the definition is applied: the server writes that number into the table
//! `lists` of what it records. So a recorded definition always means the same, and a list that changes makes another
//! revision of the definitions that follow it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Definition, Fault,
    clean::RuleKind,
    reader::Section,
    terms::{TermListReference, TermListRevision, Terms},
};
use crate::terms::list::TermList;

/// The key of the revisions that `@latest` means.
pub(super) const LISTS: &str = "lists";

/// Term lists by name and revision.
pub type TermLists = BTreeMap<(String, u64), TermList>;

/// Reads the revisions that `@latest` means, by name of the list.
pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, u64> {
    let section = root.section(LISTS);
    section.entries().filter_map(|(name, _)| Some((name.to_owned(), section.whole(name, 1..=u64::MAX >> 1)?))).collect()
}

/// The revision that a reference means; `None` for the newest one, where that is not known.
fn number(list: &TermListReference, latest: &BTreeMap<String, u64>) -> Option<u64> {
    match list.revision {
        TermListRevision::Latest => latest.get(&list.name).copied(),
        TermListRevision::Number(number) => Some(number),
    }
}

/// The list that a reference means, if it is there.
fn found<'l>(list: &TermListReference, latest: &BTreeMap<String, u64>, lists: &'l TermLists) -> Option<&'l TermList> {
    lists.get(&(list.name.clone(), number(list, latest)?))
}

impl Definition {
    /// The lists that it refers to, each with the path of the value that does.
    fn references(&self) -> Vec<(String, &TermListReference)> {
        let mut found = Vec::new();
        for rule in &self.clean.rules {
            if let RuleKind::Tags { deny_exact, deny_part, .. } = &rule.kind {
                for (key, terms) in [("deny_exact", deny_exact), ("deny_part", deny_part)] {
                    if let Terms::List(list) = terms {
                        found.push((format!("clean.{}.{key}", rule.id), list));
                    }
                }
            }
        }
        if let Some(Terms::List(list)) = &self.filtered.terms {
            found.push(("filtered.terms".to_owned(), list));
        }
        found
    }

    /// The names of the lists of which it takes the newest revision.
    pub fn followed(&self) -> Vec<&str> {
        let references = self.references().into_iter().map(|(_, list)| list);
        let mut names: Vec<&str> = references
            .filter(|list| list.revision == TermListRevision::Latest)
            .map(|list| list.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The lists that it needs, by name and revision; `None` for the newest one, where that is not known.
    pub fn needed(&self) -> Vec<(&str, Option<u64>)> {
        let references = self.references().into_iter().map(|(_, list)| list);
        references.map(|list| (list.name.as_str(), number(list, &self.lists))).collect()
    }

    /// The same definition, in which `@latest` means these revisions.
    pub fn with_lists(&self, newest: &BTreeMap<String, u64>) -> Result<Self, Vec<Fault>> {
        let mut given = self.trees.given.as_object().cloned().unwrap_or_default();
        let followed =
            self.followed().into_iter().filter_map(|name| Some((name.to_owned(), (*newest.get(name)?).into())));
        let lists: Map<String, Value> = followed.collect();
        match lists.is_empty() {
            true => drop(given.remove(LISTS)),
            false => drop(given.insert(LISTS.to_owned(), Value::Object(lists))),
        }
        Self::parse_json(&Value::Object(given))
    }

    /// The same definition with the terms in place of the lists; a fault for each list that is not there.
    pub fn resolved(mut self, lists: &TermLists) -> Result<Self, Vec<Fault>> {
        let missing = |(path, list): (String, &TermListReference)| {
            let is_there = found(list, &self.lists, lists).is_some();
            let detail = format!("the term list {list} does not exist");
            (!is_there).then_some(Fault { field: path, code: "no-term-list", detail, line: None })
        };
        let faults: Vec<Fault> = self.references().into_iter().filter_map(missing).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let latest = self.lists.clone();
        let resolve = |terms: &mut Terms| {
            let Terms::List(list) = terms else { return };
            if let Some(found) = found(list, &latest, lists) {
                *terms = Terms::Inline(found.terms().to_vec());
            }
        };
        for rule in &mut self.clean.rules {
            if let RuleKind::Tags { deny_exact, deny_part, .. } = &mut rule.kind {
                resolve(deny_exact);
                resolve(deny_part);
            }
        }
        self.filtered.terms.iter_mut().for_each(resolve);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\ntags = 'json'\n[clean]\n\
        rules = [{ id = 'tags', kind = 'tags', field = 'tags', deny_exact = 'bad@2' }]\n\
        [filtered]\nterms = 'sensitive@latest'\nfields = ['id']\n";

    fn definition() -> Definition {
        Definition::parse(TEXT).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn latest_means_the_revision_that_was_the_newest_one() {
        let newest = BTreeMap::from([("sensitive".to_owned(), 3), ("bad".to_owned(), 9)]);
        let pinned = definition().with_lists(&newest).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(pinned.needed(), [("bad", Some(2)), ("sensitive", Some(3))]);
        assert_eq!(pinned.followed(), ["sensitive"]);
        assert!(pinned.canonical_json().contains(r#""lists":{"sensitive":3}"#), "{}", pinned.canonical_json());
        // What was recorded can be read again, and applied again with a newer list.
        let again = pinned.with_lists(&BTreeMap::from([("sensitive".to_owned(), 4)]));
        assert_eq!(again.unwrap_or_else(|faults| panic!("{faults:?}")).needed()[1], ("sensitive", Some(4)));
        assert_eq!(definition().needed()[1], ("sensitive", None));
    }

    #[test]
    fn terms_take_the_place_of_lists_and_each_missing_list_is_named() {
        let newest = BTreeMap::from([("sensitive".to_owned(), 3)]);
        let pinned = || definition().with_lists(&newest).unwrap_or_else(|faults| panic!("{faults:?}"));
        let list = |text: &str| TermList::parse(text);
        let mut lists = TermLists::from([(("sensitive".to_owned(), 3), list("bird\nwater"))]);
        let faults = pinned().resolved(&lists).err().unwrap_or_default();
        assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["clean.tags.deny_exact"]);
        lists.insert(("bad".to_owned(), 2), list("x"));
        let resolved = pinned().resolved(&lists).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(resolved.filtered.terms, Some(Terms::Inline(vec!["bird".to_owned(), "water".to_owned()])));
        assert!(definition().resolved(&lists).is_err(), "latest means nothing yet");
    }
}
