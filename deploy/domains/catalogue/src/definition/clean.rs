//! Cleaning: the rules that change the values of a record, in order, and the rules that keep it out of the indexes.

use std::collections::{BTreeMap, HashSet};

use regex::RegexBuilder;
use serde::Serialize;
use serde_json::Value;

use super::{
    fields::Declared,
    identifier::Identifier,
    reader::Section,
    terms::{self, Terms},
};
use crate::{Fields, values::FieldType};

/// Most memory of a compiled pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Accuracy that a tag needs if the rule names none.
pub const ACCURACY_MIN: f64 = 0.90;

/// The cleaning of a collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CleanDefinition {
    /// Rules that change values, in the order in which they apply.
    pub rules: Vec<RuleDefinition>,
    /// Rules that keep records out of the indexes.
    pub exclude: Vec<Exclusion>,
}

/// A rule that changes values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleDefinition {
    /// Its name in reports; no other rule or exclusion has it.
    pub id: String,
    /// Whether it applies.
    pub enabled: bool,
    /// What it does.
    #[serde(flatten)]
    pub kind: RuleKind,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RuleKind {
    /// Puts a scheme in front of URLs that have none.
    UrlScheme {
        /// The fields.
        fields: Vec<Identifier>,
        /// Hosts whose URLs get `http`.
        http_hosts: Vec<String>,
        /// The scheme of every other host.
        default: Scheme,
    },
    /// Drops tags.
    Tags {
        /// The field.
        field: Identifier,
        /// Least accuracy, inclusive.
        min_accuracy: f64,
        /// Names that are dropped.
        deny_exact: Terms,
        /// Parts of names that are dropped.
        deny_part: Terms,
        /// Providers whose tags are dropped.
        drop_providers: Vec<String>,
    },
    /// Replaces a text by what the first group of a pattern captures.
    Capture {
        /// The field.
        field: Identifier,
        /// The values that a record must have; none for every record.
        #[serde(rename = "where")]
        conditions: BTreeMap<Identifier, Value>,
        /// A regular expression with at least one group.
        pattern: String,
    },
    /// Drops URLs without a valid host.
    UrlValid {
        /// The fields.
        fields: Vec<Identifier>,
    },
    /// Removes slashes at the end of URLs.
    StripSlash {
        /// The fields.
        fields: Vec<Identifier>,
    },
    /// Turns runs of whitespace into one blank and removes control characters.
    SanitizeText {
        /// The fields.
        fields: Vec<Identifier>,
    },
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// A rule that keeps records out of the indexes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exclusion {
    /// Its name in reports; no other rule or exclusion has it.
    pub id: String,
    /// Whether it applies.
    pub enabled: bool,
    /// The values that a record must have, all of them.
    pub when: BTreeMap<Identifier, Value>,
}

impl Exclusion {
    /// Whether it keeps a record with these fields out of the indexes.
    pub fn excludes(&self, fields: &Fields) -> bool {
        let has = |(field, value): (&Identifier, &Value)| fields.get(field.as_str()).unwrap_or(&Value::Null) == value;
        self.enabled && self.when.iter().all(has)
    }
}

/// The kinds of rules by name, to read them.
#[derive(Clone, Copy)]
enum Kind {
    UrlScheme,
    Tags,
    Capture,
    UrlValid,
    StripSlash,
    SanitizeText,
}

const KINDS: [(&str, Kind); 6] = [
    ("url-scheme", Kind::UrlScheme),
    ("tags", Kind::Tags),
    ("capture", Kind::Capture),
    ("url-valid", Kind::UrlValid),
    ("strip-slash", Kind::StripSlash),
    ("sanitize-text", Kind::SanitizeText),
];

/// Reads the table `clean`. `key` is the name of the key field, which no rule may change.
pub(super) fn read(root: &Section<'_>, declared: &Declared<'_>, key: Option<&Identifier>) -> CleanDefinition {
    let section = root.section("clean");
    section.only(&["rules", "exclude"]);
    let mut ids = HashSet::new();
    // Rules and exclusions are named directly under `clean` in faults, as in reports.
    let mut items = |list: &str| -> Vec<Section<'_>> {
        let sections = section.sections(list).into_iter();
        sections
            .map(|item| match item.get("id").and_then(Value::as_str) {
                Some(id) => {
                    if !ids.insert(id.to_owned()) {
                        section.fault(id, "duplicate", format!("the id {id} is not the only one"));
                    }
                    item.at(section.path(id))
                }
                None => item,
            })
            .collect()
    };
    let (rules, exclude) = (items("rules"), items("exclude"));
    CleanDefinition {
        rules: rules.iter().filter_map(|rule| read_rule(rule, declared, key)).collect(),
        exclude: exclude.iter().filter_map(|exclusion| read_exclusion(exclusion, declared)).collect(),
    }
}

fn read_rule(section: &Section<'_>, declared: &Declared<'_>, key: Option<&Identifier>) -> Option<RuleDefinition> {
    let id = read_id(section);
    let enabled = section.boolean("enabled").unwrap_or(true);
    section.required("kind");
    let kind = match section.one_of("kind", &KINDS)? {
        Kind::UrlScheme => read_url_scheme(section, declared),
        Kind::Tags => read_tags(section, declared),
        Kind::Capture => read_capture(section, declared),
        Kind::UrlValid => only_fields(section, declared).map(|fields| RuleKind::UrlValid { fields }),
        Kind::StripSlash => only_fields(section, declared).map(|fields| RuleKind::StripSlash { fields }),
        Kind::SanitizeText => only_fields(section, declared).map(|fields| RuleKind::SanitizeText { fields }),
    }?;
    if let Some(key) = key.filter(|key| kind.fields().contains(key)) {
        section.fault("kind", "conflict", format!("a rule cannot change the key {key}"));
    }
    Some(RuleDefinition { id: id?, enabled, kind })
}

impl RuleKind {
    /// The fields that the rule changes.
    pub fn fields(&self) -> &[Identifier] {
        match self {
            Self::UrlScheme { fields, .. }
            | Self::UrlValid { fields }
            | Self::StripSlash { fields }
            | Self::SanitizeText { fields } => fields,
            Self::Tags { field, .. } | Self::Capture { field, .. } => std::slice::from_ref(field),
        }
    }
}

fn read_id(section: &Section<'_>) -> Option<String> {
    let id = section.required_text("id")?;
    let is_id = id.len() <= 64 && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if !is_id {
        section.fault("id", "invalid-name", format!("{id:?} is not an id: at most 64 of a-z, 0-9, _ and -"));
    }
    is_id.then(|| id.to_owned())
}

/// The fields of a rule, which hold text.
fn text_fields(section: &Section<'_>, declared: &Declared<'_>) -> Option<Vec<Identifier>> {
    section.required("fields")?;
    let fields = section.identifiers("fields")?;
    for name in &fields {
        declared.check(section, "fields", name, &[FieldType::Text]);
    }
    Some(fields)
}

fn only_fields(section: &Section<'_>, declared: &Declared<'_>) -> Option<Vec<Identifier>> {
    section.only(&["id", "enabled", "kind", "fields"]);
    text_fields(section, declared)
}

fn read_url_scheme(section: &Section<'_>, declared: &Declared<'_>) -> Option<RuleKind> {
    section.only(&["id", "enabled", "kind", "fields", "http_hosts", "default"]);
    let http_hosts = section.texts("http_hosts").unwrap_or_default();
    if let Some(host) = http_hosts.iter().find(|host| host.contains(['/', '@', ' ']) || host.to_lowercase() != **host) {
        section.fault("http_hosts", "invalid-host", format!("{host:?} is not a host in lower case"));
    }
    let default = section.one_of("default", &[("http", Scheme::Http), ("https", Scheme::Https)]);
    let fields = text_fields(section, declared)?;
    Some(RuleKind::UrlScheme { fields, http_hosts, default: default.unwrap_or(Scheme::Https) })
}

fn read_tags(section: &Section<'_>, declared: &Declared<'_>) -> Option<RuleKind> {
    let options = ["id", "enabled", "kind", "field", "min_accuracy", "deny_exact", "deny_part", "drop_providers"];
    section.only(&options);
    let min_accuracy = section.fraction("min_accuracy").unwrap_or(ACCURACY_MIN);
    let terms = |key| terms::read(section, key).unwrap_or_else(|| Terms::Inline(Vec::new()));
    let (deny_exact, deny_part) = (terms("deny_exact"), terms("deny_part"));
    let drop_providers = section.texts("drop_providers").unwrap_or_default();
    let field = match section.get("field") {
        Some(_) => section.identifier("field")?,
        None => section.named("field", "tags")?,
    };
    declared.check(section, "field", &field, &[FieldType::Json]);
    Some(RuleKind::Tags { field, min_accuracy, deny_exact, deny_part, drop_providers })
}

fn read_capture(section: &Section<'_>, declared: &Declared<'_>) -> Option<RuleKind> {
    section.only(&["id", "enabled", "kind", "field", "where", "pattern"]);
    section.required("field");
    let field = section.identifier("field");
    if let Some(field) = &field {
        declared.check(section, "field", field, &[FieldType::Text]);
    }
    let conditions = read_conditions(&section.section("where"), declared);
    let pattern = section.required_text("pattern")?;
    match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
        Ok(compiled) if compiled.captures_len() > 1 => {}
        Ok(_) => section.fault("pattern", "invalid-pattern", "the pattern has no group to capture"),
        Err(error) => section.fault("pattern", "invalid-pattern", error.to_string()),
    }
    Some(RuleKind::Capture { field: field?, conditions, pattern: pattern.to_owned() })
}

fn read_exclusion(section: &Section<'_>, declared: &Declared<'_>) -> Option<Exclusion> {
    section.only(&["id", "enabled", "when"]);
    let id = read_id(section);
    let enabled = section.boolean("enabled").unwrap_or(true);
    section.required("when")?;
    let conditions = section.section("when");
    if conditions.is_present() && conditions.entries().next().is_none() {
        section.fault("when", "empty", "an exclusion without conditions would exclude every record");
    }
    let when = read_conditions(&conditions, declared);
    Some(Exclusion { id: id?, enabled, when })
}

/// Values by field.
fn read_conditions(section: &Section<'_>, declared: &Declared<'_>) -> BTreeMap<Identifier, Value> {
    let mut conditions = BTreeMap::new();
    for (key, value) in section.entries() {
        let Some(name) = section.named(key, key) else { continue };
        declared.check(section, key, &name, &[]);
        if let Some(value) = declared.value(section, key, key, value) {
            conditions.insert(name, value);
        }
    }
    conditions
}
