//! No instance holds up the writers of others for longer than the deadline and a lease.
//!
//! From each state, one instance is stuck and all else goes on in turns; a write of another instance must be answered
//! within a few turns. A turn is as long as it takes a deadline to pass or a lease to end.

use super::{
    Settings,
    state::{OWN_NOW, State, WRITES_MAX, Write, index_of},
    step::Step,
};

const TURNS_MAX: usize = 4;

/// How an instance is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stuck {
    /// It does nothing.
    Frozen,
    /// It renews its lease, and nothing else.
    OnlyRenews,
}

/// A write that an instance can still answer, and what goes wrong meanwhile.
#[derive(Debug, Clone, Copy)]
struct Case {
    write: Write,
    stuck: usize,
    mode: Stuck,
    /// Whether generations that are not live go on.
    all_apply: bool,
}

impl Settings {
    pub(super) fn is_bounded(&self, state: &State) -> bool {
        let can_answer = |write: &&Write| {
            let of = &state.instances[write.instance];
            let held = of.local.held_at(OWN_NOW);
            held == Some(write.request.lease) && held == of.holder.map(|holder| holder.lease.number)
        };
        state.writes.iter().flatten().filter(can_answer).all(|write| {
            let mut others = (0..self.instances).filter(|instance| *instance != write.instance);
            others.all(|stuck| {
                [Stuck::Frozen, Stuck::OnlyRenews].into_iter().all(|mode| {
                    let case = |all_apply| Case { write: *write, stuck, mode, all_apply };
                    self.is_acknowledged(*state, &case(true)) && self.is_acknowledged(*state, &case(false))
                })
            })
        })
    }

    fn is_acknowledged(&self, mut s: State, case: &Case) -> bool {
        let Write { partition, offset, .. } = case.write;
        s.renewal = None;
        for _ in 0..TURNS_MAX {
            s = self.turn(s, case);
            if s.known[partition] > offset {
                return true;
            }
        }
        false
    }

    fn turn(&self, mut s: State, case: &Case) -> State {
        let instance = case.stuck;
        self.go(&mut s, Step::DeadlinePasses);
        if case.mode == Stuck::Frozen || !self.go(&mut s, Step::Renew { instance }) {
            self.go(&mut s, Step::OwnLeaseEnds { instance });
            self.go(&mut s, Step::LeaseEnds { instance });
        }
        for instance in (0..self.instances).filter(|instance| *instance != case.stuck) {
            self.go(&mut s, Step::Learn { instance });
            self.go(&mut s, Step::Renew { instance });
            self.go(&mut s, Step::Join { instance });
        }
        self.go(&mut s, Step::Complete { coordinator: 0 });
        self.go(&mut s, Step::Withdraw { coordinator: 0 });
        let live = index_of(s.row.live);
        for generation in (0..self.generations).filter(|generation| case.all_apply || *generation == live) {
            for partition in 0..self.partitions {
                while self.go(&mut s, Step::Apply { generation, partition }) {}
            }
        }
        for write in 0..WRITES_MAX {
            self.go(&mut s, Step::WaitWrite { write });
            self.go(&mut s, Step::CheckWrite { write });
            self.go(&mut s, Step::SendWrite { write });
        }
        s
    }

    /// Takes a step if it is possible.
    fn go(&self, s: &mut State, step: Step) -> bool {
        match self.step(s, step) {
            Some(next) => {
                *s = next;
                true
            }
            None => false,
        }
    }
}
