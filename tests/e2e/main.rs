//! End to end: running servers, real clients, both back ends. Each test has a place of its own.

mod addresses;
mod answers;
mod books;
mod bulk;
mod catalogue;
mod catalogue_api_fields;
mod catalogue_candidates;
mod catalogue_commands;
mod catalogue_counts;
mod catalogue_deadlines;
mod catalogue_import;
mod catalogue_input;
mod catalogue_many;
mod catalogue_mapping;
mod catalogue_refresh;
mod catalogue_refreshes_api;
mod catalogue_revisions;
mod catalogue_samples;
mod catalogue_search;
mod catalogue_switches;
mod catalogue_tables;
mod catalogue_terms;
mod catalogue_words;
mod catalogue_workers;
mod command_line;
mod entries;
mod errors;
mod index;
mod metaflow;
mod model;
mod poison;
mod processes;
mod protocol;
mod quirks;
mod rebuild_settings;
mod rebuilds;
mod schema_registry;
mod search;
mod upgrades;

use std::{future::Future, sync::Arc};

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    wait,
};
use reqwest::Method;

/// Runs a test on a server of each back end. The place stays until the test has ended, whether the test needs it or not.
async fn on_both<F: Future<Output = ()>>(test: &str, check: impl Fn(Arc<Place>, Server) -> F) {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Arc::new(Place::new(test, backend));
        let server = Server::start(&place);
        check(Arc::clone(&place), server).await;
    }
}

/// Applies a definition of a collection. One that is recorded and not served yet is sent again, as clients do.
async fn define(api: &Api, collection: &str, definition: &str) {
    let path = format!("/api/v1/collections/{collection}");
    wait::until("the definition is served", async || {
        let answer = api.send(Method::PUT, &path, Some(definition.to_owned()), &[]).await;
        assert!([200, 201, 503].contains(&answer.status), "{}", answer.text);
        answer.status != 503
    })
    .await;
}
