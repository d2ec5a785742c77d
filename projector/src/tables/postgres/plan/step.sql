    IF CARDINALITY({rows}) > 0 THEN
{statement}
;
{check}
    END IF;
