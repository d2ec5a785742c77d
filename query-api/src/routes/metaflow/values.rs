//! The tags and the owners of runs, with how many runs have each: `/api/v1/tags`, `/api/v1/users`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use daybook_projector::search::{
    query::Expression,
    request::{Facet, Request, VALUES_MAX},
    shape::Field,
};

use crate::{
    app::App,
    error::ApiError,
    json,
    live::Live,
    query::Query,
    routes::search::{
        self,
        parameters::{all, check_names, number},
    },
};

pub(super) async fn tags(
    State(app): State<Arc<App>>,
    live: Live,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    values(&app, &live, &headers, &query, "tag").await
}

pub(super) async fn users(
    State(app): State<Arc<App>>,
    live: Live,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    values(&app, &live, &headers, &query, "user").await
}

/// All values of a field of runs.
async fn values(app: &App, live: &Live, headers: &HeaderMap, query: &Query, field: &str) -> Result<Response, ApiError> {
    check_names(query, &["prefix", "limit", "flow"])?;
    let prefix = query.get("prefix").unwrap_or_default().to_owned();
    let values_max = number(query, "limit", VALUES_MAX, 1, VALUES_MAX)?;
    let flows = all(query, "flow")?;
    let index = search::index(app, live, headers).await?;
    let shape = index.shape();
    let named = |name: &str| {
        let field = shape.find(name, |field| field.is_whole()).map(Field::Named);
        field.ok_or_else(|| ApiError::Internal(format!("the index has no values of {name}")))
    };
    let mut filter = vec![Expression::value(named("type")?, ["run"])];
    if !flows.is_empty() {
        filter.push(Expression::value(named("flow")?, flows));
    }
    let facet = Facet { field: named(field)?, prefix, values_max };
    let request = Request { filter, facets: vec![facet], ..Request::all(shape, 0) };
    let found = search::within(app, index.as_ref(), request).await?.found;
    let values = found.facets.into_iter().next().unwrap_or_default();
    Ok(json::respond(StatusCode::OK, &values.iter().map(search::show_value).collect::<Vec<_>>()))
}
