//! The file of canaries: searches that verification runs on both generations. Its faults are found at the start.

use std::{fs, path::Path};

use daybook_reindexer::verify::Canary;
use serde::Deserialize;

use crate::domains::Domain;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    search: Vec<Search>,
}

/// A search, as `daybook search` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    /// It may be left out if there is only one.
    domain: Option<String>,
    #[serde(default)]
    query: String,
    /// As in `type=run`.
    #[serde(default)]
    filters: Vec<String>,
}

/// Reads the file, if one is given. All faults are returned together.
pub(crate) fn read(path: Option<&Path>, domains: &[Domain]) -> Result<Vec<Canary>, Vec<String>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, domains)
            .map_err(|faults| faults.iter().map(|fault| format!("--rebuild-canaries: {shown}: {fault}")).collect()),
        Err(error) => Err(vec![format!("--rebuild-canaries: cannot read {shown}: {error}")]),
    }
}

fn parse(text: &str, domains: &[Domain]) -> Result<Vec<Canary>, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
    let (mut canaries, mut faults) = (Vec::new(), Vec::new());
    for (index, search) in file.search.into_iter().enumerate() {
        match check(search, domains) {
            Ok(canary) => canaries.push(canary),
            Err(fault) => faults.push(format!("search {}: {fault}", index + 1)),
        }
    }
    if faults.is_empty() { Ok(canaries) } else { Err(faults) }
}

fn check(search: Search, domains: &[Domain]) -> Result<Canary, String> {
    let Search { domain, query, filters } = search;
    let names = || domains.iter().map(Domain::name).collect::<Vec<_>>().join(", ");
    let searched: Vec<&Domain> = domains.iter().filter(|domain| (domain.documents)().is_some()).collect();
    let domain = match (domain, searched.as_slice()) {
        (None, [only]) => *only,
        (None, _) => return Err(format!("name a domain: {}", names())),
        (Some(name), _) => {
            let found = domains.iter().find(|domain| domain.name() == name);
            found.ok_or_else(|| format!("domain {name:?} is not one of {}", names()))?
        }
    };
    let shape = (domain.documents)().map(|documents| documents.shape());
    let shape = shape.ok_or_else(|| format!("the domain {} has nothing to search", domain.name()))?;
    let pair = |filter: &String| {
        let (field, value) = filter.split_once('=').filter(|(_, value)| !value.is_empty())?;
        Some((field.to_owned(), value.to_owned()))
    };
    let parsed = filters.iter().map(|filter| pair(filter).ok_or_else(|| format!("{filter:?} is not FIELD=VALUE")));
    let filters = parsed.collect::<Result<_, String>>()?;
    let canary = Canary { domain: domain.name().to_owned(), query, filters };
    canary.request(&shape)?;
    Ok(canary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domains::ALL;

    #[test]
    fn searches_are_read_and_the_domain_may_be_left_out_where_there_is_one() {
        let domain = || ALL[0].name().to_owned();
        let text = format!(
            "[[search]]\nquery = \"tag:nightly -failed\"\nfilters = [\"type=run\", \"user=ann\"]\n\
             [[search]]\ndomain = {:?}",
            domain()
        );
        let canaries = parse(&text, ALL).unwrap_or_else(|faults| panic!("{faults:?}"));
        let pair = |field: &str, value: &str| (field.to_owned(), value.to_owned());
        let first = Canary {
            domain: domain(),
            query: "tag:nightly -failed".to_owned(),
            filters: vec![pair("type", "run"), pair("user", "ann")],
        };
        assert_eq!(canaries, [first, Canary { domain: domain(), query: String::new(), filters: Vec::new() }]);
        assert_eq!(read(None, ALL), Ok(Vec::new()));
    }

    #[test]
    fn every_fault_is_named() {
        let text = "[[search]]\nquery = \"(\"\n[[search]]\nfilters = [\"type=x\"]\n[[search]]\nfilters = [\"colour=red\"]\n\
            [[search]]\ndomain = \"other\"\n[[search]]\nfilters = [\"type\"]";
        let faults = parse(text, ALL).err().unwrap_or_default();
        let expected = [
            "search 1: column",
            "search 2: type: \"x\" is not one of",
            "search 3: colour: \"colour\" is not one of",
            "search 4: domain \"other\" is not one of ",
            "search 5: \"type\" is not FIELD=VALUE",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, begin) in faults.iter().zip(expected) {
            assert!(fault.starts_with(begin), "{begin}: {fault}");
        }
        for wrong in ["search = 1", "[[searches]]\nquery = \"a\"", "[[search]]\nquerry = \"a\"", "["] {
            assert_eq!(parse(wrong, ALL).err().map(|faults| faults.len()), Some(1), "{wrong}");
        }
        let missing = read(Some(Path::new("/nowhere/at-all")), ALL).err().unwrap_or_default();
        assert!(missing.len() == 1 && missing[0].contains("cannot read /nowhere/at-all"), "{missing:?}");
    }
}
