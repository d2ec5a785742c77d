//! Metaflow's tables, as verification compares them. A column that is added to a table is added here, too: a contract
//! test compares this list with the tables.

use daybook_projector::comparison::Comparable;

/// The columns with the position of the event that made a row.
const POSITION: [&str; 2] = ["record_partition", "record_offset"];

/// All tables.
pub(super) fn tables() -> Vec<Comparable> {
    vec![
        Comparable::of("flows")
            .by_text("flow_id")
            .columns(["user_name", "ts_epoch", "tags", "system_tags"])
            .columns(POSITION),
        Comparable::of("runs")
            .by_integer("run_number")
            .by_text("flow_id")
            .columns(["run_id", "user_name", "ts_epoch", "tags", "system_tags", "heartbeat_at", "outcome"])
            .columns(["tags_revision", "outcome_revision"])
            .columns(POSITION),
        // The last beat of the topic wins, and compaction leaves the last one: so rows are the same in every replay.
        Comparable::of("run_heartbeats").by_integer("run_number").by_text("flow_id").columns(["beat_at"]),
        Comparable::of("task_heartbeats").by_integer("task_id").by_text("flow_id").columns(["beat_at"]),
        Comparable::of("steps")
            .by_integer("run_number")
            .by_text("step_name")
            .by_text("flow_id")
            .columns(["user_name", "ts_epoch"])
            .columns(POSITION),
        Comparable::of("tasks")
            .by_integer("task_id")
            .by_text("flow_id")
            .columns([
                "run_number",
                "step_name",
                "task_name",
                "user_name",
                "ts_epoch",
                "heartbeat_at",
                "latest_attempt",
            ])
            .columns(POSITION),
        Comparable::of("artifacts")
            .by_integer("task_id")
            .by_integer("attempt_id")
            .by_text("name")
            .by_text("flow_id")
            .columns(["run_number", "step_name", "task_name", "location", "ds_type", "sha", "type", "content_type"])
            .columns(["user_name", "ts_epoch"])
            .columns(POSITION),
        // No index is unique: two entries may have one id. Those of one task are read together.
        Comparable::of("metadata")
            .by_integer("task_id")
            .and_by(["flow_id", "id"])
            .and_by(POSITION)
            .columns(["run_number", "step_name", "task_name", "field_name", "value", "type", "user_name", "ts_epoch"])
            .columns(["tags", "system_tags"]),
        Comparable::of("skips").by_integer("record_partition").by_integer("record_offset").columns(["entries"]),
    ]
}
