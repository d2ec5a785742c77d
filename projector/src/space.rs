//! Room on disks: what tables and indexes take, and what is free beside them.

use std::{fs, path::Path};

/// What something takes on a disk, and what is free there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that it takes; 0 if it is not there.
    pub used: u64,
    /// Bytes that are free beside it; `None` if the engine does not tell.
    pub free: Option<u64>,
}

/// Bytes that are free to this process on the disk of a folder, or of the nearest folder above it that is there.
pub(crate) fn free(folder: &Path) -> Option<u64> {
    let found = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of the files in a folder, and in the folders below it, whose names are wanted. A file that goes meanwhile counts
/// nothing.
pub(crate) fn of_files(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => of_files(&entry.path(), is_wanted),
        Ok(metadata) if is_wanted(&entry.file_name().to_string_lossy()) => metadata.len(),
        _ => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_are_added_up_and_the_disk_has_room() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let own = fs::metadata(source.join("space.rs")).map_or(0, |metadata| metadata.len());
        assert_eq!(of_files(&source, &|name| name == "space.rs"), own);
        assert!(of_files(&source, &|_| true) > own && own > 0);
        assert_eq!(of_files(&source.join("nothing"), &|_| true), 0);
        assert!(free(&source.join("nothing")).is_some_and(|bytes| bytes > 0));
    }
}
