-- Version 2: calls that may be made again say so, and no literal depends on how the database reads backslashes.

CREATE OR REPLACE FUNCTION {schema}.short(key bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN length(key) <= 64 THEN key ELSE sha512(key) || decode('00', 'hex') END $$;

-- Those of version 1, which functions.sql makes anew with one more parameter.
DROP FUNCTION IF EXISTS {schema}.put(
    bytea, bytea, bytea, bytea, bytea, bytea, bytea, bytea, integer[], bytea, bytea[], bytea[], bytea[],
    bigint, bigint, text
);
DROP FUNCTION IF EXISTS {schema}.put_writes(bytea, bytea, bytea, bytea, bytea, bytea, bigint);
