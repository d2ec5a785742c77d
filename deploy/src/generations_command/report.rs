//! What a verification found, in words.

use std::io::Write;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::output;

/// Keys and ids that are shown of each kind, at most.
const SHOWN_MAX: usize = 10;

/// The report. Fields may be missing: the server may have another version.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    at: String,
    tables: Vec<Table>,
    quarantine: Quarantine,
    checkpoints: Checkpoints,
    index: Option<Index>,
    passed: bool,
    reasons: Vec<String>,
    duration_ms: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    name: String,
    left_out: Vec<String>,
    not_compared: Option<String>,
    live_rows: u64,
    candidate_rows: u64,
    differing_count: u64,
    missing_count: u64,
    extra_count: u64,
    changing_count: u64,
    differing: Vec<Difference>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Difference {
    key: Value,
    live: Option<Value>,
    candidate: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quarantine {
    live: u64,
    candidate: u64,
    newly_quarantined: Vec<Quarantined>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quarantined {
    position: String,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Checkpoints {
    compared: u64,
    differing: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Index {
    documents: u64,
    gone: Option<String>,
    missing: Vec<String>,
    extra: Vec<String>,
    stale: Vec<String>,
    altered: Vec<String>,
    counts: Counts,
    complete: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    missing: u64,
    extra: u64,
    stale: u64,
    altered: u64,
    refused: u64,
    changing: u64,
}

impl Report {
    /// Prints it for people.
    pub(super) fn write(&self, out: &mut impl Write) -> Result<()> {
        let verdict = if self.passed { "no differences that block a promotion" } else { "not to be promoted" };
        writeln!(out, "verified in {} ms: {verdict}", self.duration_ms)?;
        for reason in &self.reasons {
            writeln!(out, "  because      {}", output::cut(reason, usize::MAX))?;
        }
        writeln!(out, "  at           {}", self.at)?;
        for table in &self.tables {
            table.write(out)?;
        }
        let Quarantine { live, candidate, newly_quarantined } = &self.quarantine;
        writeln!(out, "  quarantine   {candidate} records, {live} in the live generation's")?;
        for Quarantined { position, reason } in newly_quarantined.iter().take(SHOWN_MAX) {
            writeln!(out, "    new        {position}: {}", output::cut(reason, 200))?;
        }
        let Checkpoints { compared, differing } = &self.checkpoints;
        writeln!(out, "  partitions   {compared} compared by their last record, {} differ", differing.len())?;
        self.index.as_ref().map_or(Ok(()), |index| index.write(out))
    }
}

/// Counts that are not 0, in words; how it is if all are.
fn counts(counts: &[(u64, &str)], otherwise: &str) -> String {
    let found: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if found.is_empty() { otherwise.to_owned() } else { found.join(", ") }
}

impl Table {
    fn write(&self, out: &mut impl Write) -> Result<()> {
        if let Some(reason) = &self.not_compared {
            return Ok(writeln!(out, "  table        {}: not compared: {reason}", self.name)?);
        }
        let found = counts(
            &[
                (self.differing_count, "differ"),
                (self.missing_count, "missing"),
                (self.extra_count, "extra"),
                (self.changing_count, "changing"),
            ],
            "equal",
        );
        let rows = format!("{} rows, {} in the live generation", self.candidate_rows, self.live_rows);
        writeln!(out, "  table        {}: {rows}: {found}", self.name)?;
        if !self.left_out.is_empty() {
            writeln!(out, "    new        {}", self.left_out.join(", "))?;
        }
        let row = |row: &Option<Value>| output::cut(&row.as_ref().unwrap_or(&Value::Null).to_string(), 200);
        for Difference { key, live, candidate } in self.differing.iter().take(SHOWN_MAX) {
            writeln!(out, "    key        {}", output::cut(&key.to_string(), 200))?;
            writeln!(out, "      live     {}", row(live))?;
            writeln!(out, "      this     {}", row(candidate))?;
        }
        Ok(())
    }
}

impl Index {
    fn write(&self, out: &mut impl Write) -> Result<()> {
        if let Some(reason) = &self.gone {
            return Ok(writeln!(out, "  index        gone: {}", output::cut(reason, usize::MAX))?);
        }
        let Counts { missing, extra, stale, altered, refused, changing } = self.counts;
        let found = counts(
            &[
                (missing, "missing"),
                (extra, "extra"),
                (stale, "stale"),
                (altered, "altered"),
                (refused, "refused"),
                (changing, "changing"),
            ],
            "as the tables make them",
        );
        let end = if self.complete { "" } else { "; not all were compared" };
        writeln!(out, "  index        {} documents: {found}{end}", self.documents)?;
        for (what, ids) in
            [("missing", &self.missing), ("extra", &self.extra), ("stale", &self.stale), ("altered", &self.altered)]
        {
            for id in ids.iter().take(SHOWN_MAX) {
                writeln!(out, "    {what:<9}  {}", output::cut(id, 200))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_see_each_difference_in_words() {
        let report: Report = serde_json::from_value(json!({
            "at": "t/0@7", "passed": false, "reasons": ["rows that differ: 1"], "duration_ms": 12,
            "tables": [
                {"name": "runs", "live_rows": 3, "candidate_rows": 4, "differing_count": 1, "extra_count": 1,
                    "differing": [{"key": {"run": 1}, "live": {"user": "ann"}, "candidate": null}]},
                {"name": "flows", "live_rows": 1, "candidate_rows": 1},
                {"name": "new", "not_compared": "the live generation has no such table"},
            ],
            "quarantine": {"live": 0, "candidate": 1, "newly_quarantined": [{"position": "t/0@5", "reason": "bad"}]},
            "index": {"documents": 9, "complete": true, "counts": {"missing": 1}, "missing": ["run/F/1"]},
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        let mut out = Vec::new();
        assert!(report.write(&mut out).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        for part in [
            "verified in 12 ms: not to be promoted\n",
            "because      rows that differ: 1\n",
            "table        runs: 4 rows, 3 in the live generation: 1 differ, 1 extra\n",
            "key        {\"run\":1}\n",
            "live     {\"user\":\"ann\"}\n",
            "this     null\n",
            "table        flows: 1 rows, 1 in the live generation: equal\n",
            "table        new: not compared: the live generation has no such table\n",
            "new        t/0@5: bad\n",
            "index        9 documents: 1 missing\n",
            "missing    run/F/1\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
}
