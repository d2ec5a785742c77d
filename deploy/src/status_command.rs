//! `daybook status`: asks a running server what it is doing.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ask::ask, config::Server, output};

/// The answer, in the order in which it is printed. Fields may be missing, and there may be unknown ones: the server
/// may have another version.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Status {
    version: String,
    instance: String,
    roles: Vec<String>,
    uptime_seconds: u64,
    ready: bool,
    reasons: Vec<String>,
    log: Place,
    tables: Place,
    default_domain: Option<String>,
    generations: Vec<Generation>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Place {
    place: String,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Generation {
    domain: String,
    generation: Value,
    state: String,
    schema: String,
    applied: String,
    lag_records: Option<i64>,
    quarantined_records: Option<i64>,
    failure: Option<String>,
    search: Option<Search>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Search {
    place: Option<String>,
    visible: String,
    lag_records: Option<i64>,
    failure: Option<String>,
    rebuilding_documents: Option<u64>,
    refused: Option<Vec<Refused>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Refused {
    id: String,
    revision: Value,
    reason: String,
}

pub(crate) async fn run(server: &Server, json: bool) -> Result<()> {
    let status: Status = ask(server, "/api/v1/status").await?;
    let mut out = io::stdout().lock();
    if output::is_for_people(json) { write(&mut out, &status) } else { output::write_document(&mut out, &status) }
}

fn write(out: &mut impl Write, status: &Status) -> Result<()> {
    let ready = if status.ready { "ready".to_owned() } else { format!("not ready: {}", status.reasons.join("; ")) };
    writeln!(out, "daybook {} ({}), {ready}", status.version, status.instance)?;
    writeln!(out, "  up        {} s, roles {}", status.uptime_seconds, status.roles.join(", "))?;
    let of_log = |name: &str| output::plain(status.log.others.get(name).unwrap_or(&Value::Null));
    writeln!(out, "  log       {}, id {}", status.log.place, of_log("id"))?;
    writeln!(out, "  log end   {}", of_log("end"))?;
    writeln!(out, "  tables    {}", status.tables.place)?;
    if let Some(domain) = &status.default_domain {
        writeln!(out, "  default   {domain}, if a command names no domain")?;
    }
    for generation in &status.generations {
        writeln!(out, "  {} generation {}, {}", generation.domain, generation.generation, generation.state)?;
        writeln!(out, "    applied     {}", generation.applied)?;
        writeln!(out, "    lag         {}", records(generation.lag_records))?;
        writeln!(out, "    quarantine  {}", records(generation.quarantined_records))?;
        if let Some(failure) = &generation.failure {
            writeln!(out, "    tables      {}", output::cut(failure, 200))?;
        }
        write_search(out, generation.search.as_ref())?;
    }
    Ok(())
}

fn write_search(out: &mut impl Write, search: Option<&Search>) -> Result<()> {
    let Some(search) = search else { return Ok(writeln!(out, "    search      off")?) };
    let place = search.place.as_deref().unwrap_or("-");
    writeln!(out, "    search      {place}, lag {}", records(search.lag_records))?;
    if let Some(documents) = search.rebuilding_documents {
        writeln!(out, "    rebuilding  {documents} documents so far")?;
    }
    for refused in search.refused.iter().flatten() {
        writeln!(out, "    refused     {}: {}", output::cell(&refused.id), output::cut(&refused.reason, 200))?;
    }
    if let Some(failure) = &search.failure {
        writeln!(out, "    failing     {failure}")?;
    }
    Ok(())
}

fn records(count: Option<i64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| format!("{count} records"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(body: Value) -> Status {
        serde_json::from_value(body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn people_see_what_is_wrong() {
        let search = json!({"place": "http://e", "lag_records": 3, "failure": "no shard", "rebuilding_documents": 7,
            "refused": [{"id": "run/F/1", "revision": 2, "reason": "field\ncreated_at"}]});
        let status = status(json!({
            "version": "0.1.0", "instance": "1-a", "ready": false, "reasons": ["log: down"],
            "log": {"id": "L", "place": "kafka://b", "end": null},
            "generations": [{"domain": "d", "generation": 1, "state": "live", "lag_records": null,
                "failure": "no server", "search": search}],
        }));
        let mut out = Vec::new();
        assert!(write(&mut out, &status).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        for part in [
            "daybook 0.1.0 (1-a), not ready: log: down\n",
            "log       kafka://b, id L\n",
            "log end   -\n",
            "d generation 1, live\n",
            "lag         unknown\n",
            "quarantine  unknown\n",
            "tables      no server\n",
            "search      http://e, lag 3 records\n",
            "rebuilding  7 documents so far\n",
            "refused     run/F/1: field\\ncreated_at\n",
            "failing     no shard\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }

    #[test]
    fn json_has_a_fixed_order_and_keeps_what_is_not_known() {
        let status = status(json!({"uptime_seconds": 1, "version": "9", "new": {"b": 1}, "search": null}));
        let text = serde_json::to_string(&status).unwrap_or_default();
        assert!(
            text.starts_with(r#"{"version":"9","instance":"","roles":[],"uptime_seconds":1,"ready":false"#),
            "{text}"
        );
        assert!(text.contains(r#""new":{"b":1}"#), "{text}");
    }
}
