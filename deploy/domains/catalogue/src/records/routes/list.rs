//! Records by id, page by page, and their counts by source.

use axum::{http::StatusCode, response::Response};
use daybook_projector::tables::FromRow;
use daybook_query_api::{error::ApiError, json, live::Live, query::Query};
use serde_json::{Value, json};

use super::{body, view};
use crate::{
    collections::routes::limit_of,
    records::counts::{COUNT_BY_SOURCE, SourceRow},
};

/// The records after an id, in the order of ids. `next` is the id to go on after, if there are more.
pub(super) async fn list(live: Live, query: Query) -> Result<Response, ApiError> {
    let view = view(&live)?;
    let limit = limit_of(&query)?;
    let after = query.get("after").unwrap_or_default();
    let rows = live.read(&view.typed.list, vec![after.into(), (limit + 1).into()]).await?;
    let page = rows.iter().take(usize::try_from(limit).unwrap_or(0));
    let records: Vec<Value> = page.map(|row| body(&view.typed.show(row)?)).collect::<Result<_, _>>()?;
    let is_more = rows.len() > records.len();
    let next = records.last().filter(|_| is_more).map(|last| last["record_id"].clone());
    Ok(json::respond(StatusCode::OK, &json!({"records": records, "next": next})))
}

/// How many records there are of each source.
pub(super) async fn counts(live: Live, query: Query) -> Result<Response, ApiError> {
    let view = view(&live)?;
    match query.get("by") {
        None | Some("source") if view.typed.has_source => {}
        None | Some("source") => {
            let message = format!("{} has no field source of type text", view.definition.collection);
            return Err(ApiError::invalid("by", message));
        }
        Some(_) => return Err(ApiError::invalid("by", "records are counted by source")),
    }
    let rows = live.read(&COUNT_BY_SOURCE, Vec::new()).await?;
    let counts: Vec<SourceRow<'_>> = rows.iter().map(|row| SourceRow::read(row)).collect::<Result<_, _>>()?;
    Ok(json::respond(StatusCode::OK, &json!({"counts": shown(counts)})))
}

/// Counts in the order of the bytes of their sources, whatever the order of the engine: no source comes first.
fn shown(mut counts: Vec<SourceRow<'_>>) -> Vec<Value> {
    counts.sort_by_key(|count| count.source);
    counts.iter().map(|SourceRow { source, row_count }| json!({"source": source, "records": row_count})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_in_the_order_of_bytes_and_those_without_a_source_come_first() {
        let counts = [Some("b"), Some("B"), None, Some("\u{e9}"), Some("a")];
        let counts = shown(counts.map(|source| SourceRow { source, row_count: 1 }).into());
        let sources: Vec<&Value> = counts.iter().map(|count| &count["source"]).collect();
        assert_eq!(sources, [&json!(null), &json!("B"), &json!("a"), &json!("b"), &json!("\u{e9}")]);
    }
}
