//! A literal mapping: fields that only programs use which read the search server themselves. Daybook's own searches do not,
//! so both engines go on meaning the same.

use serde::Serialize;
use serde_json::{Map, Value};

/// Names of analysers that Daybook's own fields use, or that would take the place of theirs. No literal mapping may define
/// one of them.
pub const ANALYZERS_TAKEN: [&str; 3] = ["whitespace", "default_search", "default_search_quoted"];

/// The object of a document on Elasticsearch that holds the fields of a literal mapping.
pub const LITERAL_OBJECT: &str = "record";

/// Fields of documents with a mapping in the language of Elasticsearch. Only an index on Elasticsearch can have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiteralMapping {
    /// The mapping of each attribute.
    pub properties: Map<String, Value>,
    /// The analysers that these mappings name, besides those that the server has, and their parts.
    pub analysis: Map<String, Value>,
}
