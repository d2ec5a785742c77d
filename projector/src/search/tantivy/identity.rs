//! The folder of an index: what it is bound to, making and removing it.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use tantivy::Index;

use super::{failed, schema::Fields};
use crate::search::{
    SearchError,
    binding::{Binding, Bound},
};

/// The file with the identity of a directory's index.
pub(super) const IDENTITY: &str = "daybook.json";

/// What the file beside an index says of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) bound: Bound,
}

/// What a file with an identity says; `None` if there is none, or none that can be read.
pub(super) fn identity(folder: &Path) -> Option<Identity> {
    serde_json::from_slice(&fs::read(folder.join(IDENTITY)).ok()?).ok()
}

pub(super) fn bound(binding: &Binding, fields: &Fields) -> Bound {
    Bound::new(binding, &fields.fingerprint(&binding.shape))
}

/// The id of a folder's index, if it can be used as it is.
pub(super) fn usable(folder: &Path, bound: &Bound) -> Result<Option<String>, SearchError> {
    // The folder is in the data directory, which only Daybook writes to: what names no log is of an earlier version.
    let Some(found) = identity(folder).filter(|found| found.bound.log_id.is_some()) else { return Ok(None) };
    let remedy = "use the data directory of that log, or delete this folder while Daybook is stopped: it is built anew";
    let is_usable = bound.admits(&found.bound, &format!("the folder {}", folder.display()), remedy)?;
    Ok(is_usable.then_some(found.id))
}

/// Makes an empty index. The file with its identity comes before it is used, and is removed first, so that a half-made
/// one is made again.
pub(super) fn make(folder: &Path, fields: &Fields, bound: Bound) -> Result<(String, Index), SearchError> {
    let unavailable = |error: io::Error| SearchError::Unavailable(format!("cannot make {}: {error}", folder.display()));
    remove(folder)?;
    fs::create_dir_all(folder).map_err(unavailable)?;
    let index = Index::create_in_dir(folder, fields.schema.clone()).map_err(failed)?;
    let identity = Identity { id: uuid::Uuid::now_v7().to_string(), bound };
    fs::write(folder.join(IDENTITY), serde_json::to_vec(&identity).unwrap_or_default()).map_err(unavailable)?;
    tracing::info!(folder = %folder.display(), "search index made in {}", folder.display());
    Ok((identity.id, index))
}

/// Removes a folder with its index, if it is there.
pub(super) fn remove(folder: &Path) -> Result<(), SearchError> {
    let removed = fs::remove_file(folder.join(IDENTITY)).and_then(|()| fs::remove_dir_all(folder));
    let removed = match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.exists() => fs::remove_dir_all(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    removed.map_err(|error| SearchError::Unavailable(format!("cannot remove {}: {error}", folder.display())))
}
