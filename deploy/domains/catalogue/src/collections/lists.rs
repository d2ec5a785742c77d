//! Term lists in the tables, and what is served of them: `PUT /api/v1/term-lists/{list}` sets one, the others show them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::append::Context;
use daybook_projector::tables::{FromRow, Params, Tables, TablesError};
use daybook_query_api::{
    app::App,
    bodies::Bounded,
    context::WriteContext,
    create::{self, Creation, ReadBack},
    error::ApiError,
    idempotency::Recorded,
    json,
    live::Live,
    path::Path,
    query::Query,
};
use daybook_schemas::{Envelope, EventSet};
use serde_json::{Value, json};

use super::{
    events::{Event, TermListSet},
    projection::{
        DefinitionRow, LIST_LISTS, LIST_NEWEST, ListedRow, READ_LIST, READ_NEWEST, READ_NEWEST_LIST,
        READ_RECORDED_LIST, TermListRow,
    },
    routes::{Application, limit_of, note_of, parse},
};
use crate::{
    definition::{
        Definition,
        lists::TermLists,
        terms::{TermListReference, TermListRevision},
    },
    terms::list::TermList,
};

/// The prefix of the paths.
pub(super) const PREFIX: &str = "/api/v1/term-lists";
/// Collections that are looked at together.
const PAGE: i64 = 100;
/// How often a definition is applied again, at most, while others change it.
const PINS_MAX: usize = 10;

/// The newest revisions of the lists that a definition follows.
pub(super) async fn newest(tables: &dyn Tables, definition: &Definition) -> Result<BTreeMap<String, u64>, TablesError> {
    let mut newest = BTreeMap::new();
    for name in definition.followed() {
        let rows = tables.read(&READ_NEWEST_LIST, Params::One(vec![name.into()])).await?;
        if let Some(row) = rows.first() {
            let TermListRow { list, revision, .. } = TermListRow::read(row)?;
            newest.insert(list.to_owned(), u64::try_from(revision).unwrap_or(0));
        }
    }
    Ok(newest)
}

/// The lists that a definition needs, as far as they are there.
pub(super) async fn needed(tables: &dyn Tables, definition: &Definition) -> Result<TermLists, TablesError> {
    let mut lists = TermLists::new();
    for (name, revision) in definition.needed() {
        let Some(number) = revision.and_then(|revision| i64::try_from(revision).ok()) else { continue };
        let rows = tables.read(&READ_LIST, Params::One(vec![name.into(), number.into()])).await?;
        if let Some(row) = rows.first() {
            let TermListRow { list, revision, terms, .. } = TermListRow::read(row)?;
            lists.insert((list.to_owned(), u64::try_from(revision).unwrap_or(0)), TermList::parse(terms));
        }
    }
    Ok(lists)
}

/// The content of a list that is set.
struct Setting<'a> {
    live: &'a Live,
    list: String,
    terms: TermList,
    note: Option<String>,
}

/// Sets a list. The definitions that follow it get another revision each.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    live: Live,
    Path(list): Path<String>,
    query: Query,
    context: WriteContext,
    Bounded(body): Bounded,
) -> Result<Response, ApiError> {
    let is_name = format!("{list}@latest").parse::<TermListReference>();
    is_name.map_err(|_| {
        ApiError::invalid("list", "the name of a list is a letter a-z, then at most 58 of a-z, 0-9, _ and -")
    })?;
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("body", "the list is not UTF-8"))?;
    let (terms, note) = (TermList::parse(text), note_of(&query)?);
    // The definitions that follow it are applied after it is there.
    let context = WriteContext { respond_async: false, ..context };
    let setting = Setting { live: &live, list: list.clone(), terms, note };
    create::create(&app, &live, &context, setting).await?;
    let (following, failed) = follow(&app, &live, &context, &list).await?;
    let rows = live.read(&READ_NEWEST_LIST, vec![list.as_str().into()]).await?;
    let row = rows.first().map(|row| TermListRow::read(row)).transpose()?.ok_or_else(|| unknown(&list))?;
    let mut body = shown(&row);
    body["collections"] = following.into();
    body["failed"] = failed.into();
    Ok(json::respond(StatusCode::OK, &body))
}

/// Applies again the newest definitions that follow a list, with its newest revision. The names of these collections, and
/// why some could not be applied.
async fn follow(
    app: &App,
    live: &Live,
    context: &WriteContext,
    list: &str,
) -> Result<(Vec<String>, Vec<Value>), ApiError> {
    let (mut after, mut following, mut failed) = (String::new(), Vec::new(), Vec::new());
    loop {
        let rows = live.read(&LIST_NEWEST, vec![after.as_str().into(), PAGE.into()]).await?;
        for row in &rows {
            let row = DefinitionRow::read(row)?;
            row.collection.clone_into(&mut after);
            // One that this program does not read follows nothing here.
            let Ok(definition) = parse(&row) else { continue };
            if !definition.followed().contains(&list) {
                continue;
            }
            match pin(app, live, context, row.collection).await {
                Ok(()) => following.push(row.collection.to_owned()),
                Err(error) => failed.push(json!({"collection": row.collection, "message": error.to_string()})),
            }
        }
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok((following, failed));
        }
    }
}

/// Applies the newest definition of a collection again, until it names the newest revisions of the lists that it follows.
/// Whoever sets a list, or applies a definition, does so afterwards: each sees what the other recorded before.
pub(super) async fn pin(app: &App, live: &Live, context: &WriteContext, collection: &str) -> Result<(), ApiError> {
    // Each is known by its content, not by a key.
    let record = Context { idempotency_key: None, ..context.record.clone() };
    let context = WriteContext { record, respond_async: false };
    for _ in 0..PINS_MAX {
        let rows = live.read(&READ_NEWEST, vec![collection.into()]).await?;
        let Some(newest) = rows.first().map(|row| DefinitionRow::read(row)).transpose()? else { return Ok(()) };
        let application = Application::of(live, parse(&newest)?, Some("a term list was set".to_owned())).await?;
        if application.is(newest.hash) {
            return Ok(());
        }
        // A definition that somebody applied meanwhile is not replaced by an earlier one.
        let application = application.expecting(newest.hash);
        match create::create(app, live, &context, application).await {
            Ok(_) | Err(ApiError::Detailed { status: StatusCode::PRECONDITION_FAILED, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::Unavailable(format!("the definition of {collection} changes all the time")))
}

impl Creation for Setting<'_> {
    type Event = Event;
    const KIND: &'static str = "TermListSet";

    fn record_key(&self) -> &str {
        &self.list
    }

    async fn decide(&self, _app: &App) -> Result<Vec<Event>, ApiError> {
        let rows = self.live.read(&READ_NEWEST_LIST, vec![self.list.as_str().into()]).await?;
        let newest = rows.first().map(|row| TermListRow::read(row)).transpose()?;
        if newest.as_ref().is_some_and(|newest| newest.hash == self.terms.hash()) {
            return Ok(Vec::new());
        }
        let event = Event::TermListSet(TermListSet {
            list: self.list.clone(),
            revision: newest.map_or(0, |newest| newest.revision) + 1,
            terms: self.terms.text(),
            hash: self.terms.hash().to_owned(),
            note: self.note.clone(),
        });
        event.check()?;
        Ok(vec![event])
    }

    async fn answer(&self, _envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        Ok(json::respond(StatusCode::OK, &json!({})))
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        if let Some(Recorded { position, .. }) = recorded.first() {
            let key = vec![self.list.as_str().into(), i64::from(position.partition.id).into(), position.offset.into()];
            if !self.live.read(&READ_RECORDED_LIST, key).await?.is_empty() {
                return Ok(ReadBack::Answer(self.answer(&[]).await?));
            }
        }
        let rows = self.live.read(&READ_NEWEST_LIST, vec![self.list.as_str().into()]).await?;
        let newest = rows.first().map(|row| TermListRow::read(row)).transpose()?;
        match newest.filter(|newest| newest.hash == self.terms.hash()) {
            Some(_) => Ok(ReadBack::Answer(self.answer(&[]).await?)),
            None => Ok(ReadBack::NumberTaken),
        }
    }
}

fn unknown(list: &str) -> ApiError {
    ApiError::NotFound(format!("there is no term list {list}"))
}

fn shown(row: &TermListRow<'_>) -> Value {
    let TermListRow { list, revision, hash, term_count, note, set_at, .. } = row;
    json!({"list": list, "revision": revision, "hash": hash, "terms": term_count, "note": note, "set_at": set_at})
}

/// The newest revisions of the lists after a name.
pub(super) async fn list(live: Live, query: Query) -> Result<Response, ApiError> {
    let limit = limit_of(&query)?;
    let after = query.get("after").unwrap_or_default();
    let rows = live.read(&LIST_LISTS, vec![after.into(), (limit + 1).into()]).await?;
    let shown = rows.iter().take(usize::try_from(limit).unwrap_or(0)).map(|row| {
        let ListedRow { list, revision, hash, term_count, note, set_at } = ListedRow::read(row)?;
        Ok(json!({"list": list, "revision": revision, "hash": hash, "terms": term_count, "note": note, "set_at": set_at}))
    });
    let shown: Vec<Value> = shown.collect::<Result<_, ApiError>>()?;
    let is_more = rows.len() > shown.len();
    let next = shown.last().filter(|_| is_more).map(|last| last["list"].clone());
    Ok(json::respond(StatusCode::OK, &json!({"lists": shown, "next": next})))
}

/// A list with its terms: the newest revision, or one of a number.
pub(super) async fn show(live: Live, Path(list): Path<String>, query: Query) -> Result<Response, ApiError> {
    let revision = query.get("revision").map(|revision| format!("{list}@{revision}").parse::<TermListReference>());
    let revision = revision.transpose().map_err(|_| ApiError::invalid("revision", "revision is not a number"))?;
    let rows = match revision.map(|reference| reference.revision) {
        None | Some(TermListRevision::Latest) => live.read(&READ_NEWEST_LIST, vec![list.as_str().into()]).await?,
        Some(TermListRevision::Number(number)) => {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            live.read(&READ_LIST, vec![list.as_str().into(), number.into()]).await?
        }
    };
    let row = rows.first().map(|row| TermListRow::read(row)).transpose()?.ok_or_else(|| unknown(&list))?;
    let mut body = shown(&row);
    body["terms"] = TermList::parse(row.terms).terms().to_vec().into();
    Ok(json::respond(StatusCode::OK, &body))
}
