//! Steps of requests: writes and reads.

use crate::switch::{
    GenerationId,
    answer::{Answer, Next, Request},
    instance::{Local, OwnLease, Waits},
};

use super::{
    Settings,
    rules::Rule,
    state::{Instance, Invariant, OWN_LATER, OWN_NOW, Offsets, Read, Shown, State, Wait, Write},
    step::note,
};

impl Settings {
    /// A write is validated, decided and appended.
    pub(super) fn append(&self, s: &mut State, instance: usize, partition: usize) -> Option<()> {
        let free = s.writes.iter().position(Option::is_none)?;
        // Partitions are alike, so the first record is in the first one.
        if s.log.iter().sum::<u8>() >= self.writes || (partition > 0 && s.log[0] == 0) {
            return None;
        }
        let request = Request::begin(&s.instances[instance].local, None, OWN_NOW).ok()?;
        let offset = s.log[partition];
        s.log[partition] += 1;
        s.writes[free] = Some(Write { instance, request, partition, offset, wait: Wait::Not });
        Some(())
    }

    /// Takes the generations to wait for.
    pub(super) fn wait_write(&self, s: &mut State, write: usize) -> Option<()> {
        let it = s.writes[write].as_mut().filter(|it| it.wait == Wait::Not)?;
        it.wait = Wait::Waiting(self.waits(&s.instances[it.instance].local, Rule::WritesWaitForFormer));
        if self.slow_answers { Some(()) } else { self.check_write(s, write) }
    }

    /// Checks the answer once those generations have reached it, or the local value has changed.
    pub(super) fn check_write(&self, s: &mut State, write: usize) -> Option<()> {
        let Write { instance, request, partition, offset, wait } = s.writes[write]?;
        let Wait::Waiting(waited) = wait else {
            return None;
        };
        let has_reached = |generation: GenerationId| s.stored(generation).tables[partition] > offset;
        let is_reached = request.is_reached(Answer::Write, waited, has_reached);
        let local = s.instances[instance].local;
        match self.next(&request, waited, is_reached, &local, Rule::WritesWaitForFormer)? {
            Some(wait) => s.writes[write].as_mut()?.wait = wait,
            None => s.writes[write] = None,
        }
        let is_sent = !self.slow_answers && s.writes[write].is_some_and(|it| it.wait == Wait::Checked);
        if is_sent { Self::send_write(s, write) } else { Some(()) }
    }

    pub(super) fn send_write(s: &mut State, write: usize) -> Option<()> {
        let it = s.writes[write].filter(|it| it.wait == Wait::Checked)?;
        s.writes[write] = None;
        s.known[it.partition] = s.known[it.partition].max(it.offset + 1);
        Some(())
    }

    pub(super) fn begin_read(&self, s: &mut State, instance: usize, is_search: bool, of_previous: bool) -> Option<()> {
        let reads = s.instances.iter().filter(|it| it.read.is_some()).count();
        let of = &mut s.instances[instance];
        if of.read.is_some() || reads >= self.reads {
            return None;
        }
        let named = if of_previous { Some(s.row.previous?) } else { None };
        let closing = of.local.closing.filter(|_| self.has(Rule::ClosingRefuses));
        let mut local = Local { closing, ..of.local };
        if !self.has(Rule::BeginHeld) {
            local.lease = local.lease.map(|lease| OwnLease { until: OWN_LATER, ..lease });
        }
        let request = Request::begin(&local, named, OWN_NOW).ok()?;
        let from = if is_search { s.found } else { s.known };
        // A preview reads a generation that is not live, on purpose.
        let from = if of_previous { Offsets::default() } else { from };
        of.read = Some(Read { request, is_search, from, shown: None, wait: Wait::Not });
        Some(())
    }

    /// The generation that a request reads now.
    fn read_from(&self, s: &State, instance: usize, request: &Request) -> GenerationId {
        if self.has(Rule::OneGeneration) { request.generation } else { s.instances[instance].local.waits.live }
    }

    /// Reads the tables, or the index.
    pub(super) fn read(&self, s: &mut State, instance: usize) -> Option<()> {
        let mut read = s.instances[instance].read.filter(|read| read.shown.is_none())?;
        let generation = self.read_from(s, instance, &read.request);
        let stored = *s.stored(generation);
        let is_below = stored.floor.iter().zip(stored.visible).any(|(floor, visible)| visible < *floor);
        if read.is_search && is_below && self.has(Rule::SearchFloor) {
            return None;
        }
        let offsets = if read.is_search { stored.visible } else { stored.tables };
        let invariant = if read.is_search { Invariant::SearchFreshness } else { Invariant::Freshness };
        let mut violated = None;
        note(&mut violated, Invariant::OneGeneration, stored.dropped);
        note(&mut violated, invariant, read.from.iter().zip(offsets).any(|(from, seen)| seen < *from));
        let position = match (read.is_search, self.has(Rule::SearchPosition)) {
            (false, _) => Some(offsets),
            (true, true) => None,
            (true, false) => Some(stored.index),
        };
        read.shown = Some(Shown { generation, offsets, position, violated });
        s.instances[instance].read = Some(read);
        Some(())
    }

    /// After a search: reads the tables, for parents and the position.
    pub(super) fn look_up(&self, s: &mut State, instance: usize) -> Option<()> {
        let mut read = s.instances[instance].read?;
        let mut shown = read.shown.filter(|shown| shown.position.is_none())?;
        let generation = self.read_from(s, instance, &read.request);
        note(&mut shown.violated, Invariant::OneGeneration, generation != shown.generation);
        note(&mut shown.violated, Invariant::OneGeneration, s.stored(generation).dropped);
        shown.position = Some(s.stored(generation).tables);
        read.shown = Some(shown);
        s.instances[instance].read = Some(read);
        Some(())
    }

    pub(super) fn wait_read(&self, s: &mut State, instance: usize) -> Option<()> {
        let of = &mut s.instances[instance];
        let waits = self.waits(&of.local, Rule::ReadsWaitForFormer);
        let read = of.read.as_mut().filter(|read| read.wait == Wait::Not)?;
        read.shown?.position?;
        read.wait = Wait::Waiting(waits);
        if self.slow_answers { Some(()) } else { self.check_read(s, instance) }
    }

    pub(super) fn check_read(&self, s: &mut State, instance: usize) -> Option<()> {
        let Instance { local, read, .. } = s.instances[instance];
        let read = read?;
        let (Wait::Waiting(waited), Some(position)) = (read.wait, read.shown?.position) else {
            return None;
        };
        let has_reached = |generation: GenerationId| {
            let stored = s.stored(generation);
            let reached = if read.is_search { stored.index } else { stored.tables };
            let is_skipped = generation == waited.live && !self.has(Rule::ReadsWaitForLive);
            is_skipped || reached.iter().zip(position).all(|(reached, wanted)| *reached >= wanted)
        };
        let is_reached = read.request.is_reached(Answer::Read, waited, has_reached);
        let read = &mut s.instances[instance].read;
        match self.next(&read.as_ref()?.request, waited, is_reached, &local, Rule::ReadsWaitForFormer)? {
            Some(wait) => read.as_mut()?.wait = wait,
            None => *read = None,
        }
        let is_sent = !self.slow_answers && read.is_some_and(|read| read.wait == Wait::Checked);
        if is_sent { Self::send_read(s, instance) } else { Some(()) }
    }

    pub(super) fn send_read(s: &mut State, instance: usize) -> Option<()> {
        let read = s.instances[instance].read.take().filter(|read| read.wait == Wait::Checked)?;
        let shown = read.shown?;
        if let Some(invariant) = shown.violated {
            note(&mut s.violated, invariant, true);
        }
        let known = if read.is_search { &mut s.found } else { &mut s.known };
        for (known, shown) in known.iter_mut().zip(shown.offsets) {
            *known = (*known).max(shown);
        }
        Some(())
    }

    fn waits(&self, local: &Local, former: Rule) -> Waits {
        Waits { former: local.waits.former.filter(|_| self.has(former)), ..local.waits }
    }

    /// How far the answer is after its check: none if it is refused. The outer none: it still waits.
    fn next(
        &self,
        request: &Request,
        mut waited: Waits,
        is_reached: bool,
        local: &Local,
        former: Rule,
    ) -> Option<Option<Wait>> {
        let mut local = Local { waits: self.waits(local, former), ..*local };
        if !self.has(Rule::WaitsAreCurrent) {
            waited = local.waits;
        }
        if !self.has(Rule::SameLease) {
            local.lease = local.lease.map(|lease| OwnLease { number: request.lease, ..lease });
        }
        if !self.has(Rule::LeaseUnexpired) {
            local.lease = local.lease.map(|lease| OwnLease { until: OWN_LATER, ..lease });
        }
        match request.next(waited, &local, OWN_NOW) {
            Next::Send => is_reached.then_some(Some(Wait::Checked)),
            Next::WaitAgain => Some(Some(Wait::Not)),
            Next::Refuse(_) => Some(None),
        }
    }
}
