//! Random choices from a printed seed, so that a failure can be repeated.

/// A small generator (xorshift64*, Vigna 2016); not for secrets.
pub struct Random(u64);

impl Random {
    /// A generator from `DAYBOOK_TEST_SEED` if that is set, else from the clock. The seed is printed.
    pub fn seeded(test: &str) -> Self {
        let given = std::env::var("DAYBOOK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos());
        let seed = given.unwrap_or(u64::try_from(now % 1_000_000_007).unwrap_or(1)).max(1);
        eprintln!("{test}: DAYBOOK_TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Another generator, which goes on by itself.
    pub fn fork(&mut self) -> Self {
        Self(self.number() | 1)
    }

    /// A number in `[0, end)`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or(0) % end.max(1)
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
