//! The runs: the rules hold, and each of them is needed.

use std::{collections::BTreeSet, time::Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::{
    BOUNDED, FRESHNESS, GOAL, Goal, KNOWN, NOTHING_LOST, ONE_COORDINATOR, ONE_GENERATION, ORDER, PREVIOUS, ROWS,
    SEARCH_FRESHNESS, Settings, Switch, rules::Rule,
};

/// A promotion and a roll back, with one write and one read.
const TWO_FLIPS: Settings = Settings {
    instances: 2,
    partitions: 1,
    generations: 2,
    writes: 1,
    reads: 1,
    announced_until: 3,
    index: false,
    retires: false,
    previews: false,
    late_news: false,
    slow_renewals: false,
    slow_answers: false,
    batches: false,
    coordinators: false,
    withdraws: false,
    deadlines: false,
    crashes: false,
    bounded: false,
    goal: Goal::RolledBack,
    without: None,
};
/// A promotion.
const ONE_FLIP: Settings = Settings { announced_until: 0, goal: Goal::Promoted, ..TWO_FLIPS };
/// Two promotions, and the first generation is retired in between.
const THREE_GENERATIONS: Settings =
    Settings { generations: 3, retires: true, announced_until: 5, goal: Goal::Third, ..TWO_FLIPS };
const RETIRE: Settings = Settings { retires: true, ..ONE_FLIP };
const SEARCH: Settings = Settings { index: true, ..ONE_FLIP };

/// Every invariant holds in every state.
fn check(name: &str, settings: Settings) {
    let began = Instant::now();
    let checker = Switch::new(settings).checker().threads(2).spawn_bfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    eprintln!("{name}: {states} states, {steps} steps, {:.1} s", began.elapsed().as_secs_f64());
    checker.assert_properties();
}

/// Without the rule, the invariant is violated in some state.
fn check_needed(rule: Rule, settings: Settings, invariant: &'static str) {
    let settings = Settings { without: Some(rule), ..settings };
    let until = HasDiscoveries::AnyOf(BTreeSet::from([invariant]));
    let checker = Switch::new(settings).checker().threads(2).finish_when(until).spawn_bfs().join();
    let path = checker.discovery(invariant).unwrap_or_else(|| panic!("without {rule:?}, this holds: {invariant}"));
    let (states, steps) = (checker.unique_state_count(), path.into_actions());
    eprintln!("without {rule:?} (after {states} states): {invariant}\n  {steps:?}");
}

macro_rules! holds {
    ($($name:ident: $settings:expr;)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), $settings);
        })*
    };
}

macro_rules! needed {
    ($($name:ident: $rule:ident, $settings:expr, $invariant:expr;)*) => {
        $(#[test]
        fn $name() {
            check_needed(Rule::$rule, $settings, $invariant);
        })*
    };
}

/// Without the rule, everything still holds: it serves something else than safety.
macro_rules! not_needed {
    ($($name:ident: $rule:ident, $settings:expr;)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), Settings { without: Some(Rule::$rule), ..$settings });
        })*
    };
}

holds! {
    promotion_withdrawal_and_roll_back: Settings { withdraws: true, deadlines: true, ..TWO_FLIPS };
    freezes_just_before_an_answer: Settings { slow_answers: true, deadlines: true, ..TWO_FLIPS };
    two_writes_on_the_way: Settings { writes: 2, ..TWO_FLIPS };
    reads_through_both_instances: Settings { reads: 2, withdraws: true, ..TWO_FLIPS };
    three_instances_read_and_write: Settings { instances: 3, reads: 2, ..TWO_FLIPS };
    two_partitions_switch_together: Settings { partitions: 2, writes: 2, ..ONE_FLIP };
    the_index_switches_with_the_tables: Settings { index: true, ..TWO_FLIPS };
    searches_end_before_a_generation_is_dropped: Settings { index: true, ..RETIRE };
    a_third_generation_after_the_first_is_retired: THREE_GENERATIONS;
    previews_end_before_a_generation_is_dropped: Settings { previews: true, deadlines: true, ..RETIRE };
    late_and_lost_notifications: Settings { late_news: true, ..TWO_FLIPS };
    slow_renewals_and_passed_deadlines: Settings { slow_renewals: true, deadlines: true, ..TWO_FLIPS };
    crashes_and_processes_of_one_name: Settings { crashes: true, deadlines: true, withdraws: true, ..TWO_FLIPS };
    a_second_projector_with_an_old_batch: Settings { batches: true, ..TWO_FLIPS };
    a_second_projector_with_two_records: Settings { batches: true, writes: 2, reads: 0, ..ONE_FLIP };
    two_coordinators_promote_roll_back_and_retire:
        Settings { coordinators: true, withdraws: true, reads: 0, ..THREE_GENERATIONS };
    two_coordinators_while_instances_read:
        Settings { coordinators: true, withdraws: true, generations: 3, ..ONE_FLIP };
    a_stuck_instance_holds_up_nobody_for_long:
        Settings { bounded: true, deadlines: true, withdraws: true, retires: true, writes: 2, reads: 0, ..TWO_FLIPS };
}

needed! {
    needs_tables_limit: TablesLimit, TWO_FLIPS, KNOWN;
    needs_tables_limit_under_lock: TablesLimitUnderLock, Settings { batches: true, ..TWO_FLIPS }, KNOWN;
    needs_compare_checkpoint: CompareCheckpoint, Settings { batches: true, ..ONE_FLIP }, ROWS;
    needs_index_limit: IndexLimit, SEARCH, SEARCH_FRESHNESS;
    needs_index_tables_first: IndexTablesFirst, SEARCH, SEARCH_FRESHNESS;
    needs_announce_when_idle: AnnounceWhenIdle, TWO_FLIPS, FRESHNESS;
    needs_flip_tables_lag: FlipTablesLag, ONE_FLIP, KNOWN;
    needs_flip_every_partition: FlipEveryPartition, Settings { partitions: 2, writes: 2, ..ONE_FLIP }, NOTHING_LOST;
    needs_search_floor: SearchFloor, SEARCH, SEARCH_FRESHNESS;
    needs_flip_under_lock: FlipUnderLock, ONE_FLIP, NOTHING_LOST;
    needs_writes_wait_for_former: WritesWaitForFormer, ONE_FLIP, FRESHNESS;
    needs_reads_wait_for_former: ReadsWaitForFormer, ONE_FLIP, FRESHNESS;
    needs_reads_wait_for_live: ReadsWaitForLive, TWO_FLIPS, FRESHNESS;
    needs_waits_are_current: WaitsAreCurrent, Settings { slow_answers: true, ..TWO_FLIPS }, FRESHNESS;
    needs_search_position: SearchPosition, SEARCH, SEARCH_FRESHNESS;
    needs_complete_acknowledged: CompleteAcknowledged, ONE_FLIP, FRESHNESS;
    needs_complete_under_lock: CompleteUnderLock, Settings { slow_renewals: true, ..ONE_FLIP }, FRESHNESS;
    needs_renew_under_lock: RenewUnderLock, Settings { slow_renewals: true, ..ONE_FLIP }, FRESHNESS;
    needs_renew_unexpired: RenewUnexpired, ONE_FLIP, FRESHNESS;
    needs_renew_followed: RenewFollowed, Settings { bounded: true, deadlines: true, reads: 0, ..ONE_FLIP }, BOUNDED;
    needs_acknowledge_applied: AcknowledgeApplied, ONE_FLIP, FRESHNESS;
    needs_newer_only: NewerOnly, Settings { late_news: true, ..ONE_FLIP }, FRESHNESS;
    needs_join_with_row: JoinWithRow, ONE_FLIP, FRESHNESS;
    needs_join_gives_up: JoinGivesUp, Settings { deadlines: true, ..ONE_FLIP }, FRESHNESS;
    needs_join_not_held: JoinNotHeld, Settings { crashes: true, ..ONE_FLIP }, FRESHNESS;
    needs_same_lease: SameLease, RETIRE, ONE_GENERATION;
    needs_lease_unexpired: LeaseUnexpired, TWO_FLIPS, FRESHNESS;
    needs_own_clock_first: OwnClockFirst, ONE_FLIP, FRESHNESS;
    needs_one_generation: OneGeneration, SEARCH, ONE_GENERATION;
    needs_compare_epoch:
        CompareEpoch, Settings { coordinators: true, generations: 3, reads: 0, ..ONE_FLIP }, ONE_COORDINATOR;
    needs_withdraw_before_flip: WithdrawBeforeFlip, Settings { withdraws: true, ..ONE_FLIP }, ORDER;
    needs_retire_first: RetireFirst, Settings { generations: 3, ..TWO_FLIPS }, PREVIOUS;
    needs_retire_when_idle: RetireWhenIdle, RETIRE, FRESHNESS;
    needs_retired_acknowledged: RetiredAcknowledged, RETIRE, ONE_GENERATION;
    needs_acknowledge_closed: AcknowledgeClosed, RETIRE, ONE_GENERATION;
    needs_closing_refuses: ClosingRefuses, Settings { previews: true, ..RETIRE }, ONE_GENERATION;
}

not_needed! {
    flip_in_time_is_for_the_others: FlipInTime, Settings { deadlines: true, withdraws: true, ..TWO_FLIPS };
    begin_held_refuses_early: BeginHeld, TWO_FLIPS;
    begin_held_refuses_early_with_retirement: BeginHeld, Settings { previews: true, ..RETIRE };
    same_lease_matters_only_where_generations_are_dropped: SameLease, TWO_FLIPS;
}

/// The goal of a run is no invariant: it shows that the run is not empty.
#[test]
fn a_run_that_cannot_reach_its_goal_is_noticed() {
    let settings = Settings { announced_until: -1, ..ONE_FLIP };
    let checker = Switch::new(settings).checker().spawn_bfs().join();
    assert!(checker.discovery(GOAL).is_none());
}
