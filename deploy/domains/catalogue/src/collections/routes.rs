//! What is served of definitions: `PUT /api/v1/collections/{collection}` applies one, the others show them.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::IF_MATCH},
    response::Response,
    routing::{any, get, put},
};
use daybook_ingest::log::LogError;
use daybook_projector::{chain, search::SearchError, tables::FromRow};
use daybook_query_api::{
    app::{ApiVersion, App, DomainApi},
    bodies::Bounded,
    context::WriteContext,
    create::{self, Creation, ReadBack},
    error::{ApiError, no_route},
    idempotency::Recorded,
    json,
    live::Live,
    path::Path,
    query::Query,
};
use daybook_schemas::{Envelope, EventSet, Topic, position::Vector, rules};
use serde_json::{Value, json};

use super::{
    events::{CATALOGUE, CollectionDefined, Event, SCHEMAS},
    lists,
    projection::{DefinitionRow, LIST_NEWEST, LIST_OF, READ, READ_NEWEST, READ_RECORDED, STATEMENTS},
    refreshes,
};
use crate::{
    clean::Cleaner,
    definition::{Definition, Fault},
    records::{self, Revision},
};

/// The prefix of the paths.
pub const PREFIX: &str = "/api/v1/collections";
/// Collections of one answer, if the client gives no limit, and at most.
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// What the domain adds to the HTTP API.
pub fn api() -> DomainApi {
    DomainApi {
        name: super::DOMAIN,
        topics: vec![CATALOGUE],
        schemas: &SCHEMAS,
        routes: Arc::new(|app: &App| {
            let running = running(app);
            let without_route =
                move |live: Live, path: Path<(String, String)>| not_served(Arc::clone(&running), live, path);
            Router::new()
                .route(PREFIX, get(list))
                .route(&format!("{PREFIX}/{{collection}}"), put(apply).get(show))
                .route(&format!("{PREFIX}/{{collection}}/definition"), get(show_definition))
                .route(lists::PREFIX, get(lists::list))
                .route(&format!("{}/{{list}}", lists::PREFIX), put(lists::set).get(lists::show))
                .route(&format!("{PREFIX}/{{collection}}/{{*path}}"), any(without_route))
        }),
        process_routes: Some(Arc::new(|_app| refreshes::routes())),
        streamed: Vec::new(),
        search_prefix: PREFIX.to_owned(),
        is_default: false,
        version: ApiVersion::of(Arc::new(|_generation| Arc::new(()))),
        know_newest: None,
        statements: STATEMENTS.to_vec(),
    }
}

async fn apply(
    State(app): State<Arc<App>>,
    live: Live,
    Path(collection): Path<String>,
    query: Query,
    headers: HeaderMap,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let is_dry_run = match query.get("dry_run") {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(_) => return Err(ApiError::invalid("dry_run", "dry_run is not true or false")),
    };
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("body", "the definition is not UTF-8"))?;
    let definition = Definition::parse(text).map_err(|faults| refused(&faults))?;
    if definition.collection.as_str() != collection {
        let fault = Fault {
            field: "collection".to_owned(),
            code: "other-name",
            detail: format!("the definition is of {}, and the path names {collection}", definition.collection),
            line: None,
        };
        return Err(refused(&[fault]));
    }
    let note = note_of(&query)?;
    let expected = headers.get_all(IF_MATCH).iter().map(|value| value.to_str().map(str::to_owned));
    let expected = expected.collect::<Result<Vec<String>, _>>();
    let expected = expected.map_err(|_| ApiError::invalid("If-Match", "If-Match is not plain text"))?;
    let application = Application { expected, ..Application::of(&live, definition, note).await? };
    if application.changes().await? {
        check_index(&app, &application.definition).await?;
    }
    if is_dry_run {
        return application.dry_run().await;
    }
    // The lists that it follows are looked at afterwards.
    let context = WriteContext { respond_async: false, ..context };
    let response = create::create(&app, &live, &context, application).await?;
    lists::pin(&app, &live, &context, &collection).await?;
    let rows = live.read(&READ_NEWEST, vec![collection.as_str().into()]).await?;
    let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?.map_or(0, |newest| newest.revision);
    // Whoever has the answer can write records of the collection, and they are read by the newest definition.
    if tokio::time::timeout(app.config.wait_max, is_served(&app, &collection, newest)).await.is_err() {
        return Err(ApiError::Unavailable("recorded, but the collection is not served yet".to_owned()));
    }
    Ok(response)
}

/// Refuses a definition whose index cannot be made where this process searches. A plan checks it again: the definition may
/// have been applied where search is switched off.
async fn check_index(app: &App, definition: &Definition) -> Result<(), ApiError> {
    let Some(indexes) = &app.indexes else { return Ok(()) };
    let shape = records::documents::shape_of(definition);
    let late = |_| ApiError::Unavailable("search does not answer in time".to_owned());
    match tokio::time::timeout(app.config.wait_max, indexes.check_shape(&shape)).await.map_err(late)? {
        Err(error @ SearchError::Unsupported(_)) => {
            let (field, detail) = ("index.mapping".to_owned(), error.to_string());
            Err(refused(&[Fault { field, code: "unsupported-mapping", detail, line: None }]))
        }
        checked => Ok(checked?),
    }
}

/// Where a topic of the log ends now.
pub(crate) async fn log_end(app: &App, topic: Topic) -> Result<Vector, ApiError> {
    let log = Arc::clone(&app.log);
    let end = tokio::task::spawn_blocking(move || log.end(&[topic])).await;
    end.map_err(|error| ApiError::Internal(error.to_string()))?.map_err(|error| {
        tracing::warn!(error = %error, "the end of the log is not known: {error}");
        ApiError::Unavailable("the log does not answer now".to_owned())
    })
}

/// Waits until a collection is served with the revision that is the newest one in the log.
pub(crate) async fn know_newest(app: &App, collection: String) -> Result<(), ApiError> {
    let Some(domain) = app.domain(super::DOMAIN) else { return Ok(()) };
    let live = domain.live();
    let known = async {
        let end = log_end(app, CATALOGUE).await?;
        live.generation.progress.wait_for(&end).await;
        let rows = live.read(&READ_NEWEST, vec![collection.as_str().into()]).await?;
        if let Some(row) = rows.first() {
            is_served(app, &collection, DefinitionRow::read(row)?.revision).await;
        }
        Ok(())
    };
    let late = |_| ApiError::Unavailable(format!("the newest definition of {collection} is not known here yet"));
    tokio::time::timeout(app.config.wait_max, known).await.map_err(late)?
}

/// Waits until a collection is served with a revision, or a later one.
async fn is_served(app: &App, collection: &str, revision: i64) {
    let name = records::events::domain_name(collection);
    app.domain_served(&name).await;
    if let Some(domain) = app.domain(&name) {
        domain.until_newest(|served: &Revision| served.number >= revision).await;
    }
}

/// An answer with every mistake of a definition.
fn refused(faults: &[Fault]) -> ApiError {
    let message = format!("the definition cannot be used; mistakes: {}", faults.len());
    ApiError::detailed(StatusCode::BAD_REQUEST, "definition-invalid", message).with("faults", json!(faults))
}

/// A definition that is applied.
pub(super) struct Application<'a> {
    live: &'a Live,
    collection: String,
    definition: Definition,
    /// Its canonical JSON.
    text: String,
    hash: String,
    note: Option<String>,
    /// The values of `If-Match`.
    expected: Vec<String>,
}

impl<'a> Application<'a> {
    /// A definition whose parts are all there; the lists that it follows are the newest ones.
    pub(super) async fn of(live: &'a Live, definition: Definition, note: Option<String>) -> Result<Self, ApiError> {
        let tables = live.generation.tables.as_ref();
        let newest = lists::newest(tables, &definition).await?;
        let definition = definition.with_lists(&newest).map_err(|faults| refused(&faults))?;
        let lists = lists::needed(tables, &definition).await?;
        let resolved = definition.clone().resolved(&lists).map_err(|faults| refused(&faults))?;
        if let Err(error) = Cleaner::of(&resolved.clean) {
            let (field, detail) = ("clean.rules".to_owned(), chain(&error));
            return Err(refused(&[Fault { field, code: "invalid-rule", detail, line: None }]));
        }
        let (text, hash) = (definition.canonical_json(), definition.hash());
        let collection = definition.collection.to_string();
        Ok(Self { live, collection, definition, text, hash, note, expected: Vec::new() })
    }

    /// Whether its content has a hash.
    pub(super) fn is(&self, hash: &str) -> bool {
        self.hash == hash
    }

    /// The same, refused unless the newest definition has a hash.
    pub(super) fn expecting(self, hash: &str) -> Self {
        Self { expected: vec![hash.to_owned()], ..self }
    }

    /// Refuses the request if it expects another definition to be the newest.
    fn check_expected(&self, newest: Option<&DefinitionRow<'_>>) -> Result<(), ApiError> {
        let newest = newest.map(|newest| (newest.hash, newest.revision));
        if is_expected(&self.expected, newest) {
            return Ok(());
        }
        let message = match newest {
            None => format!("there is no collection {}", self.collection),
            Some((hash, revision)) => format!("{} is at revision {revision}, {hash}", self.collection),
        };
        Err(ApiError::detailed(StatusCode::PRECONDITION_FAILED, "other-revision", message))
    }

    /// Refuses a definition that cannot take the place of the earlier ones.
    async fn check_successor(&self, newest: Option<&DefinitionRow<'_>>) -> Result<(), ApiError> {
        if newest.is_none_or(|newest| newest.hash == self.hash) {
            return Ok(());
        }
        let mut faults = Vec::new();
        for row in self.live.read(&LIST_OF, vec![self.collection.as_str().into(), 0.into()]).await? {
            // One that this program does not read any more says nothing.
            let Ok(earlier) = parse(&DefinitionRow::read(&row)?) else { continue };
            for fault in earlier.faults_of_successor(&self.definition) {
                if !faults.contains(&fault) {
                    faults.push(fault);
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(refused(&faults)) }
    }

    /// Whether the newest definition is another one.
    async fn changes(&self) -> Result<bool, ApiError> {
        let rows = self.live.read(&READ_NEWEST, vec![self.collection.as_str().into()]).await?;
        let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?;
        Ok(newest.is_none_or(|newest| !self.is(newest.hash)))
    }

    /// What the request would do, without doing it.
    async fn dry_run(&self) -> Result<Response, ApiError> {
        let rows = self.live.read(&READ_NEWEST, vec![self.collection.as_str().into()]).await?;
        let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?;
        self.check_expected(newest.as_ref())?;
        self.check_successor(newest.as_ref()).await?;
        let is_changed = newest.as_ref().is_none_or(|newest| newest.hash != self.hash);
        let revision = newest.as_ref().map_or(0, |newest| newest.revision) + i64::from(is_changed);
        let body = json!({
            "collection": self.collection,
            "revision": revision,
            "hash": self.hash,
            "changed": is_changed,
            "dry_run": true,
        });
        Ok(json::respond(StatusCode::OK, &body))
    }
}

/// Whether the values of `If-Match` name the newest definition, by its hash or revision; `*` names any.
fn is_expected(expected: &[String], newest: Option<(&str, i64)>) -> bool {
    let names = |value: &str, (hash, revision): (&str, i64)| {
        let value = value.trim().trim_matches('"');
        value == "*" || value == hash || value == revision.to_string()
    };
    let mut values = expected.iter().flat_map(|value| value.split(','));
    expected.is_empty() || newest.is_some_and(|newest| values.any(|value| names(value, newest)))
}

impl Creation for Application<'_> {
    type Event = Event;
    const KIND: &'static str = "CollectionDefined";

    fn record_key(&self) -> &str {
        &self.collection
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let rows = self.live.read(&READ_NEWEST, vec![self.collection.as_str().into()]).await?;
        let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?;
        self.check_expected(newest.as_ref())?;
        self.check_successor(newest.as_ref()).await?;
        if newest.as_ref().is_some_and(|newest| newest.hash == self.hash) {
            return Ok(Vec::new());
        }
        let name = records::events::domain_name(&self.collection);
        match newest {
            None => {
                // Before the event: a collection without a topic could take no records.
                let topic = records::events::topic(&self.collection);
                app.log.add_topics(&[topic], true).await.map_err(|error| no_topic(&error))?;
            }
            Some(_) if app.domain(&name).is_none() => {
                return Err(ApiError::Unavailable(format!("{} is not served yet; try again", self.collection)));
            }
            Some(_) => {}
        }
        let event = Event::CollectionDefined(CollectionDefined {
            collection: self.collection.clone(),
            revision: newest.map_or(0, |newest| newest.revision) + 1,
            definition: self.text.clone(),
            hash: self.hash.clone(),
            note: self.note.clone(),
        });
        event.check()?;
        Ok(vec![event])
    }

    async fn answer(&self, envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        if let Some(Event::CollectionDefined(event)) = envelopes.first().map(|envelope| &envelope.event) {
            return Ok(applied(StatusCode::CREATED, &event.collection, event.revision, &event.hash));
        }
        let rows = self.live.read(&READ_NEWEST, vec![self.collection.as_str().into()]).await?;
        let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?;
        let newest = newest.ok_or_else(|| unknown(&self.collection))?;
        Ok(applied(StatusCode::OK, newest.collection, newest.revision, newest.hash))
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let answer =
            |row: &DefinitionRow<'_>| ReadBack::Answer(applied(StatusCode::OK, row.collection, row.revision, row.hash));
        // Another revision may have been applied since.
        if let Some(Recorded { position, .. }) = recorded.first() {
            let key =
                vec![self.collection.as_str().into(), i64::from(position.partition.id).into(), position.offset.into()];
            if let Some(row) = self.live.read(&READ_RECORDED, key).await?.first() {
                return Ok(answer(&DefinitionRow::read(row)?));
            }
        }
        let rows = self.live.read(&READ_NEWEST, vec![self.collection.as_str().into()]).await?;
        let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?;
        Ok(newest.filter(|newest| newest.hash == self.hash).map_or(ReadBack::NumberTaken, |newest| answer(&newest)))
    }
}

fn applied(status: StatusCode, collection: &str, revision: i64, hash: &str) -> Response {
    json::respond(status, &json!({"collection": collection, "revision": revision, "hash": hash}))
}

/// The answer where the topic of a new collection cannot be made: nothing was recorded.
fn no_topic(error: &LogError) -> ApiError {
    let chain = chain(error);
    tracing::warn!(error = chain, "cannot add a topic: {chain}");
    match error {
        LogError::Unavailable(_) => ApiError::Unavailable("the log does not answer now".to_owned()),
        error => ApiError::Unavailable(error.to_string()),
    }
}

fn unknown(collection: &str) -> ApiError {
    ApiError::NotFound(format!("there is no collection {collection}"))
}

/// How many items a list shows.
pub(crate) fn limit_of(query: &Query) -> Result<i64, ApiError> {
    match query.get("limit").map(str::parse::<i64>) {
        None => Ok(LIMIT_DEFAULT),
        Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::invalid("limit", format!("limit is a number from 1 to {LIMIT_MAX}"))),
    }
}

/// Why something is done.
pub(super) fn note_of(query: &Query) -> Result<Option<String>, ApiError> {
    let note = query.get("note").filter(|note| !note.is_empty()).map(str::to_owned);
    rules::optional("note", note.as_deref())?;
    Ok(note)
}

async fn list(live: Live, query: Query) -> Result<Response, ApiError> {
    let limit = limit_of(&query)?;
    let after = query.get("after").unwrap_or_default();
    let rows = live.read(&LIST_NEWEST, vec![after.into(), (limit + 1).into()]).await?;
    let shown = rows.iter().take(usize::try_from(limit).unwrap_or(0)).map(|row| Ok(shown(&DefinitionRow::read(row)?)));
    let shown: Vec<Value> = shown.collect::<Result<_, ApiError>>()?;
    let is_more = rows.len() > shown.len();
    let next = shown.last().filter(|_| is_more).map(|last| last["collection"].clone());
    Ok(json::respond(StatusCode::OK, &json!({"collections": shown, "next": next})))
}

fn shown(row: &DefinitionRow<'_>) -> Value {
    let DefinitionRow { collection, revision, hash, note, defined_at, .. } = row;
    json!({"collection": collection, "revision": revision, "hash": hash, "note": note, "defined_at": defined_at})
}

async fn show(live: Live, Path(collection): Path<String>) -> Result<Response, ApiError> {
    let rows = live.read(&READ_NEWEST, vec![collection.as_str().into()]).await?;
    let newest = rows.first().map(|row| DefinitionRow::read(row)).transpose()?.ok_or_else(|| unknown(&collection))?;
    let mut body = shown(&newest);
    body["effective"] = parse(&newest)?.effective();
    Ok(json::respond(StatusCode::OK, &body))
}

async fn show_definition(live: Live, Path(collection): Path<String>, query: Query) -> Result<Response, ApiError> {
    let revision = query.get("revision").map(str::parse::<i64>).transpose();
    let revision = revision.map_err(|_| ApiError::invalid("revision", "revision is not a number"))?;
    let rows = match revision {
        None => live.read(&READ_NEWEST, vec![collection.as_str().into()]).await?,
        Some(revision) => live.read(&READ, vec![collection.as_str().into(), revision.into()]).await?,
    };
    let row = rows.first().map(|row| DefinitionRow::read(row)).transpose()?.ok_or_else(|| match revision {
        Some(revision) => ApiError::NotFound(format!("{collection} has no revision {revision}")),
        None => unknown(&collection),
    })?;
    let mut body = shown(&row);
    body["definition"] = serde_json::from_str(row.definition).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json::respond(StatusCode::OK, &body))
}

/// The domains whose routes are served beside these ones.
fn running(app: &App) -> Arc<BTreeSet<&'static str>> {
    Arc::new(app.domains().iter().map(|domain| domain.api.name).collect())
}

/// The answer below a collection where no route is. This process may not run the collection yet: it may have been defined
/// a moment ago.
async fn not_served(
    running: Arc<BTreeSet<&'static str>>,
    live: Live,
    Path((collection, _path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    if running.contains(records::events::domain_name(&collection).as_str()) {
        return Err(no_route());
    }
    Err(absent(&live, &collection).await)
}

/// Why this process does not run a collection: there is none, or it was defined a moment ago.
pub(super) async fn absent(live: &Live, collection: &str) -> ApiError {
    match live.read(&READ_NEWEST, vec![collection.into()]).await {
        Ok(rows) if rows.is_empty() => unknown(collection),
        Ok(_) => ApiError::Unavailable(format!("collection {collection} is not served here yet")),
        Err(error) => error.into(),
    }
}

/// A definition as it was applied.
pub(super) fn parse(row: &DefinitionRow<'_>) -> Result<Definition, ApiError> {
    let value = serde_json::from_str(row.definition).map_err(|error| ApiError::Internal(error.to_string()))?;
    let unread = |faults: Vec<Fault>| {
        let faults = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        ApiError::Internal(format!("revision {} of {} is not read: {faults}", row.revision, row.collection))
    };
    Definition::parse_json(&value).map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_expects_the_newest_definition_by_its_hash_or_revision() {
        let newest = Some(("abc", 2));
        for (expected, newest, is_met) in [
            ("abc", newest, true),
            ("\"abc\"", newest, true),
            ("2", newest, true),
            ("\"1\", \"2\"", newest, true),
            ("*", newest, true),
            ("1", newest, false),
            ("ab", newest, false),
            ("", newest, false),
            ("*", None, false),
            ("1", None, false),
        ] {
            assert_eq!(is_expected(&[expected.to_owned()], newest), is_met, "{expected} {newest:?}");
        }
        assert!(is_expected(&[], newest) && is_expected(&[], None));
    }
}
