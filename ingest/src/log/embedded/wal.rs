//! Copies what was committed from an SQLite file's write-ahead log into the file, on a thread of its own.
//!
//! SQLite does that within a commit, once the write-ahead log is long enough: all who wait for commits then wait for thousands
//! of pages to reach the disk. Here a commit only copies what is left after the thread has come through, and that seldom: the
//! write-ahead log begins anew once everything in it is copied, which under load happens within a commit alone.

use std::{
    ffi::c_int,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use rusqlite::{Connection, hooks::Wal};

/// Pages that are added before they are copied aside: as few as the disk takes without holding up the commits beside it.
const ASIDE: c_int = 500;
/// Pages after which a commit copies the rest, 32 MB.
const WITHIN: c_int = 8000;
/// Pages after which commits wait for the thread, so that a slow disk is not outrun.
const WAITING: c_int = 4 * WITHIN;

/// Lets the write-ahead log of the file at `path` be copied aside for as long as `connection`, which writes it, is open.
pub fn copy_aside(connection: &mut Connection, path: &Path) -> rusqlite::Result<()> {
    let aside = Connection::open(path)?;
    aside.busy_timeout(Duration::from_secs(5))?;
    let ((wake, woken), (through, done)) = (sync_channel(1), sync_channel(1));
    let started = thread::Builder::new().name("wal-copy".to_owned()).spawn(move || copy(&aside, &woken, &through));
    if let Err(error) = started {
        tracing::warn!(error = %error, "commits copy the write-ahead log themselves: {error}");
        return Ok(());
    }
    let mut copied = 0;
    connection.wal_hook(Some(move |wal: &mut Wal, pages: c_int| {
        copied = if pages < copied { 0 } else { copied };
        if pages - copied >= ASIDE || pages >= WAITING {
            copied = pages;
            // One that is at work takes these pages along, or is woken for the next.
            let _at_work = wake.try_send(());
        }
        let came_through =
            if pages >= WAITING { done.recv().is_ok() } else { pages >= WITHIN && done.try_recv().is_ok() };
        if came_through {
            // One that is in the way now is not after the next commit.
            let _busy = wal.checkpoint();
        }
        Ok(())
    }))
}

fn copy(aside: &Connection, woken: &Receiver<()>, through: &SyncSender<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = aside.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(error = %error, "cannot copy the write-ahead log: {error}");
        }
        // One that was not asked for yet is as good.
        let _told = through.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_ahead_log_begins_anew_while_it_is_written() {
        let folder = std::env::temp_dir().join(format!("daybook-wal-{}", std::process::id()));
        let written = || -> rusqlite::Result<u64> {
            let path = folder.join("x.db");
            let mut connection = Connection::open(&path)?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (b BLOB)")?;
            copy_aside(&mut connection, &path)?;
            // Many times what it may hold.
            for _ in 0..60 {
                connection.execute("INSERT INTO t VALUES (ZEROBLOB(8192000))", [])?;
                connection.execute("DELETE FROM t", [])?;
            }
            Ok(std::fs::metadata(folder.join("x.db-wal")).map(|wal| wal.len()).unwrap_or(u64::MAX))
        };
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
        let bytes = written().unwrap_or_else(|error| panic!("{error}"));
        std::fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert!(bytes < 2 * 4096 * WAITING as u64, "the write-ahead log has {bytes} bytes");
    }
}
