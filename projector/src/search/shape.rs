//! The shape of an index, as data: which fields its documents have, and what each of them serves.
//!
//! A projection gives the shape of its documents. The query language, the request's checks, highlights, both engines'
//! schemas and the fingerprint of an index are made from it, so that none of them names a field.
//!
//! Invariant: a shape has one field with the type of a document and one with the time at which it was registered. The
//! newest document comes first where nothing else is asked for.

mod field;
mod literal;

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use serde_json::Value;

pub use self::{
    field::{FieldShape, Filter, Kind, Words},
    literal::{ANALYZERS_TAKEN, LITERAL_OBJECT, LiteralMapping},
};
use super::{
    document::{Document, cut},
    query::Expression,
    words::{
        canonical::{WHOLE_BYTES_MAX, comparable},
        english::English,
        terms,
    },
};

/// A name that is either fixed in the program or made at run time.
pub type Name = Cow<'static, str>;

/// The name of all fields together in queries. No field of a shape may have it.
pub const TEXT: &str = "text";
/// The name of the order by how well documents fit. No field of a shape may have it.
pub const RELEVANCE: &str = "relevance";

/// The number of a document's rank that doubles its relevance, and the highest.
pub const RANK_MAX: i64 = 100;

/// Names that parameters of searches have. No field of a shape may have one of them.
pub const NAMES_TAKEN: [&str; 10] =
    [TEXT, RELEVANCE, "q", "from", "to", "sort", "limit", "cursor", "facets", "facet_limit"];

/// Which fields the documents of an index have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexShape {
    /// Raised when documents are made differently from the same rows.
    pub version: u32,
    /// The fields, in the order in which highlights show them.
    pub fields: Vec<FieldShape>,
    /// The field with the type.
    pub type_field: FieldId,
    /// The field with the time, in milliseconds since 1970.
    pub time_field: FieldId,
    /// The path of a document's entity: segments with the attribute that follows each. A segment is left out if the
    /// document does not have the attribute.
    pub path: Vec<(Name, Name)>,
    /// What documents have from their parents.
    pub inheritance: Option<Inheritance>,
    /// How words become stems, in the fields that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stemming: Option<English>,
    /// A field with a number of 0 to [`RANK_MAX`] by which relevance grows, to twice as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<FieldId>,
    /// How an index is stored where a search server stores it.
    #[serde(skip_serializing_if = "Storage::is_default")]
    pub storage: Storage,
    /// Further fields that Elasticsearch indexes. Another engine refuses such an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<LiteralMapping>,
    /// Whether there are documents of entities that are hidden. These have no type, and searches leave them out.
    pub has_hidden: bool,
}

/// How a search server stores an index. The embedded index has one shard, and is refreshed as documents come. What can be
/// changed without building the index again does not shape it: it counts for the next one that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// Parts of it.
    pub shards: u64,
    /// Copies of each part; `None` for one where there are two servers.
    #[serde(skip)]
    pub replicas: Option<u64>,
    /// How often it shows new documents.
    #[serde(skip)]
    pub refresh: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self { shards: 1, replicas: None, refresh: Duration::from_secs(1) }
    }
}

impl Storage {
    fn is_default(&self) -> bool {
        self.shards == Self::default().shards
    }
}

/// A field of a shape, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FieldId(pub usize);

/// Values that documents, the children, inherit from others, their parents. They are looked up with each search, so that
/// a change of them rewrites one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inheritance {
    /// The field whose values children inherit.
    pub field: FieldId,
    /// The type of parents.
    pub parent: Name,
    /// The types of children.
    pub children: Vec<Name>,
    /// The attribute of a parent with the values that its children have from it and do not carry themselves. Not shown.
    pub attribute: Name,
    /// The attribute of a parent that its children show as their own.
    pub shown: Name,
    /// Fields in which a parent and its children are alike, so that a filter by one of them holds for both.
    pub common: Vec<FieldId>,
}

/// Where something is searched, filtered or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// All fields whose words are searched everywhere.
    Text,
    /// A field of the shape.
    Named(FieldId),
    /// The stems of a field of the shape; of all fields that have stems and are searched everywhere, without one.
    Stems(Option<FieldId>),
    /// What a parent's children inherit; on parents.
    Inherited,
    /// The id of the parent; on children.
    Parent,
    /// The document's own id; on parents.
    OwnId,
}

impl IndexShape {
    /// A field.
    ///
    /// # Panics
    /// If the id is that of another shape, which is a bug.
    pub fn field(&self, id: FieldId) -> &FieldShape {
        &self.fields[id.0]
    }

    /// All fields.
    pub fn all(&self) -> impl Iterator<Item = (FieldId, &FieldShape)> {
        self.fields.iter().enumerate().map(|(index, field)| (FieldId(index), field))
    }

    /// The field of a name, whatever its case, if it serves what `serves` asks for.
    pub fn find(&self, name: &str, serves: impl Fn(&FieldShape) -> bool) -> Option<FieldId> {
        self.all().find(|(_, field)| field.name.eq_ignore_ascii_case(name) && serves(field)).map(|(id, _)| id)
    }

    /// The name that queries and answers give a field.
    pub fn name(&self, field: Field) -> &str {
        match field {
            Field::Text => TEXT,
            Field::Named(id) | Field::Stems(Some(id)) => &self.field(id).name,
            Field::Stems(None) => "stems",
            // Nobody asks for these by name.
            Field::Inherited => "inherited",
            Field::Parent => "parent",
            Field::OwnId => "own_id",
        }
    }

    /// The values that a document has in a field.
    pub fn values<'a>(&self, document: &'a Document, field: Field) -> Vec<Cow<'a, str>> {
        match field {
            Field::Text => {
                let searched = self.all().filter(|(_, field)| field.words.is_some_and(|words| words.everywhere));
                searched.flat_map(|(id, _)| self.values(document, Field::Named(id))).collect()
            }
            Field::Stems(None) => {
                let stemmed = self.all().filter(|(_, field)| field.words.is_some_and(Words::are_stemmed_everywhere));
                stemmed.flat_map(|(id, _)| self.values(document, Field::Named(id))).collect()
            }
            Field::Named(id) | Field::Stems(Some(id)) => document.values(&self.field(id).attributes),
            Field::Inherited => match &self.inheritance {
                Some(inheritance) => document.values(std::slice::from_ref(&inheritance.attribute)),
                None => Vec::new(),
            },
            Field::Parent => document.parent.iter().map(|parent| Cow::Borrowed(parent.as_str())).collect(),
            Field::OwnId => match &self.inheritance {
                Some(inheritance) if self.type_of(document) == Some(&*inheritance.parent) => {
                    vec![(&*document.id).into()]
                }
                _ => Vec::new(),
            },
        }
    }

    /// The terms of a document in a field: for each value, those that engines index, separated by spaces.
    pub fn terms(&self, document: &Document, field: Field) -> Vec<String> {
        let of_value = |text: Cow<'_, str>| match (field, &self.stemming) {
            (Field::Stems(_), Some(english)) => english.stems(&text).join(" "),
            _ => terms(&text),
        };
        self.values(document, field).into_iter().map(of_value).collect()
    }

    /// The fields whose words are searched, and those of their stems.
    pub fn searched(&self) -> Vec<Field> {
        let mut searched = vec![Field::Text];
        for (id, field) in self.all() {
            let Some(words) = field.words else { continue };
            searched.push(Field::Named(id));
            searched.extend(words.stems.then_some(Field::Stems(Some(id))));
        }
        searched.extend(self.stems_of(Field::Text));
        searched.extend(self.inheritance.is_some().then_some(Field::Inherited));
        searched
    }

    /// The stems of a field; `None` if it has none.
    pub fn stems_of(&self, field: Field) -> Option<Field> {
        match field {
            Field::Text => {
                let mut words = self.fields.iter().filter_map(|field| field.words);
                words.any(Words::are_stemmed_everywhere).then_some(Field::Stems(None))
            }
            Field::Named(id) => self.field(id).words.is_some_and(|words| words.stems).then_some(Field::Stems(Some(id))),
            _ => None,
        }
    }

    /// The whole values of a document in a field, as far as they are kept.
    pub fn whole<'a>(&self, document: &'a Document, field: Field) -> Vec<Cow<'a, str>> {
        let kept = |value: Cow<'a, str>| match value {
            Cow::Borrowed(text) => Cow::Borrowed(cut(text, WHOLE_BYTES_MAX)),
            number => number,
        };
        self.values(document, field).into_iter().map(kept).collect()
    }

    /// Whether values of a field are compared in canonical composition: those that people write, and not ids.
    pub fn is_composed(&self, field: Field) -> bool {
        match field {
            Field::Named(id) => self.field(id).filter.is_some() && self.field(id).allowed.is_empty(),
            Field::Inherited => self.inheritance.as_ref().is_some_and(|it| self.is_composed(Field::Named(it.field))),
            Field::Text | Field::Stems(_) | Field::Parent | Field::OwnId => false,
        }
    }

    /// The canonical compositions of a document's values in a field, where these are other texts than the values. Few
    /// values are.
    pub fn compositions(&self, document: &Document, field: Field) -> Vec<String> {
        let values = self.values(document, field);
        let other = |value: &Cow<'_, str>| match comparable(value) {
            Cow::Borrowed(_) => None,
            Cow::Owned(composed) => Some(composed),
        };
        values.iter().filter_map(other).collect()
    }

    /// The condition that documents are not hidden; `None` if none can be.
    pub fn visible(&self) -> Option<Expression> {
        let types = &self.field(self.type_field).allowed;
        self.has_hidden.then(|| Expression::value(Field::Named(self.type_field), types.iter().map(|name| &**name)))
    }

    /// The number that a document has in a field; the first, if there are several, and 0 if there is none.
    pub fn number(&self, document: &Document, id: FieldId) -> i64 {
        let mut values = self.field(id).attributes.iter().filter_map(|name| document.source.get(&**name));
        values.find_map(Value::as_i64).unwrap_or(0)
    }

    /// A document's type.
    pub fn type_of<'a>(&self, document: &'a Document) -> Option<&'a str> {
        let mut values = self.field(self.type_field).attributes.iter().filter_map(|name| document.source.get(&**name));
        values.find_map(Value::as_str)
    }

    /// Whether hits show an attribute.
    pub fn shows(&self, attribute: &str) -> bool {
        let hidden = |field: &FieldShape| !field.shown && field.attributes.iter().any(|name| name == attribute);
        let inherited = self.inheritance.as_ref().is_some_and(|inheritance| inheritance.attribute == attribute);
        !inherited && !self.fields.iter().any(hidden)
    }

    /// What is wrong with the shape; `None` for a good one.
    pub fn fault(&self) -> Option<String> {
        for (index, field) in self.fields.iter().enumerate() {
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if field.name.is_empty() || !field.name.chars().all(legal) {
                return Some(format!("{:?} is not a name of a field: lower-case letters, digits and _", field.name));
            }
            if NAMES_TAKEN.contains(&&*field.name) || self.fields[..index].iter().any(|other| other.name == field.name)
            {
                return Some(format!("the name {:?} is taken", field.name));
            }
            if field.kind == Kind::Integer && field.is_whole() {
                return Some(format!("numbers are not counted or filtered one by one: {:?}", field.name));
            }
        }
        let time = self.fields.get(self.time_field.0);
        if time.is_none_or(|field| field.kind != Kind::Integer || !field.sort) {
            return Some("the time is a number by which hits can be sorted".to_owned());
        }
        let whole = |id: FieldId| self.fields.get(id.0).is_some_and(FieldShape::is_whole);
        if !whole(self.type_field) {
            return Some("documents are filtered or counted by their type".to_owned());
        }
        if self.has_hidden && self.field(self.type_field).allowed.is_empty() {
            return Some("where documents are hidden, the types of the others are known".to_owned());
        }
        let has_stems = self.fields.iter().any(|field| field.words.is_some_and(|words| words.stems));
        if has_stems != self.stemming.is_some() {
            return Some("fields have stems where it is known how words become stems".to_owned());
        }
        if self.rank.is_some_and(|id| self.fields.get(id.0).is_none_or(|it| it.kind != Kind::Integer || !it.sort)) {
            return Some("the rank is a number by which hits can be sorted".to_owned());
        }
        let inherited = self.inheritance.as_ref();
        if inherited.is_some_and(|it| !whole(it.field) || !it.common.iter().all(|id| whole(*id))) {
            return Some("what is inherited, and what both have, is filtered or counted".to_owned());
        }
        if inherited.is_some_and(|it| self.stems_of(Field::Named(it.field)).is_some()) {
            return Some("what is inherited has no stems".to_owned());
        }
        None
    }
}

#[cfg(test)]
pub(super) mod example {
    //! A shape for the tests of this folder.

    use super::*;

    /// A library: what it has inherits the tags of its shelf.
    pub(crate) fn library() -> IndexShape {
        IndexShape {
            version: 1,
            fields: vec![
                FieldShape::text("kind").own_words().facet().filter(Filter::AnyOf).allowed(&["shelf", "book"]),
                FieldShape::text("title").words().phrases(),
                FieldShape::text("author").words().facet().filter(Filter::AnyOf).sort(),
                FieldShape::text("tag").of(&["tags"]).words().facet().filter(Filter::AllOf),
                FieldShape::text("notes").words().hidden(),
                FieldShape::integer("pages").sort(),
                FieldShape::integer("added").sort(),
            ],
            type_field: FieldId(0),
            time_field: FieldId(6),
            path: vec![("titles".into(), "title".into())],
            inheritance: Some(Inheritance {
                field: FieldId(3),
                parent: "shelf".into(),
                children: vec!["book".into()],
                attribute: "own_tags".into(),
                shown: "tags".into(),
                common: vec![],
            }),
            stemming: None,
            rank: None,
            storage: Storage::default(),
            literal: None,
            has_hidden: false,
        }
    }

    #[test]
    fn a_shape_is_checked() {
        assert_eq!(library().fault(), None);
        let mut twice = library();
        twice.fields[1].name = "kind".into();
        assert!(twice.fault().is_some_and(|fault| fault.contains("taken")));
        let mut timeless = library();
        timeless.time_field = FieldId(1);
        assert!(timeless.fault().is_some());
        let mut upper = library();
        upper.fields[1].name = "Title".into();
        assert!(upper.fault().is_some());
    }

    #[test]
    fn long_values_are_cut_alike_in_each_form() {
        let (shape, tag) = (library(), Field::Named(FieldId(3)));
        let mut book = Document::new("book/1".to_owned(), 1);
        let composed = "é".repeat(WHOLE_BYTES_MAX);
        let decomposed = "e\u{301}".repeat(WHOLE_BYTES_MAX);
        book.set("tags", serde_json::json!([composed, decomposed, "short"]));
        let whole = shape.whole(&book, tag);
        assert_eq!(whole, [&composed[..WHOLE_BYTES_MAX], &decomposed[..WHOLE_BYTES_MAX], "short"]);
        assert_eq!(shape.compositions(&book, tag), [&composed[..WHOLE_BYTES_MAX]]);
        assert_eq!(comparable(&decomposed), comparable(&composed));
    }

    #[test]
    fn values_are_those_of_the_attributes() {
        let mut shelf = Document::new("shelf/1".to_owned(), 1);
        shelf.set("kind", "shelf");
        shelf.set("tags", serde_json::json!(["a", "b"]));
        shelf.set("own_tags", serde_json::json!(["b"]));
        let (shape, tag) = (library(), Field::Named(FieldId(3)));
        assert_eq!(shape.values(&shelf, tag), ["a", "b"]);
        assert_eq!(shape.values(&shelf, Field::Inherited), ["b"]);
        assert_eq!(shape.values(&shelf, Field::OwnId), ["shelf/1"]);
        assert_eq!(shape.values(&shelf, Field::Text), ["a", "b"], "the type is not searched everywhere");
        assert!(shape.shows("tags") && !shape.shows("own_tags") && !shape.shows("notes"));
    }
}
