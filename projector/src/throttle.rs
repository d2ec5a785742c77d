//! Slows rebuilds down while reads of the live generations are slow.
//!
//! A closed loop: every second the worst latency of reads that any process reports is compared with a budget. While it is
//! above that, the pauses of rebuilds grow; afterwards they shrink to nothing. A pause is a share of the work before it,
//! and has a bound. So a rebuild takes a bounded number of times longer, and always ends.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::metrics::metrics;

/// Between two looks at the latency of reads.
const TICK: Duration = Duration::from_secs(1);
/// The smallest and the largest pauses, in percent of the work before.
const SMALLEST: u32 = 25;
const LARGEST: u32 = 400;
/// The longest pause: as long as it takes, at most, until a rebuild notices that reads are fast again.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a rebuild pauses after each piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pauses(u32);

impl Pauses {
    /// So many percent of the work before.
    pub(crate) const fn of(percent: u32) -> Self {
        Self(percent)
    }

    /// In percent of the work before.
    pub const fn percent(self) -> u32 {
        self.0
    }

    /// The pause after a piece of work.
    pub fn after(self, work: Duration) -> Duration {
        (work * self.0 / 100).min(LONGEST)
    }

    /// The next pauses, if reads take this long. Without a budget there are none.
    pub fn next(self, reads: Duration, budget: Option<Duration>) -> Self {
        match budget {
            Some(budget) if reads > budget => Self((self.0 * 2).clamp(SMALLEST, LARGEST)),
            Some(_) if self.0 / 2 >= SMALLEST => Self(self.0 / 2),
            _ => Self::default(),
        }
    }
}

/// Buckets of durations, four for each doubling: up to two minutes.
const BUCKETS: usize = 104;

/// How long reads took, since that was asked last.
#[derive(Debug)]
struct Latencies([AtomicU32; BUCKETS]);

impl Latencies {
    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
        let doublings = micros.ilog2() - 2;
        let place = 4 * u64::from(doublings) + ((micros >> doublings) & 3);
        let place = usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1);
        self.0[place].fetch_add(1, Ordering::Relaxed);
    }

    /// The 99th percentile, not less than it was and at most a quarter more; 0 without reads.
    fn take(&self) -> Duration {
        let counts = self.0.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
        let slowest = counts.iter().sum::<u32>() / 100;
        let mut slower = 0;
        let found = (0..BUCKETS).rev().find(|place| {
            slower += counts[*place];
            slower > slowest
        });
        found.map_or(Duration::ZERO, |place| Duration::from_micros((4 + place as u64 % 4 + 1) << (place / 4)))
    }
}

/// The throttle of a process's rebuilds, and the latency of the reads that it answers.
#[derive(Debug)]
pub struct Throttle {
    budget: Option<Duration>,
    latencies: Latencies,
    /// Milliseconds that reads here took, in the last interval.
    own: AtomicU64,
    /// The same of the slowest other process.
    others: AtomicU64,
    pauses: AtomicU32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Throttle {
    /// A throttle that keeps reads within a budget; without one it never pauses.
    pub fn new(budget: Option<Duration>) -> Self {
        let latencies = Latencies(std::array::from_fn(|_| AtomicU32::new(0)));
        Self { budget, latencies, own: AtomicU64::new(0), others: AtomicU64::new(0), pauses: AtomicU32::new(0) }
    }

    /// Notes how long a read took.
    pub fn note_read(&self, took: Duration) {
        self.latencies.note(took);
    }

    /// Milliseconds that reads of this process took, in the last interval.
    pub fn own_ms(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// Notes how many milliseconds the reads of the slowest other process took.
    pub fn hear(&self, others_ms: u64) {
        self.others.store(others_ms, Ordering::Relaxed);
    }

    /// How long rebuilds pause now.
    pub fn pauses(&self) -> Pauses {
        Pauses(self.pauses.load(Ordering::Relaxed))
    }

    /// Compares with the budget, until the task is dropped.
    pub async fn keep(&self) {
        loop {
            sleep(TICK).await;
            self.look();
        }
    }

    /// Compares once.
    pub fn look(&self) {
        let own = u64::try_from(self.latencies.take().as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        self.own.store(own, Ordering::Relaxed);
        let worst = own.max(self.others.load(Ordering::Relaxed));
        let (before, now) = (self.pauses(), self.pauses().next(Duration::from_millis(worst), self.budget));
        self.pauses.store(now.0, Ordering::Relaxed);
        metrics().reads_ms.set(i64::try_from(worst).unwrap_or(i64::MAX));
        metrics().rebuild_pause.set(i64::from(now.0));
        if (before.0 == 0) != (now.0 == 0) {
            let budget = self.budget.unwrap_or_default().as_millis();
            let what = if now.0 == 0 { "rebuilds do not pause any longer" } else { "rebuilds pause" };
            tracing::debug!(worst, "reads take {worst} ms, of {budget} ms at most: {what}");
        }
    }

    /// Pauses after the work since an instant, and sets that to now.
    pub async fn rest(&self, since: &mut Instant) {
        rest(self.pauses(), since).await;
    }
}

/// Pauses after the work since an instant, and sets that to now.
pub(crate) async fn rest(pauses: Pauses, since: &mut Instant) {
    let pause = pauses.after(since.elapsed());
    if !pause.is_zero() {
        sleep(pause).await;
        metrics().rebuild_paused.inc_by(pause.as_secs_f64());
    }
    *since = Instant::now();
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(100);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn pauses_grow_up_to_their_bound_while_reads_are_slow_and_shrink_to_nothing_afterwards() {
        let mut pauses = Pauses::default();
        let mut grown = Vec::new();
        for _ in 0..8 {
            pauses = pauses.next(ms(101), Some(BUDGET));
            grown.push(pauses.percent());
        }
        assert_eq!(grown, [25, 50, 100, 200, 400, 400, 400, 400]);
        let mut shrunk = Vec::new();
        for _ in 0..6 {
            pauses = pauses.next(BUDGET, Some(BUDGET));
            shrunk.push(pauses.percent());
        }
        assert_eq!(shrunk, [200, 100, 50, 25, 0, 0]);
        assert_eq!(Pauses(400).next(ms(9999), None), Pauses::default());
    }

    #[test]
    fn whatever_the_latencies_are_a_rebuild_goes_on_and_an_idle_system_never_pauses() {
        let mut pauses = Pauses::default();
        let mut state = 7_u64;
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let reads = ms((state >> 33) % 250);
            let next = pauses.next(reads, Some(BUDGET));
            assert!(next.percent() <= LARGEST && next.after(ms(600_000)) <= LONGEST, "{next:?}");
            assert!(next.after(ms(100)) <= ms(400), "{next:?}");
            match reads > BUDGET {
                true => assert!(next.percent() > pauses.percent() || next.percent() == LARGEST, "{pauses:?}: {next:?}"),
                false => assert!(next.percent() < pauses.percent() || next.percent() == 0, "{pauses:?}: {next:?}"),
            }
            pauses = next;
        }
        assert_eq!(Pauses::default().next(Duration::ZERO, Some(BUDGET)).after(ms(5000)), Duration::ZERO);
    }

    #[test]
    fn the_99th_percentile_is_of_the_reads_since_the_last_look() {
        let throttle = Throttle::new(Some(BUDGET));
        let worst = || {
            throttle.look();
            throttle.own_ms()
        };
        assert_eq!(worst(), 0);
        (0..990).for_each(|_| throttle.note_read(ms(10)));
        (0..10).for_each(|_| throttle.note_read(ms(1000)));
        assert!((10..=13).contains(&worst()), "one of a hundred may be slow");
        (0..989).for_each(|_| throttle.note_read(ms(10)));
        (0..11).for_each(|_| throttle.note_read(ms(1000)));
        assert!((1000..=1250).contains(&worst()));
        assert_eq!((throttle.pauses(), worst()), (Pauses(25), 0));
        for took in [Duration::ZERO, Duration::from_micros(3), ms(3_600_000)] {
            throttle.note_read(took);
        }
        assert!(worst() > 60_000);
    }

    #[test]
    fn the_slowest_process_counts() {
        let throttle = Throttle::new(Some(BUDGET));
        throttle.hear(101);
        throttle.look();
        assert_eq!(throttle.pauses(), Pauses(25));
        throttle.hear(0);
        throttle.look();
        assert_eq!(throttle.pauses(), Pauses::default());
        let off = Throttle::default();
        off.hear(100_000);
        off.look();
        assert_eq!(off.pauses(), Pauses::default());
    }
}
