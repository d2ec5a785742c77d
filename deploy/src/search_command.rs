//! `daybook search`: asks a running server for documents, and shows them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::Result;
use daybook_projector::search::shape::{FieldShape, IndexShape};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ask::ask,
    command::SearchOptions,
    config::Server,
    domains::Domain,
    exit::{Code, Failure},
    output,
};

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

/// A document: first what every domain's documents have, then the others.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Hit {
    path: String,
    #[serde(flatten)]
    attributes: BTreeMap<String, Value>,
}

pub(crate) async fn run(server: &Server, domains: &[Domain], given: &SearchOptions) -> Result<()> {
    let domain = searched(domains, given.domain.as_deref())?;
    let shape = (domain.documents)().map(|documents| documents.shape());
    let shape = shape.ok_or_else(|| usage(format!("the domain {} has nothing to search", domain.name())))?;
    check_filters(&shape, given)?;
    let found: Found = ask(server, &format!("{}/search?{}", domain.search_prefix(), query_of(given))).await?;
    let mut out = io::stdout().lock();
    if output::is_for_people(given.server.json) {
        write(&mut out, &shape, &found)
    } else {
        output::write_document(&mut out, &found)
    }
}

/// The domain of a name; the first one if none is given.
fn searched<'d>(domains: &'d [Domain], name: Option<&str>) -> Result<&'d Domain> {
    let found = domains.iter().find(|domain| name.is_none_or(|name| domain.name() == name));
    let names = || domains.iter().map(Domain::name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| usage(format!("--domain is not one of {}", names())))
}

fn check_filters(shape: &IndexShape, given: &SearchOptions) -> Result<()> {
    let known: Vec<&str> = shape.fields.iter().filter(|field| field.filter.is_some()).map(|it| &*it.name).collect();
    match given.filters.iter().find(|filter| !known.contains(&filter.field.as_str())) {
        Some(filter) => Err(usage(format!("--filter {}: the field is not one of {}", filter.field, known.join(", ")))),
        None => Ok(()),
    }
}

fn usage(text: String) -> anyhow::Error {
    Failure::new(Code::Usage, text).into()
}

/// The options as a query string.
fn query_of(given: &SearchOptions) -> String {
    let mut pairs = vec![("q", given.query.join(" ")), ("limit", given.limit.to_string())];
    pairs.extend(given.filters.iter().map(|filter| (filter.field.as_str(), filter.value.clone())));
    let one = [("from", &given.from), ("to", &given.to), ("sort", &given.sort)];
    pairs.extend(one.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    let encode = |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    pairs.into_iter().map(encode).collect::<Vec<_>>().join("&")
}

fn write(out: &mut impl Write, shape: &IndexShape, found: &Found) -> Result<()> {
    let columns = columns(shape);
    let time = &shape.field(shape.time_field).name;
    let name = |field: &&FieldShape| match &field.name {
        name if name == time => format!("{} (UTC)", name.to_uppercase()),
        name => name.to_uppercase(),
    };
    let head: Vec<String> = std::iter::once("PATH".to_owned()).chain(columns.iter().map(name)).collect();
    let row = |hit: &Hit| {
        // A path is not cut: it is what is copied from here.
        let path = output::cut(&hit.path, usize::MAX);
        let cells = columns.iter().map(|field| cell(hit, field, field.name == *time));
        std::iter::once(path).chain(cells).collect::<Vec<_>>()
    };
    output::write_table(out, &head, &found.hits.iter().map(row).collect::<Vec<_>>())?;
    let more = if found.complete { "" } else { "; the index lags behind the log, and more may match" };
    Ok(writeln!(out, "{} of {}{more}", found.hits.len(), found.total)?)
}

/// The fields that are columns beside the path: those to filter or sort by that the path does not show.
fn columns(shape: &IndexShape) -> Vec<&FieldShape> {
    let in_path = |field: &FieldShape| shape.path.iter().any(|(_, attribute)| field.attributes.contains(attribute));
    let shown = shape.all().filter(|(id, field)| *id != shape.type_field && !in_path(field));
    shown.map(|(_, field)| field).filter(|field| field.filter.is_some() || field.sort).collect()
}

/// The values of a field, separated by spaces.
fn cell(hit: &Hit, field: &FieldShape, is_time: bool) -> String {
    let values = field.attributes.iter().filter_map(|attribute| hit.attributes.get(&**attribute));
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Array(values) => Some(values.iter().map(output::plain).collect::<Vec<_>>().join(" ")),
        Value::Number(number) if is_time => number.as_i64().map(output::utc),
        value => Some(output::plain(value)),
    };
    output::cell(&values.filter_map(text).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domains::ALL;

    fn found() -> Found {
        let hit = json!({"flow": "F", "type": "run", "path": "/flows/F/runs/1", "created_at": 0, "tags": ["a", "b"]});
        let body =
            json!({"hits": [hit], "total": 2, "complete": true, "took_ms": 1, "facets": {}, "next_cursor": null});
        serde_json::from_value(body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn people_see_a_table() {
        let mut out = Vec::new();
        let shape = (ALL[0].documents)().map(|documents| documents.shape()).unwrap_or_else(|| panic!("no documents"));
        assert!(write(&mut out, &shape, &found()).is_ok());
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.starts_with("PATH             USER  TAG  STATUS  CREATED_AT (UTC)\n"), "{text}");
        assert!(text.contains("/flows/F/runs/1        a b          1970-01-01 00:00:00\n1 of 2\n"), "{text}");
    }

    #[test]
    fn json_has_a_fixed_order() {
        let text = serde_json::to_string(&found()).unwrap_or_default();
        let begin = r#"{"total":2,"complete":true,"took_ms":1,"hits":[{"path":"/flows/F/runs/1","created_at":0"#;
        assert!(text.starts_with(begin) && text.contains(r#""flow":"F""#), "{text}");
    }

    #[test]
    fn an_unknown_domain_is_refused() {
        assert!(searched(ALL, Some("other")).is_err() && searched(ALL, Some(ALL[0].name())).is_ok());
    }
}
