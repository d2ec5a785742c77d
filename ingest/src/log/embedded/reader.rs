//! Reads the embedded log: from memory if the records are still there, else from the file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use daybook_schemas::position::{Offset, Partition, Position, Vector};
use rusqlite::{Connection, OpenFlags, Row};

use super::{Shared, damage};
use crate::log::{LogError, ReadLimits, Reader, Record};

pub(super) struct FileReader {
    connection: Connection,
    path: PathBuf,
    shared: Arc<Shared>,
    next: Vector,
    /// Whether to poll the file, because another process may be the writer.
    polls_file: bool,
}

/// Reads a part of a partition.
const READ: &str = include_str!("read.sql");

/// A row of [`READ`].
struct RecordRow<'r> {
    record_offset: Offset,
    record_key: &'r [u8],
    value: &'r [u8],
}

impl<'r> RecordRow<'r> {
    fn read(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            record_offset: row.get("record_offset")?,
            record_key: row.get_ref("record_key")?.as_bytes()?,
            value: row.get_ref("value")?.as_blob()?,
        })
    }
}

/// Time between two polls of a file that another process writes.
const FILE_POLL: Duration = Duration::from_millis(100);

pub(super) fn open(path: &Path, shared: Arc<Shared>, from: &Vector) -> Result<FileReader, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    let connection = connection.map_err(|e| damage::sort(path, "read", &e))?;
    Ok(FileReader { connection, path: path.to_owned(), shared, next: from.clone(), polls_file: false })
}

impl FileReader {
    /// Polls the file instead of waiting for this process's writer.
    pub(super) fn polling_the_file(mut self) -> Self {
        self.polls_file = true;
        self
    }

    /// Records of the file from `next` on; stops once they hold `bytes_max` bytes.
    fn read_file(
        &self,
        partition: Partition,
        next: Offset,
        room: usize,
        bytes_max: usize,
    ) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(READ)?;
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let mut rows = statement.query((partition.topic.name(), partition.id, next, room))?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes <= bytes_max
            && let Some(row) = rows.next()?
        {
            let RecordRow { record_offset: offset, record_key, value } = RecordRow::read(row)?;
            bytes += value.len();
            let position = Position { partition, offset };
            records.push(Record { position, key: Some(record_key.into()), value: value.into() });
        }
        Ok(records)
    }
}

impl Reader for FileReader {
    fn read(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + limits.wait;
        loop {
            if !self.polls_file {
                let left = deadline.saturating_duration_since(Instant::now());
                self.shared.tails.wait(self.next.0.iter(), left);
            }
            let (mut found, mut bytes) = (Vec::new(), 0);
            for (partition, next) in self.next.clone().0 {
                let room = limits.records_max.saturating_sub(found.len());
                let tail = if self.polls_file { None } else { self.shared.tails.read(partition, next, room) };
                let records = match tail {
                    Some(records) => records,
                    None => self
                        .read_file(partition, next, room, limits.bytes_max)
                        .map_err(|e| damage::of_reading(&self.path, &e))?,
                };
                for record in records {
                    let expected = self.next.next(partition);
                    // Nothing is ever removed from such a topic: a gap is damage.
                    if record.position.offset != expected && !partition.topic.compacted() {
                        return Err(damage::lost(&self.path, partition, expected, record.position.offset - 1));
                    }
                    if !found.is_empty() && bytes + record.value.len() > limits.bytes_max {
                        break;
                    }
                    bytes += record.value.len();
                    self.next.0.insert(partition, record.position.offset + 1);
                    found.push(record);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
            if self.polls_file {
                std::thread::sleep(left.min(FILE_POLL));
            }
        }
    }

    fn reached(&self) -> Vector {
        self.next.clone()
    }
}
