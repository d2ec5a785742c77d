//! Further tables of a collection: their rows, page by page, and one by its key.

use axum::{http::StatusCode, response::Response};
use daybook_projector::tables::FromRow;
use daybook_query_api::{error::ApiError, json, live::Live, path::Path, query::Query};
use serde_json::{Value, json};

use super::{View, view};
use crate::{
    collections::routes::limit_of,
    definition::tables::Table,
    records::further::{FurtherRow, LIST, READ, hash_of},
};

/// The rows of a table, each once, in an order that does not change. `next` is where to go on, if there are more.
pub(super) async fn list(live: Live, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let (table, limit) = (find(&view, &name)?, limit_of(&query)?);
    let after = query.get("after").unwrap_or_default();
    let params = vec![table.name.as_str().into(), after.into(), (limit + 1).into()];
    let rows = live.read(&LIST, params).await?;
    let page = rows.iter().take(usize::try_from(limit).unwrap_or(0)).map(|row| FurtherRow::read(row));
    let page: Vec<FurtherRow<'_>> = page.collect::<Result<_, _>>()?;
    let is_more = rows.len() > page.len();
    let next = page.last().filter(|_| is_more).map(|last| last.row_key);
    let shown: Vec<Value> = page.iter().map(shown).collect::<Result<_, _>>()?;
    Ok(json::respond(StatusCode::OK, &json!({"rows": shown, "next": next})))
}

/// One row, by the value of each column of the key.
pub(super) async fn show(live: Live, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let table = find(&view, &name)?;
    let value = |column: &str| {
        let missing = || ApiError::invalid(column, format!("{column} is missing: it is part of the key of {name}"));
        query.get(column).map(str::to_owned).ok_or_else(missing)
    };
    let key: Vec<String> = table.key.iter().map(|column| value(column.as_str())).collect::<Result<_, _>>()?;
    let rows = live.read(&READ, vec![table.name.as_str().into(), hash_of(&key).into()]).await?;
    let missing = || ApiError::NotFound(format!("{name} of {} has no such row", view.definition.collection));
    let row = FurtherRow::read(rows.first().ok_or_else(missing)?)?;
    Ok(json::respond(StatusCode::OK, &shown(&row)?))
}

fn find<'a>(view: &'a View, name: &str) -> Result<&'a Table, ApiError> {
    let missing = || ApiError::NotFound(format!("{} has no table {name}", view.definition.collection));
    view.definition.tables.iter().find(|table| table.name.as_str() == name).ok_or_else(missing)
}

fn shown(row: &FurtherRow<'_>) -> Result<Value, ApiError> {
    let content: Value = serde_json::from_str(row.content).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(json!({"record_id": row.record_id, "row": content}))
}
