//! The parameters of a search, read and checked, and cursors.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use daybook_projector::{
    run_status::Status,
    search::{
        document::Kind,
        query,
        request::{
            Facet, FacetField, Filter, HITS_MAX, Request, SKIP_MAX, Sort, SortField, SortValue, Start, VALUES_MAX,
        },
    },
};
use serde::{Deserialize, Serialize};

use super::time;
use crate::{error::ApiError, query::Query};

/// Hits of a page where the client gives no limit.
const LIMIT_DEFAULT: usize = 20;
/// Values of a facet where the client gives no limit.
const FACET_LIMIT_DEFAULT: usize = 20;
/// Values of one filter, at most.
const FILTER_VALUES_MAX: usize = 64;
/// Longest cursor, in bytes, inclusive.
const CURSOR_BYTES_MAX: usize = 8192;

/// A search as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// For the index; wants one hit more than the page has, to know whether there are more.
    pub(super) request: Request,
    /// Hits of the page.
    pub(super) hits_wanted: usize,
    /// What tells this search from others.
    pub(super) asked: u64,
}

impl Parameters {
    /// Reads a search; `place` is the index that its cursor must belong to.
    pub(super) fn parse(given: &Query, place: &str, now_ms: i64) -> Result<Self, ApiError> {
        check_names(
            given,
            &[
                "q",
                "type",
                "flow",
                "user",
                "tag",
                "status",
                "from",
                "to",
                "sort",
                "limit",
                "cursor",
                "facets",
                "facet_limit",
            ],
        )?;
        let text = given.get("q").unwrap_or_default();
        let parsed = query::parse(text).map_err(|error| ApiError::invalid("q", error.to_string()))?;
        let filter = filter(given, now_ms)?;
        let sort = sort(given.get("sort"), parsed.is_some())?;
        let hits_wanted = number(given, "limit", LIMIT_DEFAULT, 0, HITS_MAX)?;
        let values_max = number(given, "facet_limit", FACET_LIMIT_DEFAULT, 1, VALUES_MAX)?;
        let facets = facets(given.get("facets").unwrap_or_default(), values_max)?;
        let asked = fingerprint(text, &filter, sort);
        let start = match given.get("cursor").filter(|text| !text.is_empty()) {
            None => Start::First,
            Some(text) => Cursor::decode(text, place, asked, sort)?,
        };
        let hits_max = if hits_wanted == 0 { 0 } else { hits_wanted + 1 };
        let request = Request { query: parsed, filter, sort, start, hits_max, facets };
        Ok(Self { request, hits_wanted, asked })
    }
}

/// The parameters of a list of values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) prefix: String,
    pub(super) values_max: usize,
    pub(super) flows: Vec<String>,
}

impl Values {
    pub(super) fn parse(given: &Query) -> Result<Self, ApiError> {
        check_names(given, &["prefix", "limit", "flow"])?;
        let prefix = given.get("prefix").unwrap_or_default().to_owned();
        let values_max = number(given, "limit", VALUES_MAX, 1, VALUES_MAX)?;
        Ok(Self { prefix, values_max, flows: all(given, "flow")? })
    }
}

fn check_names(given: &Query, known: &[&str]) -> Result<(), ApiError> {
    match given.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(ApiError::invalid(name, format!("no such parameter; there are {}", known.join(", ")))),
        None => Ok(()),
    }
}

fn all(given: &Query, name: &str) -> Result<Vec<String>, ApiError> {
    let values: Vec<String> =
        given.0.iter().filter(|(known, value)| known == name && !value.is_empty()).map(|(_, it)| it.clone()).collect();
    if values.len() > FILTER_VALUES_MAX {
        return Err(ApiError::invalid(
            name,
            format!("{name} is given {} times, over {FILTER_VALUES_MAX}", values.len()),
        ));
    }
    Ok(values)
}

fn filter(given: &Query, now_ms: i64) -> Result<Filter, ApiError> {
    let kinds = all(given, "type")?;
    let kinds = kinds.iter().map(|text| named("type", text, Kind::parse, &Kind::ALL.map(Kind::as_str)));
    let names = [Status::Running, Status::Completed, Status::Failed].map(Status::as_str);
    let statuses = all(given, "status")?;
    let statuses = statuses.iter().map(|text| named("status", text, Status::parse, &names));
    let at = |name: &str| {
        let text = given.get(name).filter(|text| !text.is_empty());
        text.map(|text| {
            let wanted =
                "milliseconds since 1970, a date as in 2026-11-26 or 2026-11-26T18:00:00Z, or an age as in -7d";
            time::parse(text, now_ms).ok_or_else(|| ApiError::invalid(name, format!("{text:?} is not {wanted}")))
        })
        .transpose()
    };
    Ok(Filter {
        kinds: kinds.collect::<Result<_, _>>()?,
        flows: all(given, "flow")?,
        users: all(given, "user")?,
        tags: all(given, "tag")?,
        statuses: statuses.collect::<Result<_, _>>()?,
        from: at("from")?,
        to: at("to")?,
    })
}

fn named<T>(name: &str, text: &str, parse: impl Fn(&str) -> Option<T>, known: &[&str]) -> Result<T, ApiError> {
    parse(text).ok_or_else(|| ApiError::invalid(name, format!("{text:?} is none of {}", known.join(", "))))
}

fn sort(text: Option<&str>, has_query: bool) -> Result<Sort, ApiError> {
    match text.filter(|text| !text.is_empty()) {
        None if has_query => Ok(Sort { field: SortField::Relevance, descending: true }),
        None => Ok(Sort { field: SortField::CreatedAt, descending: true }),
        Some(text) => {
            let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
            let field = named("sort", name, SortField::parse, &SortField::ALL.map(SortField::as_str))?;
            Ok(Sort { field, descending: descending || field == SortField::Relevance })
        }
    }
}

fn number(given: &Query, name: &str, default: usize, min: usize, max: usize) -> Result<usize, ApiError> {
    let Some(text) = given.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| ApiError::invalid(name, format!("{text:?} is not a whole number from {min} to {max}")))
}

fn facets(text: &str, values_max: usize) -> Result<Vec<Facet>, ApiError> {
    let mut facets: Vec<Facet> = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let field = named("facets", name, FacetField::parse, &FacetField::ALL.map(FacetField::as_str))?;
        if facets.iter().all(|facet| facet.field != field) {
            facets.push(Facet { field, prefix: String::new(), values_max });
        }
    }
    Ok(facets)
}

/// What tells one search from another: all but page size, cursor and facets. Of a relative time, each page has its own, so
/// times are left out.
fn fingerprint(query: &str, filter: &Filter, sort: Sort) -> u64 {
    let mut hash = DefaultHasher::new();
    let timeless = Filter { from: None, to: None, ..filter.clone() };
    (query, format!("{timeless:?}"), sort.field as u8, sort.descending).hash(&mut hash);
    hash.finish()
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// Generation and index.
    #[serde(rename = "p")]
    pub(super) place: String,
    /// Which search.
    #[serde(rename = "q")]
    pub(super) asked: u64,
    #[serde(rename = "s")]
    pub(super) start: Start,
}

impl Cursor {
    pub(super) fn encode(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str, place: &str, asked: u64, sort: Sort) -> Result<Start, ApiError> {
        let wrong = |reason: &str| ApiError::invalid("cursor", reason);
        if text.len() > CURSOR_BYTES_MAX {
            return Err(wrong("the cursor is none of ours"));
        }
        let bytes = BASE64.decode(text.trim_end_matches('=')).map_err(|_| wrong("the cursor is none of ours"))?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| wrong("the cursor is none of ours"))?;
        if cursor.place != place {
            return Err(wrong("the cursor belongs to an index that is no longer served; begin again"));
        }
        if cursor.asked != asked {
            return Err(wrong("the cursor belongs to another search; begin again"));
        }
        let numeric = matches!(sort.field, SortField::CreatedAt | SortField::Run);
        let fits = match &cursor.start {
            Start::First => false,
            Start::Skip(count) => sort.field == SortField::Relevance && *count <= SKIP_MAX,
            Start::After { value: SortValue::Int(_), .. } => numeric,
            Start::After { value: SortValue::Text(text), .. } => {
                !numeric && sort.field != SortField::Relevance && !text.contains('\0')
            }
        };
        if fits { Ok(cursor.start) } else { Err(wrong("the cursor is none of ours")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parameters, ApiError> {
        Parameters::parse(&Query::parse(text)?, "1/i", 1_000_000)
    }

    #[test]
    fn a_search_is_read() {
        let text = "q=a&type=run&type=task&tag=x&tag=y%3Az&status=failed&from=-1s&sort=-run&limit=5&facets=tag,user";
        let request = parse(text).map(|it| it.request).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(request.filter.kinds, [Kind::Run, Kind::Task]);
        assert_eq!(request.filter.tags, ["x", "y:z"]);
        assert_eq!((request.filter.from, request.hits_max), (Some(999_000), 6));
        assert_eq!(request.sort, Sort { field: SortField::Run, descending: true });
        assert_eq!(request.facets.len(), 2);
        let by_default = |text: &str| parse(text).map(|it| it.request.sort.field).ok();
        assert_eq!(by_default(""), Some(SortField::CreatedAt));
        assert_eq!(by_default("q=a"), Some(SortField::Relevance));
    }

    #[test]
    fn mistakes_name_their_parameter() {
        for (text, field) in [
            ("q=(", "q"),
            ("type=x", "type"),
            ("status=x", "status"),
            ("from=x", "from"),
            ("sort=x", "sort"),
            ("limit=501", "limit"),
            ("limit=-1", "limit"),
            ("facets=x", "facets"),
            ("facet_limit=0", "facet_limit"),
            ("cursor=x", "cursor"),
            ("query=x", "query"),
        ] {
            let found = match parse(text) {
                Err(ApiError::Invalid { field, .. }) => field,
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!(found.as_deref(), Some(field), "{text}");
        }
    }

    #[test]
    fn a_cursor_comes_back_only_to_its_own_search_and_index() {
        let asked = parse("q=a&sort=-run").map(|it| it.asked).unwrap_or_default();
        let start = Start::After { value: SortValue::Int(5), key: 6 };
        let cursor = Cursor { place: "1/i".to_owned(), asked, start: start.clone() };
        let text = cursor.encode();
        assert_eq!(parse(&format!("q=a&sort=-run&cursor={text}")).map(|it| it.request.start).ok(), Some(start));
        for wrong in ["q=b&sort=-run", "q=a&sort=run", "q=a&sort=-flow", "q=a&sort=-run&tag=x"] {
            assert!(parse(&format!("{wrong}&cursor={text}")).is_err(), "{wrong}");
        }
        let elsewhere = Cursor { place: "2/i".to_owned(), ..cursor.clone() }.encode();
        assert!(parse(&format!("q=a&sort=-run&cursor={elsewhere}")).is_err());
        let of_text = Start::After { value: SortValue::Text("x".to_owned()), key: 6 };
        let mixed = Cursor { start: of_text, ..cursor }.encode();
        assert!(parse(&format!("q=a&sort=-run&cursor={mixed}")).is_err());
    }
}
