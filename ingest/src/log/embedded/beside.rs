//! The log of another process, opened for reading.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use daybook_schemas::{
    Topic,
    position::{PartitionId, Vector},
};

use super::{FILE, RECORD_BYTES_MAX, Shared, end, missing, open_reader, reader};
use crate::log::{AppendError, Done, EventLog, LogError, NewRecord, ReadLimits, Reader, identity};

/// The log in a folder that another process has open. It takes no records.
pub struct LogBeside {
    id: String,
    folder: PathBuf,
    topics: Vec<Topic>,
}

impl LogBeside {
    /// Opens the log in `folder`, which must have these topics.
    pub fn open(folder: &Path, topics: &[Topic]) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(missing(&path));
        }
        let ends = end(folder, topics)?;
        let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: Duration::ZERO };
        let mut ids = Vec::new();
        for topic in topics.iter().filter(|topic| ends.next(super::partition(**topic)) > 0) {
            let mut reader = reader::open(&path, Arc::new(Shared::new()), &identity::start(*topic))?.polling_the_file();
            ids.push((*topic, identity::read(*topic, &mut reader, limits)?));
        }
        let id = identity::agree(&ids)?.ok_or_else(|| missing(&path))?;
        let mut topics = topics.to_vec();
        topics.sort();
        Ok(Self { id, folder: folder.to_owned(), topics })
    }
}

impl EventLog for LogBeside {
    fn id(&self) -> &str {
        &self.id
    }

    fn topics(&self) -> &[Topic] {
        &self.topics
    }

    fn partition_count(&self, _topic: Topic) -> PartitionId {
        1
    }

    fn append_then(&self, _records: Vec<NewRecord>, done: Done) {
        done(Err(AppendError::Unavailable(format!("{} is open for reading only", self.describe()))));
    }

    fn end(&self) -> Result<Vector, LogError> {
        end(&self.folder, &self.topics)
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>, LogError> {
        open_reader(&self.folder, from)
    }

    fn flush(&self, _limit: Duration) {}

    fn failure(&self) -> Option<String> {
        None
    }

    fn describe(&self) -> String {
        format!("embedded, {}", self.folder.join(FILE).display())
    }
}
