//! Verification: what differs between two generations, or between an index and its tables, is found and named by its
//! key, and nothing else is, on every engine.

mod builds;
mod canaries;
mod conservation;
mod constraints;
mod documents;
mod gate;
mod pair;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use daybook_books::projection::Books;
use daybook_ingest::append::Appender;
use daybook_metaflow::{events::TOPICS, projection::Metaflow};
use daybook_projector::{
    bookkeeping,
    comparison::{self, Reader},
    projection::Projection,
    throttle::Throttle,
};
use daybook_reindexer::verify::{Difference, Limits, Report, TableReport, verify};
use serde_json::{Value, json};

use self::pair::{Changed, Pair, books, flow, retag, sql, wider};
use crate::tables::places;

/// Verifies without an index.
async fn check(pair: &Pair, limits: &Limits) -> Report {
    let (live, candidate) = (Arc::clone(&pair.live), Arc::clone(&pair.candidate));
    let (projection, limits) = (Arc::clone(&pair.projection), *limits);
    // As a task of its own: so a coordinator may run it.
    let verified = tokio::spawn(async move {
        verify(&live, &candidate, &projection, None, &limits, &|_, _| {}, &Throttle::default()).await
    })
    .await;
    let report = verified.unwrap_or_else(|error| panic!("{error}"));
    let report = report.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    let text = serde_json::to_string(&report).unwrap_or_default();
    assert_eq!(serde_json::from_str::<Report>(&text).ok().as_ref(), Some(&report), "{text}");
    report
}

fn table<'r>(report: &'r Report, name: &str) -> &'r TableReport {
    let mut found = report.tables.iter().filter(|table| table.name == name);
    found.next().unwrap_or_else(|| panic!("{name} is not in {report:?}"))
}

/// What a verification found of the tables: of each difference the table, how it differs, and the key.
fn found(report: &Report) -> Vec<(String, &'static str, Value)> {
    let kind = |difference: &Difference| match (&difference.live, &difference.candidate) {
        (Some(_), None) => "missing",
        (None, Some(_)) => "extra",
        _ => "differs",
    };
    let of_table = |table: &TableReport| {
        let listed = table.differing.iter().map(|one| (table.name.clone(), kind(one), one.key.clone()));
        listed.collect::<Vec<_>>()
    };
    report.tables.iter().flat_map(of_table).collect()
}

/// A change of the candidate's tables, how to take it back, and what verification must find.
struct Fault {
    change: &'static str,
    back: &'static str,
    table: &'static str,
    kind: &'static str,
    key: Value,
}

#[expect(clippy::too_many_lines, reason = "a table of faults")]
fn faults() -> Vec<Fault> {
    let fault = |table, kind, key, change, back| Fault { change, back, table, kind, key };
    vec![
        // One flipped byte.
        fault(
            "artifacts",
            "differs",
            json!({"task_id": 5, "attempt_id": 0, "name": "model", "flow_id": "F"}),
            "UPDATE artifacts SET sha = 'sHa' WHERE task_id = 5 AND attempt_id = 0 AND name = 'model'",
            "UPDATE artifacts SET sha = 'sha' WHERE task_id = 5 AND attempt_id = 0 AND name = 'model'",
        ),
        // A value that is there, and an empty one in its place.
        fault(
            "tasks",
            "differs",
            json!({"task_id": 5, "flow_id": "F"}),
            "UPDATE tasks SET user_name = '' WHERE task_id = 5 AND user_name IS NULL",
            "UPDATE tasks SET user_name = NULL WHERE task_id = 5",
        ),
        // A row that another event made.
        fault(
            "steps",
            "differs",
            json!({"run_number": 2, "step_name": "start", "flow_id": "F"}),
            "UPDATE steps SET record_offset = record_offset + 1 WHERE run_number = 2",
            "UPDATE steps SET record_offset = record_offset - 1 WHERE run_number = 2",
        ),
        fault(
            "runs",
            "differs",
            json!({"run_number": 1, "flow_id": "F"}),
            "UPDATE runs SET tags_revision = tags_revision + 1 WHERE run_number = 1",
            "UPDATE runs SET tags_revision = tags_revision - 1 WHERE run_number = 1",
        ),
        // Values that two rows of one range have swapped.
        fault(
            "runs",
            "differs",
            json!({"run_number": 3, "flow_id": "F"}),
            "UPDATE runs SET ts_epoch = 1700000000002 + 1700000000003 - ts_epoch WHERE run_number IN (2, 3)",
            "UPDATE runs SET ts_epoch = 1700000000002 + 1700000000003 - ts_epoch WHERE run_number IN (2, 3)",
        ),
        fault(
            "flows",
            "missing",
            json!({"flow_id": "G"}),
            "UPDATE flows SET flow_id = 'moved' WHERE flow_id = 'G'",
            "UPDATE flows SET flow_id = 'G' WHERE flow_id = 'moved'",
        ),
        fault(
            "flows",
            "extra",
            json!({"flow_id": "moved"}),
            "UPDATE flows SET flow_id = 'moved' WHERE flow_id = 'G'",
            "UPDATE flows SET flow_id = 'G' WHERE flow_id = 'moved'",
        ),
        fault(
            "task_heartbeats",
            "differs",
            json!({"task_id": 5, "flow_id": "F"}),
            "UPDATE task_heartbeats SET beat_at = beat_at + 1 WHERE task_id = 5",
            "UPDATE task_heartbeats SET beat_at = beat_at - 1 WHERE task_id = 5",
        ),
        fault(
            "run_heartbeats",
            "extra",
            json!({"run_number": 77, "flow_id": "F"}),
            "INSERT INTO run_heartbeats (run_number, flow_id, beat_at) VALUES (77, 'F', 1)",
            "DELETE FROM run_heartbeats WHERE run_number = 77",
        ),
        fault(
            "numbers",
            "differs",
            json!({"sequence": "metaflow.tasks"}),
            "UPDATE numbers SET highest = highest + 1 WHERE sequence LIKE '%task%'",
            "UPDATE numbers SET highest = highest - 1 WHERE sequence LIKE '%task%'",
        ),
        fault(
            "idempotency_keys",
            "differs",
            json!({"record_key": "F", "idempotency_key": "key"}),
            "UPDATE idempotency_keys SET number = number + 1 WHERE idempotency_key = 'key'",
            "UPDATE idempotency_keys SET number = number - 1 WHERE idempotency_key = 'key'",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_generations_pass_and_each_fault_of_a_row_is_named_by_its_key() {
    for place in places("verified") {
        let pair = Pair::start(&place, Arc::new(Metaflow), Arc::new(Metaflow), &TOPICS).await;
        pair.append(&flow("F", 1..=3, Some("key"))).await;
        pair.append(&flow("G", 10..=10, None)).await;
        pair.append(&[retag("F", 1, "x")]).await;
        let name = place.store.describe();
        let report = check(&pair, &Limits::default()).await;
        assert!(report.passed && report.reasons.is_empty(), "{name}: {report:#?}");
        for table in &report.tables {
            assert_eq!(table.live_rows, table.candidate_rows, "{name}: {}", table.name);
            assert!(table.live_rows > 0 || table.name == "skips", "{name}: nothing in {}", table.name);
        }
        assert!(report.checkpoints.compared > 0, "{name}");
        assert!(!report.at.is_empty(), "{name}");
        for fault in faults() {
            sql(&pair.candidate, fault.change).await;
            let report = check(&pair, &Limits::default()).await;
            let named = found(&report);
            let expected_key = |(table, kind, key): &(String, &str, Value)| {
                table == fault.table && *kind == fault.kind && (*key == fault.key || fault.table == "numbers")
            };
            assert!(!report.passed && named.iter().any(expected_key), "{name}: {}: {named:?}", fault.change);
            assert!(named.len() <= 2, "{name}: {}: {named:?}", fault.change);
            assert!(report.reasons.iter().any(|reason| reason.contains(fault.table)), "{name}: {:?}", report.reasons);
            let limits = Limits { differing: 2, missing: 1, extra: 1, ..Limits::default() };
            assert!(check(&pair, &limits).await.passed, "{name}: {} is within limits", fault.change);
            sql(&pair.candidate, fault.back).await;
        }
        assert!(check(&pair, &Limits::default()).await.passed, "{name}");
        // The last record was another one.
        sql(&pair.candidate, "UPDATE checkpoints SET record_hash = 'other' WHERE record_offset > 0").await;
        let report = check(&pair, &Limits::default()).await;
        assert!(!report.passed && !report.checkpoints.differing.is_empty(), "{name}: {report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_with_one_id_are_told_apart_and_counted() {
    for place in places("entries") {
        let pair = Pair::start(&place, Arc::new(Metaflow), Arc::new(Metaflow), &TOPICS).await;
        pair.append(&flow("F", 1..=1, None)).await;
        let again =
            "INSERT INTO metadata SELECT flow_id, run_number, step_name, task_id, task_name, id, field_name, value,
            type, user_name, ts_epoch, tags, system_tags, record_partition, record_offset FROM metadata WHERE id = 9";
        sql(&pair.candidate, again).await;
        let report = check(&pair, &Limits::default()).await;
        let metadata = table(&report, "metadata");
        assert_eq!((metadata.differing_count, metadata.extra_count), (1, 0), "{report:#?}");
        assert_eq!(
            (metadata.live_rows + 1, metadata.differing[0].key["id"].as_i64()),
            (metadata.candidate_rows, Some(9))
        );
        sql(&pair.live, again).await;
        assert!(check(&pair, &Limits::default()).await.passed, "{}", place.store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_that_go_on_applying_raise_no_false_alarm() {
    for place in places("writing") {
        let pair = Pair::start(&place, Arc::new(Metaflow), Arc::new(Metaflow), &TOPICS).await;
        pair.append(&flow("F", 1..=3, None)).await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (of_writer, count, appender) =
            (Arc::clone(&stop), Arc::clone(&written), Appender::new(Arc::clone(&pair.log)));
        let writer = tokio::spawn(async move {
            while !of_writer.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let name = ["F", "G", "H"][usize::try_from(number % 3).unwrap_or(0)];
                let mut events = flow(name, 100 + number..=100 + number, None);
                // Two rows that change all the time.
                events.extend([retag("F", 1, &format!("tag{}", number % 50)), pair::beat("F", 1, number * 1000)]);
                appender.append(&events).await.unwrap_or_else(|error| panic!("{error}"));
            }
        });
        let mut verified = 0;
        while verified < 6 || written.load(Ordering::Relaxed) < 30 {
            let report = check(&pair, &Limits::default()).await;
            assert!(report.passed, "{}, {verified}: {:#?}", place.store.describe(), found(&report));
            verified += 1;
        }
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap_or_else(|error| panic!("{error}"));
        pair.caught_up().await;
        // What differs is still found, at once.
        sql(&pair.candidate, "UPDATE runs SET tags = '[\"other\"]' WHERE run_number = 1").await;
        let report = check(&pair, &Limits::default()).await;
        assert_eq!(found(&report).len(), 1, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_replays_what_compaction_left_has_the_same_heartbeats() {
    for place in places("compacted") {
        let mut pair = Pair::start(&place, Arc::new(Metaflow), Arc::new(Metaflow), &TOPICS).await;
        pair.append(&flow("F", 1..=3, Some("key"))).await;
        // The last one wins, also over one with a later time.
        for at in [9000, 7000, 60_000, 8000] {
            pair.append(&[pair::beat("F", 1, at), pair::beat("F", 2, at + 1000)]).await;
        }
        pair.replay(&place).await;
        let report = check(&pair, &Limits::default()).await;
        assert!(report.passed, "{}: {report:#?}", place.store.describe());
        assert_eq!(table(&report, "run_heartbeats").candidate_rows, 3);
        sql(&pair.candidate, "UPDATE run_heartbeats SET beat_at = beat_at + 52 WHERE run_number = 1").await;
        assert_eq!(found(&check(&pair, &Limits::default()).await).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_gained_a_column_is_compared_by_the_others() {
    for place in places("gained") {
        let pair = Pair::start(&place, Arc::new(Books), wider(), &[daybook_books::events::BOOKS]).await;
        pair.append(&books(1..=5)).await;
        let report = check(&pair, &Limits::default()).await;
        let compared = table(&report, "books");
        assert!(report.passed && compared.left_out == ["pages"], "{report:#?}");
        assert!(compared.columns.iter().any(|column| column == "title") && compared.live_rows == 5);
        let notes = table(&report, "notes");
        assert!(notes.not_compared.is_some(), "a new table is compared with nothing: {notes:?}");
        sql(&pair.candidate, "UPDATE books SET title = 'Other', pages = 8 WHERE book_id = 3").await;
        let report = check(&pair, &Limits::default()).await;
        assert_eq!(found(&report), [("books".to_owned(), "differs", json!({"book_id": 3}))]);
        let Difference { live, candidate, .. } = &table(&report, "books").differing[0];
        let title = |row: &Option<Value>| row.as_ref().and_then(|row| row["title"].as_str().map(str::to_owned));
        assert_eq!((title(live), title(candidate)), (Some("Title 3".to_owned()), Some("Other".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_narrowed_to_the_very_keys_and_the_progress_grows_to_its_end() {
    for place in places("ranges") {
        let pair = Pair::start(&place, Arc::new(Books), Arc::new(Books), &[daybook_books::events::BOOKS]).await;
        for generation in [&pair.live, &pair.candidate] {
            sql(generation, pair::MANY_BOOKS).await;
        }
        let seen = Mutex::new(Vec::new());
        let note = |done, all| seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((done, all));
        let limits = Limits::default();
        let report =
            verify(&pair.live, &pair.candidate, &pair.projection, None, &limits, &note, &Throttle::default()).await;
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        let name = place.store.describe();
        assert!(report.passed && table(&report, "books").ranges > 2, "{name}: {report:#?}");
        assert_eq!(table(&report, "books").live_rows, 20_000, "{name}");
        let seen = seen.into_inner().unwrap_or_default();
        assert!(seen.is_sorted() && seen.last().is_some_and(|(done, all)| done == all && *all > 3), "{name}: {seen:?}");
        // One in each range, at their very bounds, at both ends; some that are missing; many that are extra.
        let changed = [1, 8192, 8193, 16_384, 16_385, 20_000];
        let list = changed.map(|id| id.to_string()).join(", ");
        sql(&pair.candidate, format!("UPDATE books SET author = 'x' WHERE book_id IN ({list})")).await;
        sql(&pair.candidate, "DELETE FROM books WHERE book_id BETWEEN 9001 AND 9003").await;
        let report = check(&pair, &Limits::default()).await;
        let keys: BTreeSet<(&str, i64)> =
            found(&report).iter().map(|(_, kind, key)| (*kind, key["book_id"].as_i64().unwrap_or(0))).collect();
        let expected = changed.map(|id| ("differs", id)).into_iter().chain((9001..=9003).map(|id| ("missing", id)));
        assert_eq!(keys, expected.collect(), "{name}");
        sql(&pair.live, "DELETE FROM books WHERE book_id > 5000").await;
        let report = check(&pair, &Limits::default()).await;
        let compared = table(&report, "books");
        assert_eq!((compared.extra_count, compared.differing_count, compared.missing_count), (14_997, 1, 0), "{name}");
        assert_eq!(compared.differing.len(), 100, "{name}: the list is bounded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_only_the_candidate_refuses_is_named_and_blocks_unless_accepted() {
    for place in places("refused") {
        let candidate: Arc<dyn Projection> =
            Arc::new(Changed { refused: Some("shelf3"), wider: false, unsearched: false });
        let pair = Pair::start(&place, Arc::new(Books), candidate, &[daybook_books::events::BOOKS]).await;
        pair.append(&books(1..=5)).await;
        let report = check(&pair, &Limits::default()).await;
        let (name, quarantine) = (place.store.describe(), &report.quarantine);
        assert_eq!((quarantine.live, quarantine.candidate, quarantine.newly_quarantined_count), (0, 1, 1), "{name}");
        let newly = &quarantine.newly_quarantined[0];
        assert!(newly.position.starts_with("books/") && newly.reason == "it is refused", "{name}: {newly:?}");
        assert!(report.reasons.iter().any(|reason| reason.contains(&newly.position)), "{name}: {:?}", report.reasons);
        // Its row is missing, too.
        let missing = Limits { missing: 1, ..Limits::default() };
        assert!(!check(&pair, &missing).await.passed, "{name}");
        let accepted = Limits { quarantined: None, ..missing };
        let counted = Limits { quarantined: Some(1), ..missing };
        assert!(check(&pair, &counted).await.passed, "{name}: it is within the limit");
        let report = check(&pair, &accepted).await;
        assert!(report.passed, "{name}: {:?}", report.reasons);
        // A record that both refuse, and one that the candidate applies at last, are no faults.
        let entry =
            "INSERT INTO quarantine (topic, partition_id, record_offset, reason, record_key, value_bytes, value_hex)
            VALUES ('books', 0, 900, 'r', 'k', 1, '00')";
        sql(&pair.live, entry).await;
        assert!(check(&pair, &accepted).await.passed, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_table_is_declared() {
    for place in places("declared") {
        for projection in [Arc::new(Metaflow) as Arc<dyn Projection>, Arc::new(Books)] {
            let generation = pair::made(&place, projection.as_ref(), 7).await;
            let declared = projection.comparable().into_iter().chain(bookkeeping::comparable());
            let declared: Vec<_> = declared.chain([bookkeeping::comparable_quarantine()]).collect();
            let of_search =
                ["search_checkpoints", "search_indexes", "search_builds", "search_ranges", "search_quarantine"];
            for name in pair::table_names(&place, &generation).await {
                let Some(table) = declared.iter().find(|table| table.table == name) else {
                    assert!(
                        name == "checkpoints" || of_search.contains(&name.as_str()),
                        "{name} is not declared as comparable"
                    );
                    continue;
                };
                let columns = comparison::columns(generation.tables.as_ref(), &name).await;
                let columns: BTreeSet<String> = columns.unwrap_or_default().into_iter().collect();
                let compared: BTreeSet<String> = table.columns.iter().map(ToString::to_string).collect();
                assert!(compared == columns || name == "quarantine", "{name}: {columns:?}, compared are {compared:?}");
                let reader = Reader::new(table.clone()).unwrap_or_else(|error| panic!("{error}"));
                pair::check_statements(&generation, &reader).await;
            }
        }
    }
}

#[test]
fn another_shape_of_documents_makes_another_fingerprint() {
    let fingerprint = |unsearched| {
        let projection = Changed { refused: None, wider: false, unsearched };
        daybook_projector::generation::fingerprint(&projection).unwrap_or_else(|error| panic!("{error}"))
    };
    assert_ne!(fingerprint(false), fingerprint(true), "two releases that run beside each other would write one index");
}
