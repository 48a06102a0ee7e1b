-- Version 4: no function looks up a name by its caller's search_path, in which anybody who may create in a schema there
-- can put another function. Those of functions.sql and of the items have an empty one; these bodies are read here,
-- where it is empty, and are part of indexes and policies: a setting would keep the planner from seeing into them.

CREATE OR REPLACE FUNCTION {schema}.short(key bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(key) <= 64 THEN key ELSE sha512(key) || decode('00', 'hex') END;

CREATE OR REPLACE FUNCTION {schema}.item_place(tenant bytea, path bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substring(sha256(tenant) FROM 1 FOR 16) || substring(path FROM 1 FOR 200);

CREATE OR REPLACE FUNCTION {schema}.may_use(tenant bytea) RETURNS boolean LANGUAGE sql STABLE
RETURN CASE
    WHEN current_user NOT IN ('anon', 'authenticated')
        AND nullif(current_setting('request.jwt.claims', true), '') IS NULL THEN true
    ELSE tenant = convert_to(
        nullif(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub', ''), 'UTF8'
    )
END;
