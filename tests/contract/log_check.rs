//! Whether a log contains what tables have applied, on each log.

use std::sync::Arc;

use daybook_ingest::log::{self, EventLog, LogError, Record};
use daybook_metaflow::events::{EVENTS, HEARTBEATS};
use daybook_projector::{
    bookkeeping::checkpoints::{self, Hashes, Move},
    log_check::{self, CheckError, Mismatch},
    tables::Tables,
};
use daybook_schemas::position::{Partition, Vector};
use daybook_tests::services;

use crate::{
    log::{Place, read, record, start},
    tables::{generation, places},
};

/// A log with tables that have applied something of it.
struct Checked {
    log: Arc<dyn EventLog>,
    tables: Arc<dyn Tables>,
}

impl Checked {
    /// Moves the checkpoints behind records that were applied, or past offsets without any.
    async fn applied(&self, from: &Vector, to: &Vector, hashes: Option<Hashes>) {
        let (tables, from, to) = (Arc::clone(&self.tables), from.clone(), to.clone());
        let partitions = log::partitions(self.log.as_ref());
        let apply = move || {
            let mut transaction = tables.begin()?;
            checkpoints::seed(transaction.as_mut(), &partitions, true)?;
            let of = Move { from: &from, to: &to, is_live: true };
            let moved = match hashes {
                Some(hashes) => checkpoints::advance(transaction.as_mut(), of, &hashes)?,
                None => checkpoints::skip(transaction.as_mut(), of)?,
            };
            assert!(moved, "{from} -> {to}");
            transaction.commit()
        };
        let applied = tokio::task::spawn_blocking(apply).await.unwrap_or_else(|error| panic!("{error}"));
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn mismatch(&self) -> Option<Mismatch> {
        loop {
            let (log, tables) = (Arc::clone(&self.log), Arc::clone(&self.tables));
            let checked = tokio::task::spawn_blocking(move || log_check::check(log.as_ref(), tables.as_ref())).await;
            match checked.unwrap_or_else(|error| panic!("{error}")) {
                Ok(()) => return None,
                Err(CheckError::Mismatch(mismatch)) => return Some(mismatch),
                // A broker that is busy is asked again.
                Err(CheckError::Log(LogError::Unavailable(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The vector behind records, and the hash of the last one of each partition.
fn behind(records: &[Record]) -> (Vector, Hashes) {
    let next = records.iter().map(|it| (it.position.partition, it.position.offset + 1)).collect();
    (Vector(next), records.iter().map(|it| (it.position.partition, checkpoints::hash(it))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_known_by_the_last_records_that_were_applied_and_by_its_end() {
    let [tables, _] = places("log_check");
    for (number, place) in (1..).zip(Place::all("log_check")) {
        let log = place.open().await;
        let checked = Checked { log: Arc::clone(&log), tables: generation(tables.store.as_ref(), number).await };
        assert_eq!(checked.mismatch().await, None, "nothing was applied");
        for key in ["a", "b", "c", "d", "e"] {
            let events = ["1", "2"].map(|value| record(log.as_ref(), EVENTS, key, value));
            let appended = log.append([events.to_vec(), vec![record(log.as_ref(), HEARTBEATS, key, "1")]].concat());
            appended.await.unwrap_or_else(|error| panic!("{error}"));
        }
        let from = Vector([EVENTS, HEARTBEATS].into_iter().flat_map(|topic| start(log.as_ref(), topic).0).collect());
        let (next, hashes) = behind(&read(&log, from).await);
        checked.applied(&Vector::default(), &next, Some(hashes.clone())).await;
        assert_eq!(checked.mismatch().await, None, "{}", log.describe());
        // The log goes on. The embedded one removes the former heartbeats.
        for key in ["a", "b", "c", "d", "e"] {
            let news = [EVENTS, HEARTBEATS].map(|topic| record(log.as_ref(), topic, key, "3"));
            log.append(news.to_vec()).await.unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(checked.mismatch().await, None, "{}", log.describe());
        // Another record.
        let partition: Partition = *hashes.keys().find(|it| it.topic == EVENTS).unwrap_or_else(|| panic!("no events"));
        let at = Vector([(partition, next.next(partition))].into());
        checked.applied(&at, &at, Some([(partition, "of another record".to_owned())].into())).await;
        let found = checked.mismatch().await;
        assert!(matches!(found, Some(Mismatch::Differs { position }) if position.partition == partition), "{found:?}");
        // Checkpoints beyond the end.
        let end = log_end(&log).await;
        let beyond = Vector([(partition, end.next(partition) + 1)].into());
        checked.applied(&at, &beyond, None).await;
        let found = checked.mismatch().await;
        assert!(matches!(found, Some(Mismatch::Ends { partition: short, .. }) if short == partition), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_more_partitions_than_the_tables_know_is_not_their_topic() {
    let [tables, _] = places("log_check_grown");
    let [_, place] = Place::all("log_check_grown");
    let Place::Kafka(address) = &place else { panic!("the second place is Kafka") };
    let log = place.open().await;
    let checked = Checked { log: Arc::clone(&log), tables: generation(tables.store.as_ref(), 1).await };
    // Nothing was applied: the checkpoints are where they began.
    checked.applied(&Vector::default(), &Vector::default(), None).await;
    assert_eq!(checked.mismatch().await, None);
    for topic in [HEARTBEATS, EVENTS] {
        let name = topic.full_name(&address.prefix);
        services::python("kit/alter_topic.py", &["grow", &address.brokers, &name, "5"]);
        assert_eq!(checked.mismatch().await, None, "a running process goes on with its partitions");
        let grown = Checked { log: place.open().await, tables: Arc::clone(&checked.tables) };
        let found = grown.mismatch().await;
        assert_eq!(found, Some(Mismatch::Partitions { topic, in_tables: 2, in_log: 5 }));
    }
}

async fn log_end(log: &Arc<dyn EventLog>) -> Vector {
    let log = Arc::clone(log);
    let end =
        tokio::task::spawn_blocking(move || log.end(&log.topics())).await.unwrap_or_else(|error| panic!("{error}"));
    end.unwrap_or_else(|error| panic!("{error}"))
}
