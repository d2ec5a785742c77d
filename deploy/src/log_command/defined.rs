//! The topics of domains that the events of other domains define.

use anyhow::Result;
use daybook_schemas::{Topic, generic::SchemaSets, position::Vector};

use super::{LIMITS, Source};
use crate::domains::Domain;

/// Reads the topics that define others to their end, and returns those that are defined.
pub(super) fn topics(source: &Source, schemas: &SchemaSets, domains: &[Domain]) -> Result<Vec<Topic>> {
    let mut found = Vec::new();
    for (domain, defines) in domains.iter().filter_map(|domain| Some((domain, domain.defines?))) {
        let mut end = source.end()?;
        end.0.retain(|partition, _| domain.topics.contains(&partition.topic));
        let mut next = Vector(end.0.keys().map(|partition| (*partition, 0)).collect());
        let mut reader = source.reader(&next)?;
        while !next.reaches(&end) {
            for record in reader.read(LIMITS)? {
                let Ok(decoded) = schemas.decode(&record.value) else { continue };
                let event = serde_json::from_str(&decoded.event).unwrap_or_default();
                if let Some(topic) = (defines.topic)(&decoded.kind, &event).filter(|topic| !found.contains(topic)) {
                    found.push(topic);
                }
            }
            next = reader.reached();
        }
    }
    Ok(found)
}
