//! The released schemas as a read-only, Confluent-compatible registry, so that ordinary Kafka tools can decode the log.
//!
//! Paths, shapes and error codes: Confluent Schema Registry API reference. Nothing can be changed: a schema that is
//! released already can be "registered", which gives its id. A path may end with a slash.

mod answers;
mod candidates;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    handler::Handler,
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};
use daybook_schemas::{
    Topic,
    registry::{self, Released},
};
use serde_json::{Value, json};

use self::{
    answers::{Answer, Refusal, entry, in_shape, shown},
    candidates::{is_compatible, is_compatible_with_all, is_set, look_up, register},
};
use crate::{
    app::{App, Domain},
    path::Path,
    query::Query,
    server,
};

/// The prefix of the paths.
pub(super) const PREFIX: &str = "/api/v1/schema-registry";
/// Every later version can read what any earlier one wrote: tests of the schemas check it.
const LEVEL: &str = "BACKWARD_TRANSITIVE";
const MODE: &str = "READONLY";

/// The routes, relative to the registry's prefix.
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let routes = paths().into_iter().fold(Router::new(), |routes, (path, methods)| {
        routes.route(&format!("{path}/"), methods.clone()).route(path, methods)
    });
    let routes =
        routes.route("/", get(root)).fallback(server::not_found).method_not_allowed_fallback(server::not_allowed);
    server::limited(app, routes).layer(middleware::from_fn(in_shape))
}

fn paths() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    vec![
        ("/subjects", get(subjects)),
        ("/subjects/{subject}", post(look_up)),
        ("/subjects/{subject}/metadata", get(latest_with_metadata)),
        ("/subjects/{subject}/versions", get(versions).post(register)),
        ("/subjects/{subject}/versions/{version}", get(version)),
        ("/subjects/{subject}/versions/{version}/schema", get(text_of_version)),
        ("/subjects/{subject}/versions/{version}/referencedby", get(referenced_by)),
        ("/schemas", get(schemas)),
        ("/schemas/types", get(|| async { shown(&["AVRO"]) })),
        ("/schemas/guids/{guid}", get(|| async { Refusal::NoSchema.into_response() })),
        ("/schemas/ids/{id}", get(schema)),
        ("/schemas/ids/{id}/schema", get(text_of_schema)),
        ("/schemas/ids/{id}/subjects", get(subjects_of_schema)),
        ("/schemas/ids/{id}/versions", get(versions_of_schema)),
        ("/compatibility/subjects/{subject}/versions", post(is_compatible_with_all)),
        ("/compatibility/subjects/{subject}/versions/{version}", post(is_compatible)),
        ("/config", get(|| async { level() })),
        ("/config/{subject}", get(level_of_subject)),
        ("/mode", get(|| async { mode() })),
        ("/mode/{subject}", get(mode_of_subject)),
        ("/contexts", get(contexts)),
    ]
}

async fn root() -> Response {
    shown(&json!({}))
}

/// The routes while nothing can be answered: all paths have the same answer, in the registry's shape.
pub(crate) fn closed<T: 'static>(answer: impl Handler<T, ()>) -> Router {
    let closed: MethodRouter = any(answer).layer(middleware::from_fn(in_shape));
    ["", "/", "/{*path}"]
        .into_iter()
        .fold(Router::new(), |routes, path| routes.route(&format!("{PREFIX}{path}"), closed.clone()))
}

/// The root with a slash at its end, which a nested router does not take.
pub(super) fn root_with_slash() -> MethodRouter<Arc<App>> {
    get(root).layer(middleware::from_fn(in_shape))
}

/// The subjects of a domain's topics.
fn subjects_of(app: &App, domain: &Domain) -> Vec<String> {
    let subject = |topic: &Topic| registry::subject(*topic, &app.config.topic_prefix);
    domain.api.topics.iter().map(subject).collect()
}

/// Every version of every subject that begins with the prefix of the query.
fn all<'a>(app: &'a App, query: &'a Query) -> impl Iterator<Item = (String, &'static [Released])> + 'a {
    let prefix = query.get("subjectPrefix").unwrap_or_default();
    // The subjects of all contexts are those of the only one.
    let prefix = prefix.strip_prefix(":*:").unwrap_or_else(|| subject_name(prefix));
    let of_domain = |domain: Arc<Domain>| {
        let released = domain.api.schemas.released();
        subjects_of(app, &domain).into_iter().map(move |subject| (subject, released))
    };
    app.domains().into_iter().flat_map(of_domain).filter(move |(subject, _)| subject.starts_with(prefix))
}

/// A subject without the name of the default context, which is the only one.
fn subject_name(given: &str) -> &str {
    given.strip_prefix(":.:").unwrap_or(given)
}

/// The released versions of a subject.
fn released_of(app: &App, subject: &str) -> Result<&'static [Released], Refusal> {
    let domains = app.domains();
    let domain = domains.iter().find(|domain| subjects_of(app, domain).iter().any(|known| known == subject));
    domain.map(|domain| domain.api.schemas.released()).ok_or_else(|| Refusal::NoSubject(subject.to_owned()))
}

fn find_version<'a>(released: &'a [Released], version: &str) -> Result<&'a Released, Refusal> {
    let no_version = || Refusal::NoVersion(version.to_owned());
    if version == "latest" || version == "-1" {
        return released.last().ok_or_else(no_version);
    }
    let number = version.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    let number = number.ok_or_else(|| Refusal::InvalidVersion(version.to_owned()))?;
    released.iter().find(|released| released.version == number).ok_or_else(no_version)
}

fn find_id(app: &App, id: &str) -> Result<&'static Released, Refusal> {
    let found = id.parse::<u32>().ok().and_then(|id| app.schemas.0.iter().find_map(|set| set.find(id)));
    found.ok_or(Refusal::NoSchema)
}

/// The part of a list that a query asks for. What is deleted is nothing here.
fn page<T>(query: &Query, items: impl Iterator<Item = T>) -> Result<Vec<T>, Refusal> {
    let (offset, limit) = (number(query, "offset")?.unwrap_or(0), number(query, "limit")?.unwrap_or(usize::MAX));
    if ["deletedOnly", "deleted_only"].iter().any(|name| is_set(query, name)) {
        return Ok(Vec::new());
    }
    Ok(items.skip(offset).take(limit).collect())
}

/// A parameter that is a number. A negative one, as Confluent's default of -1, counts as not given.
fn number(query: &Query, name: &'static str) -> Result<Option<usize>, Refusal> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse::<i64>().map_err(|_| Refusal::InvalidNumber { name, text: text.to_owned() })?;
    Ok(usize::try_from(number).ok())
}

async fn subjects(State(app): State<Arc<App>>, query: Query) -> Answer {
    Ok(shown(&page(&query, all(&app, &query).map(|(subject, _)| subject))?))
}

async fn versions(State(app): State<Arc<App>>, Path(subject): Path<String>, query: Query) -> Answer {
    let released = released_of(&app, subject_name(&subject))?;
    Ok(shown(&page(&query, released.iter().map(|it| it.version))?))
}

async fn version(State(app): State<Arc<App>>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let subject = subject_name(&subject);
    Ok(shown(&entry(subject, find_version(released_of(&app, subject)?, &version)?)))
}

async fn text_of_version(State(app): State<Arc<App>>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let released = find_version(released_of(&app, subject_name(&subject))?, &version)?;
    Ok(text(released))
}

/// A schema itself as the body.
fn text(released: &Released) -> Response {
    crate::json::respond_bytes(axum::http::StatusCode::OK, released.text.clone().into_bytes())
}

/// No schema refers to another one: each is self-contained.
async fn referenced_by(State(app): State<Arc<App>>, Path((subject, version)): Path<(String, String)>) -> Answer {
    find_version(released_of(&app, subject_name(&subject))?, &version)?;
    Ok(shown(&Vec::<u32>::new()))
}

/// The latest version with some metadata; schemas have none.
async fn latest_with_metadata(State(app): State<Arc<App>>, Path(subject): Path<String>, query: Query) -> Answer {
    let subject = subject_name(&subject);
    let released = released_of(&app, subject)?;
    match released.last().filter(|_| query.get("key").is_none()) {
        Some(released) => Ok(shown(&entry(subject, released))),
        None => Err(Refusal::NoSchema),
    }
}

async fn schemas(State(app): State<Arc<App>>, query: Query) -> Answer {
    let wanted = |released: &'static [Released]| {
        if is_set(&query, "latestOnly") { &released[released.len().saturating_sub(1)..] } else { released }
    };
    let entries = all(&app, &query).flat_map(|(subject, released)| {
        wanted(released).iter().map(move |it| entry(&subject, it)).collect::<Vec<Value>>()
    });
    Ok(shown(&page(&query, entries)?))
}

async fn schema(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Answer {
    let mut body = json!({"schemaType": "AVRO", "schema": find_id(&app, &id)?.text});
    if is_set(&query, "fetchMaxId") {
        let ids = app.schemas.0.iter().flat_map(|set| set.released()).map(|released| released.id);
        body["maxId"] = ids.max().into();
    }
    Ok(shown(&body))
}

async fn text_of_schema(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    Ok(text(find_id(&app, &id)?))
}

/// The subjects that have a version with this id, with the version.
fn with_id(app: &App, id: &str, query: &Query) -> Result<Vec<(String, u32)>, Refusal> {
    let wanted = find_id(app, id)?;
    let named = query.get("subject").map(subject_name);
    let found = all(app, query).filter(|(subject, released)| {
        named.is_none_or(|named| named == subject) && released.iter().any(|it| it.id == wanted.id)
    });
    page(query, found.map(|(subject, _)| (subject, wanted.version)))
}

async fn subjects_of_schema(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Answer {
    let subjects: Vec<String> = with_id(&app, &id, &query)?.into_iter().map(|(subject, _)| subject).collect();
    Ok(shown(&subjects))
}

async fn versions_of_schema(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Answer {
    let entry = |(subject, version)| json!({"subject": subject, "version": version});
    let versions: Vec<Value> = with_id(&app, &id, &query)?.into_iter().map(entry).collect();
    Ok(shown(&versions))
}

/// Refuses a subject that is not there, unless the global settings count for it. The default context has them, too.
fn check_has_settings(app: &App, subject: &str, query: &Query) -> Result<(), Refusal> {
    let subject = subject_name(subject);
    if subject.is_empty() || is_set(query, "defaultToGlobal") {
        return Ok(());
    }
    released_of(app, subject).map(|_| ())
}

fn level() -> Response {
    shown(&json!({"compatibilityLevel": LEVEL}))
}

async fn level_of_subject(State(app): State<Arc<App>>, Path(subject): Path<String>, query: Query) -> Answer {
    check_has_settings(&app, &subject, &query)?;
    Ok(level())
}

fn mode() -> Response {
    shown(&json!({"mode": MODE}))
}

async fn mode_of_subject(State(app): State<Arc<App>>, Path(subject): Path<String>, query: Query) -> Answer {
    check_has_settings(&app, &subject, &query)?;
    Ok(mode())
}

async fn contexts(query: Query) -> Answer {
    Ok(shown(&page(&query, ["."].into_iter())?))
}
