//! The shape of a collection's documents: that of its preset, or one with an attribute for each field of its definition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use daybook_projector::search::{
    document::Document,
    shape::{FieldId, FieldShape, Filter, IndexShape, NAMES_TAKEN, Storage},
    words::english::English,
};

use serde_json::json;

use crate::{
    Fields,
    definition::{Definition, fields::Field, indexes::Language, presets::Preset},
    values::{FieldType, canonical::sha256_hex},
};

/// Raised when documents are made differently from the same rows.
const VERSION: u32 = 2;
/// The attribute with the type, and its only value.
pub(super) const TYPE: &str = "type";
pub(super) const RECORD: &str = "record";
/// The attribute with the id of the record.
pub(super) const RECORD_ID: &str = "record_id";
/// The attribute with the time of the last change, in milliseconds since 1970.
pub(super) const CHANGED_AT: &str = "changed_at";
/// The attribute with the names of tags, of a preset.
pub(super) const TAG_NAMES: &str = "tag_names";
/// The attribute that says whether the filtered search leaves a document out.
pub(in crate::records) const SENSITIVE: &str = "sensitive";
/// The attribute with the rank.
pub(super) const RANK: &str = "rank";
/// Names that hits have, besides those of attributes.
const SHOWN: [&str; 5] = ["revision", "path", "highlights", "score", RANK];
/// Longest text, in code points, that documents are filtered, counted and sorted by.
const WHOLE_MAX: usize = 200;

/// The attributes of a collection's documents.
pub(super) struct Attributes {
    pub(super) shape: Arc<IndexShape>,
    /// The attribute of each field that has another name.
    pub(super) renamed: BTreeMap<String, String>,
}

impl Attributes {
    /// The attributes of a definition. What makes documents sensitive, if anything does, has a digest.
    pub(super) fn of(definition: &Definition, sensitivity: Option<u32>) -> Self {
        let mut fields = vec![
            FieldShape::text(TYPE).own_words().facet().filter(Filter::AnyOf).allowed(&[RECORD]),
            FieldShape::text(RECORD_ID).filter(Filter::AnyOf),
            FieldShape::integer(CHANGED_AT).sort(),
        ];
        if sensitivity.is_some() {
            fields.push(FieldShape::text(SENSITIVE).facet().filter(Filter::AnyOf).allowed(&["true", "false"]));
        }
        let mut renamed = BTreeMap::new();
        match definition.preset {
            Some(preset) => fields.extend(of_preset(preset, definition.index.language)),
            None => {
                let mut taken: BTreeSet<String> = fields.iter().map(|field| field.name.to_string()).collect();
                taken.extend(NAMES_TAKEN.iter().chain(&SHOWN).map(|name| (*name).to_owned()));
                for (name, field) in &definition.fields {
                    let (name, mut attribute) = (name.to_string(), name.to_string());
                    while taken.contains(&attribute) || (attribute != name && definition.field(&attribute).is_some()) {
                        attribute.push_str("_field");
                    }
                    let shape = of_field(field, name == definition.key.as_str(), &attribute);
                    fields.extend(shape.map(|shape| {
                        if definition.index.language == Language::English { shape.stems() } else { shape }
                    }));
                    if attribute != name {
                        renamed.insert(name, attribute);
                    }
                }
            }
        }
        if definition.index.rank.is_some() || definition.preset.is_some() {
            fields.push(FieldShape::integer(RANK).sort());
        }
        let id_of = |name: &str| fields.iter().position(|field| field.name == name).map(FieldId);
        let stemming =
            fields.iter().any(|field| field.words.is_some_and(|words| words.stems)).then(|| english(definition));
        let (index, rank) = (&definition.index, id_of(RANK));
        let storage =
            Storage { shards: index.shards, replicas: index.replicas, refresh: index.refresh_interval.duration() };
        let literal = index.literal(|name| renamed.get(name).cloned().unwrap_or_else(|| name.to_owned()));
        let shape = IndexShape {
            version: VERSION.wrapping_add(digest(definition, sensitivity)),
            fields,
            type_field: FieldId(0),
            time_field: FieldId(2),
            path: vec![("records".into(), RECORD_ID.into())],
            inheritance: None,
            stemming,
            rank,
            storage,
            literal,
            has_hidden: true,
        };
        Self { shape: Arc::new(shape), renamed }
    }

    /// Sets the attributes of a document to the fields of its record.
    pub(super) fn take(&self, fields: Fields, document: &mut Document) {
        for (name, value) in fields {
            document.set(self.renamed.get(&name).unwrap_or(&name), value);
        }
    }
}

/// A number that differs where other documents are made of the same rows.
fn digest(definition: &Definition, sensitivity: Option<u32>) -> u32 {
    let Definition { clean, preset, index, .. } = definition;
    let content = json!([clean.exclude, preset, index.strip_query, index.rank, sensitivity]).to_string();
    sha256_hex(&content).get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// Words and the stems that they have instead of those of the stemmer.
const OVERRIDES: [(&str, &str); 6] = [
    ("animals", "animal"),
    ("animal", "animal"),
    ("anime", "anime"),
    ("animate", "animate"),
    ("animated", "animate"),
    ("universe", "universe"),
];

/// How words become stems. As in Openverse, overrides miss words with capitals, unless the preset is the second one.
fn english(definition: &Definition) -> English {
    let overrides = OVERRIDES.map(|(word, stem)| (word.into(), stem.into())).to_vec();
    let overrides_see_case = matches!(definition.preset, Some(Preset::OpenverseImage | Preset::OpenverseAudio));
    English { overrides, overrides_see_case }
}

/// What an attribute serves. One that serves nothing is only shown.
fn of_field(field: &Field, is_key: bool, name: &str) -> Option<FieldShape> {
    let text = FieldShape::text(name.to_owned());
    let is_short = is_key || field.max_length.is_some_and(|max| max <= WHOLE_MAX);
    match field.kind {
        FieldType::Text if is_short => Some(text.words().facet().filter(Filter::AnyOf).sort()),
        FieldType::Text => Some(text.words().phrases()),
        FieldType::TextArray => Some(text.words().facet().filter(Filter::AllOf)),
        FieldType::Json => Some(text.words()),
        FieldType::Uuid => Some(text.filter(Filter::AnyOf)),
        FieldType::Bool => Some(text.facet().filter(Filter::AnyOf).allowed(&["true", "false"])),
        FieldType::Timestamp => Some(text.sort()),
        FieldType::Int | FieldType::Long => Some(FieldShape::integer(name.to_owned()).sort()),
        FieldType::Double => None,
    }
}

/// The attributes of a preset's documents.
fn of_preset(preset: Preset, language: Language) -> Vec<FieldShape> {
    let stemmed = |field: FieldShape| if language == Language::English { field.stems() } else { field };
    let keyword = |name: &'static str| FieldShape::text(name).facet().filter(Filter::AnyOf);
    let mut fields = vec![
        stemmed(FieldShape::text("title").words().phrases()),
        stemmed(FieldShape::text("description").words().phrases()),
        FieldShape::text("creator").words().facet().filter(Filter::AnyOf).sort(),
        stemmed(FieldShape::text("tags").of(&[TAG_NAMES]).words().facet().filter(Filter::AllOf).hidden()),
        FieldShape::text("identifier").filter(Filter::AnyOf),
        keyword("license"),
        keyword("provider"),
        keyword("source"),
        keyword("category"),
        keyword("extension"),
        keyword("filetype"),
        keyword("mature").allowed(&["true", "false"]),
        FieldShape::text("created_on").sort(),
    ];
    fields.extend(match preset {
        Preset::OpenverseAudio => vec![keyword("length").allowed(&["shortest", "short", "medium", "long"])],
        Preset::OpenverseImage | Preset::OpenverseImage2 => vec![
            keyword("size").allowed(&["small", "medium", "large"]),
            keyword("aspect_ratio").allowed(&["tall", "wide", "square"]),
        ],
    });
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(fields: &str, more: &str) -> Attributes {
        let text = format!("collection = \"c\"\nkey = \"id\"\n{more}\n[fields]\nid = \"text\"\n{fields}");
        Attributes::of(&Definition::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}")), None)
    }

    #[test]
    fn every_definition_has_a_good_shape() {
        let all =
            FieldType::ALL.iter().map(|kind| format!("f_{} = \"{}\"\n", kind.name().replace("[]", "s"), kind.name()));
        let mut fields: String = all.collect();
        // The tables reserve the others.
        for taken in NAMES_TAKEN.iter().chain(&["path", "highlights", "score", TYPE, CHANGED_AT]) {
            fields.push_str(&format!("{taken} = \"text\"\n"));
        }
        assert_eq!(attributes(&fields, "").shape.fault(), None);
        for preset in Preset::ALL.map(|(name, _)| format!("preset = \"{name}\"")) {
            assert_eq!(attributes("", &preset).shape.fault(), None, "{preset}");
        }
    }

    #[test]
    fn a_field_with_a_name_that_is_taken_has_another_attribute() {
        let attributes = attributes("type = \"text\"\ntype_field = \"text\"\ntitle = \"text\"", "");
        assert_eq!(attributes.shape.fault(), None);
        let mut document = Document::new("1".to_owned(), 1);
        let fields = serde_json::json!({"type": "map", "type_field": "other", "title": "Pier"});
        attributes.take(fields.as_object().cloned().unwrap_or_default(), &mut document);
        assert_eq!(
            (&document.source["type_field_field"], &document.source["type_field"]),
            (&"map".into(), &"other".into())
        );
        assert_eq!(document.source["title"], "Pier");
    }

    #[test]
    fn a_literal_mapping_is_of_attributes_and_changes_the_index_alone() {
        let fields = "type = \"text\"\ntitle = \"text\"";
        let index = "[index.mapping.properties]\ntype = { type = \"keyword\" }\n";
        let (plain, literal) = (attributes(fields, "").shape, attributes(fields, index).shape);
        let of_literal = literal.literal.as_ref().map(|it| it.properties.keys().cloned().collect::<Vec<_>>());
        assert_eq!(of_literal.as_deref(), Some(&["type_field".to_owned()][..]));
        assert_eq!(literal.fault(), None);
        assert_eq!(*plain, IndexShape { literal: None, ..IndexShape::clone(&literal) });
        assert!(!json!(*plain).to_string().contains("literal"), "the fingerprint of others has changed");
    }
}
