//! What control storage guarantees, on SQLite and on PostgreSQL: generations, switches, leases and numbers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use daybook_ingest::sequence::NumberSource;
use daybook_projector::{tables::TablesError, throttle::Throttle};
use daybook_reindexer::{
    control::{ChangeError, Control, Entry, NewState, Seen, State},
    lease::{Folded, Holding, Lease},
    switch::{
        DatabaseTime, Epoch, GenerationId,
        control::{Phase, SwitchError},
    },
};
use daybook_schemas::{Topic, position::Partition, topics::Declaration};

use crate::tables::{Place, places};

async fn opened(place: &Place) -> Control {
    Control::open(Arc::clone(&place.store)).await.unwrap_or_else(|error| panic!("{error}"))
}

fn entry(generation: i64, state: State) -> Entry {
    Entry::new(generation, format!("s{generation}"), state, "f".to_owned(), "l".to_owned())
}

fn holding(instance: &str, roles: &str) -> Holding {
    let (instance, roles) = (instance.to_owned(), roles.to_owned());
    let folded = Folded { domain: "d", partitions: Vec::new(), fingerprint: "f".to_owned() };
    Holding { instance, roles, domains: vec![folded], throttle: Arc::default() }
}

/// Renews leases, as a process does.
async fn renew(leases: &[&Lease]) {
    for lease in leases {
        let known = holding("", "").domains.remove(0);
        lease.add(known).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn done(outcome: Result<(), TablesError>) {
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_generation_becomes_live_with_both_states_or_not_at_all() {
    for place in places("switched") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        for _ in 0..2 {
            done(control.add("d", entry(2, State::Ready)).await);
        }
        let states = || vec![NewState::new(1, State::Previous), NewState::new(2, State::Live)];
        let promote = async |to: i64| {
            control.change("d", states(), move |seen| Ok(seen.row.promote_alone(GenerationId(to), seen.now)?)).await
        };
        let refused = promote(1).await;
        assert!(matches!(refused, Err(ChangeError::Switch(SwitchError::AlreadyLive(_)))), "{refused:?}");
        assert_eq!(control.live("d").await.unwrap_or_default(), Some(1));
        let promoted = promote(2).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((promoted.live, promoted.previous), (GenerationId(2), Some(GenerationId(1))));
        assert_eq!(control.domain("d").await.unwrap_or_default(), Some(promoted));
        let states: Vec<_> = control.generations("d").await.unwrap_or_default();
        let states: Vec<_> = states.into_iter().map(|entry| (entry.generation, entry.state)).collect();
        assert_eq!(states, [(1, State::Previous), (2, State::Live)], "{}", place.store.describe());
        assert!(promote(2).await.is_err(), "a switch is not repeated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_phase_of_a_control_row_comes_back_as_it_was_written() {
    for place in places("phases") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        let deadline = DatabaseTime(77);
        let candidate = GenerationId(2);
        let phases = [
            Phase::Announced { candidate, deadline },
            Phase::Following { deadline },
            Phase::Retiring { deadline },
            Phase::Idle,
        ];
        for phase in phases {
            let change = move |seen: &Seen| {
                let mut row = seen.row;
                (row.epoch, row.phase, row.previous) = (Epoch(row.epoch.0 + 1), phase, Some(GenerationId(3)));
                Ok(row)
            };
            let written = control.change("d", Vec::new(), change).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(control.domain("d").await.unwrap_or_default(), Some(written), "{}", place.store.describe());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_was_verified_too_long_ago_is_stale_by_the_clock_of_control_storage() {
    const HOUR: i64 = 3_600_000;
    for place in places("stale") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        done(control.add("d", entry(2, State::Ready)).await);
        let seen = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&seen);
        let look = move |found: &Seen| {
            let (row, now, entries) = (found.row, found.now, found.entries.clone());
            *noted.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Seen { row, now, holders: Vec::new(), entries });
            Ok(row)
        };
        assert!(control.change("d", Vec::new(), look).await.is_ok());
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut seen = seen.unwrap_or_else(|| panic!("nothing was seen"));
        let verified = |seen: &Seen, generation| seen.expect_verified(generation, Duration::from_secs(3600));
        assert!(verified(&seen, 2).is_ok(), "{}", place.store.describe());
        seen.now = DatabaseTime(seen.now.0 + HOUR + 1);
        let stale = verified(&seen, 2);
        assert!(matches!(stale, Err(ChangeError::Stale { generation: 2 })), "{stale:?} {}", place.store.describe());
        assert!(verified(&seen, 1).is_ok(), "only what is to be promoted was verified");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_a_deadline_stopped_is_kept_and_resumed_until_there_is_a_newer_one() {
    for place in places("stopped") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        done(control.add("d", entry(2, State::Indexing)).await);
        let found = async || {
            let entries = control.generations("d").await.unwrap_or_else(|error| panic!("{error}"));
            let found = entries.into_iter().find(|entry| entry.generation == 2);
            found.unwrap_or_else(|| panic!("it is not listed"))
        };
        let stop = async |from| {
            let stopped = control.stop("d", 2, from, "late".to_owned()).await;
            stopped.unwrap_or_else(|error| panic!("{error}"))
        };
        let resume = async || control.resume("d", 2, true).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(!resume().await && !stop(State::Loading).await, "{}", place.store.describe());
        let first = found().await;
        assert_eq!((first.state, first.stopped, first.began_at), (State::Indexing, None, first.created_at));
        assert!(stop(State::Indexing).await);
        let late = found().await;
        assert_eq!((late.state, late.stopped, late.reason.as_str()), (State::Failed, Some(State::Indexing), "late"));
        assert!(late.state.has_ended() && !late.is_gone());
        assert!(resume().await && !resume().await, "it is resumed once");
        let resumed = found().await;
        assert_eq!((resumed.state, resumed.stopped, resumed.promotes), (State::Indexing, None, true));
        assert_eq!((resumed.created_at, resumed.began_at), (first.created_at, resumed.changed_at));
        assert!(stop(State::Indexing).await);
        done(control.add("d", entry(3, State::Planned)).await);
        assert!(found().await.is_gone() && !resume().await, "{}", place.store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_taken_once_by_whoever_asks_and_above_what_the_log_holds() {
    for place in places("numbers") {
        let open = async || opened(&place).await;
        let one = open().await;
        // Another process, where the store allows one.
        let two = if place.store.shared() { open().await } else { one.clone() };
        let take = async |control: &Control, count, above| {
            control.take("tasks", count, above).await.unwrap_or_else(|error| panic!("{error}"))
        };
        assert_eq!(take(&one, 1, 0).await, 1);
        assert_eq!(take(&two, 3, 0).await, 2);
        assert_eq!(take(&one, 1000, 7).await, 8, "numbers up to 7 are in the log");
        assert_eq!(take(&two, 1, 3).await, 1008, "a lower floor takes nothing back");
        assert_eq!(one.take("runs", 1, 0).await.ok(), Some(1), "each sequence counts by itself");
        let taking = (0..40).map(|index| {
            let control = if index % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move { control.take("tasks", 5, 0).await })
        });
        let mut firsts = Vec::new();
        for taken in taking.collect::<Vec<_>>() {
            firsts
                .push(taken.await.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}")));
        }
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[0] + 5 <= pair[1]), "{firsts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_held_given_up_and_seen_by_all() {
    for place in places("leases") {
        let control = opened(&place).await;
        let join = async |instance: &str, roles: &str| {
            let joined = Lease::join(control.clone(), holding(instance, roles)).await;
            joined.unwrap_or_else(|error| panic!("{error}"))
        };
        let one = join("one", "api,projector").await;
        let two = join("two", "projector").await;
        renew(&[&one, &two]).await;
        assert!(one.is_held() && two.is_held());
        let again = Lease::join(control.clone(), holding("one", "api")).await.err();
        assert!(again.is_some_and(|error| error.is_retryable()), "a name has one lease");
        let seen = async || {
            let instances = control.instances().await.unwrap_or_else(|error| panic!("{error}"));
            instances.into_iter().map(|it| (it.name, it.roles, it.leased)).collect::<Vec<_>>()
        };
        let known = |name: &str, roles: &str, leased| (name.to_owned(), roles.to_owned(), leased);
        renew(&[&one, &two]).await;
        assert_eq!(seen().await, [known("one", "api,projector", true), known("two", "projector", true)]);
        one.leave().await;
        assert!(!one.is_held());
        // Those that go on see that it was there.
        renew(&[&two]).await;
        assert_eq!(seen().await, [known("one", "api,projector", false), known("two", "projector", true)]);
        assert_eq!(control.live("metaflow").await.ok(), Some(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_reports_how_long_reads_take_and_others_pause_for_them() {
    for place in places("reads") {
        let control = opened(&place).await;
        let join = async |instance: &str, read: Option<Duration>| {
            let throttle = Arc::new(Throttle::new(Some(Duration::from_millis(100))));
            read.iter().for_each(|took| throttle.note_read(*took));
            throttle.look();
            let of = Holding { throttle: Arc::clone(&throttle), ..holding(instance, "api") };
            let lease = Lease::join(control.clone(), of).await.unwrap_or_else(|error| panic!("{error}"));
            throttle.look();
            (lease, throttle.pauses().percent())
        };
        let (one, _) = join("one", Some(Duration::from_millis(500))).await;
        let instances = control.instances().await.unwrap_or_else(|error| panic!("{error}"));
        let reported = instances.first().map(|it| it.reads_ms).unwrap_or_default();
        assert!((500..=625).contains(&reported), "{reported} {}", place.store.describe());
        let (_two, pauses) = join("two", None).await;
        assert!(pauses > 0, "{}: another process is slow", place.store.describe());
        one.leave().await;
        let (_three, pauses) = join("three", None).await;
        assert_eq!(pauses, 0, "{}: it has no lease any longer", place.store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_reports_what_its_process_has_applied_and_a_new_one_begins_with_the_control_rows() {
    for place in places("acknowledged") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        let lease = Lease::join(control.clone(), holding("one", "api")).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(!lease.is_held(), "the control row was not applied yet");
        lease.acknowledge("d", Epoch(0), Epoch(0));
        assert!(lease.is_held());
        let change = control.change("d", Vec::new(), |seen| {
            assert_eq!(seen.holders.iter().map(|holder| holder.acknowledged).collect::<Vec<_>>(), [Epoch(0)]);
            Ok(seen.row.announce(Epoch(0), GenerationId(2), DatabaseTime(seen.now.0 + 1))?)
        });
        let row = change.await.unwrap_or_else(|error| panic!("{error}"));
        lease.acknowledge("d", row.epoch, row.epoch);
        let keep = async {
            lease.keep().await;
        };
        let reported = async {
            loop {
                let mut changes = control.changes();
                let acknowledged = control.change("d", Vec::new(), |seen| {
                    let behind = seen.holders.iter().filter(|holder| holder.acknowledged < seen.row.epoch).count();
                    if behind == 0 { Ok(seen.row) } else { Err(SwitchError::NotOverdue.into()) }
                });
                match acknowledged.await {
                    Ok(_) => break,
                    Err(ChangeError::Switch(_)) => drop(changes.changed().await),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let either = async {
            tokio::select! {
                () = keep => {}
                () = reported => {}
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), either).await;
        assert!(done.is_ok(), "{}: what was acknowledged is not reported", place.store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_is_added_to_a_lease_is_assigned_and_begins_with_its_control_row() {
    const ADDED: Topic = Topic::new(&Declaration { name: "added", compacted: false, partitions: 2 });
    let partition = |id| Partition { topic: ADDED, id };
    let folded = |fingerprint: &str| {
        let partitions = vec![partition(0), partition(1)];
        Folded { domain: "added", partitions, fingerprint: fingerprint.to_owned() }
    };
    for place in places("added") {
        let control = opened(&place).await;
        let join = async |instance: &str| {
            let joined = Lease::join(control.clone(), holding(instance, "projector")).await;
            joined.unwrap_or_else(|error| panic!("{error}"))
        };
        let lease = join("one").await;
        done(control.add_first("added", entry(1, State::Live)).await);
        let announce = control.change("added", Vec::new(), |seen| {
            assert!(seen.holders.is_empty(), "nobody runs the domain yet");
            Ok(seen.row.announce(seen.row.epoch, GenerationId(2), DatabaseTime(seen.now.0 + 60_000))?)
        });
        let row = announce.await.unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..2 {
            let epoch = lease.add(folded("f")).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(epoch, row.epoch, "{}", place.store.describe());
        }
        assert!(!lease.has_applied("added", row.epoch));
        assert!(lease.is_held(), "other domains are answered meanwhile");
        assert_eq!(lease.assignment().borrow().of("f"), [partition(0), partition(1)], "{}", place.store.describe());
        let seen = control.change("added", Vec::new(), |seen| {
            assert_eq!(seen.holders.iter().map(|holder| holder.acknowledged).collect::<Vec<_>>(), [seen.row.epoch]);
            Ok(seen.row)
        });
        seen.await.unwrap_or_else(|error| panic!("{error}"));
        lease.acknowledge("added", row.epoch, row.epoch);
        assert!(lease.has_applied("added", row.epoch));
        lease.add(folded("f")).await.unwrap_or_else(|error| panic!("{error}"));
        let two = join("two").await;
        two.add(folded("f")).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(two.assignment().borrow().of("f").len(), 1, "{}: two share the partitions", place.store.describe());
        // Another version of the domain belongs to those that know it.
        let epoch = two.add(folded("g")).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(epoch, row.epoch, "{}: what is acknowledged is of the domain", place.store.describe());
        let assigned = two.assignment().borrow().clone();
        assert_eq!((assigned.of("f").len(), assigned.of("g").len()), (1, 2), "{}", place.store.describe());
        // Tables that generations of both have belong to all.
        let both = ["f", "g"].map(str::to_owned).into();
        assert_eq!(assigned.of_any(&both).len(), 1, "{}", place.store.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_shared_store_an_instance_ends_with_its_process_whatever_is_left_of_its_lease() {
    let place =
        places("ends").into_iter().find(|place| place.store.shared()).unwrap_or_else(|| panic!("no PostgreSQL"));
    let (one, two) = (opened(&place).await, opened(&place).await);
    let first = Lease::join(one, holding("one", "projector")).await.unwrap_or_else(|error| panic!("{error}"));
    let joined = Lease::join(two.clone(), holding("two", "projector")).await;
    let _second = joined.unwrap_or_else(|error| panic!("{error}"));
    let live = async || {
        let instances = two.instances().await.unwrap_or_else(|error| panic!("{error}"));
        (instances.iter().filter(|it| it.connected).count(), instances.len())
    };
    assert_eq!(live().await, (2, 2));
    // What is dropped closes its connections, as a process that dies does.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(30);
    // Its lease has time left all the same: it may not be dead but cut off.
    while live().await != (1, 2) {
        assert!(Instant::now() < deadline, "an instance outlives its connections");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_replaced_and_a_reason_is_kept_only_for_the_state_that_it_explains() {
    for place in places("notes") {
        let control = opened(&place).await;
        done(control.add_first("d", entry(1, State::Live)).await);
        for (generation, value) in [(1, "a"), (2, "b"), (1, "c")] {
            done(control.note("d", generation, "parts", value.to_owned()).await);
        }
        done(control.note("other", 1, "parts", "x".to_owned()).await);
        let notes = control.notes("d").await.unwrap_or_default();
        let notes: Vec<_> = notes.iter().map(|(number, notes)| (*number, notes["parts"].as_str())).collect();
        assert_eq!(notes, [(1, "c"), (2, "b")], "{}", place.store.describe());
        let reason = async || control.generations("d").await.unwrap_or_default()[0].reason.clone();
        done(control.keep_reason("d", 1, State::Previous, "too late").await);
        assert_eq!(reason().await, "");
        done(control.keep_reason("d", 1, State::Live, "nul \0").await);
        assert_eq!(reason().await, "nul \u{fffd}");
        let moved = control.move_state("d", State::Live, NewState::new(1, State::Previous)).await;
        assert_eq!(moved.ok(), Some(true));
        assert_eq!(reason().await, "");
    }
}
