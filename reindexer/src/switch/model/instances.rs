//! Steps of instances: leases and control rows.

use crate::switch::{
    Epoch,
    control::ControlRow,
    instance::{Local, OwnLease},
    lease::{Holder, Lease, Report},
};

use super::{
    Settings,
    rules::Rule,
    state::{LATER, NOW, OWN_LATER, OWN_NOW, OWN_PAST, PAST, Renewal, State},
    step::changed,
};

impl Settings {
    /// The instance opens handles and swaps its local value.
    pub(super) fn learn(&self, s: &mut State, instance: usize, row: &ControlRow) -> Option<()> {
        let local = &mut s.instances[instance].local;
        let before = if self.has(Rule::NewerOnly) { *local } else { Local { epoch: Epoch(-1), ..*local } };
        changed(local, before.apply(row)?)
    }

    /// A notification that was on its way arrives.
    pub(super) fn hear(&self, s: &mut State, instance: usize) -> Option<()> {
        let row = s.instances[instance].news.take()?;
        self.learn(s, instance, &row)
    }

    pub(super) fn renew(&self, s: &mut State, instance: usize) -> Option<()> {
        if s.renewal.is_some() {
            return None;
        }
        let of = s.instances[instance];
        let (holder, own) = (of.holder?, of.local.lease?);
        let reads = |generation| of.read.is_some_and(|read| read.request.generation == generation);
        let mut acknowledged = of.local.acknowledges(|it| reads(it) && self.has(Rule::AcknowledgeClosed));
        if !self.has(Rule::AcknowledgeApplied) {
            acknowledged = s.row.epoch;
        }
        let report = Report { row: &s.row, acknowledged };
        let reports = if self.has(Rule::RenewFollowed) { vec![report] } else { Vec::new() };
        let expires_at = if self.has(Rule::RenewUnexpired) { holder.lease.expires_at } else { LATER };
        let lease = Lease { expires_at, ..holder.lease }.renew(own.number, NOW, LATER, &reports).ok()?;
        let holder = Holder { lease, acknowledged: acknowledged.max(holder.acknowledged) };
        s.renewal = Some(Renewal { instance, holder });
        if self.slow_renewals { Some(()) } else { Self::commit_renewal(s) }
    }

    pub(super) fn commit_renewal(s: &mut State) -> Option<()> {
        let Renewal { instance, holder } = s.renewal.take()?;
        let of = &mut s.instances[instance];
        of.holder = Some(holder);
        // The answer of a process that crashed meanwhile reaches nobody.
        if of.local.lease.is_some() {
            of.local = of.local.renewed(OwnLease { number: holder.lease.number, until: OWN_LATER });
        }
        Some(())
    }

    /// An instance whose lease has ended, or whose renewals are refused, joins.
    pub(super) fn join(&self, s: &mut State, instance: usize) -> Option<()> {
        let of = &mut s.instances[instance];
        let is_refused = !s.row.allows_renewal(of.local.epoch, NOW);
        if s.renewal.is_some() || (of.local.held_at(OWN_NOW).is_some() && !is_refused) {
            return None;
        }
        let given_up = of.local.lease.map(|lease| lease.number);
        let existing = of.holder.map(|holder| holder.lease);
        let lease = Lease::join(existing.as_ref(), given_up, NOW, LATER).ok()?;
        let own = OwnLease { number: lease.number, until: OWN_LATER };
        of.holder = Some(Holder { lease, acknowledged: s.row.epoch });
        if !self.has(Rule::JoinWithRow) {
            of.local = of.local.renewed(own);
        } else if self.has(Rule::JoinGivesUp) {
            of.local = Local::joined(&s.row, own);
        }
        Some(())
    }

    /// Another process takes a lease under the name of this one, which may be frozen.
    pub(super) fn join_as_other(&self, s: &mut State, instance: usize) -> Option<()> {
        let of = &mut s.instances[instance];
        let lease = of.holder?.lease;
        let expires_at = if self.has(Rule::JoinNotHeld) { lease.expires_at } else { PAST };
        let lease = Lease::join(Some(&Lease { expires_at, ..lease }), None, NOW, LATER).ok()?;
        of.holder = Some(Holder { lease, acknowledged: s.row.epoch });
        Some(())
    }

    pub(super) fn own_lease_ends(s: &mut State, instance: usize) -> Option<()> {
        changed(&mut s.instances[instance].local.lease.as_mut()?.until, OWN_PAST)
    }

    /// The lease ends in control storage. That of another process under this name may end at any time.
    pub(super) fn lease_ends(&self, s: &mut State, instance: usize) -> Option<()> {
        let of = &mut s.instances[instance];
        let holder = of.holder.as_mut()?;
        let is_held = of.local.held_at(OWN_NOW) == Some(holder.lease.number);
        if is_held && self.has(Rule::OwnClockFirst) { None } else { changed(&mut holder.lease.expires_at, PAST) }
    }

    /// The process ends, with all requests. Another one with its name may join when the lease has expired.
    pub(super) fn crash(s: &mut State, instance: usize) -> Option<()> {
        let of = &mut s.instances[instance];
        of.local.lease?;
        of.local = of.local.given_up();
        of.read = None;
        of.news = None;
        for write in &mut s.writes {
            *write = write.filter(|write| write.instance != instance);
        }
        Some(())
    }
}
