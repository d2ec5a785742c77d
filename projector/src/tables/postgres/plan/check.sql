        GET DIAGNOSTICS daybook_changed = ROW_COUNT;
        IF daybook_changed < CARDINALITY({rows}) THEN
            RAISE EXCEPTION '{name} changed fewer rows than it must' USING ERRCODE = '{sqlstate}';
        END IF;
