//! The rule of tags: which tags of the field `tags` are dropped.
//!
//! Kept tags are whole and in order, duplicates too. If all tags are dropped, an empty list is left. A value of `tags`
//! that is no list counts as one malformed tag; null and `{}` are left as they are. Names are compared without regard to
//! case and canonical form, as words of searches are.

use daybook_projector::search::words;
use regex::Regex;
use serde_json::Value;

use crate::{
    Fields,
    clean::counts::{Dropped, DroppedTags},
    terms::case::folded,
};

/// Which tags are dropped.
#[derive(Debug, Clone)]
pub struct TagsRule {
    /// The field, a list of tags.
    pub field: String,
    /// The least accuracy of a kept tag, inclusive; tags without accuracy are kept.
    pub min_accuracy: f64,
    /// Names that are dropped, without regard to case and canonical form.
    pub deny_exact: Vec<String>,
    /// Parts of names that are dropped, without regard to case and canonical form.
    pub deny_part: Vec<String>,
    /// Providers whose tags are dropped, in this very case.
    pub drop_providers: Vec<String>,
}

/// Why a tag is dropped; the first reason that holds counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Malformed,
    Accuracy,
    Provider,
    DenyExact,
    DenyPart,
}

/// The compiled rule.
#[derive(Debug)]
pub(super) struct Tags {
    field: String,
    min_accuracy: f64,
    /// Folded, sorted.
    deny_exact: Vec<String>,
    deny_part: Option<Regex>,
    drop_providers: Vec<String>,
}

impl Tags {
    pub(super) fn new(rule: TagsRule) -> Result<Self, regex::Error> {
        let fold = |terms: Vec<String>| terms.iter().map(|term| words::folded(term)).collect::<Vec<_>>();
        let mut deny_exact = fold(rule.deny_exact);
        deny_exact.sort_unstable();
        // An empty part would be found in every name.
        let parts: Vec<String> = fold(rule.deny_part).into_iter().filter(|part| !part.is_empty()).collect();
        let deny_part = if parts.is_empty() { None } else { Some(any_of(&parts)?) };
        Ok(Self {
            field: rule.field,
            min_accuracy: rule.min_accuracy,
            deny_exact,
            deny_part,
            drop_providers: rule.drop_providers,
        })
    }

    /// Drops tags; `None` if there is nothing to drop.
    pub(super) fn apply(&self, fields: &mut Fields) -> Option<DroppedTags> {
        let value = fields.get_mut(&self.field)?;
        let (mut dropped, mut buffer) = (Dropped::default(), String::new());
        let tags = match value {
            Value::Null => return None,
            Value::Object(empty) if empty.is_empty() => return None,
            Value::Array(tags) => tags,
            other => {
                dropped.add(Reason::Malformed);
                *other = Value::Array(Vec::new());
                return Some(DroppedTags { dropped, emptied: true });
            }
        };
        let count = tags.len();
        tags.retain(|tag| {
            let reason = self.reason(tag, &mut buffer);
            reason.inspect(|reason| dropped.add(*reason)).is_none()
        });
        (tags.len() < count).then_some(DroppedTags { dropped, emptied: tags.is_empty() })
    }

    fn reason(&self, tag: &Value, buffer: &mut String) -> Option<Reason> {
        let Value::Object(tag) = tag else { return Some(Reason::Malformed) };
        let Some(Value::String(name)) = tag.get("name") else { return Some(Reason::Malformed) };
        if let Some(accuracy) = tag.get("accuracy") {
            match read_number(accuracy) {
                None => return Some(Reason::Malformed),
                Some(accuracy) if accuracy < self.min_accuracy => return Some(Reason::Accuracy),
                Some(_) => {}
            }
        }
        if let Some(Value::String(provider)) = tag.get("provider")
            && self.drop_providers.contains(provider)
        {
            return Some(Reason::Provider);
        }
        let name = folded(name, buffer);
        if self.deny_exact.binary_search_by(|denied| denied.as_str().cmp(name)).is_ok() {
            return Some(Reason::DenyExact);
        }
        let has_part = self.deny_part.as_ref().is_some_and(|parts| parts.is_match(name));
        has_part.then_some(Reason::DenyPart)
    }
}

/// A pattern that finds any of some literal texts; the engine compiles it to one automaton.
fn any_of(parts: &[String]) -> Result<Regex, regex::Error> {
    let escaped: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
    Regex::new(&escaped.join("|"))
}

/// A finite number, or a text that holds one.
fn read_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    number.filter(|number| number.is_finite())
}
