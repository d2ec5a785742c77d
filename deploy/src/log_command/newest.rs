//! Where the newest records of each partition begin. Offsets have gaps, so this counts records.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use daybook_ingest::log::Reader;
use daybook_schemas::position::{Offset, Partition, Vector};

use super::LIMITS;

/// The vector from which a reader gets the newest `count` records of each partition before `end`, or all there are.
pub(super) fn begin(reader: impl Fn(&Vector) -> Result<Box<dyn Reader>>, end: &Vector, count: usize) -> Result<Vector> {
    let mut begin = end.clone();
    let mut back = Offset::try_from(count).unwrap_or(Offset::MAX);
    let mut missing = if count == 0 { Vector::default() } else { end.clone() };
    while !missing.0.is_empty() {
        let from = |(partition, end): (&Partition, &Offset)| (*partition, end.saturating_sub(back).max(0));
        let from = Vector(missing.0.iter().map(from).collect());
        let newest = newest(reader(&from)?.as_mut(), &missing, count)?;
        for (partition, start) in &from.0 {
            let offsets = newest.get(partition);
            if offsets.is_some_and(|offsets| offsets.len() == count) || *start == 0 {
                let first = offsets.and_then(VecDeque::front).copied();
                begin.0.insert(*partition, first.unwrap_or(*start));
                missing.0.remove(partition);
            }
        }
        back = back.saturating_mul(4);
    }
    Ok(begin)
}

/// The offsets of the newest records before `end`, at most `count` of each partition.
fn newest(reader: &mut dyn Reader, end: &Vector, count: usize) -> Result<BTreeMap<Partition, VecDeque<Offset>>> {
    let mut newest: BTreeMap<Partition, VecDeque<Offset>> = BTreeMap::new();
    while !reader.reached().reaches(end) {
        let records = reader.read(LIMITS)?;
        for at in records.iter().map(|record| record.position).filter(|at| end.covers(*at)) {
            let offsets = newest.entry(at.partition).or_default();
            offsets.push_back(at.offset);
            if offsets.len() > count {
                offsets.pop_front();
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use daybook_ingest::log::{LogError, ReadLimits, Record};
    use daybook_schemas::{
        Topic,
        position::Position,
        topics::{Declaration, declare},
    };

    use super::*;

    /// Reads records at offsets.
    struct Gaps {
        offsets: Vec<Offset>,
        next: Vector,
        end: Vector,
    }

    const TOPIC: Topic = Topic::new(&Declaration { name: "gaps", compacted: false, partitions: 1 });

    impl Reader for Gaps {
        fn read(&mut self, _limits: ReadLimits) -> Result<Vec<Record>, LogError> {
            let at = |offset: &Offset| Position::new(TOPIC, 0, *offset);
            let left = self.offsets.iter().map(at).filter(|at| !self.next.covers(*at));
            let records = left.map(|position| Record { position, key: None, value: [].as_slice().into() }).collect();
            self.next = self.end.clone();
            Ok(records)
        }

        fn reached(&self) -> Vector {
            self.next.clone()
        }
    }

    #[test]
    fn gaps_are_not_counted() {
        declare(&[TOPIC]);
        let end: Vector = "gaps/0@100".parse().unwrap_or_default();
        let begin = |offsets: &[Offset], count| {
            let reader = |from: &Vector| -> Result<Box<dyn Reader>> {
                Ok(Box::new(Gaps { offsets: offsets.to_vec(), next: from.clone(), end: end.clone() }))
            };
            begin(reader, &end, count).map(|begin| begin.to_string()).unwrap_or_default()
        };
        assert_eq!(begin(&[0, 1, 2, 50, 60], 2), "gaps/0@50");
        assert_eq!(begin(&[0, 1, 2, 50, 60], 4), "gaps/0@1");
        assert_eq!(begin(&[0, 1, 2], 9), "gaps/0@0");
        assert_eq!(begin(&[7], 0), "gaps/0@100");
        assert_eq!(begin(&[], 3), "gaps/0@0");
    }
}
