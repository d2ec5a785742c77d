//! Whether the files of a database are still those that were opened. While a process has them open, somebody may delete
//! one, or put a backup in its place: what is written to the open file is then lost with the process.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::wal;

/// A database and its write-ahead log, which SQLite keeps as long as a connection is open.
pub struct OpenedFiles {
    database: OpenedFile,
    wal: OpenedFile,
}

/// A file that was opened, by its path and its place on the disk.
struct OpenedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenedFiles {
    /// The files of the database at a path, which a connection has open and has read.
    pub fn at(database: &Path) -> io::Result<Self> {
        Ok(Self { database: OpenedFile::at(database)?, wal: OpenedFile::at(&wal::file_of(database))? })
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.database.path
    }

    /// Fails with the reason if another file, or none, is in the place of one of them now.
    pub fn check(&self) -> Result<(), String> {
        self.database.check().and_then(|()| self.wal.check())
    }
}

impl OpenedFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn check(&self) -> Result<(), String> {
        let path = self.path.display();
        match Self::at(&self.path) {
            Ok(found) if (found.device, found.inode) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(format!("{path} was replaced while this process had it open; restart the process")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{path} cannot be found any more; restore it and restart the process"))
            }
            // Such as too many open files: it says nothing of this file.
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_file_that_is_missing_or_another_is_noticed() {
        for (name, replaced) in [("x.db", false), ("x.db", true), ("x.db-wal", false), ("x.db-wal", true)] {
            let folder = std::env::temp_dir().join(format!("daybook-opened-{}", std::process::id()));
            let run = || -> Result<(), Box<dyn std::error::Error>> {
                fs::create_dir_all(&folder)?;
                let connection = Connection::open(folder.join("x.db"))?;
                connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")?;
                let files = OpenedFiles::at(&folder.join("x.db"))?;
                connection.execute_batch("INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE)")?;
                assert_eq!(files.check(), Ok(()));
                if replaced {
                    fs::write(folder.join("other"), "")?;
                    fs::rename(folder.join("other"), folder.join(name))?;
                } else {
                    fs::remove_file(folder.join(name))?;
                }
                let expected = format!("{name} {}", if replaced { "was replaced" } else { "cannot be found" });
                assert!(files.check().is_err_and(|reason| reason.contains(&expected)), "{expected}");
                drop(connection);
                Ok(fs::remove_dir_all(&folder)?)
            };
            run().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
