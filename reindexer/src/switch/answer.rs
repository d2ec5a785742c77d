//! When a request may be answered. The same rule for writes and reads, of tables and of the index.
//!
//! 1. [`Request::begin`] takes the generation and the lease number.
//! 2. The request does its work: it has a position that it wrote, or the vector that it read.
//! 3. It takes [`Local::waits`], and waits until all those generations have reached the position or vector. A change of
//!    the local value wakes it too.
//! 4. [`Request::next`], with the local value as it is now, says whether to send, to wait again, or to refuse.
//!
//! A position that was read is an upper bound of what was shown: the tables' checkpoints after the tables or the index
//! were read. An index shows nothing that its tables have not applied.

use super::{
    GenerationId, OwnTime,
    instance::{Local, Waits},
    lease::LeaseNumber,
};

/// A request that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The generation that it reads, from beginning to end.
    pub generation: GenerationId,
    /// The lease under which it began.
    pub lease: LeaseNumber,
}

/// What an answer tells the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// That something was written.
    Write,
    /// What was read from the request's generation.
    Read,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The instance holds no lease. Another one may answer: 503.
    #[error("this instance holds no lease")]
    NoLease,
    /// The instance has lost the lease under which the request began: 503.
    #[error("this instance has lost its lease since the request began")]
    LeaseLost,
    /// The generation is being retired: 410.
    #[error("generation {} is being retired", .0.0)]
    Retiring(GenerationId),
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send it.
    Send,
    /// Wait for what the local value says now.
    WaitAgain,
    /// Answer with an error.
    Refuse(Refusal),
}

impl Request {
    /// Begins on the live generation, or on the one that a preview or a cursor names.
    pub fn begin(local: &Local, named: Option<GenerationId>, now: OwnTime) -> Result<Self, Refusal> {
        let lease = local.held_at(now).ok_or(Refusal::NoLease)?;
        let generation = named.unwrap_or(local.waits.live);
        if local.closing == Some(generation) {
            return Err(Refusal::Retiring(generation));
        }
        Ok(Self { generation, lease })
    }

    /// Whether the generations to wait for have reached the answer's position. What was read has been reached by the
    /// generation that it was read from, so a read waits only for others.
    pub fn is_reached(&self, answer: Answer, waits: Waits, has_reached: impl Fn(GenerationId) -> bool) -> bool {
        waits.all(|generation| (answer == Answer::Read && generation == self.generation) || has_reached(generation))
    }

    /// What to do once all of `waited` have reached the position.
    pub fn next(&self, waited: Waits, local: &Local, now: OwnTime) -> Next {
        if local.held_at(now) != Some(self.lease) {
            Next::Refuse(Refusal::LeaseLost)
        } else if local.waits != waited {
            Next::WaitAgain
        } else {
            Next::Send
        }
    }
}
