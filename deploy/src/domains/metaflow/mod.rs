//! Metaflow: the domain, its settings, and the environment variables of its own services, which are honoured.

mod environment;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use daybook_ingest::metaflow::sequences::SEQUENCES;
use daybook_projector::projections::metaflow::Metaflow;
use daybook_query_api::routes;
use daybook_schemas::metaflow::{SCHEMAS, TOPICS};

pub(crate) use self::{
    environment::{variable_names, variables},
    settings::Settings,
};
use crate::domains::Domain;

pub(super) const DOMAIN: Domain = Domain {
    topics: &TOPICS,
    sequences: &SEQUENCES,
    schemas: || &SCHEMAS,
    projection: || Arc::new(Metaflow),
    documents: || Some(Arc::new(Metaflow)),
    api: |settings| {
        routes::metaflow::api(routes::metaflow::Settings {
            path_prefix: settings.metaflow.path_prefix.clone(),
            run_inactive_cutoff_seconds: settings.metaflow.run_inactive_cutoff_seconds,
        })
    },
};
