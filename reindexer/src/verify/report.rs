//! What a verification found, as it is kept and shown, and the limits that it is held to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much may differ without blocking a promotion. By default nothing may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of all tables that differ.
    pub differing: u64,
    /// Rows that the candidate lacks.
    pub missing: u64,
    /// Rows that only the candidate has.
    pub extra: u64,
    /// Documents of the index that are not as the tables make them: missing, extra, stale or altered.
    pub documents: u64,
    /// Records in quarantine that the live generation has applied; `None`: any number, accepted knowingly.
    pub quarantined: Option<u64>,
    /// Documents that canaries find in one generation only; `None`: any number.
    pub canaries: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { differing: 0, missing: 0, extra: 0, documents: 0, quarantined: Some(0), canaries: None }
    }
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
    /// The indexes and constraints of the tables.
    pub constraints: ConstraintsReport,
    /// The candidate's index against its tables; `None` without one.
    pub index: Option<IndexReport>,
    /// What searches find in both generations.
    pub canaries: Vec<CanaryReport>,
    /// What the domain found itself; `None` if it looks for nothing.
    pub inspection: Option<Value>,
    /// What was counted, each beside its limit.
    pub limits: Vec<Limited>,
    /// Whether the candidate may be promoted.
    pub passed: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What people should know, and blocks nothing.
    pub warnings: Vec<String>,
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

/// Indexes and constraints that the tables of one generation alone have, each as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConstraintsReport {
    /// Those of the live generation.
    pub only_live: Vec<String>,
    /// Those of the candidate.
    pub only_candidate: Vec<String>,
    /// Indexes of the candidate that are not in use, because they could not be built.
    pub invalid: Vec<String>,
}

impl ConstraintsReport {
    /// What people should know of generations whose tables were made by one definition.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let only_live = |it: &String| format!("only the live tables have {it}; a promotion leaves it behind");
        let only_candidate = |it: &String| format!("only the new tables have {it}; the live ones may have had it, too");
        self.only_live.iter().map(only_live).chain(self.only_candidate.iter().map(only_candidate))
    }
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

/// What a search finds in both generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CanaryReport {
    /// The query.
    pub query: String,
    /// Fields with values that they must have, as in `type=run`.
    pub filters: Vec<String>,
    /// Why ids were not compared, if they were not.
    pub not_compared: Option<String>,
    /// Documents that the live generation finds.
    pub live_total: u64,
    /// Documents that the candidate finds.
    pub candidate_total: u64,
    /// By how much the candidate's total differs, beyond what was written meanwhile.
    pub total_differences: u64,
    /// Whether the candidate cannot run the search.
    pub is_refused: bool,
    /// Documents that only the live generation finds.
    pub only_live_count: u64,
    /// Documents that only the candidate finds.
    pub only_candidate_count: u64,
    /// Documents that changed whenever they were looked for, so that nothing is known of them.
    pub changing_count: u64,
    /// Ids of the first documents that only the live generation finds.
    pub only_live: Vec<String>,
    /// Ids of the first documents that only the candidate finds.
    pub only_candidate: Vec<String>,
}

impl CanaryReport {
    /// Documents that one generation alone finds, as far as that is known.
    fn differences(&self) -> u64 {
        match &self.not_compared {
            None => self.only_live_count + self.only_candidate_count,
            Some(_) => self.total_differences,
        }
    }
}

/// A number that was found, beside its limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limited {
    /// What was counted.
    pub what: String,
    /// How many were found.
    pub found: u64,
    /// How many there may be; `None`: any number.
    pub max: Option<u64>,
}

impl Report {
    /// Says whether it passes, and why not.
    pub(super) fn judge(&mut self, limits: &Limits) {
        let sum = |of: fn(&TableReport) -> u64| self.tables.iter().map(of).sum::<u64>();
        let named = |of: fn(&TableReport) -> u64| {
            let tables = self.tables.iter().filter(|table| of(table) > 0);
            tables.map(|table| format!("{} of {}", of(table), table.name)).collect::<Vec<_>>().join(", ")
        };
        let (mut held, mut reasons) = (Vec::new(), Vec::new());
        let mut hold = |what: &str, found: u64, max: Option<u64>, more: &dyn Fn() -> String| {
            if let Some(max) = max.filter(|max| found > *max) {
                reasons.push(format!("{what}: {found} ({}), at most {max} may be", more()));
            }
            held.push(Limited { what: what.to_owned(), found, max });
        };
        let [differing, missing, extra]: [fn(&TableReport) -> u64; 3] =
            [|table| table.differing_count, |table| table.missing_count, |table| table.extra_count];
        // If refused records are accepted, so is that their rows are missing, or are as they were before.
        let is_accepted = limits.quarantined.is_none() && self.quarantine.newly_quarantined_count > 0;
        let unless_accepted = |max: u64| (!is_accepted).then_some(max);
        hold("rows that differ", sum(differing), unless_accepted(limits.differing), &|| named(differing));
        hold("rows that the candidate lacks", sum(missing), unless_accepted(limits.missing), &|| named(missing));
        hold("rows that only the candidate has", sum(extra), Some(limits.extra), &|| named(extra));
        if let Some(index) = &self.index {
            let counts = &index.counts;
            let of_kinds = || {
                let IndexCounts { missing, extra, stale, altered, .. } = counts;
                let kinds = format!("{missing} missing, {extra} extra, {stale} stale, {altered} altered");
                index.first().map_or_else(|| kinds.clone(), |id| format!("{kinds}, the first is {id}"))
            };
            hold("documents that are not as the tables make them", counts.faults(), Some(limits.documents), &of_kinds);
        }
        let QuarantineReport { newly_quarantined: newly, newly_quarantined_count: count, .. } = &self.quarantine;
        hold("quarantined records that the live generation has applied", *count, limits.quarantined, &|| {
            let first = newly.first().map(|it| format!("the first is {}: {}", it.position, it.reason));
            first.unwrap_or_default()
        });
        if !self.canaries.is_empty() {
            let found = self.canaries.iter().map(CanaryReport::differences).sum();
            let differing = self.canaries.iter().filter(|canary| canary.differences() > 0);
            let named = || differing.clone().map(|it| format!("{:?}", it.query)).collect::<Vec<_>>().join(", ");
            hold("documents that canaries find in one generation only", found, limits.canaries, &named);
            for CanaryReport { query, not_compared, .. } in self.canaries.iter().filter(|it| it.is_refused) {
                if limits.canaries.is_some() {
                    let why = not_compared.as_deref().unwrap_or_default();
                    reasons.push(format!("the candidate cannot run the search {query:?}: {why}"));
                }
            }
        }
        if let Some(index) = &self.index {
            if let Some(gone) = &index.gone {
                reasons.push(format!("the index is gone: {gone}"));
            } else if !index.complete {
                reasons.push("not all documents of the index were compared: too many differ".to_owned());
            }
        }
        for CheckpointDifference { position, .. } in &self.checkpoints.differing {
            reasons.push(format!("the generations have applied different records at {position}"));
        }
        reasons.extend(self.constraints.invalid.iter().map(|it| format!("this index could not be built: {it}")));
        self.passed = reasons.is_empty();
        (self.limits, self.reasons) = (held, reasons);
    }
}

impl IndexReport {
    /// The id of a document that is not as the tables make it.
    fn first(&self) -> Option<&str> {
        [&self.missing, &self.extra, &self.stale, &self.altered].into_iter().flatten().next().map(String::as_str)
    }
}

impl IndexCounts {
    /// Documents that are not as the tables make them.
    pub(super) fn faults(&self) -> u64 {
        self.missing + self.extra + self.stale + self.altered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let table = |name: &str, differing, missing| TableReport {
            name: name.to_owned(),
            differing_count: differing,
            missing_count: missing,
            ..TableReport::default()
        };
        let counts = IndexCounts { missing: 1, stale: 2, ..IndexCounts::default() };
        let newly = NewlyQuarantined { position: "t/0@5".to_owned(), reason: "bad".to_owned() };
        Report {
            tables: vec![table("runs", 1, 0), table("flows", 2, 4)],
            index: Some(IndexReport {
                counts,
                missing: vec!["book/7".to_owned()],
                complete: true,
                ..IndexReport::default()
            }),
            quarantine: QuarantineReport {
                newly_quarantined_count: 1,
                newly_quarantined: vec![newly],
                ..QuarantineReport::default()
            },
            canaries: vec![
                CanaryReport { only_live_count: 2, ..CanaryReport::default() },
                CanaryReport {
                    not_compared: Some("too many".to_owned()),
                    live_total: 8,
                    candidate_total: 9,
                    total_differences: 1,
                    ..CanaryReport::default()
                },
            ],
            ..Report::default()
        }
    }

    fn judged(limits: Limits) -> Report {
        let mut report = report();
        report.judge(&limits);
        report
    }

    #[test]
    fn what_is_over_its_limit_is_a_reason_and_every_number_stands_beside_its_limit() {
        let report = judged(Limits { missing: 4, ..Limits::default() });
        let reasons = [
            "rows that differ: 3 (1 of runs, 2 of flows), at most 0 may be",
            "documents that are not as the tables make them: 3 (1 missing, 0 extra, 2 stale, 0 altered, the first is \
             book/7), at most 0 may be",
            "quarantined records that the live generation has applied: 1 (the first is t/0@5: bad), at most 0 may be",
        ];
        assert_eq!((report.passed, report.reasons), (false, reasons.map(str::to_owned).to_vec()));
        let limits: Vec<_> = report.limits.iter().map(|it| (it.found, it.max)).collect();
        assert_eq!(limits, [(3, Some(0)), (4, Some(4)), (0, Some(0)), (3, Some(0)), (1, Some(0)), (3, None)]);
    }

    #[test]
    fn a_limit_that_is_reached_does_not_block_and_one_that_is_passed_by_one_does() {
        let enough =
            Limits { differing: 3, missing: 4, extra: 0, documents: 3, quarantined: Some(1), canaries: Some(3) };
        assert!(judged(enough).passed, "{:?}", judged(enough).reasons);
        assert!(judged(Limits { quarantined: None, ..enough }).passed);
        for (less, what) in [
            (Limits { differing: 2, ..enough }, "rows that differ"),
            (Limits { missing: 3, ..enough }, "rows that the candidate lacks"),
            (Limits { documents: 2, ..enough }, "documents"),
            (Limits { quarantined: Some(0), ..enough }, "quarantined records"),
            (Limits { canaries: Some(2), ..enough }, "documents that canaries"),
        ] {
            let report = judged(less);
            assert!(report.reasons.len() == 1 && report.reasons[0].starts_with(what), "{what}: {:?}", report.reasons);
        }
    }
}
