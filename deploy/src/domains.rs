//! The domains that this binary serves: the only list of them.

use std::sync::Arc;

use daybook_ingest::sequence::Sequence;
use daybook_projector::{projection::Projection, search::source::Documents};
use daybook_query_api::{
    app::{App, DomainApi},
    routes,
};
use daybook_schemas::{SchemaSet, Topic, core::CoreEvent, event::Encoded, generic::SchemaSets};

use crate::config::{Environment, Given, Listen, Setting};

mod metaflow;

/// All of them.
pub const ALL: &[Domain] = &[metaflow::DOMAIN];

/// A domain as a value: what generic code works with.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its topics.
    pub topics: &'static [Topic],
    /// Its sequences.
    pub sequences: &'static [Sequence],
    /// Its released schemas.
    pub schemas: fn() -> &'static SchemaSet,
    /// The projection that builds its tables.
    pub projection: fn() -> Arc<dyn Projection>,
    /// Its search documents, if it has any.
    pub documents: fn() -> Option<Arc<dyn Documents>>,
    /// What it adds to the HTTP API.
    pub api: fn(&Settings) -> DomainApi,
}

impl Domain {
    /// The topics of several domains.
    pub(crate) fn topics_of(domains: &[Self]) -> Vec<Topic> {
        domains.iter().flat_map(|domain| domain.topics).copied().collect()
    }

    /// The schemas of several domains, and of the log itself.
    pub(crate) fn schemas_of(domains: &[Self]) -> SchemaSets {
        let core = CoreEvent::schemas();
        SchemaSets(std::iter::once(core).chain(domains.iter().map(|domain| (domain.schemas)())).collect())
    }
}

/// The checked settings of the domains.
pub struct Settings {
    metaflow: metaflow::Settings,
}

/// The routes of the second address: those of the migration service.
pub(crate) fn migration_router(app: &Arc<App>) -> routes::Router {
    routes::metaflow::migration_router(app)
}

/// A setting from a domain's own environment variables, beside the `DAYBOOK_*` ones.
pub(crate) struct FromVariables {
    /// The setting's flag.
    pub(crate) flag: &'static str,
    pub(crate) text: String,
    /// The variables that it was made from.
    pub(crate) variables: String,
    /// Faults of single variables. If there are any, the text is only shown.
    pub(crate) faults: Vec<String>,
}

/// The settings of all domains.
pub(crate) fn settings() -> impl Iterator<Item = &'static Setting> {
    metaflow::Settings::SETTINGS.iter()
}

/// The names of the domains' own variables.
pub(crate) fn variable_names() -> Vec<&'static str> {
    metaflow::variable_names()
}

/// The settings from the domains' own variables.
pub(crate) fn variables(environment: &Environment) -> Vec<FromVariables> {
    metaflow::variables(environment)
}

impl Settings {
    /// Checks the settings of the domains.
    pub(crate) fn check(given: &Given, faults: &mut Vec<String>) -> Option<Self> {
        Some(Self { metaflow: metaflow::Settings::check(given, faults)? })
    }

    /// A second address to serve: that of the migration service.
    pub(crate) const fn migration_listen(&self) -> Option<&Listen> {
        self.metaflow.migration_listen.as_ref()
    }
}
