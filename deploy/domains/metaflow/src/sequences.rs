//! The sequences of Metaflow's objects.

use daybook_ingest::sequence::Sequence;

/// Numbers of runs, over all flows. People read them: a process that ends leaves no gap.
pub const RUN_NUMBERS: Sequence = Sequence { name: "metaflow.runs", block: 1 };
/// Ids of tasks, over all runs.
pub const TASK_IDS: Sequence = Sequence { name: "metaflow.tasks", block: 1000 };
/// Ids of metadata entries, over all tasks.
pub const METADATA_IDS: Sequence = Sequence { name: "metaflow.metadata", block: 4096 };

/// All of them.
pub const SEQUENCES: [Sequence; 3] = [RUN_NUMBERS, TASK_IDS, METADATA_IDS];
