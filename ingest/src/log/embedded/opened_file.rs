//! Whether the file at a path is still the one that was opened. While a process has the log open, somebody may delete it,
//! or put a backup in its place: what is written to the open file is then lost with the process.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A file that was opened, by its path and its place on the disk.
pub(super) struct OpenedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenedFile {
    /// The file that is at a path now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    /// Where it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails with the reason if another file, or none, is there now.
    pub(super) fn check(&self) -> Result<(), String> {
        let path = self.path.display();
        match Self::at(&self.path) {
            Ok(found) if (found.device, found.inode) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(format!("{path} was replaced while this process had it open; restart the process")),
            Err(error) => Err(format!("{path} cannot be found any more ({error}); restore it and restart the process")),
        }
    }
}
