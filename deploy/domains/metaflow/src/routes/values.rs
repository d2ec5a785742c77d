//! The tags and the owners of runs, with how many runs have each: `/api/v1/tags`, `/api/v1/users`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use daybook_query_api::{
    app::App,
    error::ApiError,
    live::Live,
    query::Query,
    routes::search::values::{self, Values},
};

pub(super) async fn tags(
    State(app): State<Arc<App>>,
    live: Live,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    values::respond(&app, &live, &headers, &query, &of_runs("tag")).await
}

pub(super) async fn users(
    State(app): State<Arc<App>>,
    live: Live,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ApiError> {
    values::respond(&app, &live, &headers, &query, &of_runs("user")).await
}

const fn of_runs(field: &'static str) -> Values {
    Values { field, of_type: "run", narrowed_by: "flow" }
}
