//! The link by which others find the directory of a domain's live index.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::search::SearchError;

/// Makes `<domain>-live` in `folder` lead to the directory `index`, in one step.
pub(super) fn point(folder: &Path, domain: &str, index: &str) -> Result<(), SearchError> {
    let link = folder.join(format!("{domain}-live"));
    let failed = |error: io::Error| SearchError::Unavailable(format!("cannot make {}: {error}", link.display()));
    match fs::symlink_metadata(&link) {
        Ok(found) if !found.is_symlink() => {
            return Err(SearchError::Foreign(format!("{} is no link of this installation", link.display())));
        }
        Ok(_) if fs::read_link(&link).is_ok_and(|target| target == Path::new(index)) => return Ok(()),
        _ => {}
    }
    let next: PathBuf = folder.join(format!("{domain}-live.next"));
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    symlink(index, &next).map_err(failed)?;
    fs::rename(&next, &link).map_err(failed)
}
