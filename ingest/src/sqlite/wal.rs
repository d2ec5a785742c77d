//! Runs the checkpoints of an SQLite file's write-ahead log (WAL) on a thread of its own.
//!
//! By default SQLite checkpoints within a commit once the WAL is long enough, and all writers then wait until thousands
//! of pages are on the disk. Here a background thread checkpoints most pages. A commit rarely checkpoints, and only the
//! rest: SQLite can restart the WAL only when all of it is checkpointed, which under load happens within a commit.
//!
//! SQLite cannot checkpoint pages newer than an open read snapshot. If some reader were always open, the WAL would grow
//! without restarting; so readers register with a [`ReadGuard`]. See <https://www.sqlite.org/wal.html>.

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

/// Pages added before the background thread checkpoints: few enough not to delay commits.
const BACKGROUND: c_int = 250;
/// Pages after which a commit checkpoints the rest, 32 MB.
const IN_COMMIT: c_int = 8000;
/// Pages after which commits wait for the background thread, and new readers for the readers before them.
const LONG: c_int = 4 * IN_COMMIT;
/// How long the only reader waits for a long WAL to restart. Tests run on slow machines, and do not measure this time.
const ONLY_READER_WAIT: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 100 });
/// How long a checkpoint that empties the WAL waits for readers and for the background thread.
const EMPTY_WAIT: Duration = Duration::from_millis(250);
/// How long a statement waits for other connections.
pub const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long a reader waits while others are open.
const NEXT_READER_WAIT: Duration = Duration::from_secs(1);
/// Pages added while a reader is open after which it has to end, 1 GB: its snapshot keeps all of them in the WAL.
const SNAPSHOT_PAGES_MAX: c_int = 262_144;

/// The write-ahead log of one file.
#[derive(Clone)]
pub struct WriteAheadLog {
    state: Arc<Watched>,
    wake: SyncSender<()>,
}

/// Registers a reader until it is dropped.
pub struct ReadGuard {
    log: WriteAheadLog,
    /// Pages in the WAL when it began.
    since: c_int,
}

#[derive(Default)]
struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Pages in the WAL.
    pages: c_int,
    /// Pages that the last checkpoint had to leave for a reader's snapshot.
    left: c_int,
    /// Open readers.
    readers: usize,
}

impl State {
    /// Whether the last checkpoint had to leave many pages for a snapshot, which may have ended since.
    fn was_held(&self) -> bool {
        self.left >= BACKGROUND
    }

    /// Whether a snapshot keeps pages from being checkpointed now.
    fn is_held(&self) -> bool {
        self.readers > 0 && self.was_held()
    }

    /// Whether one more reader would keep the WAL from restarting.
    fn blocks_readers(&self) -> bool {
        self.was_held() && self.pages >= if self.readers == 0 { IN_COMMIT } else { LONG }
    }
}

impl Watched {
    fn get(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteAheadLog {
    /// Registers a reader, which takes its snapshot afterwards and should end soon. Waits while the WAL is long, for a
    /// bounded time.
    pub fn begin_read(&self) -> ReadGuard {
        let state = self.state.get();
        let wait = if state.readers == 0 { ONLY_READER_WAIT } else { NEXT_READER_WAIT };
        let waited = self.state.changed.wait_timeout_while(state, wait, |state| state.blocks_readers());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.readers += 1;
        ReadGuard { log: self.clone(), since: state.pages }
    }

    /// Pages in the WAL after the last commit of this process; 0 if there was none.
    pub fn pages(&self) -> u64 {
        u64::try_from(self.state.get().pages).unwrap_or(0)
    }

    /// Requests a checkpoint from the background thread; if the channel is full, a request is pending already.
    fn wake(&self) {
        let _already_pending = self.wake.try_send(());
    }
}

impl ReadGuard {
    /// Whether the reader has to end because too much was written meanwhile.
    pub fn must_end(&self) -> bool {
        self.log.state.get().pages.saturating_sub(self.since) >= SNAPSHOT_PAGES_MAX
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut state = self.log.state.get();
        state.readers -= 1;
        if state.was_held() {
            self.log.wake();
        }
    }
}

/// The WAL of the database at a path.
pub fn file_of(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", database.display()))
}

/// Checkpoints all of the WAL and empties it, so that the file alone is the database. Leaves the rest to the next one
/// if a reader is in the way.
pub fn empty(connection: &Connection) {
    let run = || -> rusqlite::Result<()> {
        connection.busy_timeout(EMPTY_WAIT)?;
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        connection.busy_timeout(BUSY_WAIT)?;
        emptied
    };
    if let Err(error) = run() {
        tracing::warn!(error = %error, "cannot checkpoint {}: {error}", connection.path().unwrap_or_default());
    }
}

/// Starts background checkpoints of the file at `path`, until `connection`, its writer, is closed.
pub fn checkpoint_in_background(connection: &mut Connection, path: &Path) -> rusqlite::Result<WriteAheadLog> {
    let background = Connection::open(path)?;
    background.busy_timeout(BUSY_WAIT)?;
    let (wake, woken) = sync_channel(1);
    let (report, done) = sync_channel(1);
    let log = WriteAheadLog { state: Arc::default(), wake };
    let watched = Arc::clone(&log.state);
    let file = file_of(path);
    let run = move || checkpoint_when_woken(&background, &file, &watched, &woken, &report);
    if let Err(error) = thread::Builder::new().name("wal-checkpoint".to_owned()).spawn(run) {
        tracing::warn!(error = %error, "cannot checkpoint in the background, commits do it: {error}");
        return Ok(log);
    }
    let (mut asked_at, of_hook) = (0, log.clone());
    connection.wal_hook(Some(move |wal: &mut Wal, pages: c_int| {
        let is_held = {
            let mut state = of_hook.state.get();
            if pages < state.pages {
                asked_at = 0;
                state.left = 0;
                of_hook.state.changed.notify_all();
            }
            state.pages = pages;
            state.is_held()
        };
        // Pages that a reader's snapshot keeps are not checkpointed here, and commits do not wait for them.
        let waits = pages >= LONG && !is_held;
        if pages - asked_at >= BACKGROUND || waits {
            asked_at = pages;
            of_hook.wake();
        }
        let checkpointed = if waits { done.recv().is_ok() } else { done.try_recv().is_ok() };
        if checkpointed && pages >= IN_COMMIT && !of_hook.state.get().is_held() {
            // A checkpoint that finds the file busy is tried again after the next commit.
            let _busy = wal.checkpoint();
        }
        Ok(())
    }))?;
    Ok(log)
}

fn checkpoint_when_woken(
    background: &Connection,
    file: &Path,
    watched: &Watched,
    woken: &Receiver<()>,
    report: &SyncSender<()>,
) {
    while woken.recv().is_ok() {
        let left = background.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            let pages: c_int = row.get("log")?;
            let checkpointed: c_int = row.get("checkpointed")?;
            Ok(pages - checkpointed)
        });
        let left = left.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "cannot checkpoint {}: {error}", file.display());
            0
        });
        watched.get().left = left;
        // Sync even an incomplete checkpoint: one large sync later would delay commits of other files.
        if left > 0
            && let Err(error) = File::open(file).and_then(|file| file.sync_data())
        {
            tracing::warn!(error = %error, "cannot sync {}: {error}", file.display());
        }
        // If the channel is full, the pending report says the same.
        let _reported_already = report.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Bytes in the WAL of a new file after writes of many times its limit, while `beside` runs concurrently.
    fn written(name: &str, beside: impl Fn(&Path, &WriteAheadLog, &AtomicBool) -> rusqlite::Result<()> + Sync) -> u64 {
        let folder = std::env::temp_dir().join(format!("daybook-{name}-{}", std::process::id()));
        let path = folder.join("x.db");
        let write = || -> rusqlite::Result<u64> {
            let mut connection = Connection::open(&path)?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (b BLOB)")?;
            let log = checkpoint_in_background(&mut connection, &path)?;
            let written = AtomicBool::new(false);
            thread::scope(|scope| {
                let reader = scope.spawn(|| beside(&path, &log, &written));
                for _ in 0..600 {
                    connection.execute("INSERT INTO t VALUES (ZEROBLOB(800000))", [])?;
                    connection.execute("DELETE FROM t", [])?;
                }
                written.store(true, Ordering::Relaxed);
                // A reader that waits for the WAL to restart would wait for the next write.
                log.state.get().pages = 0;
                log.state.changed.notify_all();
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
    fn the_wal_restarts_while_it_is_written() {
        let bytes = written("wal", |_, _, _| Ok(()));
        assert!(bytes < 2 * 4096 * LONG as u64, "the WAL has {bytes} bytes");
    }

    #[test]
    fn a_reader_must_end_once_too_much_was_written_during_it() {
        let log = WriteAheadLog { state: Arc::default(), wake: sync_channel(1).0 };
        log.state.get().pages = SNAPSHOT_PAGES_MAX;
        let guard = log.begin_read();
        assert!(!guard.must_end(), "what was written before counts");
        log.state.get().pages += SNAPSHOT_PAGES_MAX;
        assert!(guard.must_end() && !log.begin_read().must_end());
    }

    #[test]
    fn the_wal_restarts_between_readers_that_follow_each_other() {
        let bytes = written("wal-readers", |path, log, written| {
            let connection = Connection::open(path)?;
            let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            while !written.load(Ordering::Relaxed) {
                let _guard = log.begin_read();
                connection.execute_batch("BEGIN")?;
                let rows = count("SELECT COUNT(*) FROM t")?;
                let pages = log.state.get().pages;
                // As long as a long list takes.
                while !written.load(Ordering::Relaxed) && (0..IN_COMMIT).contains(&(log.state.get().pages - pages)) {
                    assert_eq!(count("SELECT COUNT(*) FROM t")?, rows, "the snapshot changed");
                }
                connection.execute_batch("COMMIT")?;
            }
            Ok(())
        });
        assert!(bytes < 2 * 4096 * LONG as u64, "the WAL has {bytes} bytes");
    }
}
