//! Settings, mapping and documents of an index on Elasticsearch, made from the shape.
//!
//! Documents are kept newest first, as they are asked for most, so that such a search need not look at all of them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::search::{
    document::Document,
    inherited::Bounds,
    request::SortValue,
    shape::{Field, FieldId, FieldShape, IndexShape, Kind, LITERAL_OBJECT, LiteralMapping, Storage, Words},
    words,
};

/// Words of which neighbours are rarely asked for together.
const WORDS: Words = Words { everywhere: true, phrases: false, stems: false };

/// The name of a field's terms.
pub(super) fn terms_name(shape: &IndexShape, field: Field) -> String {
    match field {
        Field::Named(_) => format!("terms.{}", shape.name(field)),
        Field::Stems(Some(_)) => format!("stems_of.{}", shape.name(field)),
        field => shape.name(field).to_owned(),
    }
}

/// The name of a field's whole values.
pub(super) fn whole_name(shape: &IndexShape, field: Field) -> String {
    match field {
        Field::Named(_) => format!("whole.{}", shape.name(field)),
        Field::Inherited => "inherited_whole".to_owned(),
        field => shape.name(field).to_owned(),
    }
}

/// The name of the canonical compositions of a field's whole values; `None` if its values are compared as they are.
pub(super) fn composed_name(shape: &IndexShape, field: Field) -> Option<String> {
    let name = || match field {
        Field::Named(_) => format!("composed.{}", shape.name(field)),
        field => format!("{}_composed", shape.name(field)),
    };
    shape.is_composed(field).then(name)
}

/// The name of what a field is sorted by.
pub(super) fn sorted_name(shape: &IndexShape, field: FieldId) -> String {
    format!("sort.{}", shape.field(field).name)
}

/// The body that makes an index, without its aliases and the settings that can be changed later.
pub(super) fn index(shape: &IndexShape) -> Value {
    let (mut sorted, mut whole, mut composed, mut words) = (Map::new(), Map::new(), Map::new(), Map::new());
    let mut stems = Map::new();
    for (id, field) in shape.all() {
        if shape.is_composed(Field::Named(id)) {
            composed.insert(field.name.to_string(), searched_alone());
        }
        if field.sort {
            sorted.insert(
                field.name.to_string(),
                if field.kind == Kind::Integer { json!({"type": "long"}) } else { keyword() },
            );
        }
        if field.is_whole() {
            whole.insert(field.name.to_string(), keyword());
        }
        if let Some(searched) = field.words {
            words.insert(field.name.to_string(), text(searched));
            if searched.stems {
                stems.insert(field.name.to_string(), text(WORDS));
            }
        }
    }
    // Neighbouring words are terms of their own, and so are the beginnings of words: any word is asked for here.
    let mut everything = text(Words { phrases: true, ..WORDS });
    everything["index_prefixes"] = json!({"min_chars": 1, "max_chars": 3});
    let mut properties = json!({
        "key": {"type": "long", "index": false},
        "revision": {"type": "long", "index": false},
        "applied": {"type": "long"},
        "text": everything,
        "sort": {"properties": sorted},
        "whole": {"properties": whole},
        "composed": {"properties": composed},
        "terms": {"properties": words},
        "document": {"type": "object", "enabled": false},
    });
    if shape.stemming.is_some() {
        properties["stems"] = text(WORDS);
        properties["stems_of"] = json!({"properties": stems});
    }
    if shape.inheritance.is_some() {
        properties["inherited"] = text(WORDS);
        properties["inherited_whole"] = keyword();
        if shape.is_composed(Field::Inherited) {
            properties["inherited_composed"] = searched_alone();
        }
        properties["parent"] = keyword();
        properties["own_id"] = keyword();
    }
    let mut index = json!({
        "settings": {
            "number_of_shards": shape.storage.shards,
            "sort.field": [sorted_name(shape, shape.time_field), "key"],
            "sort.order": ["desc", "asc"],
            // Parents are read as one page.
            "max_result_window": Bounds::OF_SEARCHES.parents_max + 10_000,
        },
        "mappings": {
            "dynamic": "strict",
            "_source": {"includes": ["document"]},
            "properties": properties,
        },
    });
    if let Some(LiteralMapping { properties, analysis }) = &shape.literal {
        index["mappings"]["properties"][LITERAL_OBJECT] = json!({"dynamic": false, "properties": properties});
        index["settings"]["analysis"] = json!(analysis);
    }
    index
}

/// The settings that can be changed later.
pub(super) fn dynamic_settings(storage: &Storage) -> Value {
    let refresh = json!(format!("{}ms", storage.refresh.as_millis()));
    match storage.replicas {
        Some(replicas) => {
            json!({"refresh_interval": refresh, "auto_expand_replicas": false, "number_of_replicas": replicas})
        }
        None => json!({"refresh_interval": refresh, "auto_expand_replicas": "0-1"}),
    }
}

fn keyword() -> Value {
    json!({"type": "keyword"})
}

/// Whole values that are neither counted nor sorted by.
fn searched_alone() -> Value {
    let mut field = keyword();
    field["doc_values"] = json!(false);
    field
}

fn text(words: Words) -> Value {
    let mut text = json!({"type": "text", "analyzer": "whitespace"});
    if words.phrases {
        text["index_phrases"] = json!(true);
    }
    text
}

/// What shapes an index.
pub(super) fn fingerprint(shape: &IndexShape) -> String {
    let mut hash = Sha256::new();
    hash.update(words::VERSION.to_be_bytes());
    hash.update(index(shape).to_string());
    hash.update(serde_json::to_string(shape).unwrap_or_default());
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// A document as it is indexed.
#[derive(Serialize)]
pub(super) struct Source<'a> {
    key: i64,
    revision: i64,
    applied: i64,
    text: Vec<String>,
    sort: BTreeMap<&'a str, SortValue>,
    whole: BTreeMap<&'a str, Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    composed: BTreeMap<&'a str, Vec<String>>,
    terms: BTreeMap<&'a str, Vec<String>>,
    #[serde(flatten)]
    stems: Option<OfStems<'a>>,
    #[serde(flatten)]
    inheritance: Option<OfInheritance<'a>>,
    /// What a literal mapping indexes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    record: BTreeMap<&'a str, &'a Value>,
    document: &'a Document,
}

/// What is indexed where the shape has stems.
#[derive(Serialize)]
struct OfStems<'a> {
    stems: Vec<String>,
    stems_of: BTreeMap<&'a str, Vec<String>>,
}

/// What is indexed where the shape has an inheritance.
#[derive(Serialize)]
struct OfInheritance<'a> {
    inherited: Vec<String>,
    inherited_whole: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherited_composed: Vec<String>,
    parent: Vec<Cow<'a, str>>,
    own_id: Vec<Cow<'a, str>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(shape: &'a IndexShape, document: &'a Document) -> Self {
        let compositions = |field: Field| match shape.is_composed(field) {
            true => shape.compositions(document, field),
            false => Vec::new(),
        };
        let mut source = Self {
            key: document.key(),
            revision: document.revision,
            applied: document.applied,
            text: shape.terms(document, Field::Text),
            sort: BTreeMap::new(),
            whole: BTreeMap::new(),
            composed: BTreeMap::new(),
            terms: BTreeMap::new(),
            stems: shape.stemming.is_some().then(|| OfStems::new(shape, document)),
            inheritance: shape.inheritance.is_some().then(|| OfInheritance {
                inherited: shape.terms(document, Field::Inherited),
                inherited_whole: shape.whole(document, Field::Inherited),
                inherited_composed: compositions(Field::Inherited),
                parent: shape.values(document, Field::Parent),
                own_id: shape.values(document, Field::OwnId),
            }),
            record: literal_values(shape, document),
            document,
        };
        for (id, field) in shape.all() {
            if field.sort {
                source.sort.insert(&field.name, SortValue::of(shape, document, id));
            }
            if field.is_whole() {
                source.whole.insert(&field.name, shape.whole(document, Field::Named(id)));
            }
            let composed = compositions(Field::Named(id));
            if !composed.is_empty() {
                source.composed.insert(&field.name, composed);
            }
            if field.words.is_some() {
                source.terms.insert(&field.name, shape.terms(document, Field::Named(id)));
            }
        }
        source
    }
}

/// The attributes of a document that a literal mapping names, as they are.
fn literal_values<'a>(shape: &'a IndexShape, document: &'a Document) -> BTreeMap<&'a str, &'a Value> {
    let named = shape.literal.iter().flat_map(|literal| literal.properties.keys());
    named.filter_map(|name| Some((name.as_str(), document.source.get(name)?))).collect()
}

impl<'a> OfStems<'a> {
    fn new(shape: &'a IndexShape, document: &Document) -> Self {
        let stemmed = shape.all().filter(|(_, field)| field.words.is_some_and(|words| words.stems));
        let of_field =
            |(id, field): (FieldId, &'a FieldShape)| (&*field.name, shape.terms(document, Field::Stems(Some(id))));
        Self { stems: shape.terms(document, Field::Stems(None)), stems_of: stemmed.map(of_field).collect() }
    }
}
