    IF CARDINALITY({payloads}) > 0 THEN
        PERFORM pg_notify(current_schema(), ({payloads})[1]);
    END IF;
