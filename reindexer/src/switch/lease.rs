//! Leases in control storage. An instance joins under a new number, and renews while the lease has not expired.
//!
//! Both run in one transaction that holds the share lock on the control row of every domain, and read the clock of
//! control storage after they have the lock. So a transition sees either all of a join or renewal, or nothing.

use super::{DatabaseTime, Epoch, control::ControlRow};

/// The number of a lease. An instance that joins again gets a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseNumber(pub i64);

/// A lease in control storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Its number.
    pub number: LeaseNumber,
    /// When it ends unless it is renewed.
    pub expires_at: DatabaseTime,
}

/// An instance as the control row of one domain sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Its lease.
    pub lease: Lease,
    /// The epoch that it reported last.
    pub acknowledged: Epoch,
}

/// What an instance reports of one domain with a renewal.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The domain's control row, under its share lock.
    pub row: &'a ControlRow,
    /// The epoch that the instance acknowledges.
    pub acknowledged: Epoch,
}

/// Why a lease was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The lease has expired: join.
    #[error("the lease has expired")]
    Expired,
    /// The instance has joined again since, or another process has under its name.
    #[error("the lease has number {}, not {}", found.0, reported.0)]
    Replaced {
        /// The caller's.
        reported: LeaseNumber,
        /// That in control storage.
        found: LeaseNumber,
    },
    /// The instance has not acknowledged a switch whose deadline has passed: join.
    #[error("epoch {} was not acknowledged in time", .0.0)]
    Behind(Epoch),
    /// Another process holds a lease under this name.
    #[error("another process holds lease {} under this name", .0.0)]
    Held(LeaseNumber),
}

impl Lease {
    /// Takes a lease under a new number. The caller applies the control rows that it reads in the same transaction, so
    /// it has acknowledged them all.
    ///
    /// `given_up` is the number of the lease that this process held before. It must no longer answer under it.
    pub fn join(
        existing: Option<&Self>,
        given_up: Option<LeaseNumber>,
        now: DatabaseTime,
        expires_at: DatabaseTime,
    ) -> Result<Self, LeaseError> {
        match existing {
            Some(lease) if lease.is_held_at(now) && given_up != Some(lease.number) => {
                Err(LeaseError::Held(lease.number))
            }
            Some(lease) => Ok(Self { number: LeaseNumber(lease.number.0 + 1), expires_at }),
            None => Ok(Self { number: LeaseNumber(1), expires_at }),
        }
    }

    /// Extends an unexpired lease, and reports what the instance has acknowledged.
    pub fn renew(
        &self,
        number: LeaseNumber,
        now: DatabaseTime,
        expires_at: DatabaseTime,
        reports: &[Report<'_>],
    ) -> Result<Self, LeaseError> {
        if number != self.number {
            return Err(LeaseError::Replaced { reported: number, found: self.number });
        }
        if !self.is_held_at(now) {
            return Err(LeaseError::Expired);
        }
        match reports.iter().find(|report| !report.row.allows_renewal(report.acknowledged, now)) {
            Some(report) => Err(LeaseError::Behind(report.row.epoch)),
            None => Ok(Self { number, expires_at }),
        }
    }

    /// Whether it is unexpired.
    pub fn is_held_at(&self, now: DatabaseTime) -> bool {
        now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use crate::switch::{GenerationId, control::Phase};

    use super::*;

    const END: DatabaseTime = DatabaseTime(10);
    const LEASE: Lease = Lease { number: LeaseNumber(4), expires_at: END };

    #[test]
    fn a_lease_is_joined_again_by_its_process_or_after_it_expired() {
        let join = |given_up, now| Lease::join(Some(&LEASE), given_up, DatabaseTime(now), END).map(|it| it.number.0);
        assert_eq!(join(None, 9), Err(LeaseError::Held(LEASE.number)));
        assert_eq!(join(Some(LeaseNumber(3)), 9), Err(LeaseError::Held(LEASE.number)));
        assert_eq!(join(Some(LEASE.number), 9), Ok(5));
        assert_eq!(join(None, 10), Ok(5));
    }

    #[test]
    fn an_expired_or_replaced_lease_is_not_renewed() {
        let renew = |number, now| LEASE.renew(LeaseNumber(number), DatabaseTime(now), DatabaseTime(20), &[]);
        assert_eq!(renew(4, 9), Ok(Lease { expires_at: DatabaseTime(20), ..LEASE }));
        assert_eq!(renew(4, 10), Err(LeaseError::Expired));
        assert_eq!(renew(3, 9), Err(LeaseError::Replaced { reported: LeaseNumber(3), found: LEASE.number }));
    }

    #[test]
    fn after_the_deadline_only_an_instance_that_has_followed_renews() {
        let first = ControlRow::first(GenerationId(1));
        let row = ControlRow { epoch: Epoch(2), phase: Phase::Following { deadline: DatabaseTime(5) }, ..first };
        let renew = |acknowledged, now| {
            let report = Report { row: &row, acknowledged: Epoch(acknowledged) };
            LEASE.renew(LEASE.number, DatabaseTime(now), END, &[report])
        };
        assert_eq!(renew(1, 4), Ok(LEASE));
        assert_eq!(renew(1, 5), Err(LeaseError::Behind(Epoch(2))));
        assert_eq!(renew(2, 5), Ok(LEASE));
    }
}
