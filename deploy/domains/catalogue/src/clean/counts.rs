//! What rules changed, for the report.
//!
//! Counts of several lanes merge to the same counts however the records are divided among them: sums are sums, and the
//! sample holds the smallest record ids. Only the order of rules follows the first operand.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clean::tags::Reason;

/// Most record ids in a sample, inclusive.
pub const SAMPLE_MAX: usize = 20;

/// The counts of every rule, in the order of the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleCounts {
    rules: Vec<RuleCount>,
}

/// What one rule changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Shown", into = "Shown")]
pub struct RuleCount {
    /// The rule.
    pub id: String,
    /// Records that it changed; not counted where `fields` are.
    pub records: u64,
    /// Records that it changed by field, for rules that are counted so.
    pub fields: BTreeMap<String, u64>,
    /// The tags that it dropped, for rules of tags.
    pub dropped: Option<Dropped>,
    /// Records of which it left a field empty.
    pub emptied: u64,
    /// The smallest ids of changed records, at most `SAMPLE_MAX`.
    pub sample: BTreeSet<String>,
}

/// Dropped tags by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Dropped {
    /// Tags that are no object, have no name or have an accuracy that cannot be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub malformed: u64,
    /// Tags whose accuracy is too low.
    #[serde(skip_serializing_if = "is_zero")]
    pub accuracy: u64,
    /// Tags of a provider that is dropped.
    #[serde(skip_serializing_if = "is_zero")]
    pub provider: u64,
    /// Tags whose name is denied.
    #[serde(skip_serializing_if = "is_zero")]
    pub deny_exact: u64,
    /// Tags with a denied part in their name.
    #[serde(skip_serializing_if = "is_zero")]
    pub deny_part: u64,
}

/// What a rule did to the tags of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DroppedTags {
    pub(super) dropped: Dropped,
    /// Whether no tag is left.
    pub(super) emptied: bool,
}

impl RuleCounts {
    pub(super) fn new(rules: impl Iterator<Item = RuleCount>) -> Self {
        Self { rules: rules.collect() }
    }

    /// Returns the counts of the rules, in order.
    pub fn rules(&self) -> &[RuleCount] {
        &self.rules
    }

    /// Returns the counts of one rule.
    pub fn get(&self, id: &str) -> Option<&RuleCount> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &Self) {
        for rule in &other.rules {
            self.of(&rule.id, || RuleCount { id: rule.id.clone(), ..RuleCount::default() }).merge(rule);
        }
    }

    pub(super) fn of(&mut self, id: &str, new: impl FnOnce() -> RuleCount) -> &mut RuleCount {
        let at = self.rules.iter().position(|rule| rule.id == id).unwrap_or_else(|| {
            self.rules.push(new());
            self.rules.len() - 1
        });
        &mut self.rules[at]
    }
}

impl RuleCount {
    pub(super) fn of_records(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    pub(super) fn of_tags(id: &str) -> Self {
        Self { dropped: Some(Dropped::default()), ..Self::of_records(id) }
    }

    pub(super) fn of_fields(id: &str, fields: &[String]) -> Self {
        Self { fields: fields.iter().map(|field| (field.clone(), 0)).collect(), ..Self::of_records(id) }
    }

    pub(super) fn add_record(&mut self, record_id: &str, emptied: bool) {
        self.records += 1;
        self.emptied += u64::from(emptied);
        self.show(record_id);
    }

    pub(super) fn add_field(&mut self, record_id: &str, field: &str) {
        if let Some(records) = self.fields.get_mut(field) {
            *records += 1;
        } else {
            self.fields.insert(field.to_owned(), 1);
        }
        self.show(record_id);
    }

    pub(super) fn add_tags(&mut self, record_id: &str, tags: &DroppedTags) {
        self.dropped.get_or_insert_default().merge(&tags.dropped);
        self.add_record(record_id, tags.emptied);
    }

    fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.emptied += other.emptied;
        for (field, records) in &other.fields {
            *self.fields.entry(field.clone()).or_default() += records;
        }
        if let Some(dropped) = &other.dropped {
            self.dropped.get_or_insert_default().merge(dropped);
        }
        other.sample.iter().for_each(|record_id| self.show(record_id));
    }

    fn show(&mut self, record_id: &str) {
        let is_full = self.sample.len() >= SAMPLE_MAX;
        if is_full && self.sample.last().is_some_and(|last| record_id >= last.as_str()) {
            return;
        }
        if self.sample.insert(record_id.to_owned()) && is_full {
            self.sample.pop_last();
        }
    }
}

impl Dropped {
    pub(super) fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::Malformed => &mut self.malformed,
            Reason::Accuracy => &mut self.accuracy,
            Reason::Provider => &mut self.provider,
            Reason::DenyExact => &mut self.deny_exact,
            Reason::DenyPart => &mut self.deny_part,
        } += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.malformed += other.malformed;
        self.accuracy += other.accuracy;
        self.provider += other.provider;
        self.deny_exact += other.deny_exact;
        self.deny_part += other.deny_part;
    }
}

/// The form of the report.
#[derive(Serialize, Deserialize)]
struct Shown {
    id: String,
    records: Records,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<Dropped>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emptied: Option<u64>,
    #[serde(default)]
    sample: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Records {
    All(u64),
    ByField(BTreeMap<String, u64>),
}

impl From<RuleCount> for Shown {
    fn from(count: RuleCount) -> Self {
        let RuleCount { id, records, fields, dropped, emptied, sample } = count;
        let records = if fields.is_empty() { Records::All(records) } else { Records::ByField(fields) };
        let emptied = (dropped.is_some() || emptied > 0).then_some(emptied);
        Self { id, records, dropped, emptied, sample }
    }
}

impl From<Shown> for RuleCount {
    fn from(shown: Shown) -> Self {
        let Shown { id, records, dropped, emptied, sample } = shown;
        let (records, fields) = match records {
            Records::All(records) => (records, BTreeMap::new()),
            Records::ByField(fields) => (0, fields),
        };
        Self { id, records, fields, dropped, emptied: emptied.unwrap_or(0), sample }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(lanes: &[&[u32]]) -> RuleCounts {
        let mut merged = RuleCounts::default();
        for lane in lanes {
            let fields = ["url".to_owned()];
            let rules = [RuleCount::of_tags("tags"), RuleCount::of_fields("url", &fields)];
            let mut counts = RuleCounts::new(rules.into_iter());
            for number in *lane {
                let dropped = Dropped { accuracy: 2, ..Dropped::default() };
                let tags = DroppedTags { dropped, emptied: number % 2 == 0 };
                let record_id = format!("r-{number:03}");
                counts.of("tags", RuleCount::default).add_tags(&record_id, &tags);
                counts.of("url", RuleCount::default).add_field(&record_id, "url");
            }
            merged.merge(&counts);
        }
        merged
    }

    #[test]
    fn counts_do_not_depend_on_how_records_are_divided() {
        let all: Vec<u32> = (0..60).map(|number| (number * 37) % 60).collect();
        let whole = counts(&[&all]);
        assert_eq!(counts(&[&all[..7], &all[7..50], &all[50..]]), whole);
        assert_eq!(counts(&[&all[50..], &all[..50]]), whole);
        let sample = whole.get("tags").map(|tags| tags.sample.len());
        assert_eq!(sample, Some(SAMPLE_MAX));
        let first = whole.rules().iter().map(|rule| rule.sample.first().map(String::as_str));
        assert!(first.eq([Some("r-000"), Some("r-000")]));
    }

    #[test]
    fn counts_have_the_form_of_the_report_and_are_read_back() {
        let counts = counts(&[&[4, 1]]);
        let shown = serde_json::to_value(&counts).unwrap_or_else(|e| panic!("{e}"));
        let sample = ["r-001", "r-004"];
        let expected = json!([
            {"id": "tags", "records": 2, "dropped": {"accuracy": 4}, "emptied": 1, "sample": sample},
            {"id": "url", "records": {"url": 2}, "sample": sample},
        ]);
        assert_eq!(shown, expected);
        let read: RuleCounts = serde_json::from_value(shown).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read, counts);
    }
}
