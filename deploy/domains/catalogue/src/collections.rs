//! The domain of collections: their definitions, by revision. Each collection is a domain of its own.

pub mod events;
pub mod projection;
pub mod routes;

use std::sync::Arc;

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    chain,
    generation::Generation,
    tables::{FromRow, Params, TablesError},
};
use daybook_query_api::app::Defined;

use self::projection::{DefinitionRow, LIST_ALL};
use crate::{definition::Definition, records};

/// Name of the domain.
pub const DOMAIN: &str = "catalogue";

/// The collections of a generation as domains, but for those whose names are in `known`. The newest definition comes
/// first.
pub fn defined<'a>(
    generation: &'a Generation,
    known: &'a [&'static str],
) -> BoxFuture<'a, Result<Vec<Defined>, TablesError>> {
    Box::pin(async move {
        let rows = generation.tables.read(&LIST_ALL, Params::One(Vec::new())).await?;
        let mut defined: Vec<(&str, Defined)> = Vec::new();
        // By name, and of each the newest revision first.
        for row in &rows {
            let DefinitionRow { collection, revision, definition, .. } = DefinitionRow::read(row)?;
            if known.iter().any(|known| records::events::is_named(known, collection)) {
                continue;
            }
            let Some(definition) = parse(collection, revision, definition) else { continue };
            let parts = records::parts(Arc::new(definition))?;
            match defined.last_mut().filter(|(name, _)| *name == collection) {
                Some((_, of_collection)) => of_collection.versions.push(parts),
                None => defined.push((collection, Defined { versions: vec![parts] })),
            }
        }
        Ok(defined.into_iter().map(|(_, defined)| defined).collect())
    })
}

/// Reads a definition that was applied; `None` for one that this program does not understand.
fn parse(collection: &str, revision: i64, text: &str) -> Option<Definition> {
    let parsed = serde_json::from_str(text).map_err(|error| chain(&error)).and_then(|value| {
        let shown = |faults: Vec<crate::definition::Fault>| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        Definition::parse_json(&value).map_err(shown)
    });
    match parsed {
        Ok(definition) => Some(definition),
        Err(error) => {
            tracing::error!(collection, revision, error, "revision {revision} of {collection} is not read: {error}");
            None
        }
    }
}
