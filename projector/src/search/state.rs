//! The state of search for requests: the index, and its progress.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daybook_schemas::{Topic, position::Vector};
use tokio::sync::watch;

use super::{SearchError, SearchIndex};

/// Between two looks at why the index is not open yet.
const OPENING_LOOK: Duration = Duration::from_millis(50);

/// Search as requests see it.
pub struct Search {
    /// The topics whose events touch documents.
    topics: Vec<Topic>,
    index: watch::Sender<Option<Arc<dyn SearchIndex>>>,
    visible: watch::Sender<Vector>,
    /// Where the log ended when the index was opened.
    owed: Mutex<Vector>,
    /// What searches must see, of the topics that touch documents.
    floor: Mutex<Vector>,
    /// Requests that wait for something to become visible.
    awaiting: AtomicUsize,
    health: Mutex<Health>,
}

/// What the runner is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The last failure, until the next success.
    pub failure: Option<String>,
    /// Whether that is because there is no room, for documents or for tables.
    pub is_full: bool,
    /// How far it is, while the index is built from rows.
    pub building: Option<Building>,
    /// Whether the index is built.
    pub is_built: bool,
}

impl Health {
    /// Notes a failure.
    pub(super) fn fail(&mut self, failure: String, is_full: bool) {
        (self.failure, self.is_full) = (Some(failure), is_full);
    }

    /// Notes a success.
    pub(super) fn heal(&mut self) {
        (self.failure, self.is_full) = (None, false);
    }
}

/// How far the build of an index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Building {
    /// Documents that this process has written.
    pub documents: u64,
    /// Ranges of keys that all processes have written.
    pub ranges_written: u64,
    /// Ranges of keys in all; 0 before they are known.
    pub ranges: u64,
}

impl Building {
    /// Of the ranges, how many are written, in percent, rounded down to tenths: 100 only if all are.
    pub fn percent(&self) -> f64 {
        (1000 * self.ranges_written / self.ranges.max(1)) as f64 / 10.0
    }
}

impl Search {
    /// Search in documents that events of these topics touch.
    pub fn new(topics: Vec<Topic>) -> Self {
        Self {
            topics,
            index: watch::Sender::default(),
            visible: watch::Sender::default(),
            owed: Mutex::default(),
            floor: Mutex::default(),
            awaiting: AtomicUsize::default(),
            health: Mutex::default(),
        }
    }

    /// Whether events of a topic touch documents.
    pub fn shows(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }

    /// The index, if it is open.
    pub fn index(&self) -> Option<Arc<dyn SearchIndex>> {
        self.index.borrow().clone()
    }

    /// The index; waits while it is being opened, unless that fails. Bounded by the caller's time-out.
    pub async fn opened(&self) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let mut index = self.index.subscribe();
        while self.index().is_none() {
            if let Some(failure) = self.health().failure {
                return Err(SearchError::Unavailable(failure));
            }
            // A failure wakes nobody.
            let _woken = tokio::time::timeout(OPENING_LOOK, index.changed()).await;
        }
        self.index().ok_or_else(|| SearchError::Unavailable("the index was closed".to_owned()))
    }

    /// The vector that searches see.
    pub fn visible(&self) -> Vector {
        self.visible.borrow().clone()
    }

    /// How many records of a log that ends at `end` searches do not see.
    pub fn lag(&self, end: &Vector) -> i64 {
        self.visible.borrow().lag(&self.searched(end))
    }

    /// Whether searches see all that was there when the index was opened: it was not just started, nor is being built.
    pub fn is_complete(&self) -> bool {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.borrow().is_some() && self.visible.borrow().reaches(&owed)
    }

    /// What the runner is doing.
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until searches see everything before `wanted`, and requests an immediate refresh. Bounded by the caller's
    /// time-out.
    pub async fn wait(&self, wanted: &Vector) {
        let wanted = self.searched(wanted);
        let mut visible = self.visible.subscribe();
        if visible.borrow().reaches(&wanted) {
            return;
        }
        let _awaited = Awaiting::begin(&self.awaiting);
        // The sender lives as long as this.
        let _seen = visible.wait_for(|visible| visible.reaches(&wanted)).await;
    }

    /// From now on searches wait until they see everything before `floor`, and an immediate refresh is requested: the
    /// generation has taken the place of another, whose index may have shown that much.
    pub fn require(&self, floor: &Vector) {
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner) = self.searched(floor);
    }

    /// Waits until searches see what they must. Bounded by the caller's time-out.
    pub async fn whole(&self) {
        let floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.wait(&floor).await;
    }

    /// Whether somebody waits, here or in another process: searches wait everywhere for what they must see, and this
    /// process writes the part of it that is in the partitions of `mine`.
    pub(super) fn awaited(&self, mine: &Vector) -> bool {
        self.awaiting.load(Ordering::Acquire) > 0 || self.is_below_floor(mine)
    }

    fn is_below_floor(&self, mine: &Vector) -> bool {
        let floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let visible = self.visible.borrow();
        mine.0.keys().any(|partition| visible.next(*partition) < floor.next(*partition))
    }

    /// Shows an index that was opened while the log ended at `end`.
    pub(super) fn open(&self, index: Arc<dyn SearchIndex>, end: &Vector) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = self.searched(end);
        self.index.send_replace(Some(index));
        self.visible.send_replace(Vector::default());
    }

    /// Answers no more searches until an index is opened. A failure says why.
    pub(super) fn close(&self) {
        self.index.send_replace(None);
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The part of a vector that an index can reach.
    fn searched(&self, vector: &Vector) -> Vector {
        let searched = vector.0.iter().filter(|(partition, _)| self.shows(partition.topic));
        Vector(searched.map(|(partition, next)| (*partition, *next)).collect())
    }

    /// Notes that searches see everything up to `reached`.
    pub(super) fn show(&self, reached: &Vector) {
        self.visible.send_if_modified(|visible| {
            let news = reached.0.iter().any(|(partition, next)| *next > visible.next(*partition));
            for (partition, next) in &reached.0 {
                let known = visible.0.entry(*partition).or_default();
                *known = (*known).max(*next);
            }
            news
        });
    }
}

/// Counts a request while it waits.
struct Awaiting<'a>(&'a AtomicUsize);

impl<'a> Awaiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use daybook_schemas::topics::{self, Declaration};

    use super::*;

    const SEARCHED: Topic = Topic::new(&Declaration { name: "searched", compacted: false, partitions: 2 });
    const OTHER: Topic = Topic::new(&Declaration { name: "searched.not", compacted: false, partitions: 1 });

    fn vector(text: &str) -> Vector {
        topics::declare(&[SEARCHED, OTHER]);
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_searches_must_see_is_refreshed_although_no_search_waits_here() {
        let search = Search::new(vec![SEARCHED]);
        let (of_first, of_both) = (vector("searched/0@0"), vector("searched/0@0,searched/1@0"));
        assert!(!search.awaited(&of_both));
        search.require(&vector("searched/0@5,searched/1@2,searched.not/0@9"));
        assert!(search.awaited(&of_both));
        let mut context = Context::from_waker(Waker::noop());
        let mut whole = pin!(search.whole());
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Pending);
        search.show(&vector("searched/0@7,searched/1@1"));
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Pending);
        assert!(search.is_below_floor(&of_both));
        assert!(!search.is_below_floor(&of_first), "another process writes the rest");
        search.show(&vector("searched/1@2"));
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Ready(()));
        assert!(!search.awaited(&of_both));
    }
}
