//! What is served of a collection's records, below `/api/v1/collections/{collection}`.

mod bulk;
mod fields;
mod flags;
mod further_tables;
mod history;
mod list;
mod one;
mod takedowns;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    http::StatusCode,
    routing::{delete, get, post, put},
};
use daybook_projector::{
    generation::Generation,
    tables::{FromRow, Statement},
};
use daybook_query_api::{
    app::{ApiVersion, App, DomainApi},
    error::ApiError,
    live::Live,
    loader::Loader,
};
use daybook_schemas::{position::Vector, topics::partition_of};
use serde_json::{Map, Value, json};

use super::{
    Revision,
    counts::{self, STATEMENTS_OF_SOURCES},
    events::{self, SCHEMAS},
    further,
    states::{READ, STATEMENTS, StateRow, Stored},
    typed::{Shown, Typed},
};
use crate::{
    collections::routes::{PREFIX, know_newest, log_end},
    definition::Definition,
    record::{
        self, RecordFault,
        fold::{self, Change, State},
        json_line,
    },
    values,
};

/// What the routes need of a generation.
struct View {
    definition: Arc<Definition>,
    typed: &'static Typed,
    rows: Loader,
    states: Loader,
    /// The definition that records are read by while this revision is newer than the generation's, made when it is needed.
    reading: Mutex<Option<(i64, Arc<Definition>)>>,
}

/// What the domain of a collection adds to the HTTP API.
pub(super) fn api(revision: &Arc<Revision>, typed: &'static Typed) -> DomainApi {
    let definition = &revision.definition;
    let topic = events::topic(definition.collection.as_str());
    let prefix = format!("{PREFIX}/{}", definition.collection);
    let (of_routes, of_view, of_newest) = (prefix.clone(), Arc::clone(definition), definition.collection.to_string());
    DomainApi {
        name: topic.name(),
        topics: vec![topic],
        schemas: &SCHEMAS,
        routes: Arc::new(move |_app| routes(&of_routes)),
        process_routes: None,
        streamed: Vec::new(),
        search_prefix: prefix,
        is_default: false,
        version: ApiVersion {
            new_view: Arc::new(move |generation| Arc::new(View::start(generation, &of_view, typed))),
            definition: Some(Arc::clone(revision) as _),
        },
        know_newest: Some(Arc::new(move |app| Box::pin(know_newest(app, of_newest.clone())))),
        // Those of the typed table are made at run time; a contract test runs them.
        statements: statements(definition, typed),
    }
}

fn statements(definition: &Definition, typed: &Typed) -> Vec<&'static Statement> {
    let of_sources = typed.has_source.then_some(STATEMENTS_OF_SOURCES);
    let of_tables = (!definition.tables.is_empty()).then_some(further::STATEMENTS);
    let of_all = [STATEMENTS, counts::STATEMENTS];
    of_all.into_iter().chain(of_sources).chain(of_tables).flatten().copied().collect()
}

fn routes(prefix: &str) -> Router<Arc<App>> {
    let path = |rest: &str| format!("{prefix}{rest}");
    Router::new()
        .route(&path("/records"), get(list::list))
        .route(&path("/records:bulk"), post(bulk::ingest))
        .route(&path("/records/{record_id}"), put(one::put).patch(fields::set).get(one::show).delete(one::remove))
        .route(&path("/records/{record_id}/flags/{flag}"), put(flags::set))
        .route(&path("/records/{record_id}/history"), get(history::show))
        .route(&path("/takedowns"), post(takedowns::take_down))
        .route(&path("/takedowns/{record_id}"), delete(takedowns::reinstate))
        .route(&path("/counts"), get(list::counts))
        .route(&path("/tables/{table}"), get(further_tables::list))
        .route(&path("/tables/{table}/row"), get(further_tables::show))
}

impl View {
    fn start(generation: &Arc<Generation>, definition: &Arc<Definition>, typed: &'static Typed) -> Self {
        let (rows, states) = (Loader::start(&generation.tables, &typed.read), Loader::start(&generation.tables, &READ));
        Self { definition: Arc::clone(definition), typed, rows, states, reading: Mutex::default() }
    }

    /// The definition that records are read by beside a newer revision than the generation's.
    fn reading(&self, newest: &Revision) -> Arc<Definition> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reading {
            Some((number, definition)) if *number == newest.number => Arc::clone(definition),
            _ => {
                let definition = Arc::new(newest.definition.beside(&self.definition));
                *reading = Some((newest.number, Arc::clone(&definition)));
                definition
            }
        }
    }

    /// The row of a record that readers see.
    async fn shown(&self, record_id: &str) -> Result<Option<Shown>, ApiError> {
        let row = self.rows.load(vec![record_id.into()]).await?;
        Ok(row.as_ref().map(|row| self.typed.show(row)).transpose()?)
    }

    /// The state of a record; `None` if it was never named.
    async fn state(&self, record_id: &str) -> Result<Option<Stored>, ApiError> {
        let row = self.states.load(vec![record_id.into()]).await?;
        Ok(row.as_ref().map(|row| Stored::of(&StateRow::read(row)?)).transpose()?)
    }
}

/// The normal form of a record's id; `field` is where the request names it.
fn read_id(view: &View, field: &str, text: &str) -> Result<String, ApiError> {
    let refused = |fault: record::RecordFault| {
        ApiError::invalid(field, format!("id {} is refused: {}", values::shown(text), fault.detail))
    };
    record::read_id(&view.definition, text).map_err(refused)
}

/// The normal form of a record's id that a path names.
fn id_of_path(view: &View, text: &str) -> Result<String, ApiError> {
    read_id(view, view.definition.key.as_str(), text)
}

/// Waits until the tables hold what the log holds now: a write that was acknowledged early may not be in them. With a
/// record's id, only its partition counts.
async fn caught_up(app: &App, live: &Live, view: &View, record_id: Option<&str>) -> Result<(), ApiError> {
    let topic = events::topic(view.definition.collection.as_str());
    let reach = async {
        let Vector(end) = log_end(app, topic).await?;
        let of_records = end.into_iter().filter(|(partition, _)| {
            let is_of =
                |id: &str| partition_of(id.as_bytes(), app.log.partition_count(partition.topic)) == partition.id;
            record_id.is_none_or(is_of)
        });
        live.generation.progress.wait_for(&Vector(of_records.collect())).await;
        Ok(())
    };
    let late = |_| ApiError::Unavailable("the tables have not caught up with the log in time".to_owned());
    tokio::time::timeout(app.config.wait_max, reach).await.map_err(late)?
}

/// What the routes need of the generation of a request.
fn view(live: &Live) -> Result<Arc<View>, ApiError> {
    live.view::<View>()
}

/// The definition that records are read by: the newest one, with the fields of the live generation's. A generation of it may
/// still be built, and needs what the live one does not keep.
fn definition_of_writes(app: &App, view: &View) -> Arc<Definition> {
    let domain = app.domain(&events::domain_name(view.definition.collection.as_str()));
    match domain.and_then(|domain| domain.newest_definition::<Revision>()) {
        Some(newest) if !Arc::ptr_eq(&newest.definition, &view.definition) => view.reading(&newest),
        _ => Arc::clone(&view.definition),
    }
}

/// The answer to a request with a mistake in one field.
fn refused(field: &str, code: &str, message: String) -> ApiError {
    ApiError::detailed(StatusCode::BAD_REQUEST, code, message).with("field", field)
}

/// The answer to a record with a fault.
fn refused_record(fault: RecordFault) -> ApiError {
    refused(&fault.field, fault.code, fault.detail)
}

/// The JSON object of a request.
fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    json_line::parse(bytes).map_err(|fault| refused(fault.field().unwrap_or("body"), fault.code(), fault.to_string()))
}

/// The state of a record after a change; `None` if it changes nothing.
fn after(definition: &Definition, state: Option<&State>, change: Change) -> Option<State> {
    let mut state = state.cloned().unwrap_or_default();
    fold::apply(&mut state, definition, change).then_some(state)
}

/// A record as JSON.
fn body(shown: &Shown) -> Result<Value, ApiError> {
    let flags: Map<String, Value> =
        serde_json::from_str(&shown.flags).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json!({
        "record_id": shown.record_id,
        "revision": shown.revision,
        "flags": flags,
        "fields": shown.fields,
    }))
}
