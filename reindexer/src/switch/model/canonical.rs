//! States that can't be distinguished become one, so that there are fewer.

use crate::switch::{
    Epoch,
    control::Phase,
    instance::{Local, OwnLease},
    lease::{Holder, Lease, LeaseNumber},
};

use super::{
    Settings,
    rules::Rule,
    state::{Instance, NOW, OWN_LATER, OWN_NOW, Offsets, Renewal, State},
};

const OWN: OwnLease = OwnLease { number: LeaseNumber(0), until: OWN_LATER };

impl Settings {
    /// The state that stands for all those that go on like this one. What it leaves out is what a rule makes
    /// meaningless, so it does so only with that rule.
    pub(super) fn canonical(&self, mut s: State) -> State {
        if self.has(Rule::CompareEpoch) {
            let epoch = s.row.epoch;
            s.coordinators = s.coordinators.map(|known| known.filter(|row| row.epoch == epoch));
            s.coordinators.sort();
        }
        if self.has(Rule::CompareCheckpoint) {
            let is_current =
                |s: &State, generation: usize, partition: usize| s.generations[generation].tables[partition];
            s.batch = s.batch.filter(|it| is_current(&s, it.generation, it.partition) == it.from);
        }
        for index in 0..self.instances {
            self.forget_lost_lease(&mut s, index);
            self.forget_old_epochs(&mut s, index);
            number_leases(&mut s, index);
        }
        if self.has(Rule::SearchFloor) {
            Self::forget_floors(&mut s);
        }
        self.forget_harmless(&mut s);
        if s.renewal.is_none() {
            self.sort_instances(&mut s);
        }
        s
    }

    /// Requests that began under a lease that is lost are refused, whatever happens; what the instance knew is replaced
    /// when it joins.
    fn forget_lost_lease(&self, s: &mut State, index: usize) {
        if !self.has(Rule::SameLease) || !self.has(Rule::LeaseUnexpired) || !self.has(Rule::RenewUnexpired) {
            return;
        }
        if !self.has(Rule::JoinWithRow) || s.renewal.is_some() {
            return;
        }
        let Instance { holder, local, .. } = s.instances[index];
        let is_lost = |number: LeaseNumber| match (local.lease, holder) {
            (Some(own), Some(holder)) => {
                let ended = local.held_at(OWN_NOW).is_none();
                number != own.number || (ended && (!holder.lease.is_held_at(NOW) || holder.lease.number != own.number))
            }
            _ => true,
        };
        let of = &mut s.instances[index];
        of.read = of.read.filter(|read| !is_lost(read.request.lease));
        for write in &mut s.writes {
            *write = write.filter(|write| write.instance != index || !is_lost(write.request.lease));
        }
        if local.lease.is_none_or(|own| is_lost(own.number)) {
            of.local.epoch = Epoch(-1);
            of.local.waits.live = s.row.live;
            of.local.waits.former = None;
            of.local.closing = None;
            if !holder.is_some_and(|holder| holder.lease.is_held_at(NOW)) {
                of.local.lease = None;
            }
        }
    }

    /// Of epochs, all that matters is whether they are the row's, or the notification's.
    fn forget_old_epochs(&self, s: &mut State, index: usize) {
        let matters = matches!(s.row.phase, Phase::Following { .. } | Phase::Retiring { .. });
        let of = &mut s.instances[index];
        if let Some(holder) = &mut of.holder
            && (holder.acknowledged < s.row.epoch || !matters)
        {
            holder.acknowledged = Epoch(-1);
        }
        if !self.has(Rule::NewerOnly) {
            return;
        }
        of.news = of.news.filter(|row| row.epoch > of.local.epoch);
        if !matters
            && !self.late_news
            && self.has(Rule::AcknowledgeApplied)
            && Local::joined(&s.row, OWN) == (Local { epoch: s.row.epoch, lease: Some(OWN), ..of.local })
        {
            of.local.epoch = s.row.epoch;
        }
        if of.news.is_none() && of.local.epoch < s.row.epoch && !self.late_news {
            of.local.epoch = Epoch(s.row.epoch.0 - 1);
        }
    }

    /// A floor that an index has reached has no effect any longer.
    fn forget_floors(s: &mut State) {
        for stored in &mut s.generations {
            if stored.floor.iter().zip(stored.visible).all(|(floor, visible)| visible >= *floor) {
                stored.floor = Offsets::default();
            }
        }
    }

    /// A read that shows only what is known changes nothing. A write that is known is acknowledged without effect.
    fn forget_harmless(&self, s: &mut State) {
        let (known, found) = (s.known, s.found);
        for of in s.instances.iter_mut().take(self.instances) {
            of.read = of.read.filter(|read| {
                let known = if read.is_search { found } else { known };
                let is_known = |shown: &[u8]| shown.iter().zip(known).all(|(shown, known)| *shown <= known);
                let is_complete = |position: Option<_>| position.is_some() || self.has(Rule::OneGeneration);
                let is_harmless = read.shown.is_some_and(|shown| {
                    shown.violated.is_none() && is_known(&shown.offsets) && is_complete(shown.position)
                });
                // In its generation's retirement, a search must still look up its parents.
                !is_harmless || (self.retires && read.shown.is_some_and(|shown| shown.position.is_none()))
            });
        }
        if !self.bounded {
            for write in &mut s.writes {
                *write = write.filter(|write| write.offset >= known[write.partition]);
            }
        }
        s.writes.sort_by(|one, other| other.cmp(one));
    }

    /// The order of instances does not matter.
    fn sort_instances(&self, s: &mut State) {
        let mut order: Vec<usize> = (0..self.instances).collect();
        let before = *s;
        let of = |index: &usize| {
            (
                before.instances[*index],
                before
                    .writes
                    .map(|it| it.filter(|it| it.instance == *index).map(|it| (it.partition, it.offset, it.wait))),
            )
        };
        order.sort_by_key(of);
        for (to, from) in order.iter().enumerate() {
            s.instances[to] = before.instances[*from];
        }
        for write in s.writes.iter_mut().flatten() {
            write.instance = order.iter().position(|from| *from == write.instance).unwrap_or(0);
        }
        s.writes.sort_by(|one, other| other.cmp(one));
    }
}

/// Numbers the leases of one instance anew, in order.
fn number_leases(s: &mut State, index: usize) {
    let Instance { holder, local, read, .. } = s.instances[index];
    let renewal = s.renewal.filter(|it| it.instance == index).map(|it| it.holder.lease.number);
    let writes = s.writes.iter().flatten().filter(|it| it.instance == index).map(|it| it.request.lease);
    let stored = holder.map(|holder| holder.lease.number);
    let own = local.lease.map(|lease| lease.number);
    let mut numbers: Vec<LeaseNumber> = writes.collect();
    numbers.extend([stored, own, read.map(|it| it.request.lease), renewal].into_iter().flatten());
    numbers.sort();
    numbers.dedup();
    let renumbered = |number: LeaseNumber| {
        let rank = numbers.iter().position(|it| *it == number).unwrap_or(0);
        LeaseNumber(i64::try_from(rank).unwrap_or(0))
    };
    let stored =
        |holder: Holder| Holder { lease: Lease { number: renumbered(holder.lease.number), ..holder.lease }, ..holder };
    let of = &mut s.instances[index];
    of.holder = holder.map(stored);
    of.local.lease = local.lease.map(|own| OwnLease { number: renumbered(own.number), ..own });
    if let Some(read) = &mut of.read {
        read.request.lease = renumbered(read.request.lease);
    }
    for write in s.writes.iter_mut().flatten().filter(|it| it.instance == index) {
        write.request.lease = renumbered(write.request.lease);
    }
    s.renewal = s.renewal.map(|it| if it.instance == index { Renewal { holder: stored(it.holder), ..it } } else { it });
}
