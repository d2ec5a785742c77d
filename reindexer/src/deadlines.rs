//! How long the stages of a rebuild may take. One that takes longer is stopped, and what was built is kept.

use std::time::Duration;

use crate::control::State;

/// How long the stages of a rebuild may take; `None`: as long as they need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// All of them, until it is ready.
    pub total: Option<Duration>,
    /// Its tables are filled.
    pub load: Option<Duration>,
    /// Its index is built.
    pub index: Option<Duration>,
    /// It catches up with the live generation; and it is verified.
    pub ready: Option<Duration>,
}

/// A deadline that a rebuild has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} has passed the deadline {name} of {limit:?}", state.as_str())]
pub(crate) struct Passed {
    state: State,
    name: &'static str,
    limit: Duration,
}

impl Deadlines {
    /// The deadline that a rebuild has passed that has had its state, and has been worked on, for so long.
    pub(crate) fn passed(&self, state: State, in_state: Duration, in_all: Duration) -> Option<Passed> {
        let (name, of_state) = match state {
            State::Planned => ("total", None),
            State::Loading => ("load", self.load),
            State::Indexing => ("index", self.index),
            State::Tailing | State::Verifying => ("ready", self.ready),
            // Nothing is built.
            _ => return None,
        };
        let over = |name, limit: Option<Duration>, age: Duration| {
            limit.filter(|limit| age > *limit).map(|limit| Passed { state, name, limit })
        };
        over(name, of_state, in_state).or_else(|| over("total", self.total, in_all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn each_stage_has_its_deadline_and_all_of_them_have_one() {
        let of = |total: u64, load: u64, index: u64, ready: u64| {
            let [total, load, index, ready] = [total, load, index, ready].map(|count| Some(seconds(count)));
            Deadlines { total, load, index, ready }
        };
        let deadlines = of(10, 1, 2, 3);
        let passed = |state: State, in_state: u64, in_all: u64| {
            deadlines.passed(state, seconds(in_state), seconds(in_all)).map(|passed| passed.name)
        };
        for (state, name, limit) in [
            (State::Loading, "load", 1),
            (State::Indexing, "index", 2),
            (State::Tailing, "ready", 3),
            (State::Verifying, "ready", 3),
        ] {
            assert_eq!(passed(state, limit, 10), None, "{name}: it may take as long");
            assert_eq!(passed(state, limit + 1, 10), Some(name));
            assert_eq!(passed(state, limit, 11), Some("total"));
            assert_eq!(passed(state, limit + 1, 11), Some(name), "the nearer one is named");
            assert_eq!(
                Deadlines::default().passed(state, Duration::MAX, Duration::MAX),
                None,
                "by default there is none"
            );
        }
        for state in State::ALL.into_iter().filter(|state| {
            !matches!(state, State::Planned | State::Loading | State::Indexing | State::Tailing | State::Verifying)
        }) {
            assert_eq!(passed(state, 1000, 1000), None, "nobody works on one that is {}", state.as_str());
        }
        assert_eq!(passed(State::Planned, 11, 11), Some("total"));
        let text = deadlines.passed(State::Loading, seconds(2), seconds(2)).map(|passed| passed.to_string());
        assert_eq!(text.as_deref(), Some("loading has passed the deadline load of 1s"));
    }
}
