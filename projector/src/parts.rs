//! Fingerprints of the parts that shape a generation. They tell why a generation is to be rebuilt; the fingerprint of the
//! whole decides whether a program can work with one ([`crate::generation::fingerprint`]).

use sha2::{Digest, Sha256};

use crate::{
    generation,
    projection::Projection,
    search::{self, shape::IndexShape},
    tables::{SchemaDefinition, TablesError},
};

/// The names of the parts, in the order in which they are shown.
pub const NAMES: [&str; 4] = ["ddl", "mapping", "projector", "configuration"];

/// Fingerprints of parts, in the order of [`NAMES`].
pub type Fingerprints = [String; 4];

/// The parts of the generations that a projection builds, with an index of some shape or without one.
pub fn fingerprints(projection: &dyn Projection, shape: Option<&IndexShape>) -> Result<Fingerprints, TablesError> {
    let SchemaDefinition { ddl, plans } = generation::definition(projection)?;
    let scripts = ddl.iter().flat_map(|ddl| [ddl.postgres.as_bytes(), ddl.sqlite.as_bytes()]);
    let mapping = shape.map_or_else(|| "none".to_owned(), mapping);
    let topics = projection.topics();
    let topics = topics.iter().map(|topic| topic.name().as_bytes());
    let search: &[u8] = if shape.is_some() { b"search" } else { b"" };
    Ok([
        hash(scripts.chain([plans.digest().as_bytes()])),
        mapping,
        projection.version().to_string(),
        hash(topics.chain([search])),
    ])
}

/// The fingerprint of the documents' shape, and of what each engine makes of it.
pub fn mapping(shape: &IndexShape) -> String {
    let of_engines = [search::elasticsearch::definition(shape), search::tantivy::definition(shape)];
    let of_engines = of_engines.map(|it| it.to_string());
    let shape = serde_json::to_string(shape).unwrap_or_default();
    hash([shape.as_bytes(), of_engines[0].as_bytes(), of_engines[1].as_bytes()])
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
