//! What clients ask about a schema of their own: which version is it, may it be registered, is it compatible?

use std::sync::Arc;

use axum::{extract::State, response::Response};
use daybook_schemas::{candidate::Candidate, registry::Released};
use serde_json::{Value, json};

use super::{
    answers::{Answer, Refusal, entry, shown},
    find_version, released_of, subject_name,
};
use crate::{app::App, bodies::Bounded, path::Path, query::Query};

/// Which version of a subject a schema is.
pub(super) async fn look_up(
    State(app): State<Arc<App>>,
    Path(subject): Path<String>,
    query: Query,
    Bounded(body): Bounded,
) -> Answer {
    let subject = subject_name(&subject);
    let released = released_of(&app, subject)?;
    let found = find(&candidate(&body)?, released, &query).ok_or(Refusal::NoSchema)?;
    Ok(shown(&entry(subject, found)))
}

/// The id of a schema that is released; another one is refused.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Path(subject): Path<String>,
    query: Query,
    Bounded(body): Bounded,
) -> Answer {
    let candidate = candidate(&body)?;
    let subject = subject_name(&subject);
    let found = released_of(&app, subject).ok().and_then(|released| find(&candidate, released, &query));
    let found = found.ok_or_else(|| Refusal::ReadOnly(subject.to_owned()))?;
    Ok(shown(&json!({"id": found.id})))
}

/// Whether a schema can read what was written with one version.
pub(super) async fn is_compatible(
    State(app): State<Arc<App>>,
    Path((subject, version)): Path<(String, String)>,
    query: Query,
    Bounded(body): Bounded,
) -> Answer {
    let released = find_version(released_of(&app, subject_name(&subject))?, &version)?;
    Ok(verdict(&candidate(&body)?, std::slice::from_ref(released), &query))
}

/// Whether a schema can read what was written with any version. A subject that is not there has none.
pub(super) async fn is_compatible_with_all(
    State(app): State<Arc<App>>,
    Path(subject): Path<String>,
    query: Query,
    Bounded(body): Bounded,
) -> Answer {
    let released = released_of(&app, subject_name(&subject)).unwrap_or_default();
    Ok(verdict(&candidate(&body)?, released, &query))
}

fn verdict(candidate: &Candidate, released: &[Released], query: &Query) -> Response {
    let failed = released.iter().filter_map(|it| {
        candidate.reads(it).err().map(|reason| format!("version {} cannot be read: {reason}", it.version))
    });
    let failed: Vec<String> = failed.collect();
    let mut body = json!({"is_compatible": failed.is_empty()});
    if is_set(query, "verbose") {
        body["messages"] = failed.into();
    }
    shown(&body)
}

fn find<'a>(candidate: &Candidate, released: &'a [Released], query: &Query) -> Option<&'a Released> {
    // The newest of the same schemas, as a registry does it.
    released.iter().rev().find(|it| candidate.is(it, is_set(query, "normalize")))
}

/// A flag of the query; some clients write `True`.
pub(super) fn is_set(query: &Query, name: &str) -> bool {
    query.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The schema of a request's body: `{"schema": "…", "schemaType": "AVRO"}`.
fn candidate(body: &[u8]) -> Result<Candidate, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|e| Refusal::InvalidSchema(format!("no JSON: {e}")))?;
    let kind = body["schemaType"].as_str().unwrap_or("AVRO");
    if kind != "AVRO" {
        return Err(Refusal::InvalidSchema(format!("the type {kind:?} is not known, only AVRO is")));
    }
    let text = body["schema"].as_str().ok_or_else(|| Refusal::InvalidSchema("schema is no text".to_owned()))?;
    Candidate::parse(text).map_err(Refusal::InvalidSchema)
}
