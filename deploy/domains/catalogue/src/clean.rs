//! Cleaning: rules that change fields of a record, applied in the order of the definition.
//!
//! A rule sees what the rules before it made. The result depends on the fields and the rules alone. Where no rule
//! changes a field, nothing is copied.

mod compile;
pub mod counts;
pub mod tags;
pub mod texts;
pub mod urls;

use std::collections::HashSet;

use serde_json::Value;
use thiserror::Error;

use crate::{
    Fields,
    clean::{
        counts::{RuleCount, RuleCounts},
        tags::{Tags, TagsRule},
        texts::{CaptureRule, SanitizeTextRule},
        urls::{StripSlashRule, UrlScheme, UrlSchemeRule, UrlValidRule},
    },
};

/// A rule and the id by which the report names it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The id, unique within a collection.
    pub id: String,
    /// What the rule does.
    pub kind: RuleKind,
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Drops tags.
    Tags(TagsRule),
    /// Puts a scheme in front of URLs that have none.
    UrlScheme(UrlSchemeRule),
    /// Replaces a text by a part of it.
    Capture(CaptureRule),
    /// Empties URLs without a valid host.
    UrlValid(UrlValidRule),
    /// Cuts slashes off URLs.
    StripSlash(StripSlashRule),
    /// Removes control characters and superfluous blanks.
    SanitizeText(SanitizeTextRule),
}

/// What is wrong with the rules of a collection.
#[derive(Debug, Error)]
pub enum RuleFault {
    /// Two rules have one id.
    #[error("rule {id} is defined twice")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// The least accuracy cannot be compared.
    #[error("min_accuracy of rule {id} is not a finite number")]
    MinAccuracy {
        /// The rule.
        id: String,
    },
    /// A deny list cannot be compiled.
    #[error("cannot compile deny_part of rule {id}")]
    DenyPart {
        /// The rule.
        id: String,
        /// The cause.
        source: Box<regex::Error>,
    },
    /// A list of terms is not there.
    #[error("rule {id} needs the term list {list}, which does not exist")]
    NoTermList {
        /// The rule.
        id: String,
        /// The list.
        list: String,
    },
    /// A pattern is no regular expression.
    #[error("the pattern of rule {id} is no regular expression")]
    Pattern {
        /// The rule.
        id: String,
        /// The cause.
        source: Box<regex::Error>,
    },
    /// A pattern captures nothing.
    #[error("the pattern of rule {id} has no group")]
    NoGroup {
        /// The rule.
        id: String,
    },
}

/// The compiled rules of a collection.
#[derive(Debug)]
pub struct Cleaner {
    rules: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    id: String,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Tags(Tags),
    UrlScheme(UrlScheme),
    Capture(CaptureRule),
    UrlValid(UrlValidRule),
    StripSlash(StripSlashRule),
    SanitizeText(SanitizeTextRule),
}

impl Cleaner {
    /// Compiles rules.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleFault> {
        let mut ids = HashSet::new();
        if let Some(rule) = rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
            return Err(RuleFault::DuplicateId { id: rule.id.clone() });
        }
        let rules = rules.into_iter().map(Compiled::new).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Returns counts that hold every rule, with nothing counted yet.
    pub fn counts(&self) -> RuleCounts {
        RuleCounts::new(self.rules.iter().map(Compiled::count))
    }

    /// Cleans the fields of a record, and counts what changed.
    pub fn clean(&self, record_id: &str, fields: &mut Fields, counts: &mut RuleCounts) {
        for rule in &self.rules {
            rule.apply(record_id, fields, counts);
        }
    }
}

impl Compiled {
    fn new(rule: Rule) -> Result<Self, RuleFault> {
        let Rule { id, kind } = rule;
        let step = match kind {
            RuleKind::Tags(rule) if !rule.min_accuracy.is_finite() => return Err(RuleFault::MinAccuracy { id }),
            RuleKind::Tags(rule) => match Tags::new(rule) {
                Ok(tags) => Step::Tags(tags),
                Err(source) => return Err(RuleFault::DenyPart { id, source: Box::new(source) }),
            },
            RuleKind::Capture(rule) if rule.pattern.captures_len() < 2 => return Err(RuleFault::NoGroup { id }),
            RuleKind::Capture(rule) => Step::Capture(rule),
            RuleKind::UrlScheme(rule) => Step::UrlScheme(UrlScheme::new(rule)),
            RuleKind::UrlValid(rule) => Step::UrlValid(rule),
            RuleKind::StripSlash(rule) => Step::StripSlash(rule),
            RuleKind::SanitizeText(rule) => Step::SanitizeText(rule),
        };
        Ok(Self { id, step })
    }

    fn count(&self) -> RuleCount {
        match &self.step {
            Step::Tags(_) => RuleCount::of_tags(&self.id),
            Step::UrlScheme(rule) => RuleCount::of_fields(&self.id, &rule.fields),
            _ => RuleCount::of_records(&self.id),
        }
    }

    fn apply(&self, record_id: &str, fields: &mut Fields, counts: &mut RuleCounts) {
        let edited = match &self.step {
            Step::Tags(tags) => {
                if let Some(dropped) = tags.apply(fields) {
                    self.counted(counts).add_tags(record_id, &dropped);
                }
                return;
            }
            Step::UrlScheme(rule) => {
                for field in &rule.fields {
                    if edit(fields, field, |url| rule.completed(url)).is_some() {
                        self.counted(counts).add_field(record_id, field);
                    }
                }
                return;
            }
            Step::Capture(rule) if !rule.applies(fields) => None,
            Step::Capture(rule) => edit(fields, &rule.field, |text| rule.captured(text)),
            Step::UrlValid(rule) => {
                edit_each(fields, &rule.fields, |url| (!urls::is_valid(url)).then_some(Value::Null))
            }
            Step::StripSlash(rule) => edit_each(fields, &rule.fields, urls::stripped),
            Step::SanitizeText(rule) => edit_each(fields, &rule.fields, texts::sanitized),
        };
        if let Some(edited) = edited {
            self.counted(counts).add_record(record_id, edited == Edited::Emptied);
        }
    }

    /// The counts of this rule, added if the caller's counts do not hold them.
    fn counted<'a>(&self, counts: &'a mut RuleCounts) -> &'a mut RuleCount {
        counts.of(&self.id, || self.count())
    }
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edited {
    Replaced,
    Emptied,
}

/// Replaces the text of a field by what `replacement` makes of it, if that is anything.
fn edit<T: Into<Value>>(fields: &mut Fields, field: &str, replacement: impl Fn(&str) -> Option<T>) -> Option<Edited> {
    let value = fields.get_mut(field)?;
    let new: Value = replacement(value.as_str()?)?.into();
    let is_empty = new.as_str().is_none_or(str::is_empty);
    *value = new;
    Some(if is_empty { Edited::Emptied } else { Edited::Replaced })
}

/// Edits several fields of one record; the result is `Emptied` if one of them is.
fn edit_each<T: Into<Value>>(
    fields: &mut Fields,
    names: &[String],
    replacement: impl Fn(&str) -> Option<T>,
) -> Option<Edited> {
    names.iter().filter_map(|field| edit(fields, field, &replacement)).max()
}

#[cfg(test)]
mod tests;
