//! Pauses between retries: exponential, bounded, with jitter, so that callers do not retry together.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Pauses from a first to a longest one, each twice as long as the one before.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses that begin with `first` and grow up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Begins with the first pause again, after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause: at least half of what its turn has.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        // A hasher with random keys is the standard library's only source of randomness.
        let random = RandomState::new().build_hasher().finish() % 1024;
        pause / 2 + (pause / 2).mul_f64(random as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_again() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        for turn in [100, 200, 400, 800, 1000, 1000] {
            let (pause, turn) = (backoff.pause(), Duration::from_millis(turn));
            assert!(pause >= turn / 2 && pause <= turn, "{pause:?} is no pause of {turn:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
