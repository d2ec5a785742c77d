-- What the fold does with an ordinary batch, in one round trip and one transaction: moves the checkpoints by
-- compare-and-set, inserts each kind after its parents, notifies if there is whom to. The statements are those of the files beside this one,
-- which the fold runs one by one for every other batch, but for ON CONFLICT: looking for a conflict before each row costs as
-- much again as its index entries. A test holds that both leave the same rows.
-- SQLSTATE DB001: another applier was there first. DB002: a parent is missing. 23505 (unique_violation): a row is there
-- already. Each time nothing is changed.
CREATE OR REPLACE FUNCTION apply_batch(
    moved_topics TEXT[],
    moved_partitions BIGINT[],
    moved_from BIGINT[],
    moved_to BIGINT[],
    notifications TEXT[],
    run_flow_ids TEXT[], run_run_numbers BIGINT[], run_run_ids TEXT[], run_user_names TEXT[], run_ts_epochs BIGINT[], run_tags TEXT[], run_system_tags TEXT[], run_heartbeats BIGINT[], run_partitions BIGINT[], run_offsets BIGINT[],
    task_flow_ids TEXT[], task_run_numbers BIGINT[], task_step_names TEXT[], task_task_ids BIGINT[], task_task_names TEXT[], task_user_names TEXT[], task_ts_epochs BIGINT[], task_heartbeats BIGINT[], task_partitions BIGINT[], task_offsets BIGINT[],
    artifact_flow_ids TEXT[], artifact_run_numbers BIGINT[], artifact_step_names TEXT[], artifact_task_ids BIGINT[], artifact_names TEXT[], artifact_locations TEXT[], artifact_ds_types TEXT[], artifact_shas TEXT[], artifact_types TEXT[], artifact_content_types TEXT[], artifact_user_names TEXT[], artifact_attempt_ids BIGINT[], artifact_ts_epochs BIGINT[], artifact_partitions BIGINT[], artifact_offsets BIGINT[],
    attempt_task_ids BIGINT[], attempt_flow_ids TEXT[], attempt_numbers BIGINT[],
    metadata_flow_ids TEXT[], metadata_run_numbers BIGINT[], metadata_step_names TEXT[], metadata_task_ids BIGINT[], metadata_ids BIGINT[], metadata_field_names TEXT[], metadata_field_values TEXT[], metadata_types TEXT[], metadata_user_names TEXT[], metadata_ts_epochs BIGINT[], metadata_tags TEXT[], metadata_system_tags TEXT[], metadata_partitions BIGINT[], metadata_offsets BIGINT[],
    run_beat_numbers BIGINT[], run_beat_flow_ids TEXT[], run_beat_seconds BIGINT[],
    task_beat_numbers BIGINT[], task_beat_flow_ids TEXT[], task_beat_seconds BIGINT[],
    number_sequences TEXT[], number_highest BIGINT[]
) RETURNS VOID
LANGUAGE plpgsql
AS $$
DECLARE
    changed BIGINT;
BEGIN

    UPDATE checkpoints AS c
    SET next_offset = e.to_offset
    FROM UNNEST(moved_topics, moved_partitions, moved_from, moved_to) AS e (topic, partition_id, from_offset, to_offset)
    WHERE c.topic = e.topic
    AND c.partition_id = e.partition_id
    AND c.next_offset = e.from_offset;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed < CARDINALITY(moved_topics) THEN
        RAISE EXCEPTION 'checkpoints were moved by another applier' USING ERRCODE = 'DB001';
    END IF;

    IF CARDINALITY(run_flow_ids) > 0 THEN
        INSERT INTO runs (flow_id, run_number, run_id, user_name, ts_epoch, tags, system_tags, heartbeat_at, record_partition, record_offset)
        SELECT e.flow_id, e.run_number, e.run_id, e.user_name, e.ts_epoch, e.tags, e.system_tags, e.heartbeat_at, e.record_partition, e.record_offset
        FROM UNNEST(run_flow_ids, run_run_numbers, run_run_ids, run_user_names, run_ts_epochs, run_tags, run_system_tags, run_heartbeats, run_partitions, run_offsets)
            AS e (flow_id, run_number, run_id, user_name, ts_epoch, tags, system_tags, heartbeat_at, record_partition, record_offset)
        WHERE EXISTS (
            SELECT 1
            FROM flows AS p
            WHERE p.flow_id = e.flow_id
            AND p.record_offset < e.record_offset
        );
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < CARDINALITY(run_flow_ids) THEN
            RAISE EXCEPTION 'not every run of the batch has its parent' USING ERRCODE = 'DB002';
        END IF;
    END IF;

    IF CARDINALITY(task_flow_ids) > 0 THEN
        INSERT INTO tasks (flow_id, run_number, step_name, task_id, task_name, user_name, ts_epoch, heartbeat_at, record_partition, record_offset)
        SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.task_name, e.user_name, e.ts_epoch, e.heartbeat_at, e.record_partition, e.record_offset
        FROM UNNEST(task_flow_ids, task_run_numbers, task_step_names, task_task_ids, task_task_names, task_user_names, task_ts_epochs, task_heartbeats, task_partitions, task_offsets)
            AS e (flow_id, run_number, step_name, task_id, task_name, user_name, ts_epoch, heartbeat_at, record_partition, record_offset)
        WHERE EXISTS (
            SELECT 1
            FROM steps AS p
            WHERE p.run_number = e.run_number
            AND p.step_name = e.step_name
            AND p.flow_id = e.flow_id
            AND p.record_offset < e.record_offset
        );
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < CARDINALITY(task_flow_ids) THEN
            RAISE EXCEPTION 'not every task of the batch has its parent' USING ERRCODE = 'DB002';
        END IF;
    END IF;

    IF CARDINALITY(artifact_flow_ids) > 0 THEN
        INSERT INTO artifacts (flow_id, run_number, step_name, task_id, name, location, ds_type, sha, type, content_type, user_name, attempt_id, ts_epoch, record_partition, record_offset, task_name)
        SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.name, e.location, e.ds_type, e.sha, e.type, e.content_type, e.user_name, e.attempt_id, e.ts_epoch, e.record_partition, e.record_offset, p.task_name
        FROM UNNEST(artifact_flow_ids, artifact_run_numbers, artifact_step_names, artifact_task_ids, artifact_names, artifact_locations, artifact_ds_types, artifact_shas, artifact_types, artifact_content_types, artifact_user_names, artifact_attempt_ids, artifact_ts_epochs, artifact_partitions, artifact_offsets)
            AS e (flow_id, run_number, step_name, task_id, name, location, ds_type, sha, type, content_type, user_name, attempt_id, ts_epoch, record_partition, record_offset)
        INNER JOIN tasks AS p
            ON p.task_id = e.task_id
            AND p.flow_id = e.flow_id
            AND p.run_number + 0 = e.run_number
            AND p.step_name || '' = e.step_name
            AND p.record_offset < e.record_offset;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < CARDINALITY(artifact_flow_ids) THEN
            RAISE EXCEPTION 'not every artifact of the batch has its parent' USING ERRCODE = 'DB002';
        END IF;
    END IF;

    IF CARDINALITY(attempt_task_ids) > 0 THEN
        UPDATE tasks AS t
        SET latest_attempt = e.attempt
        FROM UNNEST(attempt_task_ids, attempt_flow_ids, attempt_numbers)
            AS e (task_id, flow_id, attempt)
        WHERE t.task_id = e.task_id
        AND t.flow_id = e.flow_id
        AND t.latest_attempt < e.attempt;
    END IF;

    IF CARDINALITY(metadata_flow_ids) > 0 THEN
        INSERT INTO metadata (flow_id, run_number, step_name, task_id, id, field_name, value, type, user_name, ts_epoch, tags, system_tags, record_partition, record_offset, task_name)
        SELECT e.flow_id, e.run_number, e.step_name, e.task_id, e.id, e.field_name, e.value, e.type, e.user_name, e.ts_epoch, e.tags, e.system_tags, e.record_partition, e.record_offset, p.task_name
        FROM UNNEST(metadata_flow_ids, metadata_run_numbers, metadata_step_names, metadata_task_ids, metadata_ids, metadata_field_names, metadata_field_values, metadata_types, metadata_user_names, metadata_ts_epochs, metadata_tags, metadata_system_tags, metadata_partitions, metadata_offsets)
            AS e (flow_id, run_number, step_name, task_id, id, field_name, value, type, user_name, ts_epoch, tags, system_tags, record_partition, record_offset)
        INNER JOIN tasks AS p
            ON p.task_id = e.task_id
            AND p.flow_id = e.flow_id
            AND p.run_number + 0 = e.run_number
            AND p.step_name || '' = e.step_name
            AND p.record_offset < e.record_offset;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed < CARDINALITY(metadata_flow_ids) THEN
            RAISE EXCEPTION 'not every metadata of the batch has its parent' USING ERRCODE = 'DB002';
        END IF;
    END IF;

    IF CARDINALITY(run_beat_numbers) > 0 THEN
        INSERT INTO run_heartbeats (run_number, flow_id, beat_at)
        SELECT e.run_number, e.flow_id, e.beat_at
        FROM UNNEST(run_beat_numbers, run_beat_flow_ids, run_beat_seconds)
            AS e (run_number, flow_id, beat_at)
        ON CONFLICT (run_number, flow_id) DO UPDATE
        SET beat_at = EXCLUDED.beat_at
        WHERE run_heartbeats.beat_at < EXCLUDED.beat_at;
    END IF;

    IF CARDINALITY(task_beat_numbers) > 0 THEN
        INSERT INTO task_heartbeats (task_id, flow_id, beat_at)
        SELECT e.task_id, e.flow_id, e.beat_at
        FROM UNNEST(task_beat_numbers, task_beat_flow_ids, task_beat_seconds)
            AS e (task_id, flow_id, beat_at)
        ON CONFLICT (task_id, flow_id) DO UPDATE
        SET beat_at = EXCLUDED.beat_at
        WHERE task_heartbeats.beat_at < EXCLUDED.beat_at;
    END IF;

    IF CARDINALITY(number_sequences) > 0 THEN
        INSERT INTO numbers (sequence, highest)
        SELECT e.sequence, e.highest
        FROM UNNEST(number_sequences, number_highest)
            AS e (sequence, highest)
        ON CONFLICT (sequence) DO UPDATE
        SET highest = EXCLUDED.highest
        WHERE numbers.highest < EXCLUDED.highest;
    END IF;

    IF CARDINALITY(notifications) > 0 THEN
        PERFORM pg_notify(current_schema(), notifications[1]);
    END IF;
END
$$;
