//! A field of a shape, and what it serves.

use serde::Serialize;

use super::Name;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// Texts.
    Text,
    /// Whole numbers.
    Integer,
}

/// How words of a field are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Words {
    /// Whether words that name no field are looked for here, too.
    pub everywhere: bool,
    /// Whether neighbouring words are often asked for together; an engine may prepare for that.
    pub phrases: bool,
    /// Whether words with the same stem are found, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stems: bool,
}

/// What an exact filter on several values means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Filter {
    /// A document has one of them.
    AnyOf,
    /// A document has all of them.
    AllOf,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldShape {
    /// Its name, in queries and parameters.
    pub name: Name,
    /// What it holds.
    pub kind: Kind,
    /// The attributes of a document whose values it has, in this order.
    pub attributes: Vec<Name>,
    /// How its words are searched; `None` if they are not.
    pub words: Option<Words>,
    /// Whether documents are counted by its values.
    pub facet: bool,
    /// Whether and how documents are filtered by its values.
    pub filter: Option<Filter>,
    /// Whether hits can be sorted by it.
    pub sort: bool,
    /// The only values that it can have; empty if there are no such.
    pub allowed: Vec<Name>,
    /// Whether hits show its attributes; highlights show its words all the same.
    pub shown: bool,
}

impl Words {
    /// Whether words that name no field are looked for by their stems here, too.
    pub(super) const fn are_stemmed_everywhere(self) -> bool {
        self.everywhere && self.stems
    }
}

impl FieldShape {
    /// A field of texts that is found in the attribute of its own name, and serves nothing yet.
    pub fn text(name: impl Into<Name>) -> Self {
        let name = name.into();
        Self {
            attributes: vec![name.clone()],
            name,
            kind: Kind::Text,
            words: None,
            facet: false,
            filter: None,
            sort: false,
            allowed: Vec::new(),
            shown: true,
        }
    }

    /// The same of whole numbers.
    pub fn integer(name: impl Into<Name>) -> Self {
        Self { kind: Kind::Integer, ..Self::text(name) }
    }

    /// With the values of these attributes instead.
    #[must_use]
    pub fn of(self, attributes: &[&'static str]) -> Self {
        Self { attributes: attributes.iter().map(|name| Name::Borrowed(*name)).collect(), ..self }
    }

    /// Searched by its words, also by those that name no field.
    #[must_use]
    pub fn words(self) -> Self {
        Self { words: Some(Words { everywhere: true, phrases: false, stems: false }), ..self }
    }

    /// Searched by its words where they name it.
    #[must_use]
    pub fn own_words(self) -> Self {
        Self { words: Some(Words { everywhere: false, phrases: false, stems: false }), ..self }
    }

    /// Searched by neighbouring words, too.
    #[must_use]
    pub fn phrases(self) -> Self {
        Self { words: self.words.map(|words| Words { phrases: true, ..words }), ..self }
    }

    /// Searched by the stems of its words, too.
    #[must_use]
    pub fn stems(self) -> Self {
        Self { words: self.words.map(|words| Words { stems: true, ..words }), ..self }
    }

    /// Counted.
    #[must_use]
    pub fn facet(self) -> Self {
        Self { facet: true, ..self }
    }

    /// Filtered.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Sorted by.
    #[must_use]
    pub fn sort(self) -> Self {
        Self { sort: true, ..self }
    }

    /// With these values alone.
    #[must_use]
    pub fn allowed(self, values: &[&'static str]) -> Self {
        Self { allowed: values.iter().map(|value| Name::Borrowed(*value)).collect(), ..self }
    }

    /// Not shown by hits.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { shown: false, ..self }
    }

    /// Whether its whole values are kept, and not its words alone.
    pub const fn is_whole(&self) -> bool {
        self.facet || self.filter.is_some()
    }
}
