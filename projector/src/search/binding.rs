//! What an index is bound to: one generation of one domain of one log. It is kept with the index.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{SearchError, shape::IndexShape};

/// Which index is meant, and what of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The id of the log.
    pub log_id: String,
    /// The domain.
    pub domain: String,
    /// The name of the index.
    pub index: String,
    /// The fingerprint of the generation.
    pub fingerprint: String,
    /// The shape of its documents.
    pub shape: Arc<IndexShape>,
}

/// A binding as it is kept with an index. Indexes of earlier versions lack some of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Bound {
    pub(super) log_id: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) generation: Option<String>,
    /// What shapes the index: its schema on the engine, and how rows and documents are made.
    pub(super) fingerprint: Option<String>,
}

impl Bound {
    /// What an index of a binding is bound to, on an engine where its schema has a fingerprint.
    pub(super) fn new(binding: &Binding, of_schema: &str) -> Self {
        let Binding { log_id, domain, index, fingerprint, .. } = binding;
        let mut hash = Sha256::new();
        hash.update(of_schema);
        hash.update([0]);
        hash.update(fingerprint);
        let fingerprint = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self {
            log_id: Some(log_id.clone()),
            domain: Some(domain.clone()),
            generation: Some(index.clone()),
            fingerprint: Some(fingerprint),
        }
    }

    /// Whether an index that is bound to `found` can be used as it is: if it is of another fingerprint, it is built anew.
    /// An index of another log, domain or generation is refused.
    pub(super) fn admits(&self, found: &Self, index: &str, remedy: &str) -> Result<bool, SearchError> {
        let owner = |bound: &Self| (bound.log_id.clone(), bound.domain.clone(), bound.generation.clone());
        if owner(found) == owner(self) {
            return Ok(found.fingerprint == self.fingerprint);
        }
        let owner = match found.log_id {
            None => "no log that it names: another program or an earlier version made it".to_owned(),
            Some(_) => found.describe(),
        };
        let reason = format!("{index} belongs to {owner}; this is {}; {remedy}", self.describe());
        Err(SearchError::Foreign(reason))
    }

    fn describe(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        format!("log {}, domain {}, generation {}", text(&self.log_id), text(&self.domain), text(&self.generation))
    }
}
