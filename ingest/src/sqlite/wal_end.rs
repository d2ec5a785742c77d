//! Whether the write-ahead log (WAL) of a database holds what a writer has committed. Somebody may write to the file in
//! its place: copy a backup over it, or truncate it. SQLite does not notice that while it has the file open, and the
//! next process cannot read what follows.
//!
//! The format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>. A header, and frames with a page each.
//! The salts of the header are those of each of its frames, and change when SQLite begins at the first frame again. The
//! checksum of a frame covers all frames before it.
//!
//! Other processes may checkpoint the log, truncate it as they do so, or append to it: none of that is a fault.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::wal;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The first bytes of a header; the next one says the order of bytes in checksums.
const MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];

/// The end of a WAL after the last commit of its only writer.
pub struct WalEnd {
    path: PathBuf,
    /// `None` if nothing was committed since it was opened or emptied.
    seen: Option<Seen>,
}

struct Seen {
    header: [u8; HEADER_BYTES],
    pages: u64,
    /// The header of the last frame.
    frame: [u8; FRAME_HEADER_BYTES],
}

impl WalEnd {
    /// For the database at a path, before a commit.
    pub fn new(database: &Path) -> Self {
        Self { path: wal::file_of(database), seen: None }
    }

    /// Fails with the reason unless the WAL holds the last commit, after which it has this many pages, and those
    /// before.
    pub fn check(&mut self, pages: u64) -> Result<(), String> {
        let is_whole = self.look(pages);
        let path = self.path.display();
        match is_whole {
            Ok(true) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{path} cannot be found any more; restore it and restart the process"))
            }
            // Such as too many open files: it says nothing of this file.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Ok(()),
            Ok(false) | Err(_) => {
                Err(format!("{path} was overwritten or cut while this process had it open; restart the process"))
            }
        }
    }

    fn look(&mut self, pages: u64) -> io::Result<bool> {
        // The locks of SQLite are on the other files, so that this one may be opened and closed.
        let file = File::open(&self.path)?;
        if pages == 0 || file.metadata()?.len() == 0 {
            self.seen = None;
            return Ok(true);
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let frame = read_frame(&file, &header, pages)?;
        let is_header = header[..3] == MAGIC && header[16..24] == frame[8..16];
        let is_whole = match &self.seen {
            Some(seen) if seen.header == header => is_header && read_frame(&file, &header, seen.pages)? == seen.frame,
            // Another header begins a new row of frames. Those before are in the database.
            _ => is_header,
        };
        if is_whole {
            self.seen = Some(Seen { header, pages, frame });
        }
        Ok(is_whole)
    }
}

/// The header of the frame with this number, from 1 on.
fn read_frame(file: &File, header: &[u8; HEADER_BYTES], number: u64) -> io::Result<[u8; FRAME_HEADER_BYTES]> {
    let page_bytes = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let place = HEADER_BYTES as u64 + (number - 1) * (FRAME_HEADER_BYTES as u64 + u64::from(page_bytes));
    let mut frame = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut frame, place)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fs};

    use rusqlite::Connection;

    use super::*;

    /// A database in a folder of its own, with a writer.
    struct Written {
        folder: PathBuf,
        connection: Connection,
        log: wal::WriteAheadLog,
        end: WalEnd,
    }

    impl Written {
        fn new(name: &str) -> Result<Self, Box<dyn Error>> {
            let folder = std::env::temp_dir().join(format!("daybook-wal-end-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder)?;
            let path = folder.join("x.db");
            let mut connection = Connection::open(&path)?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
            let log = wal::checkpoint_in_background(&mut connection, &path)?;
            connection.execute_batch("CREATE TABLE t (b BLOB)")?;
            Ok(Self { end: WalEnd::new(&path), folder, connection, log })
        }

        fn wal(&self) -> PathBuf {
            self.folder.join("x.db-wal")
        }

        fn write(&mut self, bytes: u32) -> Result<Result<(), String>, Box<dyn Error>> {
            self.connection.execute("INSERT INTO t VALUES (ZEROBLOB(?1))", [bytes])?;
            Ok(self.end.check(self.log.pages()))
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.folder);
        }
    }

    fn cut(path: &Path, bytes: u64) -> io::Result<()> {
        File::options().write(true).open(path)?.set_len(bytes)
    }

    #[test]
    fn what_sqlite_does_to_a_wal_is_no_fault() -> Result<(), Box<dyn Error>> {
        let mut written = Written::new("kept")?;
        // Many times the length after which it begins again.
        for _ in 0..400 {
            assert_eq!(written.write(400_000)?, Ok(()));
            written.connection.execute("DELETE FROM t", [])?;
        }
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            let other = Connection::open(written.folder.join("x.db"))?;
            other.busy_timeout(std::time::Duration::from_secs(60))?;
            other.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
            assert_eq!(written.write(10)?, Ok(()), "{mode}");
            other.execute("INSERT INTO t VALUES (x'00')", [])?;
            assert_eq!(written.write(10)?, Ok(()), "{mode}, and a write of another connection");
        }
        Ok(())
    }

    #[test]
    fn a_wal_that_was_overwritten_or_cut_is_noticed_by_the_next_commit() -> Result<(), Box<dyn Error>> {
        type Harm = fn(&Path, &[u8]) -> io::Result<()>;
        let harms: [(&str, Harm); 5] = [
            ("emptied", |wal, _| cut(wal, 0)),
            ("cut", |wal, _| cut(wal, 5000)),
            ("older", |wal, older| fs::write(wal, older)),
            ("older, of the same length", |wal, older| {
                let length = fs::metadata(wal)?.len();
                fs::write(wal, older)?;
                cut(wal, length)
            }),
            ("another", |wal, older| {
                let mut other = older.to_vec();
                other[16..24].copy_from_slice(b"saltsalt");
                fs::write(wal, other)
            }),
        ];
        for (name, harm) in harms {
            let mut written = Written::new("harmed")?;
            assert_eq!(written.write(10)?, Ok(()));
            let older = fs::read(written.wal())?;
            for _ in 0..3 {
                assert_eq!(written.write(10_000)?, Ok(()));
            }
            harm(&written.wal(), &older)?;
            let noticed = written.write(10)?;
            assert!(noticed.is_err_and(|reason| reason.contains("x.db-wal was overwritten or cut")), "{name}");
        }
        Ok(())
    }
}
