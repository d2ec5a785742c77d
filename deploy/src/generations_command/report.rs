//! What a verification found, in words.

use std::io::Write;

use anyhow::Result;
use daybook_reindexer::verify::{
    CanaryReport, CheckpointsReport, ConstraintsReport, Difference, IndexCounts, IndexReport, Limited,
    NewlyQuarantined, QuarantineReport, Report, TableReport,
};
use serde_json::Value;

use crate::output;

/// Keys and ids that are shown of each kind, at most.
const SHOWN_MAX: usize = 10;

/// Prints a report for people.
pub(super) fn write(out: &mut impl Write, report: &Report) -> Result<()> {
    let verdict = if report.passed { "no differences that block a promotion" } else { "not to be promoted" };
    writeln!(out, "verified in {} ms: {verdict}", report.duration_ms)?;
    for reason in &report.reasons {
        writeln!(out, "  because      {}", output::cut(reason, usize::MAX))?;
    }
    for warning in &report.warnings {
        writeln!(out, "  warning      {}", output::cut(warning, usize::MAX))?;
    }
    writeln!(out, "  at           {}", report.at)?;
    for table in &report.tables {
        write_table(out, table)?;
    }
    let QuarantineReport { live, candidate, newly_quarantined, .. } = &report.quarantine;
    writeln!(out, "  quarantine   {candidate} records, {live} in the live generation's")?;
    for NewlyQuarantined { position, reason } in newly_quarantined.iter().take(SHOWN_MAX) {
        writeln!(out, "    new        {position}: {}", output::cut(reason, 200))?;
    }
    let CheckpointsReport { compared, differing } = &report.checkpoints;
    writeln!(out, "  partitions   {compared} compared by their last record, {} differ", differing.len())?;
    write_constraints(out, &report.constraints)?;
    report.index.as_ref().map_or(Ok(()), |index| write_index(out, index))?;
    for canary in &report.canaries {
        write_canary(out, canary)?;
    }
    for Limited { what, found, max } in &report.limits {
        let max = max.map_or_else(|| "any number".to_owned(), |max| format!("at most {max}"));
        writeln!(out, "  limit        {what}: {found}, {max} may be")?;
    }
    Ok(())
}

/// Counts that are not 0, in words; how it is if all are.
fn counts(counts: &[(u64, &str)], otherwise: &str) -> String {
    let found: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if found.is_empty() { otherwise.to_owned() } else { found.join(", ") }
}

fn write_table(out: &mut impl Write, table: &TableReport) -> Result<()> {
    if let Some(reason) = &table.not_compared {
        return Ok(writeln!(out, "  table        {}: not compared: {reason}", table.name)?);
    }
    let found = counts(
        &[
            (table.differing_count, "differ"),
            (table.missing_count, "missing"),
            (table.extra_count, "extra"),
            (table.changing_count, "changing"),
        ],
        "equal",
    );
    let rows = format!("{} rows, {} in the live generation", table.candidate_rows, table.live_rows);
    writeln!(out, "  table        {}: {rows}: {found}", table.name)?;
    if !table.left_out.is_empty() {
        writeln!(out, "    new        {}", table.left_out.join(", "))?;
    }
    let row = |row: &Option<Value>| output::cut(&row.as_ref().unwrap_or(&Value::Null).to_string(), 200);
    for Difference { key, live, candidate } in table.differing.iter().take(SHOWN_MAX) {
        writeln!(out, "    key        {}", output::cut(&key.to_string(), 200))?;
        writeln!(out, "      live     {}", row(live))?;
        writeln!(out, "      this     {}", row(candidate))?;
    }
    Ok(())
}

fn write_constraints(out: &mut impl Write, constraints: &ConstraintsReport) -> Result<()> {
    let ConstraintsReport { only_live, only_candidate, invalid } = constraints;
    for (what, found) in [("only live", only_live), ("only here", only_candidate), ("invalid", invalid)] {
        for text in found.iter().take(SHOWN_MAX) {
            writeln!(out, "  constraint   {what}: {}", output::cut(text, 200))?;
        }
    }
    Ok(())
}

fn write_index(out: &mut impl Write, index: &IndexReport) -> Result<()> {
    if let Some(reason) = &index.gone {
        return Ok(writeln!(out, "  index        gone: {}", output::cut(reason, usize::MAX))?);
    }
    let IndexCounts { missing, extra, stale, altered, refused, changing, .. } = index.counts;
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
    let end = if index.complete { "" } else { "; not all were compared" };
    writeln!(out, "  index        {} documents: {found}{end}", index.documents)?;
    for (what, ids) in
        [("missing", &index.missing), ("extra", &index.extra), ("stale", &index.stale), ("altered", &index.altered)]
    {
        for id in ids.iter().take(SHOWN_MAX) {
            writeln!(out, "    {what:<9}  {}", output::cut(id, 200))?;
        }
    }
    Ok(())
}

fn write_canary(out: &mut impl Write, canary: &CanaryReport) -> Result<()> {
    let CanaryReport { query, filters, not_compared, live_total, candidate_total, .. } = canary;
    let asked = [query].into_iter().chain(filters).filter(|text| !text.is_empty()).map(String::as_str);
    let asked = output::cut(&asked.collect::<Vec<_>>().join(" "), 200);
    let asked = if asked.is_empty() { "everything".to_owned() } else { asked };
    let found = match not_compared {
        Some(reason) => format!("not compared: {reason}"),
        None => counts(
            &[
                (canary.only_live_count, "only in the live generation"),
                (canary.only_candidate_count, "only here"),
                (canary.changing_count, "changing"),
            ],
            "equal",
        ),
    };
    writeln!(out, "  search       {asked}: {candidate_total} found, {live_total} in the live generation: {found}")?;
    for (what, ids) in [("only live", &canary.only_live), ("only here", &canary.only_candidate)] {
        for id in ids.iter().take(SHOWN_MAX) {
            writeln!(out, "    {what:<9}  {}", output::cut(id, 200))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_see_each_difference_in_words() {
        let report: Report = serde_json::from_value(json!({
            "at": "t/0@7", "passed": false, "reasons": ["rows that differ: 1"], "duration_ms": 12,
            "warnings": ["copies of shards of i without a server: 1"],
            "tables": [
                {"name": "runs", "live_rows": 3, "candidate_rows": 4, "differing_count": 1, "extra_count": 1,
                    "differing": [{"key": {"run": 1}, "live": {"user": "ann"}, "candidate": null}]},
                {"name": "flows", "live_rows": 1, "candidate_rows": 1},
                {"name": "new", "not_compared": "the live generation has no such table"},
            ],
            "quarantine": {"live": 0, "candidate": 1, "newly_quarantined": [{"position": "t/0@5", "reason": "bad"}]},
            "constraints": {"only_live": ["runs: by_user: INDEX USING btree (user_name)"]},
            "canaries": [
                {"query": "tag:a", "filters": ["type=run"], "live_total": 2, "candidate_total": 1,
                    "only_live_count": 1, "only_live": ["run/F/2"]},
                {"live_total": 8, "candidate_total": 9, "not_compared": "too many"},
            ],
            "limits": [{"what": "rows that differ", "found": 1, "max": 0}, {"what": "x", "found": 2, "max": null}],
            "index": {"documents": 9, "complete": true, "counts": {"missing": 1}, "missing": ["run/F/1"]},
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        let mut out = Vec::new();
        assert!(write(&mut out, &report).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        for part in [
            "verified in 12 ms: not to be promoted\n",
            "because      rows that differ: 1\n",
            "warning      copies of shards of i without a server: 1\n",
            "table        runs: 4 rows, 3 in the live generation: 1 differ, 1 extra\n",
            "key        {\"run\":1}\n",
            "live     {\"user\":\"ann\"}\n",
            "this     null\n",
            "table        flows: 1 rows, 1 in the live generation: equal\n",
            "table        new: not compared: the live generation has no such table\n",
            "new        t/0@5: bad\n",
            "constraint   only live: runs: by_user: INDEX USING btree (user_name)\n",
            "index        9 documents: 1 missing\n",
            "missing    run/F/1\n",
            "search       tag:a type=run: 1 found, 2 in the live generation: 1 only in the live generation\n",
            "only live  run/F/2\n",
            "search       everything: 9 found, 8 in the live generation: not compared: too many\n",
            "limit        rows that differ: 1, at most 0 may be\n",
            "limit        x: 2, any number may be\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
}
