//! `daybook search`: asks a running server for documents, and shows them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ask::ask, command::SearchOptions, config::Server, output};

/// The answer, in the order in which it is printed.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Found {
    total: u64,
    complete: bool,
    took_ms: u64,
    hits: Vec<Hit>,
    facets: Value,
    next_cursor: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// A document: first the fields that most domains' documents have, then the others.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Hit {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

pub(crate) async fn run(server: &Server, given: &SearchOptions) -> Result<()> {
    let found: Found = ask(server, &format!("/api/v1/search?{}", query_of(given))).await?;
    let mut out = io::stdout().lock();
    if output::is_for_people(given.server.json) {
        write(&mut out, &found)
    } else {
        output::write_document(&mut out, &found)
    }
}

/// The options as a query string.
fn query_of(given: &SearchOptions) -> String {
    let many = [
        ("type", &given.types),
        ("flow", &given.flows),
        ("user", &given.users),
        ("tag", &given.tags),
        ("status", &given.statuses),
    ];
    let mut pairs: Vec<(&str, String)> = vec![("q", given.query.join(" ")), ("limit", given.limit.to_string())];
    pairs.extend(many.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone()))));
    let one = [("from", &given.from), ("to", &given.to), ("sort", &given.sort)];
    pairs.extend(one.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    let encode = |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    pairs.into_iter().map(encode).collect::<Vec<_>>().join("&")
}

fn write(out: &mut impl Write, found: &Found) -> Result<()> {
    let rows: Vec<_> = found.hits.iter().map(row).collect();
    output::write_table(out, ["PATH", "STATUS", "USER", "CREATED (UTC)", "TAGS"], &rows)?;
    let more = if found.complete { "" } else { "; the index lags behind the log, and more may match" };
    Ok(writeln!(out, "{} of {}{more}", found.hits.len(), found.total)?)
}

fn row(hit: &Hit) -> [String; 5] {
    let shown = |text: &Option<String>| text.as_deref().map(output::cell).unwrap_or_default();
    let created = hit.created_at.map(output::utc).unwrap_or_default();
    // A path is not cut: it is what is copied from here.
    let path = output::cut(&hit.path, usize::MAX);
    [path, shown(&hit.status), shown(&hit.user), created, output::cell(&hit.tags.join(" "))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> Found {
        let hit = json!({"flow": "F", "type": "run", "path": "/flows/F/runs/1", "created_at": 0, "tags": ["a", "b"]});
        let body =
            json!({"hits": [hit], "total": 2, "complete": true, "took_ms": 1, "facets": {}, "next_cursor": null});
        serde_json::from_value(body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn people_see_a_table() {
        let mut out = Vec::new();
        assert!(write(&mut out, &found()).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.starts_with("PATH             STATUS  USER  CREATED (UTC)        TAGS\n"), "{text}");
        assert!(text.contains("/flows/F/runs/1                1970-01-01 00:00:00  a b\n1 of 2\n"), "{text}");
    }

    #[test]
    fn json_has_a_fixed_order() {
        let text = serde_json::to_string(&found()).unwrap_or_default();
        let begin =
            r#"{"total":2,"complete":true,"took_ms":1,"hits":[{"type":"run","path":"/flows/F/runs/1","created_at":0"#;
        assert!(text.starts_with(begin) && text.contains(r#""flow":"F""#), "{text}");
    }
}
