//! The domains that this binary serves: the only list of them.

use std::{collections::BTreeMap, sync::Arc};

use daybook_ingest::{log::BoxFuture, sequence::Sequence};
use daybook_projector::{
    generation::Generation, projection::Projection, search::source::Documents, tables::TablesError,
};
use daybook_query_api::{
    app::{App, Defined, DomainApi, DomainParts},
    routes::Router,
};
use daybook_reindexer::settings::VersionSettings;
use daybook_schemas::{SchemaSet, Topic, core::CoreEvent, event::Encoded, generic::SchemaSets};

use crate::config::{Environment, Given, Listen, Setting};

mod catalogue;
mod metaflow;

pub(crate) use self::catalogue::{collection, import, refresh};

/// All of them.
pub const ALL: &[Domain] = &[metaflow::DOMAIN, catalogue::DOMAIN];

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
    pub api: Api,
    /// The domains that its events define, if they define any.
    pub defines: Option<Defines>,
}

/// Domains that the events of a domain define. They are run while the process serves, without sequences of their own.
#[derive(Clone, Copy)]
pub struct Defines {
    /// The released schemas of all of them.
    pub schemas: fn() -> &'static SchemaSet,
    /// The topic of the domain that an event defines, by the kind of the event and its fields.
    pub topic: fn(&str, &serde_json::Value) -> Option<Topic>,
    /// Reads the domains from a live generation of the domain that defines them, but for the revisions that are known.
    pub read: ReadDefined,
}

/// Reads the domains that a generation defines, but for the revisions that are known, by name of the domain.
pub type ReadDefined =
    for<'a> fn(&'a Generation, &'a BTreeMap<String, i64>) -> BoxFuture<'a, Result<Vec<Defined>, TablesError>>;

/// What a domain adds to the HTTP API.
#[derive(Clone, Copy)]
pub enum Api {
    /// Without settings.
    Plain(fn() -> DomainApi),
    /// According to settings.
    WithSettings(&'static ApiSettings),
}

/// The settings of a domain.
pub struct ApiSettings {
    /// The prefix of the paths of the domain's search, whatever the settings are.
    pub(crate) search_prefix: &'static str,
    pub(crate) settings: &'static [Setting],
    /// The names of its own environment variables, which are read beside the `DAYBOOK_*` ones.
    pub(crate) variable_names: fn() -> Vec<&'static str>,
    /// The settings from these variables.
    pub(crate) variables: fn(&Environment) -> Vec<FromVariables>,
    /// Warnings about variables that are not used as they are given.
    pub(crate) warnings: fn(&Environment) -> Vec<String>,
    /// Checks the settings.
    pub(crate) check: fn(&Given, &mut Vec<String>) -> Option<Checked>,
}

/// What a domain adds according to its checked settings.
pub(crate) struct Checked {
    pub(crate) api: DomainApi,
    /// A second address, beside the one of the API.
    pub(crate) second: Option<SecondAddress>,
}

/// A second address with its routes.
pub(crate) struct SecondAddress {
    pub(crate) listen: Listen,
    /// The flag of the setting that gives it.
    pub(crate) flag: &'static str,
    /// Whether it was given. If not, it is not served where it is taken.
    pub(crate) is_asked_for: bool,
    pub(crate) router: fn(&Arc<App>) -> Router,
}

/// A setting from a domain's own environment variables.
pub(crate) struct FromVariables {
    /// The setting's flag.
    pub(crate) flag: &'static str,
    pub(crate) text: String,
    /// The variables that it was made from.
    pub(crate) variables: String,
    /// Faults of single variables. If there are any, the text is only shown.
    pub(crate) faults: Vec<String>,
}

impl Domain {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        (self.schemas)().domain()
    }

    /// The prefix of the paths of its search.
    pub(crate) fn search_prefix(&self) -> String {
        match self.api {
            Api::Plain(api) => api().search_prefix,
            Api::WithSettings(settings) => settings.search_prefix.to_owned(),
        }
    }

    /// The domain with its API according to the settings.
    pub(crate) fn parts(&self, settings: &Settings) -> DomainParts {
        DomainParts {
            revision: 0,
            projection: (self.projection)(),
            documents: (self.documents)(),
            inspector: None,
            settings: VersionSettings::default(),
            api: settings.api(self),
        }
    }

    /// The topics of several domains.
    pub(crate) fn topics_of(domains: &[Self]) -> Vec<Topic> {
        domains.iter().flat_map(|domain| domain.topics).copied().collect()
    }

    /// The schemas of several domains, and of the log itself.
    pub(crate) fn schemas_of(domains: &[Self]) -> SchemaSets {
        let core = CoreEvent::schemas();
        let of_domain =
            |domain: &Self| [Some(domain.schemas), domain.defines.map(|defines| defines.schemas)].into_iter().flatten();
        SchemaSets(std::iter::once(core).chain(domains.iter().flat_map(of_domain).map(|schemas| schemas())).collect())
    }
}

fn with_settings() -> impl Iterator<Item = &'static ApiSettings> {
    ALL.iter().filter_map(|domain| match domain.api {
        Api::Plain(_) => None,
        Api::WithSettings(settings) => Some(settings),
    })
}

/// The settings of all domains.
pub(crate) fn settings() -> impl Iterator<Item = &'static Setting> {
    with_settings().flat_map(|of_domain| of_domain.settings)
}

/// The names of the domains' own variables.
pub(crate) fn variable_names() -> impl Iterator<Item = &'static str> {
    with_settings().flat_map(|of_domain| (of_domain.variable_names)())
}

/// The settings from the domains' own variables.
pub(crate) fn variables(environment: &Environment) -> impl Iterator<Item = FromVariables> {
    with_settings().flat_map(|of_domain| (of_domain.variables)(environment))
}

/// Warnings about the domains' own variables.
pub(crate) fn warnings(environment: &Environment) -> impl Iterator<Item = String> {
    with_settings().flat_map(|of_domain| (of_domain.warnings)(environment))
}

/// The checked settings of the domains that have any.
pub(crate) struct Settings(Vec<Checked>);

impl Settings {
    /// Checks the settings of all domains.
    pub(crate) fn check(given: &Given, faults: &mut Vec<String>) -> Option<Self> {
        let checked: Vec<_> = with_settings().map(|of_domain| (of_domain.check)(given, faults)).collect();
        checked.into_iter().collect::<Option<_>>().map(Self)
    }

    /// What a domain adds to the HTTP API.
    pub(crate) fn api(&self, domain: &Domain) -> DomainApi {
        match domain.api {
            Api::Plain(api) => api(),
            Api::WithSettings(_) => {
                let checked = self.0.iter().find(|checked| checked.api.name == domain.name());
                checked.expect("only domains of the list have settings, and `check` checks all of them").api.clone()
            }
        }
    }

    /// The second address, if a domain serves one.
    pub(crate) fn second(&self) -> Option<&SecondAddress> {
        self.0.iter().find_map(|checked| checked.second.as_ref())
    }

    /// The routes of the second address.
    pub(crate) fn second_router(&self, app: &Arc<App>) -> Router {
        self.second().map_or_else(Router::new, |second| (second.router)(app))
    }
}
