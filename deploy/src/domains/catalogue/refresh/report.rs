//! What a refresh counted, as it is printed.

use std::io::{self, Write};

use anyhow::Result;
use daybook_reindexer::verify::Report;
use serde_json::{Value, json};

use super::Generation;
use crate::output;

/// Prints a report: as a table for people, else as one document.
pub(super) fn print(domain: &str, generation: &Generation, report: &Report, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    let inspection = report.inspection.clone().unwrap_or_default();
    let Generation { generation: number, state, reason, .. } = generation;
    if !output::is_for_people(json) {
        let mut document = json!({
            "refresh": format!("{domain}-{number}"),
            "generation": number,
            "state": state,
            "reason": reason,
            "passed": report.passed,
            "reasons": report.reasons,
            "warnings": report.warnings,
            "duration_ms": report.duration_ms,
        });
        if let (Some(document), Some(inspection)) = (document.as_object_mut(), inspection.as_object()) {
            document.extend(inspection.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        return output::write_document(&mut out, &document);
    }
    let verdict = if report.passed { "it may be promoted" } else { "it may not be promoted" };
    writeln!(out, "{domain}-{number}, {state}: definition {}, {verdict}", inspection["revision"])?;
    for reason in &report.reasons {
        writeln!(out, "  because    {}", output::cut(reason, usize::MAX))?;
    }
    for warning in &report.warnings {
        writeln!(out, "  warning    {}", output::cut(warning, usize::MAX))?;
    }
    print_counts(&mut out, &inspection)?;
    for rule in inspection["rules"].as_array().into_iter().flatten() {
        writeln!(out, "  rule       {}", of_rule(rule))?;
    }
    let unused = inspection["terms_without_hit"].as_array().into_iter().flatten().map(output::plain);
    let unused: Vec<String> = unused.collect();
    if !unused.is_empty() {
        writeln!(out, "  terms      without a document: {}", output::cut(&unused.join(", "), 200))?;
    }
    for canary in inspection["canaries"].as_array().into_iter().flatten() {
        let held = if canary["held"] == true { "as expected" } else { "NOT AS EXPECTED" };
        writeln!(
            out,
            "  canary     {}: {} hits, {held}",
            output::cell(&output::plain(&canary["query"])),
            canary["hits"]
        )?;
    }
    for limit in inspection["limits"].as_array().into_iter().flatten() {
        let of = limit["source"].as_str().map(|source| format!(" of {}", output::cell(source))).unwrap_or_default();
        let held = if limit["held"] == true { "held" } else { "NOT HELD" };
        let [name, found, max] = ["limit", "found", "max"].map(|field| output::plain(&limit[field]));
        writeln!(out, "  limit      {name}{of}: {found}, allowed {max}: {held}")?;
    }
    let row = |source: &Value| {
        let name = source["source"].as_str().map_or_else(|| "-".to_owned(), output::cell);
        [name, change(&source["rows"]), change(&source["documents"])]
    };
    let rows: Vec<_> = inspection["by_source"].as_array().into_iter().flatten().map(row).collect();
    output::write_table(&mut out, &["SOURCE", "ROWS", "DOCUMENTS"], &rows)
}

/// Prints what a generation holds, beside the live one.
fn print_counts(out: &mut impl Write, inspection: &Value) -> io::Result<()> {
    writeln!(out, "  rows       {}", change(&inspection["rows"]))?;
    writeln!(out, "  documents  {}", change(&inspection["documents"]))?;
    for table in inspection["tables"].as_array().into_iter().flatten() {
        writeln!(out, "  table      {}: {}", output::plain(&table["table"]), change(&table["rows"]))?;
    }
    let kept = &inspection["conservation"];
    if let Some(filtered) = kept["filtered"].as_u64() {
        writeln!(out, "  filtered   {filtered} documents, {} are sensitive", kept["sensitive"])?;
    }
    writeln!(
        out,
        "  records    {} named = {} rows + {} removed + {} taken down + {} without content",
        kept["named"], kept["rows"], kept["removed"], kept["taken_down"], kept["without_content"]
    )?;
    for (rule, count) in kept["excluded"].as_object().into_iter().flatten() {
        writeln!(out, "  excluded   {count} by {rule}")?;
    }
    Ok(())
}

/// A number and its change, as in `1374 (+3, +0.22 %)`.
fn change(counted: &Value) -> String {
    let Some(after) = counted["after"].as_u64() else { return "-".to_owned() };
    let change = counted["change"].as_i64().unwrap_or_default();
    match counted["percent"].as_f64() {
        Some(percent) => format!("{after} ({change:+}, {percent:+.2} %)"),
        None => format!("{after} ({change:+})"),
    }
}

/// What a rule did, as in `tags: 317 records, dropped 1613 accuracy, emptied 1`.
fn of_rule(rule: &Value) -> String {
    let mut parts = Vec::new();
    let counts = |value: &Value| {
        let all = value.as_object().into_iter().flatten().map(|(name, count)| format!("{count} {name}"));
        all.collect::<Vec<_>>().join(", ")
    };
    match &rule["records"] {
        Value::Object(_) => parts.push(counts(&rule["records"])),
        records => parts.push(format!("{records} records")),
    }
    if rule["dropped"].as_object().is_some_and(|dropped| !dropped.is_empty()) {
        parts.push(format!("dropped {}", counts(&rule["dropped"])));
    }
    if rule["emptied"].as_u64().is_some_and(|emptied| emptied > 0) {
        parts.push(format!("emptied {}", rule["emptied"]));
    }
    format!("{}: {}", output::plain(&rule["id"]), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_rules_are_shown_in_words() {
        assert_eq!(change(&json!({"after": 1374, "change": 3, "percent": 0.22})), "1374 (+3, +0.22 %)");
        assert_eq!(change(&json!({"after": 3, "change": 3, "percent": null})), "3 (+3)");
        assert_eq!(change(&Value::Null), "-");
        let tags = json!({"id": "tags", "records": 317, "dropped": {"accuracy": 1613, "deny-part": 2}, "emptied": 1});
        assert_eq!(of_rule(&tags), "tags: 317 records, dropped 1613 accuracy, 2 deny-part, emptied 1");
        let url = json!({"id": "url", "records": {"url": 2, "creator_url": 405}});
        assert_eq!(of_rule(&url), "url: 405 creator_url, 2 url");
    }
}
