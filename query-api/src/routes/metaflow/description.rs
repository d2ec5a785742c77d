//! The fields that clients send with every registration.

use daybook_ingest::metaflow::Description;

use crate::{error::ApiError, json::Object};

/// Reads the fields that the bodies of all registrations share.
pub(super) fn description(object: &Object<'_>) -> Result<Description, ApiError> {
    Ok(Description {
        user_name: object.text("user_name")?,
        tags: object.texts("tags")?.unwrap_or_default(),
        system_tags: object.texts("system_tags")?,
    })
}
