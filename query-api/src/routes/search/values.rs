//! The values of one field, with how many documents have each: for routes of a domain.

use axum::{
    http::{HeaderMap, StatusCode},
    response::Response,
};
use daybook_projector::search::{
    query::Expression,
    request::{Facet, Request, VALUES_MAX},
    shape::Field,
};

use super::{
    index,
    parameters::{all, check_names, number},
    show_value, within,
};
use crate::{app::App, error::ApiError, json, live::Live, query::Query};

/// The values that a route lists.
pub struct Values {
    /// The field.
    pub field: &'static str,
    /// The type of the documents that have it.
    pub of_type: &'static str,
    /// The field, and parameter, that narrows the documents.
    pub narrowed_by: &'static str,
}

/// Answers with the values. Parameters of the request are `prefix`, `limit` and the one that narrows the documents.
pub async fn respond(
    app: &App,
    live: &Live,
    headers: &HeaderMap,
    query: &Query,
    values: &Values,
) -> Result<Response, ApiError> {
    check_names(query, &["prefix", "limit", values.narrowed_by])?;
    let prefix = query.get("prefix").unwrap_or_default().to_owned();
    let values_max = number(query, "limit", VALUES_MAX, 1, VALUES_MAX)?;
    let narrowed_to = all(query, values.narrowed_by)?;
    let index = index(app, live, headers).await?;
    let shape = index.shape();
    let named = |name: &str| {
        let field = shape.find(name, |field| field.is_whole()).map(Field::Named);
        field.ok_or_else(|| ApiError::Internal(format!("the index has no values of {name}")))
    };
    let mut filter = vec![Expression::value(Field::Named(shape.type_field), [values.of_type])];
    if !narrowed_to.is_empty() {
        filter.push(Expression::value(named(values.narrowed_by)?, narrowed_to));
    }
    let facet = Facet { field: named(values.field)?, prefix, values_max };
    let request = Request { filter, facets: vec![facet], ..Request::all(shape, 0) };
    let found = within(app, index.as_ref(), request).await?.found;
    let counts = found.facets.into_iter().next().unwrap_or_default();
    Ok(json::respond(StatusCode::OK, &counts.iter().map(show_value).collect::<Vec<_>>()))
}
