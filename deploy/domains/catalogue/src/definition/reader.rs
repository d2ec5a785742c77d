//! Reading a definition key by key. Each mistake becomes a fault, and reading goes on, so one call names them all.
//!
//! A method answers `None` if the key is absent or its value is wrong; the second case has added a fault.

use std::{cell::RefCell, collections::HashSet, fmt::Display, ops::RangeInclusive, str::FromStr};

use serde_json::{Map, Value};

use super::{
    Fault,
    identifier::{CHARACTERS_MAX, Identifier},
};
use crate::values::kind;

/// Faults that one answer lists, at most.
const FAULTS_MAX: usize = 500;
/// Faults with a nearest name, at most: the others come of the same mistake, mostly.
const NEAREST_FAULTS_MAX: usize = 50;
/// Names of which the nearest is looked for, at most.
const NEAREST_NAMES_MAX: usize = 200;

/// The faults that were found so far, up to a bound.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub(super) fn add(&self, field: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        let mut faults = self.0.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push(Fault { field: field.into(), code, detail: detail.into(), line: None });
        }
    }

    fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn into_inner(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

/// A table of the definition with the path that names it in faults; empty if it is absent.
#[derive(Clone)]
pub(super) struct Section<'a> {
    path: String,
    entries: Option<&'a Map<String, Value>>,
    faults: &'a Faults,
}

impl<'a> Section<'a> {
    pub(super) fn root(entries: &'a Map<String, Value>, faults: &'a Faults) -> Self {
        Self { path: String::new(), entries: Some(entries), faults }
    }

    /// The same table under another path.
    pub(super) fn at(self, path: String) -> Self {
        Self { path, ..self }
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn fault(&self, key: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.add(self.path(key), code, detail);
    }

    /// Every key and value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.entries.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries?.get(key)
    }

    /// Faults every key that is not one of these.
    pub(super) fn only(&self, known: &[&str]) {
        for (key, _) in self.entries().filter(|(key, _)| !known.contains(key)) {
            if self.faults.count() >= FAULTS_MAX {
                return;
            }
            let nearest = self.nearest(key, known.iter().copied());
            self.fault(key, "unknown-key", format!("unknown key {}{nearest}", self.path(key)));
        }
    }

    /// A value as it is, with a fault if it is absent.
    pub(super) fn required(&self, key: &str) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() {
            self.fault(key, "missing", format!("{} is required", self.path(key)));
        }
        value
    }

    /// The end of a fault's text, which says the nearest of some names; empty beyond the bounds of what is looked for.
    pub(super) fn nearest<'n>(&self, unknown: &str, known: impl Iterator<Item = &'n str>) -> String {
        if self.faults.count() >= NEAREST_FAULTS_MAX || unknown.len() > 2 * CHARACTERS_MAX {
            return String::new();
        }
        let nearest = known.take(NEAREST_NAMES_MAX).min_by_key(|name| strsim::osa_distance(unknown, name));
        nearest.map(|name| format!("; the nearest is {name}")).unwrap_or_default()
    }

    /// The fault of a value that is not what is expected.
    fn wrong(&self, key: &str, value: &Value, expected: &str) {
        self.fault(key, "wrong-type", format!("{} is {}, not {expected}", self.path(key), kind(value)));
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        match value.as_str() {
            Some("") => self.fault(key, "empty", format!("{} is empty", self.path(key))),
            None => self.wrong(key, value, "a string"),
            text => return text,
        }
        None
    }

    pub(super) fn required_text(&self, key: &str) -> Option<&'a str> {
        self.required(key)?;
        self.text(key)
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        if value.as_bool().is_none() {
            self.wrong(key, value, "true or false");
        }
        value.as_bool()
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?;
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match value.as_u64() {
            Some(number) if bounds.contains(&number) => return Some(number),
            None if !value.is_number() => self.wrong(key, value, &expected),
            _ => self.fault(key, "out-of-range", format!("{} is {value}, not {expected}", self.path(key))),
        }
        None
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        match value.as_f64() {
            Some(number) if (0.0..=1.0).contains(&number) => return Some(number),
            None => self.wrong(key, value, "a number from 0 to 1"),
            _ => self.fault(key, "out-of-range", format!("{} is {value}, not a number from 0 to 1", self.path(key))),
        }
        None
    }

    /// A text that is read as another type; `code` is that of the fault if it cannot be.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str, code: &'static str) -> Option<T> {
        match self.text(key)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, code, error.to_string());
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let nearest = self.nearest(text, names.iter().copied());
            let (path, names) = (self.path(key), names.join(", "));
            self.fault(key, "unknown-value", format!("{path} is {text:?}, not one of {names}{nearest}"));
        }
        found.map(|(_, value)| *value)
    }

    /// A list of texts, none of them empty.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        let items =
            value.as_array().map(|items| items.iter().map(|item| item.as_str().filter(|text| !text.is_empty())));
        let texts = items.and_then(|items| items.map(|text| text.map(str::to_owned)).collect());
        if texts.is_none() {
            let detail = format!("{} is not a list of strings that are not empty", self.path(key));
            self.fault(key, "wrong-type", detail);
        }
        texts
    }

    /// A name.
    pub(super) fn identifier(&self, key: &str) -> Option<Identifier> {
        self.named(key, self.text(key)?)
    }

    /// A list of names, at least one, each once.
    pub(super) fn identifiers(&self, key: &str) -> Option<Vec<Identifier>> {
        let texts = self.texts(key)?;
        if texts.is_empty() {
            self.fault(key, "empty", format!("{} is empty", self.path(key)));
            return None;
        }
        let mut seen = HashSet::new();
        if let Some((index, text)) = texts.iter().enumerate().find(|(_, text)| !seen.insert(*text)) {
            self.fault(key, "duplicate", format!("{} names {text} twice, again at item {index}", self.path(key)));
        }
        texts.iter().map(|text| self.named(key, text)).collect()
    }

    /// A text at a key as a name.
    pub(super) fn named(&self, key: &str, text: &str) -> Option<Identifier> {
        match Identifier::parse(text) {
            Ok(name) => Some(name),
            Err(error) => {
                self.fault(key, "invalid-name", error.to_string());
                None
            }
        }
    }

    /// The table at a key; one without entries if it is absent or wrong.
    pub(super) fn section(&self, key: &str) -> Self {
        let value = self.get(key);
        let entries = value.and_then(Value::as_object);
        if let (Some(value), None) = (value, entries) {
            self.wrong(key, value, "a table");
        }
        Self { path: self.path(key), entries, faults: self.faults }
    }

    /// The tables of a list. Each is named in faults by its `id` or `name`, or else by its place from 0.
    pub(super) fn sections(&self, key: &str) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let name = super::tree::name_of(item).map_or_else(|| index.to_string(), str::to_owned);
            let name = format!("{key}.{name}");
            match item.as_object() {
                Some(entries) => {
                    sections.push(Self { path: self.path(&name), entries: Some(entries), faults: self.faults });
                }
                None => self.wrong(&name, item, "a table"),
            }
        }
        sections
    }
}
