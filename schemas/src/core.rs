//! The one event that belongs to no domain: the first record of each topic, which holds the log's id.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{events, registry::SchemaSet, schema_files};

/// Schema ids of the core: 1 to 99.
static SCHEMAS: LazyLock<SchemaSet> =
    LazyLock::new(|| SchemaSet::new("core", 1..100, &[schema_files!("avro/core/v1": "log-created")]));

events! {
    /// Events of the log itself.
    pub enum CoreEvent of SCHEMAS {
        /// A topic was created as a part of a log.
        LogCreated = "io.daybook.core.LogCreated",
    }
}

/// A topic was created as a part of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogCreated {
    /// The log's id, a UUID.
    pub log_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check_released;

    #[test]
    fn released_schemas_never_change() {
        assert_eq!(check_released(&SCHEMAS, &[(1, 1, "ecf4f3c6c34d4a66")]), Ok(()));
    }
}
