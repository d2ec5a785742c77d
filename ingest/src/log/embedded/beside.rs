//! The log of another process, opened for reading.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use daybook_schemas::{
    Topic,
    position::{PartitionId, Vector},
};

use super::{FILE, RECORD_BYTES_MAX, Shared, end, missing, open_reader, reader};
use crate::log::{AppendError, BoxFuture, Done, EventLog, LogError, NewRecord, ReadLimits, Reader, identity};

/// The log in a folder that another process has open. It takes no records.
pub struct LogBeside {
    id: String,
    folder: PathBuf,
    topics: RwLock<Vec<Topic>>,
}

impl LogBeside {
    /// Opens the log in `folder`, which must have these topics.
    pub fn open(folder: &Path, topics: &[Topic]) -> Result<Self, LogError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(missing(&path));
        }
        let ends = end(folder, topics)?;
        let mut ids = Vec::new();
        for topic in topics.iter().filter(|topic| ends.next(super::partition(**topic)) > 0) {
            ids.push((*topic, read_id(&path, *topic)?));
        }
        let id = identity::agree(&ids)?.ok_or_else(|| missing(&path))?;
        let mut topics = topics.to_vec();
        topics.sort();
        Ok(Self { id, folder: folder.to_owned(), topics: RwLock::new(topics) })
    }

    /// Adds a topic that the other process has made.
    fn add_topic(&self, topic: Topic) -> Result<(), LogError> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.contains(&topic) {
            return Ok(());
        }
        if end(&self.folder, &[topic])?.count() == 0 {
            return Err(LogError::Absent(format!("{} has no topic {topic}", self.describe())));
        }
        let known = topics.first().map(|first| (*first, self.id.clone()));
        let id = read_id(&self.folder.join(FILE), topic)?;
        identity::agree(&known.into_iter().chain([(topic, id)]).collect::<Vec<_>>())?;
        topics.push(topic);
        topics.sort();
        Ok(())
    }
}

/// The id in the first record of a topic.
fn read_id(path: &Path, topic: Topic) -> Result<String, LogError> {
    let limits = ReadLimits { records_max: 1, bytes_max: RECORD_BYTES_MAX, wait: Duration::ZERO };
    let mut reader = reader::open(path, Arc::new(Shared::new()), &identity::start(topic))?.polling_the_file();
    identity::read(topic, &mut reader, limits)
}

impl EventLog for LogBeside {
    fn id(&self) -> &str {
        &self.id
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add_topics<'a>(&'a self, topics: &'a [Topic], _creates: bool) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move { topics.iter().try_for_each(|topic| self.add_topic(*topic)) })
    }

    fn partition_count(&self, _topic: Topic) -> PartitionId {
        1
    }

    fn append_then(&self, _records: Vec<NewRecord>, done: Done) {
        done(Err(AppendError::Unavailable(format!("{} is open for reading only", self.describe()))));
    }

    fn end(&self, topics: &[Topic]) -> Result<Vector, LogError> {
        end(&self.folder, topics)
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
