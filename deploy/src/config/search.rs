//! Area `search`: which search, if any.

use daybook_projector::{search::elasticsearch, tables::postgres};

use super::{
    given::Given,
    setting::{Preset::Derived, Setting, Takes::Secret, area},
    tables::TablesSettings,
};

const URL: super::setting::Takes =
    Secret { name: "URL", expected: "embedded, off, or http[s]://[user:password@]host:port[/prefix]" };

area! {
    /// The settings of search.
    SearchSettings, "search" {
        url: Search = search, "url", "search", URL, Derived {
            described: "embedded with SQLite tables, else off",
            from: by_tables,
            example: "http://elasticsearch:9200",
        },
            "Search: embedded (only with SQLite tables), on Elasticsearch, or off.";
    }
}

/// Which search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Search {
    Off,
    Embedded,
    Elasticsearch(elasticsearch::Address),
}

fn search(text: &str, _setting: &Setting) -> Result<Search, String> {
    match text {
        "embedded" => Ok(Search::Embedded),
        "off" => Ok(Search::Off),
        url => match elasticsearch::Address::parse(url) {
            Ok(address) => Ok(Search::Elasticsearch(address)),
            Err(error) => Err(format!("embedded, off, or a URL of Elasticsearch: {error}")),
        },
    }
}

/// An embedded index belongs to one process, and so do SQLite's tables.
fn by_tables(given: &Given) -> &'static str {
    let tables = TablesSettings::SETTINGS.first().map(|setting| given.text(setting));
    if tables.is_some_and(postgres::is_address) { "off" } else { "embedded" }
}
