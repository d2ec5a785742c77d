//! What a verification found, as it is kept and shown, and the limits that it is held to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much may differ without blocking a promotion. By default nothing may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Rows of all tables that differ.
    pub differing: u64,
    /// Rows that the candidate lacks.
    pub missing: u64,
    /// Rows that only the candidate has.
    pub extra: u64,
    /// Documents that the index lacks.
    pub index_missing: u64,
    /// Documents that only the index has.
    pub index_extra: u64,
    /// Documents of an older revision than their rows.
    pub index_stale: u64,
    /// Documents with another content than their rows.
    pub index_altered: u64,
    /// Whether the candidate may have records in quarantine that the live generation has applied.
    pub accept_quarantine: bool,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The vector of the live tables when it began, which the candidate had then reached.
    pub at: String,
    /// The tables, in order of name.
    pub tables: Vec<TableReport>,
    /// The records in quarantine.
    pub quarantine: QuarantineReport,
    /// The last applied records.
    pub checkpoints: CheckpointsReport,
    /// The candidate's index against its tables; `None` without one.
    pub index: Option<IndexReport>,
    /// Whether the candidate may be promoted.
    pub passed: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// One table of both generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// The compared columns.
    pub columns: Vec<String>,
    /// Columns that the live generation does not have.
    pub left_out: Vec<String>,
    /// Why it was not compared, if it was not.
    pub not_compared: Option<String>,
    /// Rows of the live generation.
    pub live_rows: u64,
    /// Rows of the candidate.
    pub candidate_rows: u64,
    /// Ranges that were compared by digest.
    pub ranges: u64,
    /// Rows with one key that differ.
    pub differing_count: u64,
    /// Rows that the candidate lacks.
    pub missing_count: u64,
    /// Rows that only the candidate has.
    pub extra_count: u64,
    /// Rows that changed whenever they were read, so that nothing is known of them.
    pub changing_count: u64,
    /// The first rows that differ, are missing or are extra.
    pub differing: Vec<Difference>,
}

/// A row that is not the same in both generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its key: values by column.
    pub key: Value,
    /// The row of the live generation: values by column; `None` if it has none.
    pub live: Option<Value>,
    /// The row of the candidate.
    pub candidate: Option<Value>,
}

/// The records in quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineReport {
    /// Those of the live generation.
    pub live: u64,
    /// Those of the candidate.
    pub candidate: u64,
    /// How many are in the candidate's alone: the live generation has applied them.
    pub newly_quarantined_count: u64,
    /// The first of these.
    pub newly_quarantined: Vec<NewlyQuarantined>,
}

/// A record that the candidate refuses, and the live generation has applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewlyQuarantined {
    /// Its position.
    pub position: String,
    /// Why it is refused.
    pub reason: String,
}

/// The last applied records of both generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointsReport {
    /// Partitions in which both had applied the same offset last.
    pub compared: u64,
    /// Those of them in which the records were not the same.
    pub differing: Vec<CheckpointDifference>,
}

/// A position at which two generations have applied different records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDifference {
    /// The position.
    pub position: String,
    /// The hash of the record that the live generation has applied.
    pub live: String,
    /// That of the candidate.
    pub candidate: String,
}

/// The candidate's index against its tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexReport {
    /// Documents that the tables make.
    pub documents: u64,
    /// Why the index is gone, if it is.
    pub gone: Option<String>,
    /// Ids of the first documents that it lacks.
    pub missing: Vec<String>,
    /// Ids of the first documents that only it has.
    pub extra: Vec<String>,
    /// Ids of the first documents of an older revision than their rows.
    pub stale: Vec<String>,
    /// Ids of the first documents with another content than their rows.
    pub altered: Vec<String>,
    /// How many there are of each.
    pub counts: IndexCounts,
    /// Whether all documents were judged; if not, there were so many faults that the counts are only those found so far.
    pub complete: bool,
}

/// How many documents differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexCounts {
    /// Documents of the index.
    pub indexed: u64,
    /// Documents that it lacks.
    pub missing: u64,
    /// Documents that only it has.
    pub extra: u64,
    /// Documents of an older revision than their rows.
    pub stale: u64,
    /// Documents with another content than their rows.
    pub altered: u64,
    /// Documents that it lacks because it refused them, as the live generation's did.
    pub refused: u64,
    /// Documents that changed whenever they were read, so that nothing is known of them.
    pub changing: u64,
}

impl Report {
    /// Says whether it passes, and why not.
    pub(super) fn judge(&mut self, limits: &Limits) {
        let sum = |of: fn(&TableReport) -> u64| self.tables.iter().map(of).sum::<u64>();
        let named = |of: fn(&TableReport) -> u64| {
            let tables = self.tables.iter().filter(|table| of(table) > 0);
            let tables = tables.map(|table| format!("{} of {}", of(table), table.name));
            format!(" ({})", tables.collect::<Vec<_>>().join(", "))
        };
        let mut reasons = Vec::new();
        let mut hold = |what: &str, found: u64, max: u64, more: String| {
            if found > max {
                reasons.push(format!("{what}: {found}{more}, at most {max} may be"));
            }
        };
        let [differing, missing, extra]: [fn(&TableReport) -> u64; 3] =
            [|table| table.differing_count, |table| table.missing_count, |table| table.extra_count];
        hold("rows that differ", sum(differing), limits.differing, named(differing));
        hold("rows that the candidate lacks", sum(missing), limits.missing, named(missing));
        hold("rows that only the candidate has", sum(extra), limits.extra, named(extra));
        if let Some(index) = &self.index {
            let counts = &index.counts;
            let none = String::new;
            hold("documents that the index lacks", counts.missing, limits.index_missing, none());
            hold("documents that only the index has", counts.extra, limits.index_extra, none());
            hold("documents of an older revision than their rows", counts.stale, limits.index_stale, none());
            hold("documents with another content than their rows", counts.altered, limits.index_altered, none());
            if let Some(gone) = &index.gone {
                reasons.push(format!("the index is gone: {gone}"));
            } else if !index.complete {
                reasons.push("not all documents of the index were compared: too many differ".to_owned());
            }
        }
        if let Some(first) = self.quarantine.newly_quarantined.first().filter(|_| !limits.accept_quarantine) {
            let count = self.quarantine.newly_quarantined_count;
            let NewlyQuarantined { position, reason } = first;
            reasons.push(format!(
                "{count} records in quarantine that the live generation has applied, the first is {position}: {reason}"
            ));
        }
        for CheckpointDifference { position, .. } in &self.checkpoints.differing {
            reasons.push(format!("the generations have applied different records at {position}"));
        }
        self.passed = reasons.is_empty();
        self.reasons = reasons;
    }
}
