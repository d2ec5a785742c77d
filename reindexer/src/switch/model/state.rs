//! A state of the model: what control storage, the stores, the instances and the clients hold.

use crate::switch::{
    DatabaseTime, GenerationId, OwnTime,
    answer::Request,
    control::ControlRow,
    instance::{Local, OwnLease, Waits},
    lease::{Holder, Lease, LeaseNumber},
};

pub(super) const INSTANCES_MAX: usize = 3;
pub(super) const PARTITIONS_MAX: usize = 2;
pub(super) const GENERATIONS_MAX: usize = 3;
pub(super) const WRITES_MAX: usize = 2;

/// Time stands still; what ends, ends by a step of its own. So every order in which clocks can end things is seen.
pub(super) const NOW: DatabaseTime = DatabaseTime(1);
pub(super) const OWN_NOW: OwnTime = OwnTime(1);
pub(super) const LATER: DatabaseTime = DatabaseTime(2);
pub(super) const OWN_LATER: OwnTime = OwnTime(2);
pub(super) const PAST: DatabaseTime = DatabaseTime(0);
pub(super) const OWN_PAST: OwnTime = OwnTime(0);

/// The next offset per partition.
pub(super) type Offsets = [u8; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    pub(super) row: ControlRow,
    pub(super) generations: [Stored; GENERATIONS_MAX],
    /// Records in the log.
    pub(super) log: Offsets,
    pub(super) instances: [Instance; INSTANCES_MAX],
    pub(super) writes: [Option<Write>; WRITES_MAX],
    /// What clients know to be written: it was acknowledged, or shown by a read.
    pub(super) known: Offsets,
    /// What searches have shown.
    pub(super) found: Offsets,
    /// A batch that a projector has prepared and not committed.
    pub(super) batch: Option<Batch>,
    /// The control rows that two coordinators have read.
    pub(super) coordinators: [Option<ControlRow>; 2],
    /// A renewal that was granted and has not committed. It holds the share lock of the control row.
    pub(super) renewal: Option<Renewal>,
    /// Only without its rule: a flip or a completion was checked, and its locks were released.
    pub(super) is_checked: bool,
    /// The invariant that the last step broke.
    pub(super) violated: Option<Invariant>,
}

/// One generation in the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Stored {
    /// The checkpoints of its tables.
    pub(super) tables: Offsets,
    /// How many events its rows show.
    pub(super) rows: Offsets,
    /// The checkpoints of its index.
    pub(super) index: Offsets,
    /// What a search finds.
    pub(super) visible: Offsets,
    /// What the index must have reached before it is searched: the tables when the generation became live.
    pub(super) floor: Offsets,
    /// What was sent to the index.
    pub(super) sent: Offsets,
    /// What its index runner has read of its tables, if it reads the control row apart from them.
    pub(super) may_pass: bool,
    /// Instances may read it, or could since it was last retired.
    pub(super) was_live: bool,
    pub(super) dropped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Instance {
    /// In control storage.
    pub(super) holder: Option<Holder>,
    /// In memory.
    pub(super) local: Local,
    /// A notification on its way.
    pub(super) news: Option<ControlRow>,
    pub(super) read: Option<Read>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Write {
    pub(super) instance: usize,
    pub(super) request: Request,
    pub(super) partition: usize,
    pub(super) offset: u8,
    pub(super) wait: Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Read {
    pub(super) request: Request,
    /// A search, else a read of tables.
    pub(super) is_search: bool,
    /// What had been acknowledged or shown when it began.
    pub(super) from: Offsets,
    pub(super) shown: Option<Shown>,
    pub(super) wait: Wait,
}

/// What a read has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shown {
    pub(super) generation: GenerationId,
    pub(super) offsets: Offsets,
    /// What the answer waits for, once it is known.
    pub(super) position: Option<Offsets>,
    /// What is wrong with it, if it is answered.
    pub(super) violated: Option<Invariant>,
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wait {
    Not,
    Waiting(Waits),
    /// Checked, and not sent yet.
    Checked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Batch {
    pub(super) generation: usize,
    pub(super) partition: usize,
    pub(super) from: u8,
    pub(super) to: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Renewal {
    pub(super) instance: usize,
    pub(super) holder: Holder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Invariant {
    /// I2: a read missed what was acknowledged, or shown, before it began.
    Freshness,
    /// The same for searches.
    SearchFreshness,
    /// I4: a request read two generations, or one that was dropped.
    OneGeneration,
    /// I7: a flip lost records.
    NothingLost,
    /// A transition undid another one.
    OneCoordinator,
}

impl State {
    pub(super) fn first(instances: usize) -> Self {
        let row = ControlRow::first(GenerationId(0));
        let mut generations = [Stored::default(); GENERATIONS_MAX];
        generations[0].was_live = true;
        let lease = Lease { number: LeaseNumber(1), expires_at: LATER };
        let own = OwnLease { number: LeaseNumber(1), until: OWN_LATER };
        let joined = Instance {
            holder: Some(Holder { lease, acknowledged: row.epoch }),
            local: Local::joined(&row, own),
            news: None,
            read: None,
        };
        let absent = Instance { holder: None, local: joined.local.given_up(), news: None, read: None };
        let instances = std::array::from_fn(|at| if at < instances { joined } else { absent });
        Self {
            row,
            generations,
            log: [0; PARTITIONS_MAX],
            instances,
            writes: [None; WRITES_MAX],
            known: [0; PARTITIONS_MAX],
            found: [0; PARTITIONS_MAX],
            batch: None,
            coordinators: [None; 2],
            renewal: None,
            is_checked: false,
            violated: None,
        }
    }

    pub(super) fn stored(&self, generation: GenerationId) -> &Stored {
        &self.generations[index_of(generation)]
    }

    pub(super) fn holders(&self) -> Vec<Holder> {
        self.instances.iter().filter_map(|it| it.holder).collect()
    }
}

pub(super) fn index_of(generation: GenerationId) -> usize {
    usize::try_from(generation.0).unwrap_or(0)
}

pub(super) fn id_of(index: usize) -> GenerationId {
    GenerationId(i64::try_from(index).unwrap_or(0))
}
