//! The parameters of a search, read and checked, and cursors.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use daybook_projector::search::{
    query::{self, Expression},
    request::{self, Facet, HITS_MAX, Request, SKIP_MAX, Sort, SortValue, Start, VALUES_MAX},
    shape::{Field, FieldId, FieldShape, IndexShape, Kind, RELEVANCE},
};
use serde::{Deserialize, Serialize};

use crate::{error::ApiError, query::Query, time};

/// Hits of a page if the client gives no limit.
const LIMIT_DEFAULT: usize = 20;
/// Values of a facet if the client gives no limit.
const FACET_LIMIT_DEFAULT: usize = 20;
/// Values of one filter, at most.
const FILTER_VALUES_MAX: usize = 64;
/// Longest cursor, in bytes, inclusive.
const CURSOR_BYTES_MAX: usize = 8192;

/// The parameters of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The request to the index. It asks for one hit more than the page has, to know whether there are more.
    pub(super) request: Request,
    /// Hits of the page.
    pub(super) hits_wanted: usize,
    /// The fingerprint of this search.
    pub(super) asked: u64,
}

impl Parameters {
    /// Reads a search; `place` is the index that its cursor must belong to.
    pub(super) fn parse(shape: &IndexShape, given: &Query, place: &str, now_ms: i64) -> Result<Self, ApiError> {
        let filters = shape.fields.iter().filter(|field| field.filter.is_some()).map(|field| &*field.name);
        let others = ["from", "to", "sort", "limit", "cursor", "facets", "facet_limit"];
        check_names(given, &["q"].into_iter().chain(filters).chain(others).collect::<Vec<_>>())?;
        let text = given.get("q").unwrap_or_default();
        let parsed = query::parse(shape, text).map_err(|error| ApiError::invalid("q", error.to_string()))?;
        let mut filter = filter(shape, given)?;
        let sort = sort(shape, given.get("sort"), parsed.is_some())?;
        let hits_wanted = number(given, "limit", LIMIT_DEFAULT, 0, HITS_MAX)?;
        let values_max = number(given, "facet_limit", FACET_LIMIT_DEFAULT, 1, VALUES_MAX)?;
        let facets = facets(shape, given.get("facets").unwrap_or_default(), values_max)?;
        // A relative time differs from page to page, so times are not part of the fingerprint.
        let asked = fingerprint(text, &filter, sort);
        filter.extend(span(given, now_ms)?);
        let start = match given.get("cursor").filter(|text| !text.is_empty()) {
            None => Start::First,
            Some(text) => Cursor::decode(shape, text, place, asked, sort)?,
        };
        let hits_max = if hits_wanted == 0 { 0 } else { hits_wanted + 1 };
        let request = Request { query: parsed, filter, sort, start, hits_max, facets };
        Ok(Self { request, hits_wanted, asked })
    }
}

/// Refuses a parameter that the route does not have.
pub(in crate::routes) fn check_names(given: &Query, known: &[&str]) -> Result<(), ApiError> {
    match given.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(ApiError::invalid(name, format!("no such parameter; there are {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// The values of a parameter that may be given several times.
pub(super) fn all(given: &Query, name: &str) -> Result<Vec<String>, ApiError> {
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

fn filter(shape: &IndexShape, given: &Query) -> Result<Vec<Expression>, ApiError> {
    let mut pairs = Vec::new();
    for field in shape.fields.iter().filter(|field| field.filter.is_some()) {
        pairs.extend(all(given, &field.name)?.into_iter().map(|value| (field.name.to_string(), value)));
    }
    request::conditions(shape, &pairs).map_err(|error| ApiError::invalid(&error.field, error.to_string()))
}

/// The span of time that is asked for, if one is.
fn span(given: &Query, now_ms: i64) -> Result<Option<Expression>, ApiError> {
    let at = |name: &str| {
        let text = given.get(name).filter(|text| !text.is_empty());
        text.map(|text| {
            let wanted =
                "milliseconds since 1970, a date as in 2026-11-26 or 2026-11-26T18:00:00Z, or an age as in -7d";
            time::parse(text, now_ms).ok_or_else(|| ApiError::invalid(name, format!("{text:?} is not {wanted}")))
        })
        .transpose()
    };
    let (from, to) = (at("from")?, at("to")?);
    Ok((from.is_some() || to.is_some()).then_some(Expression::Time { from, to }))
}

fn known_among(name: &str, text: &str, known: &[&str]) -> Result<usize, ApiError> {
    let place = known.iter().position(|known| *known == text);
    place.ok_or_else(|| ApiError::invalid(name, format!("{text:?} is not one of {}", known.join(", "))))
}

/// The field of a name among those that serve something; `None` for one of the other names in `more`.
fn field_named(
    shape: &IndexShape,
    parameter: &str,
    text: &str,
    more: &[&str],
    serves: impl Fn(&FieldShape) -> bool,
) -> Result<Option<FieldId>, ApiError> {
    let known = shape.fields.iter().filter(|field| serves(field)).map(|field| &*field.name);
    let known: Vec<&str> = more.iter().copied().chain(known).collect();
    known_among(parameter, text, &known)?;
    Ok(shape.find(text, serves))
}

fn sort(shape: &IndexShape, text: Option<&str>, has_query: bool) -> Result<Sort, ApiError> {
    match text.filter(|text| !text.is_empty()) {
        None if has_query => Ok(Sort::relevance()),
        None => Ok(Sort::newest(shape)),
        Some(text) => {
            let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
            let field = field_named(shape, "sort", name, &[RELEVANCE], |field| field.sort)?;
            Ok(Sort { field, descending: descending || field.is_none() })
        }
    }
}

/// A parameter that is a whole number.
pub(in crate::routes) fn number(
    given: &Query,
    name: &str,
    default: usize,
    min: usize,
    max: usize,
) -> Result<usize, ApiError> {
    let Some(text) = given.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| ApiError::invalid(name, format!("{text:?} is not a whole number from {min} to {max}")))
}

fn facets(shape: &IndexShape, text: &str, values_max: usize) -> Result<Vec<Facet>, ApiError> {
    let mut facets: Vec<Facet> = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let field = field_named(shape, "facets", name, &[], |field| field.facet)?.map(Field::Named);
        let is_new = |field: &Field| facets.iter().all(|facet| facet.field != *field);
        if let Some(field) = field.filter(is_new) {
            facets.push(Facet { field, prefix: String::new(), values_max });
        }
    }
    Ok(facets)
}

/// A hash of all parameters except page size, cursor, facets and times.
fn fingerprint(query: &str, filter: &[Expression], sort: Sort) -> u64 {
    let mut hash = DefaultHasher::new();
    (query, filter, sort.field, sort.descending).hash(&mut hash);
    hash.finish()
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// Generation and index.
    #[serde(rename = "p")]
    pub(super) place: String,
    /// The fingerprint of the search.
    #[serde(rename = "q")]
    pub(super) asked: u64,
    #[serde(rename = "s")]
    pub(super) start: Start,
}

impl Cursor {
    /// The name of an index of a generation.
    pub(super) fn place(generation: i64, index_id: &str) -> String {
        format!("{generation}/{index_id}")
    }

    /// The generation that it belongs to.
    pub(super) fn generation(&self) -> Option<i64> {
        self.place.split_once('/')?.0.parse().ok()
    }

    /// Reads a cursor; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = Some(text).filter(|text| text.len() <= CURSOR_BYTES_MAX)?;
        serde_json::from_slice(&BASE64.decode(text.trim_end_matches('=')).ok()?).ok()
    }

    pub(super) fn encode(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(shape: &IndexShape, text: &str, place: &str, asked: u64, sort: Sort) -> Result<Start, ApiError> {
        let wrong = |reason: &str| ApiError::invalid("cursor", reason);
        let cursor = Self::parse(text).ok_or_else(|| wrong("the cursor is not valid"))?;
        if cursor.place != place {
            return Err(wrong("the cursor belongs to an index that is no longer served; begin again"));
        }
        if cursor.asked != asked {
            return Err(wrong("the cursor belongs to another search; begin again"));
        }
        let kind = sort.field.map(|field| shape.field(field).kind);
        let fits = match &cursor.start {
            Start::First => false,
            Start::Skip(count) => kind.is_none() && *count <= SKIP_MAX,
            Start::After { value: SortValue::Int(_), .. } => kind == Some(Kind::Integer),
            Start::After { value: SortValue::Text(text), .. } => kind == Some(Kind::Text) && !text.contains('\0'),
        };
        if fits { Ok(cursor.start) } else { Err(wrong("the cursor is not valid")) }
    }
}

#[cfg(test)]
mod tests {
    use daybook_projector::search::shape::{Filter, Storage};

    use super::*;

    /// Runs and tasks.
    fn shape() -> IndexShape {
        let any_of = |name: &'static str| FieldShape::text(name).words().facet().filter(Filter::AnyOf);
        IndexShape {
            version: 1,
            fields: vec![
                any_of("type").allowed(&["run", "task"]),
                any_of("user").sort(),
                FieldShape::text("tag").words().facet().filter(Filter::AllOf),
                any_of("status").allowed(&["running", "failed"]),
                FieldShape::integer("run").sort(),
                FieldShape::integer("created_at").sort(),
            ],
            type_field: FieldId(0),
            time_field: FieldId(5),
            path: Vec::new(),
            inheritance: None,
            stemming: None,
            rank: None,
            storage: Storage::default(),
            literal: None,
            has_hidden: false,
        }
    }

    fn parse(text: &str) -> Result<Parameters, ApiError> {
        Parameters::parse(&shape(), &Query::parse(text)?, "1/i", 1_000_000)
    }

    #[test]
    fn a_search_is_read() {
        let text = "q=a&type=run&type=task&tag=x&tag=y%3Az&status=failed&from=-1s&sort=-run&limit=5&facets=tag,user";
        let request = parse(text).map(|it| it.request).unwrap_or_else(|error| panic!("{error}"));
        let shape = shape();
        let named = |name: &str| shape.find(name, |_| true).unwrap_or_else(|| panic!("no field {name}"));
        let value = |name: &str, values: &[&str]| Expression::value(Field::Named(named(name)), values.iter().copied());
        let mut filter = request.filter.clone();
        assert_eq!(filter.pop(), Some(Expression::Time { from: Some(999_000), to: None }));
        let expected = [value("type", &["run", "task"]), value("tag", &["x"]), value("tag", &["y:z"])];
        assert_eq!(filter, [expected.to_vec(), vec![value("status", &["failed"])]].concat());
        assert_eq!(request.hits_max, 6);
        assert_eq!(request.sort, Sort { field: Some(named("run")), descending: true });
        assert_eq!(request.facets.len(), 2);
        let by_default = |text: &str| parse(text).map(|it| it.request.sort).ok();
        assert_eq!(by_default(""), Some(Sort::newest(&shape)));
        assert_eq!(by_default("q=a"), Some(Sort::relevance()));
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
        assert_eq!(Cursor::parse(&text).and_then(|cursor| cursor.generation()), Some(1));
        assert_eq!(parse(&format!("q=a&sort=-run&cursor={text}")).map(|it| it.request.start).ok(), Some(start));
        for wrong in ["q=b&sort=-run", "q=a&sort=run", "q=a&sort=-user", "q=a&sort=-run&tag=x"] {
            assert!(parse(&format!("{wrong}&cursor={text}")).is_err(), "{wrong}");
        }
        let elsewhere = Cursor { place: "2/i".to_owned(), ..cursor.clone() }.encode();
        assert!(parse(&format!("q=a&sort=-run&cursor={elsewhere}")).is_err());
        let of_text = Start::After { value: SortValue::Text("x".to_owned()), key: 6 };
        let mixed = Cursor { start: of_text, ..cursor }.encode();
        assert!(parse(&format!("q=a&sort=-run&cursor={mixed}")).is_err());
    }
}
