SELECT f.flow_id, f.ts_epoch, f.user_name, f.system_tags, f.tags
FROM UNNEST($1::TEXT[]) AS e (flow_id)
INNER JOIN flows AS f
    ON f.flow_id = e.flow_id
