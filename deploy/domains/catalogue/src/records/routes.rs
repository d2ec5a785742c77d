//! What is served of a collection's records, below `/api/v1/collections/{collection}`.

mod bulk;
mod list;
mod one;
mod takedowns;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, post, put},
};
use daybook_projector::{generation::Generation, tables::FromRow};
use daybook_query_api::{
    app::{App, DomainApi},
    error::ApiError,
    live::Live,
    loader::Loader,
};
use serde_json::{Map, Value};

use super::{
    events::{self, SCHEMAS},
    states::{READ, STATEMENTS, StateRow, Stored},
    typed::{Shown, Typed},
};
use crate::{collections::routes::PREFIX, definition::Definition};

/// What the routes need of a generation.
struct View {
    definition: Arc<Definition>,
    typed: &'static Typed,
    rows: Loader,
    states: Loader,
}

/// What the domain of a collection adds to the HTTP API.
pub(super) fn api(definition: &Arc<Definition>, typed: &'static Typed) -> DomainApi {
    let topic = events::topic(definition.collection.as_str());
    let prefix = format!("{PREFIX}/{}", definition.collection);
    let (of_routes, of_view) = (prefix.clone(), Arc::clone(definition));
    DomainApi {
        name: topic.name(),
        topics: vec![topic],
        schemas: &SCHEMAS,
        routes: Arc::new(move |_app| routes(&of_routes)),
        streamed: Vec::new(),
        search_prefix: prefix,
        is_default: false,
        new_view: Arc::new(move |generation| Arc::new(View::start(generation, &of_view, typed))),
        statements: || STATEMENTS.to_vec(),
    }
}

fn routes(prefix: &str) -> Router<Arc<App>> {
    let path = |rest: &str| format!("{prefix}{rest}");
    Router::new()
        .route(&path("/records"), get(list::list))
        .route(&path("/records:bulk"), post(bulk::ingest))
        .route(&path("/records/{record_id}"), put(one::put).get(one::show).delete(one::remove))
        .route(&path("/takedowns"), post(takedowns::take_down))
        .route(&path("/takedowns/{record_id}"), delete(takedowns::reinstate))
        .route(&path("/counts"), get(list::counts))
}

impl View {
    fn start(generation: &Arc<Generation>, definition: &Arc<Definition>, typed: &'static Typed) -> Self {
        let (rows, states) = (Loader::start(&generation.tables, &typed.read), Loader::start(&generation.tables, &READ));
        Self { definition: Arc::clone(definition), typed, rows, states }
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

/// What the routes need of the generation of a request.
fn view(live: &Live) -> Result<Arc<View>, ApiError> {
    live.view::<View>()
}

/// A record as JSON.
fn body(shown: &Shown) -> Result<Value, ApiError> {
    let flags: Map<String, Value> =
        serde_json::from_str(&shown.flags).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(serde_json::json!({
        "record_id": shown.record_id,
        "revision": shown.revision,
        "flags": flags,
        "fields": shown.fields,
    }))
}
