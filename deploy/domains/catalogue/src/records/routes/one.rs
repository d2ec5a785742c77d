//! One record: `PUT` says what it holds, `GET` shows it, `DELETE` removes its content.

use std::{marker::PhantomData, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_query_api::{
    app::App, bodies::Bounded, context::WriteContext, create, error::ApiError, json, live::Live, path::Path,
    query::Query,
};
use serde_json::{Map, Value, json};

use super::{
    after, body, definition_of_writes, id_of_path, read_object, refused, refused_record, view,
    write::{Kind, Write},
};
use crate::{
    definition::Definition,
    record::{self, Coverage, RecordInput, Source, content_hash, fold::Change},
    records::{
        events::{Event, RecordRemoved, RecordUpserted},
        states::Stored,
    },
    values::canonical::canonical_json,
};

struct Upsert;

impl Kind for Upsert {
    const NAME: &'static str = "RecordUpserted";
}

struct Removal;

impl Kind for Removal {
    const NAME: &'static str = "RecordRemoved";
}

/// Says what a record holds: the whole of it, or some fields with `?merge=true`. What changes nothing is not recorded.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    live: Live,
    Path(record_id): Path<String>,
    query: Query,
    context: WriteContext,
    Bounded(bytes): Bounded,
) -> Result<Response, ApiError> {
    let (view, merge) = (view(&live)?, is_set(&query, "merge")?);
    let (record_id, definition) = (id_of_path(&view, &record_id)?, definition_of_writes(&app, &view));
    let mut given = read_object(&bytes)?;
    let key = definition.key.as_str();
    if !given.contains_key(key) {
        given.insert(key.to_owned(), key_value(&definition, &record_id));
    }
    let coverage = if merge { Coverage::Partial } else { Coverage::Whole };
    let input = record::read(&definition, given, Source::Json, coverage).map_err(refused_record)?;
    if input.record_id != record_id {
        let message = format!("{key} is {}, and the path names {record_id}", input.record_id);
        return Err(refused(key, "other-record", message));
    }
    let ignored: Vec<&String> = input.unknown.iter().chain(&input.ignored).collect();
    let notes = [("ignored_fields", json!(ignored)), ("truncated", json!(input.shortened))];
    let notes = notes.map(|(name, note)| (name.to_owned(), note)).into_iter().collect();
    let hash = content_hash(&input.fields, &definition);
    let collection = definition.collection.to_string();
    // What the live generation does not keep may be new to another one.
    let is_live = Arc::ptr_eq(&definition, &view.definition);
    let decide = move |state: Option<&Stored>| {
        let is_same = match merge {
            true => is_live && after(&definition, state.map(|stored| &stored.state), merge_of(&input)).is_none(),
            false => says_the_same(state, &hash),
        };
        Ok((!is_same).then(|| upserted(&collection, &input, &hash, merge)))
    };
    let kind = PhantomData::<Upsert>;
    create::create(&app, &live, &context, Write { live: &live, view: &view, record_id, kind, notes, decide }).await
}

/// Whether the last upsert of a record had the same content.
pub(super) fn says_the_same(state: Option<&Stored>, hash: &str) -> bool {
    state.is_some_and(|stored| stored.state.raw.is_some() && stored.content_hash.as_deref() == Some(hash))
}

/// What some fields of a record change.
pub(super) fn merge_of(input: &RecordInput) -> Change {
    Change::Upserted { fields: input.fields.clone(), merge: true }
}

/// The event of a record that was read.
pub(super) fn upserted(collection: &str, input: &RecordInput, hash: &str, merge: bool) -> Event {
    Event::RecordUpserted(RecordUpserted {
        collection: collection.to_owned(),
        record_id: input.record_id.clone(),
        fields: canonical_json(&Value::Object(input.fields.clone())),
        content_hash: hash.to_owned(),
        merge,
        import_id: None,
        source: None,
        cursor: None,
    })
}

/// The value of the key field for an id: a number if the field is one.
fn key_value(definition: &Definition, record_id: &str) -> Value {
    let kind = definition.field(definition.key.as_str()).map(|field| field.kind);
    let value = kind.and_then(|kind| kind.from_text(record_id).ok());
    value.unwrap_or_else(|| record_id.into())
}

pub(super) fn is_set(query: &Query, name: &str) -> Result<bool, ApiError> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err(ApiError::invalid(name, format!("{name} is not true or false"))),
    }
}

/// The answer about a record that is taken down.
pub(super) fn taken_down(record_id: &str, reason: &str) -> ApiError {
    let message = format!("record {record_id} is taken down");
    ApiError::detailed(StatusCode::GONE, "taken-down", message).with("reason", reason)
}

/// Shows a record, or with `?raw=true` what its source said.
pub(super) async fn show(live: Live, Path(record_id): Path<String>, query: Query) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let record_id = id_of_path(&view, &record_id)?;
    let state = view.state(&record_id).await?;
    let missing = || ApiError::NotFound(format!("{} has no record {record_id}", view.definition.collection));
    let state = state.ok_or_else(missing)?;
    if let Some(reason) = &state.state.taken_down {
        return Err(taken_down(&record_id, reason));
    }
    if is_set(&query, "raw")? {
        let raw = state.state.raw.as_ref().ok_or_else(missing)?;
        let body = json!({"record_id": record_id, "revision": state.state.revision, "fields": raw});
        return Ok(json::respond(StatusCode::OK, &body));
    }
    let shown = view.shown(&record_id).await?.ok_or_else(missing)?;
    Ok(json::respond(StatusCode::OK, &body(&shown)?))
}

/// Removes the content of a record. An upsert makes it anew, with a greater revision.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    live: Live,
    Path(record_id): Path<String>,
    context: WriteContext,
) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let record_id = id_of_path(&view, &record_id)?;
    let (collection, id) = (view.definition.collection.to_string(), record_id.clone());
    let decide = move |state: Option<&Stored>| match state {
        None => Err(ApiError::NotFound(format!("{collection} has no record {id}"))),
        Some(stored) if stored.state.raw.is_none() => Ok(None),
        Some(_) => Ok(Some(Event::RecordRemoved(RecordRemoved {
            collection: collection.clone(),
            record_id: id.clone(),
            cause: "operator".to_owned(),
            import_id: None,
            source: None,
            cursor: None,
        }))),
    };
    let (kind, notes) = (PhantomData::<Removal>, Map::new());
    create::create(&app, &live, &context, Write { live: &live, view: &view, record_id, kind, notes, decide }).await
}
