//! The indexes of a collection: mapping and settings of the main index, and what the filtered index leaves out.

use daybook_projector::search::shape::LiteralMapping;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    fields::Declared,
    mapping,
    measures::Period,
    presets::Preset,
    reader::Section,
    terms::{self, Terms},
};
use crate::values::FieldType;

/// The key of the file with a literal mapping, which a command reads.
pub const MAPPING_FILE: &str = "mapping_file";

/// The mapping and settings of an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Index {
    /// Number of shards.
    pub shards: u64,
    /// Number of replicas; without one, one if there are two servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// How often it shows new documents.
    pub refresh_interval: Period,
    /// Its literal mapping: `properties`, by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Map<String, Value>>,
    /// What that needs of the index: `analysis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Map<String, Value>>,
    /// The language of its texts.
    pub language: Language,
    /// The field with a number of 0 to 100 by which relevance grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<String>,
    /// Whether the extension of a document leaves out the query of its URL.
    pub strip_query: bool,
}

impl Index {
    /// The literal mapping, in which fields have other names where `name_of` says so.
    pub(crate) fn literal(&self, name_of: impl Fn(&str) -> String) -> Option<LiteralMapping> {
        let table = |table: Option<&Value>| table.and_then(Value::as_object).cloned().unwrap_or_default();
        let properties = table(self.mapping.as_ref()?.get("properties"));
        let properties = properties.into_iter().map(|(name, mapping)| (name_of(&name), mapping)).collect();
        let analysis = table(self.settings.as_ref().and_then(|settings| settings.get("analysis")));
        Some(LiteralMapping { properties, analysis })
    }
}

/// The language of texts, whose words have stems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// None: words have no stems.
    None,
    /// English.
    English,
}

/// What the filtered search leaves out. It is a search of the one index, with a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filtered {
    /// The terms that keep a document out; without them, none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// The fields of the document in which terms are looked for.
    pub fields: Vec<String>,
    /// The flags that keep a document out.
    pub also_exclude: Vec<String>,
    /// Whether terms are looked for in the whole text, also beyond what is indexed of it.
    pub match_full_text: bool,
}

/// Reads the table `index`.
pub(super) fn read_index(root: &Section<'_>, declared: &Declared<'_>, preset: Option<Preset>) -> Index {
    let section = root.section("index");
    let options = [
        "shards",
        "replicas",
        "refresh_interval",
        MAPPING_FILE,
        "mapping",
        "settings",
        "language",
        "rank",
        "strip_query",
    ];
    section.only(&options);
    if section.get(MAPPING_FILE).is_some() {
        let detail = "only `daybook collection apply` and `lint` read a file; a request gives its content as mapping";
        section.fault(MAPPING_FILE, "not-inlined", detail);
    }
    Index {
        shards: section.whole("shards", 1..=1_024).unwrap_or(1),
        replicas: section.whole("replicas", 0..=32),
        refresh_interval: section.parsed("refresh_interval", "not-a-duration").unwrap_or(Period::from_seconds(1)),
        mapping: mapping::read_mapping(&section, declared, preset),
        settings: mapping::read_settings(&section),
        language: section
            .one_of("language", &[("english", Language::English), ("none", Language::None)])
            .unwrap_or(Language::None),
        rank: section.identifier("rank").map(|name| {
            declared.check(&section, "rank", &name, &[FieldType::Int, FieldType::Long, FieldType::Double]);
            name.to_string()
        }),
        strip_query: section.boolean("strip_query").unwrap_or(false),
    }
}

/// Reads the table `filtered`.
pub(super) fn read_filtered(root: &Section<'_>, declared: &Declared<'_>, preset: Option<Preset>) -> Filtered {
    let section = root.section("filtered");
    section.only(&["kind", "terms", "fields", "also_exclude", "match_full_text"]);
    // The one index, with a filter: there is no index of its own.
    let _alias = section.one_of("kind", &[("alias", ())]);
    let terms = terms::read(&section, "terms");
    let fields = section.texts("fields").unwrap_or_default();
    if terms.is_some() && fields.is_empty() {
        section.fault("fields", "missing", "filtered.fields names no field in which terms are looked for");
    }
    // A preset makes documents with further fields.
    let is_known =
        |path: &String| preset.is_some() || path.split('.').next().is_some_and(|first| declared.contains(first));
    for path in fields.iter().filter(|path| !is_known(path)) {
        section.fault("fields", "unknown-field", format!("{path} is not a declared field"));
    }
    Filtered {
        terms,
        fields,
        also_exclude: section.texts("also_exclude").unwrap_or_default(),
        match_full_text: section.boolean("match_full_text").unwrap_or(false),
    }
}
