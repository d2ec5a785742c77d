//! What a candidate must satisfy before it becomes live: limits of change, and queries with expected answers.

use serde::Serialize;

use super::{measures::Percent, reader::Section};

/// Limits of change from the live generation to the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verify {
    /// Least number of documents, inclusive.
    pub min_documents: u64,
    /// How many documents may be missing.
    pub max_drop: Percent,
    /// How many documents may be new.
    pub max_growth: Percent,
    /// How many documents of one source may be missing.
    pub max_drop_per_source: Percent,
    /// How many records may be left without tags.
    pub max_records_emptied: Percent,
    /// Sources that may be missing altogether.
    pub sources_may_vanish: Vec<String>,
}

/// A query whose answer is checked in live and candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// The index that is asked.
    pub index: CanaryIndex,
    /// The query.
    pub query: String,
    /// What is expected.
    pub expect: Expectation,
}

/// The index that a canary asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryIndex {
    /// The main index.
    Main,
    /// The filtered index.
    Filtered,
}

/// What a canary expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// Least number of hits, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_hits: Option<u64>,
    /// A record id among the first hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_contains: Option<String>,
}

/// Reads the table `verify`.
pub(super) fn read(root: &Section<'_>) -> Verify {
    let section = root.section("verify");
    let options =
        ["min_documents", "max_drop", "max_growth", "max_drop_per_source", "max_records_emptied", "sources_may_vanish"];
    section.only(&options);
    let percent = |key: &str, default: u64| {
        section.parsed(key, "not-a-percentage").unwrap_or(Percent::from_millionths(default * 10_000))
    };
    let verify = Verify {
        min_documents: section.whole("min_documents", 0..=u64::MAX >> 1).unwrap_or(1),
        max_drop: percent("max_drop", 2),
        max_growth: percent("max_growth", 50),
        max_drop_per_source: percent("max_drop_per_source", 10),
        max_records_emptied: percent("max_records_emptied", 1),
        sources_may_vanish: section.texts("sources_may_vanish").unwrap_or_default(),
    };
    let bounded = [
        ("max_drop", verify.max_drop),
        ("max_drop_per_source", verify.max_drop_per_source),
        ("max_records_emptied", verify.max_records_emptied),
    ];
    for (key, percent) in bounded.into_iter().filter(|(_, percent)| percent.millionths() > 1_000_000) {
        section.fault(key, "out-of-range", format!("{} is {percent}, more than 100 %", section.path(key)));
    }
    verify
}

/// Reads the canaries.
pub(super) fn read_canaries(root: &Section<'_>) -> Vec<Canary> {
    root.sections("canary").iter().filter_map(read_canary).collect()
}

fn read_canary(section: &Section<'_>) -> Option<Canary> {
    section.only(&["index", "query", "expect"]);
    let indexes = [("main", CanaryIndex::Main), ("filtered", CanaryIndex::Filtered)];
    let index = section.one_of("index", &indexes).unwrap_or(CanaryIndex::Filtered);
    let query = section.required_text("query");
    section.required("expect")?;
    let expect = section.section("expect");
    expect.only(&["min_hits", "top_contains"]);
    if expect.is_present() && expect.entries().next().is_none() {
        section.fault("expect", "empty", "a canary expects min_hits, top_contains or both");
    }
    let expect = Expectation {
        min_hits: expect.whole("min_hits", 0..=u64::MAX >> 1),
        top_contains: expect.text("top_contains").map(str::to_owned),
    };
    Some(Canary { index, query: query?.to_owned(), expect })
}
