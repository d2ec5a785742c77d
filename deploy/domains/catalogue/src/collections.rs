//! The domain of collections: their definitions, by revision. Each collection is a domain of its own.

pub mod events;
mod lists;
pub mod projection;
mod refreshes;
pub mod routes;

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    chain,
    generation::Generation,
    tables::{FromRow, Params, TablesError},
};
use daybook_query_api::app::Defined;
use daybook_schemas::Topic;

use self::projection::{DefinitionRow, LIST_NAMES, LIST_OF, NameRow};
use crate::{
    definition::{Definition, Fault, identifier::Identifier},
    records,
};

/// Name of the domain.
pub const DOMAIN: &str = "catalogue";

/// The topic of the collection that an event defines.
pub fn defined_topic(kind: &str, event: &serde_json::Value) -> Option<Topic> {
    let collection = event["collection"].as_str().filter(|_| kind == "CollectionDefined")?;
    // Names in foreign records are not kept.
    let name = Identifier::parse(collection).ok()?;
    Some(records::events::topic(name.as_str()))
}

/// The collections of a generation as domains, but for the revisions that are known.
pub fn defined<'a>(
    generation: &'a Generation,
    known: &'a BTreeMap<String, i64>,
) -> BoxFuture<'a, Result<Vec<Defined>, TablesError>> {
    Box::pin(async move {
        // Texts are long, and each event of a definition comes here: only those that are not known are read.
        let names = generation.tables.read(&LIST_NAMES, Params::One(Vec::new())).await?;
        let mut defined = Vec::new();
        for name in &names {
            let NameRow { collection, revision: newest } = NameRow::read(name)?;
            let domain = records::events::domain_name(collection);
            let known = known.get(&domain).copied().unwrap_or(0);
            if known >= newest {
                continue;
            }
            let after = vec![collection.into(), known.into()];
            let rows = generation.tables.read(&LIST_OF, Params::One(after)).await?;
            let (mut versions, mut is_complete) = (Vec::with_capacity(rows.len()), true);
            for row in &rows {
                let DefinitionRow { revision, definition, .. } = DefinitionRow::read(row)?;
                let Some(definition) = parse(collection, revision, definition) else { continue };
                let lists = lists::needed(generation.tables.as_ref(), &definition).await?;
                let definition = match definition.resolved(&lists) {
                    Ok(definition) => definition,
                    Err(faults) => {
                        // The event of a list may be in another partition, and come later: all are looked for again then.
                        is_complete = false;
                        let faults = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                        tracing::warn!(collection, revision, "revision {revision} of {collection} waits: {faults}");
                        continue;
                    }
                };
                match records::parts(revision, Arc::new(definition)) {
                    Ok(parts) => versions.push(parts),
                    // Others run all the same.
                    Err(fault) => not_used(collection, revision, &chain(&fault)),
                }
            }
            defined.push(Defined { domain, newest: if is_complete { newest } else { known }, versions });
        }
        Ok(defined)
    })
}

/// Reads a definition that was applied; `None` for one that this program does not understand.
fn parse(collection: &str, revision: i64, text: &str) -> Option<Definition> {
    let parsed = serde_json::from_str(text).map_err(|error| chain(&error)).and_then(|value| {
        let shown = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Definition::parse_json(&value).map_err(shown)
    });
    match parsed {
        Ok(definition) => Some(definition),
        Err(error) => {
            not_used(collection, revision, &error);
            None
        }
    }
}

fn not_used(collection: &str, revision: i64, error: &str) {
    tracing::error!(collection, revision, error, "revision {revision} of {collection} is not used: {error}");
}
