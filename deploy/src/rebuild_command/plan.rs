//! What a rebuild would do, as it is printed.

use std::io::Write;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::shown::duration;
use crate::output;

/// The plan, in the order in which it is printed.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Plan {
    domain: String,
    generation: i64,
    live: i64,
    rebuilds: Vec<String>,
    parts: Vec<Part>,
    reasons: Vec<String>,
    blocked_by: Option<String>,
    events: i64,
    log_bytes: Option<u64>,
    events_per_second: f64,
    measured_by: Option<i64>,
    estimated_seconds: f64,
    disk: Disk,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Part {
    part: String,
    live: Option<String>,
    program: String,
    changed: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Disk {
    tables_bytes: u64,
    tables_free_bytes: Option<u64>,
    index_bytes: Option<u64>,
    index_free_bytes: Option<u64>,
    needed_bytes: u64,
    enough: Option<bool>,
}

impl Plan {
    /// Prints it for people.
    pub(super) fn write(&self, out: &mut impl Write) -> Result<()> {
        let Self { domain, generation, live, .. } = self;
        let what = self.rebuilds.join(" and ");
        writeln!(out, "generation {generation} of {domain} would be built beside generation {live}: {what}")?;
        for reason in &self.reasons {
            writeln!(out, "  why        {reason}")?;
        }
        for Part { part, live, program, changed } in &self.parts {
            let (live, mark) = (live.as_deref().unwrap_or("unknown"), if *changed { "changed" } else { "unchanged" });
            writeln!(out, "  part       {part}: {mark} (live {live}, program {program})")?;
        }
        writeln!(out, "  events     {}, about {}", self.events, optional(self.log_bytes))?;
        let pace = format!("{:.0} events/s", self.events_per_second);
        let source = self.measured_by.map_or_else(
            || "assumed: no rebuild of enough events was measured".to_owned(),
            |measured| format!("as generation {measured} had"),
        );
        writeln!(out, "  time       about {} at {pace} ({source})", duration(self.estimated_seconds))?;
        let Disk { tables_bytes, tables_free_bytes, index_bytes, index_free_bytes, needed_bytes, enough } = &self.disk;
        let fits = match enough {
            Some(true) => "enough is free",
            Some(false) => "not enough is free",
            None => "whether that is free is not known",
        };
        writeln!(out, "  disk       about {}; {fits}", bytes(*needed_bytes))?;
        writeln!(out, "  tables     {}, free {}", bytes(*tables_bytes), optional(*tables_free_bytes))?;
        if self.rebuilds.iter().any(|part| part == "search") {
            writeln!(out, "  index      {}, free {}", optional(*index_bytes), optional(*index_free_bytes))?;
        }
        if let Some(reason) = &self.blocked_by {
            writeln!(out, "  not now    {}", output::cut(reason, usize::MAX))?;
        }
        Ok(writeln!(out, "nothing was changed")?)
    }
}

fn optional(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), bytes)
}

/// Bytes as people read them.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_why_how_long_and_what_is_needed() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "domain": "d", "generation": 2, "live": 1, "rebuilds": ["tables", "search"], "reasons": ["ddl has changed"],
            "parts": [{"part": "ddl", "live": "a", "program": "b", "changed": true}], "events": 20_000,
            "log_bytes": 3_145_728, "events_per_second": 100.0, "measured_by": 1, "estimated_seconds": 200.0,
            "disk": {"tables_bytes": 2048, "tables_free_bytes": null, "index_bytes": 10, "index_free_bytes": 5,
                "needed_bytes": 2058, "enough": null},
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        let mut out = Vec::new();
        assert!(plan.write(&mut out).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        for part in [
            "generation 2 of d would be built beside generation 1: tables and search\n",
            "why        ddl has changed\n",
            "part       ddl: changed (live a, program b)\n",
            "events     20000, about 3.0 MiB\n",
            "time       about 4 min at 100 events/s (as generation 1 had)\n",
            "disk       about 2.0 KiB; whether that is free is not known\n",
            "tables     2.0 KiB, free unknown\n",
            "index      10 B, free 5 B\n",
            "nothing was changed\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
}
