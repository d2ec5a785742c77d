//! Collections: the domain of their definitions. Each collection is a domain that a definition defines.

pub(crate) mod collection;
pub(crate) mod import;
pub(crate) mod refresh;

use std::sync::Arc;

use daybook_catalogue::{
    collections::{self, events, projection, routes},
    records,
};

use crate::domains::{Api, Defines, Domain};

pub(super) const DOMAIN: Domain = Domain {
    topics: &[events::CATALOGUE],
    sequences: &[],
    schemas: || &events::SCHEMAS,
    projection: || Arc::new(projection::Collections),
    documents: || None,
    api: Api::Plain(routes::api),
    defines: Some(Defines {
        schemas: || &records::events::SCHEMAS,
        topic: collections::defined_topic,
        read: collections::defined,
    }),
};
