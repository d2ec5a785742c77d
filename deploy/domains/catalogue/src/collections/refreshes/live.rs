//! What is live of a collection.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::tables::FromRow;
use daybook_query_api::{
    app::{App, Domain},
    error::ApiError,
    json,
    path::Path,
};
use daybook_reindexer::control::State as Stage;
use serde_json::{Value, json};

use super::{catalogue, domain_of};
use crate::{
    collections::{
        projection::{DefinitionRow, READ},
        routes::parse,
    },
    records::Revision,
};

/// The live generation, what it was made from, and the one to which it can go back.
pub(super) async fn show(State(app): State<Arc<App>>, Path(collection): Path<String>) -> Result<Response, ApiError> {
    let domain = domain_of(&app, &collection).await?;
    let all = domain.rebuilds.list().await?;
    let find = |state: Stage| all.iter().find(|known| known.entry.state == state);
    let none = || ApiError::Unavailable(format!("no generation of {collection} is live now"));
    let live = find(Stage::Live).ok_or_else(none)?;
    let revision = domain.definition_of::<Revision>(&live.entry.fingerprint).map(|revision| revision.number);
    let lists = match revision {
        Some(revision) => {
            let catalogue = catalogue(&app)?;
            lists(&catalogue, &collection, revision).await?
        }
        None => None,
    };
    let body = json!({
        "collection": collection,
        "generation": live.entry.generation,
        "label": live.entry.label,
        "since": live.entry.changed_at,
        "tables": live.entry.schema,
        "search": live.index,
        "revision": revision,
        "lists": lists,
        "vector": live.applied.as_ref().map(ToString::to_string),
        "previous": find(Stage::Previous).map(|previous| previous.entry.generation),
    });
    Ok(json::respond(StatusCode::OK, &body))
}

/// The revisions of term lists that a revision of a definition takes; `None` if that is not known here.
async fn lists(catalogue: &Domain, collection: &str, revision: i64) -> Result<Option<Vec<Value>>, ApiError> {
    let rows = catalogue.live().read(&READ, vec![collection.into(), revision.into()]).await?;
    let Some(row) = rows.first().map(|row| DefinitionRow::read(row)).transpose()? else { return Ok(None) };
    let definition = parse(&row)?;
    let needed: BTreeSet<_> = definition.needed().into_iter().collect();
    let shown = needed.into_iter().map(|(list, revision)| json!({"list": list, "revision": revision}));
    Ok(Some(shown.collect()))
}
