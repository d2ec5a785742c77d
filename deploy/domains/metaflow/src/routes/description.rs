//! The fields that clients send with every registration.

use daybook_query_api::{error::ApiError, json::Object};
use serde_json::Value;

use crate::decisions::{Description, heartbeat};

/// Reads the fields that the bodies of all registrations share.
pub(super) fn description(object: &Object<'_>) -> Result<Description, ApiError> {
    Ok(Description {
        user_name: object.text("user_name")?,
        tags: object.texts_of_any("tags")?.unwrap_or_default(),
        system_tags: object.texts_of_any("system_tags")?.unwrap_or_default(),
        heartbeat: heartbeat::capable(version_tags(object.value("system_tags")?).as_deref()),
    })
}

/// The system tags among which Metaflow's service looks for the client's version; `None` where it fails to look.
fn version_tags(system_tags: Option<Value>) -> Option<Vec<String>> {
    match system_tags? {
        Value::Array(items) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::Object(fields) => Some(fields.into_iter().map(|(name, _)| name).collect()),
        // It looks at the letters, one by one.
        Value::String(_) => Some(Vec::new()),
        _ => None,
    }
}
