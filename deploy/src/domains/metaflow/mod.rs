//! Metaflow: the domain, its settings, and the environment variables of its own services, which are honoured.

mod environment;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use daybook_metaflow::{
    events::{SCHEMAS, TOPICS},
    projection::Metaflow,
    routes,
    sequences::SEQUENCES,
};
use daybook_query_api::{app::App, routes::Router};

use self::settings::Settings;
use crate::{
    config::{Given, Origin},
    domains::{Api, ApiSettings, Checked, Domain, SecondAddress},
};

pub(super) const DOMAIN: Domain = Domain {
    topics: &TOPICS,
    sequences: &SEQUENCES,
    schemas: || &SCHEMAS,
    projection: || Arc::new(Metaflow),
    documents: || Some(Arc::new(Metaflow)),
    api: Api::WithSettings(&API),
    defines: None,
};

static API: ApiSettings = ApiSettings {
    search_prefix: routes::SEARCH_PREFIX,
    settings: Settings::SETTINGS,
    variable_names: environment::variable_names,
    variables: environment::variables,
    warnings: environment::warnings,
    check,
};

fn check(given: &Given, faults: &mut Vec<String>) -> Option<Checked> {
    let Settings { migration_listen, migration_upgrade, path_prefix, run_inactive_cutoff_seconds } =
        Settings::check(given, faults)?;
    let router: fn(&Arc<App>) -> Router =
        if migration_upgrade { routes::migration_router } else { routes::migration_router_without_upgrade };
    let flag = "migration-listen";
    let is_asked_for = Settings::SETTINGS.iter().filter(|setting| setting.flag == flag).any(|setting| {
        // A host alone asks for no port.
        match given.origin(setting) {
            Origin::Default => false,
            Origin::Environment(variables) => variables != environment::HOST,
            Origin::CommandLine | Origin::File { .. } => true,
        }
    });
    Some(Checked {
        api: routes::api(routes::Settings { path_prefix, run_inactive_cutoff_seconds }),
        second: migration_listen.map(|listen| SecondAddress { listen, flag, is_asked_for, router }),
    })
}
