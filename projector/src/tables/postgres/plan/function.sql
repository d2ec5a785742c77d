CREATE OR REPLACE FUNCTION {name}(BIGINT{arguments}) RETURNS BIGINT
LANGUAGE plpgsql
AS $daybook$
#variable_conflict use_column
DECLARE
    daybook_changed BIGINT;
BEGIN
{body}
    RETURN $1;
END
$daybook$;
