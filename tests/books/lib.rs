//! The domain `books`: books that stand on shelves. It shows how a domain is made (`docs/EXTENDING.md`), and tests run it
//! to show that generic code serves any domain.

pub mod events;
pub mod projection;
pub mod routes;

use std::sync::Arc;

use daybook::domains::{Api, Domain};

/// The domain as a value: what generic code works with.
pub const DOMAIN: Domain = Domain {
    topics: &[events::BOOKS],
    sequences: &[events::BOOK_IDS],
    schemas: || &events::SCHEMAS,
    projection: || Arc::new(projection::Books),
    documents: || Some(Arc::new(projection::Books)),
    api: Api::Plain(routes::api),
    defines: None,
};
