//! The routes of every process. Each folder or file has handlers with their statements, and nothing that another one
//! needs. Those of a domain are in its own crate.

pub mod docs;
mod generations;
pub mod health;
pub mod schema_registry;
pub mod search;
pub mod status;

use std::sync::Arc;

pub use axum::Router;
use axum::routing::get;
use daybook_projector::tables::Statement;

use crate::{
    app::{App, Domain},
    outcome, server,
};

/// Everything that is served on the main port, with the domains that there are now.
pub fn router(app: &Arc<App>) -> Router {
    // Outside of the limit on requests: the state of an overloaded process must be visible.
    let health = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics));
    let system = Router::new()
        .route("/openapi.json", get(docs::openapi))
        .route("/api/doc", get(docs::page))
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/quarantine", get(status::quarantine))
        .merge(generations::routes());
    let of_process = app.domains();
    let of_process = of_process.iter().filter_map(|domain| domain.api.process_routes.as_ref());
    let system = of_process.fold(system, |routes, new_routes| routes.merge(new_routes(app)));
    let registry = Router::new()
        .nest(schema_registry::PREFIX, schema_registry::routes(app))
        .route(&format!("{}/", schema_registry::PREFIX), schema_registry::root_with_slash());
    let of_domain = |domain: &Arc<Domain>| {
        let mut routes = (domain.api.routes)(app);
        if domain.rebuilds.has_documents() {
            routes = routes.nest(&domain.api.search_prefix, search::routes());
        }
        server::with_domain(app, domain, routes)
    };
    let domains = app.domains().iter().fold(Router::new(), |routes, domain| routes.merge(of_domain(domain)));
    server::wrap(app, health.merge(server::limited(app, system)).merge(registry).merge(domains))
}

/// Every statement of the generic plumbing, so that a test can run each on every engine.
pub fn statements() -> Vec<&'static Statement> {
    outcome::STATEMENTS.to_vec()
}
