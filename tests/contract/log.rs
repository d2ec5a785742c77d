//! The guarantees of `ingest::log`, on the embedded log and on Kafka.

use std::{collections::HashMap, sync::Arc, time::Duration};

use daybook_ingest::log::{
    AppendError, EventLog, Headers, LogError, NewRecord, ReadLimits, Record,
    embedded::{self, EmbeddedLog},
    kafka::{Address, KafkaLog},
};
use daybook_metaflow::events::{EVENTS, HEARTBEATS, TOPICS};
use daybook_schemas::{
    position::{Partition, Position, Vector},
    topics::{Topic, partition_of},
};
use daybook_tests::{
    services::{self, Folder},
    wait,
};
use tokio::task::JoinSet;

/// Where a log is kept, to be opened again.
pub(crate) enum Place {
    Embedded(Folder),
    Kafka(Address),
}

impl Place {
    pub(crate) fn all(test: &str) -> [Self; 2] {
        let url = format!("{}/{}", services::kafka(), services::unique(test));
        let address = Address::parse(&url, str::to_owned).unwrap_or_else(|error| panic!("{url}: {error}"));
        [Self::Embedded(Folder::new(test)), Self::Kafka(address)]
    }

    pub(crate) async fn open(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(folder) => {
                Arc::new(EmbeddedLog::open(&folder.0, &TOPICS).unwrap_or_else(|error| panic!("{error}")))
            }
            Self::Kafka(address) => Arc::new(opened(address, true).await.unwrap_or_else(|error| panic!("{error}"))),
        }
    }
}

/// What opening a log on Kafka comes to, once the broker has answered in time.
async fn opened(address: &Address, creates: bool) -> Result<KafkaLog, LogError> {
    let mut outcome = None;
    wait::until("the broker answers in time", async || {
        outcome = Some(KafkaLog::open(address.clone(), &TOPICS, creates).await);
        !matches!(outcome, Some(Err(LogError::Unavailable(_))))
    })
    .await;
    outcome.unwrap_or_else(|| panic!("it was never opened"))
}

pub(crate) fn record(log: &dyn EventLog, topic: Topic, key: &str, value: &str) -> NewRecord {
    let partition = partition_of(key.as_bytes(), log.partition_count(topic));
    let headers = Some(Headers { id: "1".to_owned(), kind: "Test", time: 1, trace_parent: None });
    NewRecord { topic, partition, key: key.to_owned(), value: value.into(), headers }
}

const LIMITS: ReadLimits = ReadLimits { records_max: 100_000, bytes_max: usize::MAX, wait: Duration::from_secs(10) };

/// Everything from `from` to where the log ends now.
pub(crate) async fn read(log: &Arc<dyn EventLog>, from: Vector) -> Vec<Record> {
    let log = Arc::clone(log);
    let read = move || {
        let end = log.end(&log.topics()).unwrap_or_else(|error| panic!("{error}"));
        let mut records = Vec::new();
        let mut reader = log.reader(&from).unwrap_or_else(|error| panic!("{error}"));
        let reaches = |next: &Vector| from.0.keys().all(|partition| next.next(*partition) >= end.next(*partition));
        while !reaches(&reader.reached()) {
            records.extend(reader.read(LIMITS).unwrap_or_else(|error| panic!("{error}")));
        }
        records
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn start(log: &dyn EventLog, topic: Topic) -> Vector {
    Vector((0..log.partition_count(topic)).map(|id| (Partition { topic, id }, 0)).collect())
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(&record.value).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_key_are_read_in_the_order_of_their_appends() {
    for place in Place::all("order") {
        let log = place.open().await;
        let mut writers = JoinSet::new();
        for key in ["a", "b", "c", "d"] {
            let log = Arc::clone(&log);
            writers.spawn(async move {
                for number in 0..50 {
                    let two = [0, 1].map(|half| record(log.as_ref(), EVENTS, key, &format!("{key}{number}.{half}")));
                    let positions = log.append(two.to_vec()).await.unwrap_or_else(|error| panic!("{error}"));
                    assert!(positions[0].offset < positions[1].offset, "one call appends in its order");
                }
            });
        }
        writers.join_all().await;
        let mut by_key: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
        for record in read(&log, start(log.as_ref(), EVENTS)).await {
            by_key.entry(record.key.as_deref().unwrap_or_default().to_vec()).or_default().push(text(&record));
        }
        for key in ["a", "b", "c", "d"] {
            let expected: Vec<String> =
                (0..50).flat_map(|number| [0, 1].map(|half| format!("{key}{number}.{half}"))).collect();
            assert_eq!(by_key[key.as_bytes()], expected, "{}", log.describe());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_append_returned_is_there_after_opening_again_with_the_same_id() {
    for place in Place::all("durable") {
        let log = place.open().await;
        let id = log.id().to_owned();
        let positions = log.append(vec![record(log.as_ref(), EVENTS, "k", "kept")]).await;
        let position = positions.unwrap_or_else(|error| panic!("{error}"))[0];
        drop(log);
        let log = place.open().await;
        assert_eq!(log.id(), id);
        let records = read(&log, Vector([(position.partition, position.offset)].into())).await;
        assert_eq!(records.iter().map(text).collect::<Vec<_>>(), ["kept"]);
        assert_eq!(records[0].position, position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_log_holds_its_identity_and_reading_at_the_end_waits_and_returns_nothing() {
    for place in Place::all("empty") {
        let log = place.open().await;
        assert!(!log.id().is_empty());
        let of_thread = Arc::clone(&log);
        let at_end = move || {
            let end = of_thread.end(&of_thread.topics()).unwrap_or_else(|error| panic!("{error}"));
            let topics = i64::try_from(of_thread.topics().len()).unwrap_or(0);
            assert_eq!(end.0.values().sum::<i64>(), topics, "only the log's creation, once in each topic: {end}");
            let limits = ReadLimits { wait: Duration::from_millis(50), ..LIMITS };
            let records = of_thread.reader(&end).and_then(|mut reader| reader.read(limits));
            assert!(records.unwrap_or_else(|error| panic!("{error}")).is_empty());
        };
        tokio::task::spawn_blocking(at_end).await.unwrap_or_else(|error| panic!("{error}"));
        let nothing = log.append(Vec::new()).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(nothing.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gives_each_record_once_and_in_order_whichever_process_appended_it() {
    for place in Place::all("own") {
        let log = place.open().await;
        // Another process, where the log allows one.
        let other = if matches!(place, Place::Kafka(_)) { place.open().await } else { Arc::clone(&log) };
        let (of_thread, from) = (Arc::clone(&log), start(log.as_ref(), EVENTS));
        let (begin, began) = std::sync::mpsc::channel();
        let reading = move || {
            let mut reader = of_thread.reader(&from).unwrap_or_else(|error| panic!("{error}"));
            let mut records = Vec::new();
            // The log's creation and what follows below.
            while records.len() < 1 + 2 * 300 + 40 {
                let limits = ReadLimits { wait: Duration::from_secs(120), ..LIMITS };
                let more = reader.read(limits).unwrap_or_else(|error| panic!("{error}"));
                assert!(!more.is_empty(), "{} records came, then no more", records.len());
                records.extend(more);
                let _told = begin.send(());
            }
            records
        };
        let reading = tokio::task::spawn_blocking(reading);
        tokio::task::spawn_blocking(move || began.recv()).await.ok().and_then(Result::ok);
        let mut writers = JoinSet::new();
        for (name, log) in [("own", &log), ("other", &other)] {
            let log = Arc::clone(log);
            writers.spawn(async move {
                for number in 0..300 {
                    let record = record(log.as_ref(), EVENTS, "k", &format!("{name}{number}"));
                    log.append(vec![record]).await.unwrap_or_else(|error| panic!("{error}"));
                }
            });
        }
        writers.join_all().await;
        // More than is kept in memory.
        let large = "x".repeat(100_000);
        let many = (0..40).map(|_| record(log.as_ref(), EVENTS, "k", &large)).collect();
        log.append(many).await.unwrap_or_else(|error| panic!("{error}"));
        let shown = |records: Vec<Record>| {
            let mut shown: Vec<_> =
                records.iter().map(|record| (record.position, record.key.clone(), text(record))).collect();
            let in_order = shown
                .windows(2)
                .all(|two| two[0].0.partition != two[1].0.partition || two[0].0.offset < two[1].0.offset);
            assert!(in_order, "records of one partition came out of order");
            shown.sort();
            shown
        };
        let own = shown(reading.await.unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(own, shown(read(&log, start(log.as_ref(), EVENTS)).await), "{}", log.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_added_while_the_log_is_open_belongs_to_it() {
    let (added, other) = (Topic::named("metaflow.added", 2), Topic::named("metaflow.other", 2));
    for place in Place::all("added") {
        let log = place.open().await;
        let refused = log.add_topics(&[added], false).await;
        assert!(matches!(refused, Err(LogError::Absent(_))), "{refused:?}");
        assert!(!log.topics().contains(&added), "a topic that could not be added is one of the log's");
        for _ in 0..2 {
            log.add_topics(&[added, EVENTS], true).await.unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(log.topics(), [EVENTS, added, HEARTBEATS], "{}", log.describe());
        let partitions = if matches!(place, Place::Embedded(_)) { 1 } else { 2 };
        assert_eq!(log.partition_count(added), partitions);
        let end = of_thread(&log, |log| log.end(&log.topics())).await;
        let ends: i64 = (0..partitions).map(|id| end.next(Partition { topic: added, id })).sum();
        assert_eq!(ends, 1, "only the log's id: {end}");
        let position = log.append(vec![record(log.as_ref(), added, "k", "first")]).await;
        let position = position.unwrap_or_else(|error| panic!("{error}"))[0];
        let records = read(&log, Vector([(position.partition, position.offset)].into())).await;
        assert_eq!(records.iter().map(text).collect::<Vec<_>>(), ["first"]);
        drop(log);
        // A process that starts later finds the topic by its name, with all that it holds.
        let log = place.open().await;
        assert!(!log.topics().contains(&added));
        log.add_topics(&[added], false).await.unwrap_or_else(|error| panic!("{error}"));
        let again = log.append(vec![record(log.as_ref(), added, "k", "second")]).await;
        assert_eq!(again.ok(), Some(vec![Position { offset: position.offset + 1, ..position }]));
        let together = [other];
        let added = tokio::join!(log.add_topics(&together, true), log.add_topics(&together, true));
        assert!(added.0.is_ok() && added.1.is_ok(), "{added:?}");
        let records = read(&log, start(log.as_ref(), other)).await;
        assert_eq!(records.len(), 1, "{}: the id is written once", log.describe());
    }
}

/// Calls the log outside of the async workers.
async fn of_thread<T: Send + 'static>(
    log: &Arc<dyn EventLog>,
    call: impl FnOnce(&dyn EventLog) -> Result<T, LogError> + Send + 'static,
) -> T {
    let log = Arc::clone(log);
    let called = tokio::task::spawn_blocking(move || call(log.as_ref())).await;
    called.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_is_woken_by_the_next_append() {
    for place in Place::all("woken") {
        let log = place.open().await;
        let of_thread = Arc::clone(&log);
        let (open, opened) = tokio::sync::oneshot::channel();
        let reading = tokio::task::spawn_blocking(move || {
            let end = of_thread.end(&of_thread.topics()).unwrap_or_else(|error| panic!("{error}"));
            let mut reader = of_thread.reader(&end).unwrap_or_else(|error| panic!("{error}"));
            open.send(()).unwrap_or_else(|()| panic!("nobody waits"));
            reader.read(ReadLimits { wait: Duration::from_secs(30), ..LIMITS })
        });
        opened.await.unwrap_or_else(|error| panic!("{error}"));
        let appended = log.append(vec![record(log.as_ref(), EVENTS, "k", "news")]).await;
        appended.unwrap_or_else(|error| panic!("{error}"));
        let records = reading.await.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(records.iter().map(text).collect::<Vec<_>>(), ["news"], "{}", log.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_record_of_every_key_of_a_compacted_topic_is_there() {
    for place in Place::all("compacted") {
        let log = place.open().await;
        for number in 0..20 {
            for key in ["x", "y"] {
                let beat = record(log.as_ref(), HEARTBEATS, key, &format!("{key}{number}"));
                log.append(vec![beat]).await.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        let mut newest: HashMap<Vec<u8>, String> = HashMap::new();
        for record in read(&log, start(log.as_ref(), HEARTBEATS)).await {
            newest.insert(record.key.as_deref().unwrap_or_default().to_vec(), text(&record));
        }
        assert_eq!((newest[b"x".as_slice()].as_str(), newest[b"y".as_slice()].as_str()), ("x19", "y19"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_returns_neither_markers_nor_aborted_records_and_comes_to_the_end_all_the_same() {
    let [_, place] = Place::all("markers");
    let Place::Kafka(address) = &place else { panic!("the second place is Kafka") };
    let log = place.open().await;
    for outcome in ["commit", "abort"] {
        services::python("kit/transactions.py", &[outcome, &address.brokers, &address.prefix]);
    }
    for topic in [EVENTS, HEARTBEATS] {
        let from = start(log.as_ref(), topic);
        let read = read(&log, from.clone()).await;
        let foreign: Vec<String> =
            read.iter().filter(|it| it.key.as_deref() == Some(b"foreign".as_slice())).map(text).collect();
        assert_eq!(foreign, vec!["commit"; from.0.len()], "one in each partition");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_was_cut_off_in_any_partition_is_noticed_and_the_partition_is_named() {
    let [_, place] = Place::all("cut");
    let Place::Kafka(address) = &place else { panic!("the second place is Kafka") };
    let log = place.open().await;
    let last = Partition { topic: EVENTS, id: log.partition_count(EVENTS) - 1 };
    let records = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|key| record(log.as_ref(), EVENTS, key, "1"));
    assert!(records.iter().any(|record| record.partition == last.id), "the last partition is empty");
    log.append(records.to_vec()).await.unwrap_or_else(|error| panic!("{error}"));
    let topic = EVENTS.full_name(&address.prefix);
    services::python("kit/alter_topic.py", &["cut", &address.brokers, &topic, &last.id.to_string()]);
    let (reading, from) = (Arc::clone(&log), start(log.as_ref(), EVENTS));
    let failed = move || {
        let mut reader = reading.reader(&from).unwrap_or_else(|error| panic!("{error}"));
        let error = (0..60).find_map(|_| reader.read(ReadLimits { wait: Duration::from_secs(2), ..LIMITS }).err());
        (error, reading.end(&[EVENTS]).err())
    };
    let (read, end) = tokio::task::spawn_blocking(failed).await.unwrap_or_else(|error| panic!("{error}"));
    let first = Position { partition: last, offset: 0 };
    assert!(matches!(read, Some(LogError::OffsetGone(position)) if position == first), "{read:?}");
    let named = format!("{last} begins at offset");
    assert!(matches!(&end, Some(LogError::Damaged(reason)) if reason.contains(&named)), "{end:?}");
    assert!(log.failure().is_some_and(|reason| reason.contains(&named)));
    assert!(refusal(address.clone(), true).await.contains(&named));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_limit_is_refused_and_one_at_the_limit_is_kept() {
    for place in Place::all("limit") {
        let log = place.open().await;
        let mut large = record(log.as_ref(), EVENTS, "k", "");
        large.value = vec![7; daybook_ingest::log::kafka::RECORD_BYTES_MAX + 1];
        let refused = log.append(vec![large.clone()]).await;
        assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
        large.value.pop();
        let position = log.append(vec![large.clone()]).await.unwrap_or_else(|error| panic!("{error}"))[0];
        let records = read(&log, Vector([(position.partition, position.offset)].into())).await;
        assert_eq!(records[0].value.len(), large.value.len());
    }
}

/// What opening the log says, where it must not open.
async fn refusal(address: Address, creates: bool) -> String {
    opened(&address, creates).await.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Runs a Python program with arguments.
fn python(program: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new(services::address("DAYBOOK_TEST_PYTHON"));
    let output = command.args(["-c", program]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run Python: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Creates a topic and waits until the broker tells of it: broker, name, and settings as `name=value`.
const CREATE_TOPIC: &str = "import sys; from confluent_kafka.admin import AdminClient, NewTopic; \
    settings = dict(pair.split('=') for pair in sys.argv[3:]); \
    client = AdminClient({'bootstrap.servers': sys.argv[1]}); \
    made = client.create_topics([NewTopic(sys.argv[2], 1, config=settings)]); \
    [one.result() for one in made.values()]; \
    list(iter(lambda: sys.argv[2] in client.list_topics(timeout=10).topics, True))";

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_the_earlier_layout_is_refused_with_the_way_on_and_left_as_it_is() {
    const CREATE_TABLES: &str = "import sqlite3, sys; \
        sqlite3.connect(sys.argv[1]).execute('CREATE TABLE events (\"offset\" INTEGER PRIMARY KEY, key TEXT, value BLOB)')";
    for place in Place::all("earlier") {
        let refused = match &place {
            Place::Embedded(folder) => {
                let file = folder.0.join("log.db");
                std::fs::create_dir_all(&folder.0).unwrap_or_else(|error| panic!("{error}"));
                python(CREATE_TABLES, &[&file.display().to_string()]);
                let before = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}"));
                let refused = EmbeddedLog::open(&folder.0, &TOPICS).err();
                assert!(embedded::end(&folder.0, &TOPICS).is_err(), "a reader takes it for a log of today's layout");
                assert_eq!(std::fs::read(&file).ok(), Some(before), "the file was changed");
                refused
            }
            Place::Kafka(address) => {
                python(CREATE_TOPIC, &[&address.brokers, &format!("{}.events", address.prefix), "retention.ms=-1"]);
                opened(address, true).await.err()
            }
        };
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("earlier layout") && refused.contains("/api/v1/events"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_told_to_a_reader() {
    let [_, Place::Kafka(address)] = Place::all("absent") else { panic!("the second place is Kafka") };
    let said = refusal(address, false).await;
    assert!(said.contains("does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_settings_would_lose_history_is_refused_with_the_setting_s_name() {
    for (topic, settings, named) in [
        ("metaflow", vec!["retention.ms=1000", "max.message.bytes=9000000"], "retention.ms"),
        ("metaflow", vec!["cleanup.policy=compact", "retention.ms=-1", "max.message.bytes=9000000"], "cleanup.policy"),
        ("metaflow", vec!["retention.ms=-1"], "max.message.bytes"),
        ("metaflow.heartbeats", vec!["cleanup.policy=delete", "max.message.bytes=9000000"], "cleanup.policy"),
    ] {
        let [_, Place::Kafka(address)] = Place::all("settings") else { panic!("the second place is Kafka") };
        let name = format!("{}.{topic}", address.prefix);
        python(CREATE_TOPIC, &[&[&*address.brokers, &*name], &*settings].concat());
        let said = refusal(address.clone(), true).await;
        assert!(said.contains(named), "{topic} with {settings:?}: {said:?}");
        let other = if topic == "metaflow" { "metaflow.heartbeats" } else { "metaflow" };
        // It would fail if the topic were there.
        python(CREATE_TOPIC, &[&address.brokers, &format!("{}.{other}", address.prefix)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_demands_a_scram_login_is_used_with_it_and_not_without() {
    let url =
        services::address("DAYBOOK_TEST_KAFKA_SCRAM").replacen('?', &format!("/{}?", services::unique("scram")), 1);
    let address = Address::parse(&url, str::to_owned).unwrap_or_else(|error| panic!("{url}: {error}"));
    let log = opened(&address, true).await.unwrap_or_else(|error| panic!("{error}"));
    let appended = log.append(vec![record(&log, EVENTS, "k", "guarded")]).await;
    assert_eq!(appended.map(|positions| positions.len()).ok(), Some(1));
    let mut stranger = address;
    stranger.options.insert("sasl.password".to_owned(), "wrong".to_owned());
    let said = refusal(stranger, true).await;
    assert!(said.contains("refuses the credentials"), "a wrong password: {said:?}");
}
