//! Copies what was committed from an SQLite file's write-ahead log into the file, on a thread of its own.
//!
//! SQLite does that within a commit, once the write-ahead log is long enough: all who wait for commits then wait for thousands
//! of pages to reach the disk. Here a commit only copies what is left after the thread has come through, and that seldom: the
//! write-ahead log begins anew once everything in it is copied, which under load happens within a commit alone.

use std::{
    ffi::c_int,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, hooks::Wal};

/// Pages that are added before they are copied aside: as few as the disk takes without holding up the commits beside it.
const ASIDE: c_int = 250;
/// Pages after which a commit copies the rest, 32 MB.
const WITHIN: c_int = 8000;
/// Pages after which commits wait for the thread, so that a slow disk is not outrun, and readers for those before them.
const WAITING: c_int = 4 * WITHIN;
/// How long a reader that is alone waits for a long write-ahead log to begin anew.
const ALONE_MAX: Duration = Duration::from_millis(100);
/// How long a reader waits for those before it to leave a longer one.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Pages that are added during a reader's stay after which it has to leave, 1 GB: they are kept for it.
const STAY_MAX: c_int = 262_144;

/// A file's write-ahead log. What was written after a reader's snapshot is not copied until the reader leaves: with a reader at
/// any time, it would never begin anew, and grow.
#[derive(Clone)]
pub struct WriteAhead {
    state: Arc<Watched>,
    wake: SyncSender<()>,
}

/// The stay of a reader, for as long as it lives.
pub struct Stay {
    write_ahead: WriteAhead,
    /// Pages in the write-ahead log when it began.
    since: c_int,
}

#[derive(Default)]
struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Pages in the write-ahead log.
    pages: c_int,
    /// Those that the last copy left to a reader's snapshot.
    left: c_int,
    /// Readers that stay.
    readers: usize,
}

impl State {
    /// Whether a snapshot keeps pages from being copied.
    fn held(&self) -> bool {
        self.left >= ASIDE
    }

    /// Whether one more reader would keep it from beginning anew.
    fn closed(&self) -> bool {
        self.held() && self.pages >= if self.readers == 0 { WITHIN } else { WAITING }
    }
}

impl Watched {
    fn get(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteAhead {
    /// Begins a stay. A reader takes its snapshot after that, and should leave soon.
    pub fn enter(&self) -> Stay {
        let state = self.state.get();
        let wait = if state.readers == 0 { ALONE_MAX } else { BEHIND_MAX };
        let waited = self.state.changed.wait_timeout_while(state, wait, |state| state.closed());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.readers += 1;
        Stay { write_ahead: self.clone(), since: state.pages }
    }

    /// Asks for a copy: the thread takes the pages along if it is at work, or is woken for the next.
    fn wake(&self) {
        let _at_work = self.wake.try_send(());
    }
}

impl Stay {
    /// Whether so much was written meanwhile that the reader has to leave.
    pub fn is_over(&self) -> bool {
        self.write_ahead.state.get().pages.saturating_sub(self.since) >= STAY_MAX
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut state = self.write_ahead.state.get();
        state.readers -= 1;
        if state.held() {
            self.write_ahead.wake();
        }
    }
}

/// Lets the write-ahead log of the file at `path` be copied aside for as long as `connection`, which writes it, is open.
pub fn copy_aside(connection: &mut Connection, path: &Path) -> rusqlite::Result<WriteAhead> {
    let aside = Connection::open(path)?;
    aside.busy_timeout(Duration::from_secs(5))?;
    let ((wake, woken), (through, done)) = (sync_channel(1), sync_channel(1));
    let write_ahead = WriteAhead { state: Arc::default(), wake };
    let watched = Arc::clone(&write_ahead.state);
    let file = PathBuf::from(format!("{}-wal", path.display()));
    let run = move || copy(&aside, &file, &watched, &woken, &through);
    if let Err(error) = thread::Builder::new().name("wal-copy".to_owned()).spawn(run) {
        tracing::warn!(error = %error, "commits copy the write-ahead log themselves: {error}");
        return Ok(write_ahead);
    }
    let (mut copied, of_hook) = (0, write_ahead.clone());
    connection.wal_hook(Some(move |wal: &mut Wal, pages: c_int| {
        let held = {
            let mut state = of_hook.state.get();
            if pages < state.pages {
                (copied, state.left) = (0, 0);
                of_hook.state.changed.notify_all();
            }
            state.pages = pages;
            state.held()
        };
        // What a reader holds back is neither waited for nor copied here.
        let waiting = pages >= WAITING && !held;
        if pages - copied >= ASIDE || waiting {
            copied = pages;
            of_hook.wake();
        }
        let came_through = if waiting { done.recv().is_ok() } else { done.try_recv().is_ok() };
        if came_through && pages >= WITHIN && !of_hook.state.get().held() {
            // One that is in the way now is not after the next commit.
            let _busy = wal.checkpoint();
        }
        Ok(())
    }))?;
    Ok(write_ahead)
}

fn copy(aside: &Connection, file: &Path, watched: &Watched, woken: &Receiver<()>, through: &SyncSender<()>) {
    while woken.recv().is_ok() {
        let copied = aside.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            let (pages, copied): (c_int, c_int) = (row.get("log")?, row.get("checkpointed")?);
            Ok(pages - copied)
        });
        let left = copied.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "cannot copy the write-ahead log: {error}");
            0
        });
        watched.get().left = left;
        // What is left reaches the disk bit by bit all the same: all of it at once would hold up other files' commits.
        if left > 0
            && let Err(error) = File::open(file).and_then(|file| file.sync_data())
        {
            tracing::warn!(error = %error, "cannot sync {}: {error}", file.display());
        }
        // One that was not asked for yet is as good.
        let _told = through.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Bytes in the write-ahead log of a new file after many times what it may hold, while `beside` goes on beside the writes.
    fn written(name: &str, beside: impl Fn(&Path, &WriteAhead, &AtomicBool) -> rusqlite::Result<()> + Sync) -> u64 {
        let folder = std::env::temp_dir().join(format!("daybook-{name}-{}", std::process::id()));
        let path = folder.join("x.db");
        let write = || -> rusqlite::Result<u64> {
            let mut connection = Connection::open(&path)?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (b BLOB)")?;
            let write_ahead = copy_aside(&mut connection, &path)?;
            let written = AtomicBool::new(false);
            thread::scope(|scope| {
                let reader = scope.spawn(|| beside(&path, &write_ahead, &written));
                for _ in 0..600 {
                    connection.execute("INSERT INTO t VALUES (ZEROBLOB(800000))", [])?;
                    connection.execute("DELETE FROM t", [])?;
                }
                written.store(true, Ordering::Relaxed);
                reader.join().unwrap_or_else(|_| panic!("the reader panicked"))
            })?;
            Ok(std::fs::metadata(folder.join("x.db-wal")).map(|wal| wal.len()).unwrap_or(u64::MAX))
        };
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
        let bytes = write().unwrap_or_else(|error| panic!("{error}"));
        std::fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{error}"));
        bytes
    }

    #[test]
    fn the_write_ahead_log_begins_anew_while_it_is_written() {
        let bytes = written("wal", |_, _, _| Ok(()));
        assert!(bytes < 2 * 4096 * WAITING as u64, "the write-ahead log has {bytes} bytes");
    }

    #[test]
    fn a_stay_is_over_once_too_much_was_written_during_it() {
        let write_ahead = WriteAhead { state: Arc::default(), wake: sync_channel(1).0 };
        write_ahead.state.get().pages = STAY_MAX;
        let stay = write_ahead.enter();
        assert!(!stay.is_over(), "what was written before counts");
        write_ahead.state.get().pages += STAY_MAX;
        assert!(stay.is_over() && !write_ahead.enter().is_over());
    }

    #[test]
    fn it_begins_anew_between_readers_that_follow_each_other() {
        let bytes = written("wal-readers", |path, write_ahead, written| {
            let connection = Connection::open(path)?;
            let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            while !written.load(Ordering::Relaxed) {
                let _stay = write_ahead.enter();
                connection.execute_batch("BEGIN")?;
                let rows = count("SELECT COUNT(*) FROM t")?;
                let pages = write_ahead.state.get().pages;
                // As long as a long list takes.
                while !written.load(Ordering::Relaxed) && (0..WITHIN).contains(&(write_ahead.state.get().pages - pages))
                {
                    assert_eq!(count("SELECT COUNT(*) FROM t")?, rows, "the snapshot changed");
                }
                connection.execute_batch("COMMIT")?;
            }
            Ok(())
        });
        assert!(bytes < 2 * 4096 * WAITING as u64, "the write-ahead log has {bytes} bytes");
    }
}
