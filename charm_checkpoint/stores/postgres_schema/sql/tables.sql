-- The tables of charm_checkpoint in Postgres, version 1. Running it again changes nothing.
-- Text that a user chooses is kept as bytes: any code point fits, NUL and lone surrogates too.

CREATE TABLE IF NOT EXISTS {schema}.migration (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Long keys do not fit into an index: they are found by their hash, which no short key can equal.
CREATE OR REPLACE FUNCTION {schema}.short(key bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN length(key) <= 64 THEN key ELSE sha512(key) || decode('00', 'hex') END $$;

-- identity: a hash of tenant, kind and name, so that a deleted thread is still known when its
-- name is gone. kind: 0 holds checkpoints, 1 a message list. Every writer of a thread locks its
-- row and updates it in place, for which there is room left on the page.
CREATE TABLE IF NOT EXISTS {schema}.thread (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant bytea NOT NULL,
    identity bytea NOT NULL,
    kind smallint NOT NULL,
    name bytea,
    seq bigint NOT NULL DEFAULT 0,
    sweeps bigint NOT NULL DEFAULT 0,
    deletes bigint NOT NULL DEFAULT 0,
    touched_at bigint NOT NULL DEFAULT 0,
    UNIQUE (tenant, identity)
) WITH (fillfactor = 50);

-- A namespace. Its head is its checkpoint with the largest key.
CREATE TABLE IF NOT EXISTS {schema}.space (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread bigint NOT NULL,
    ns bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS space_ns ON {schema}.space (thread, {schema}.short(ns));

-- key is the commit number: it is drawn while the thread's row is locked.
CREATE TABLE IF NOT EXISTS {schema}.checkpoint (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space bigint NOT NULL,
    id bytea NOT NULL,
    parent bytea,
    run bytea,
    conflict bytea,
    tags integer[] NOT NULL,
    roots bytea NOT NULL,
    body bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS checkpoint_id ON {schema}.checkpoint (space, {schema}.short(id));
CREATE INDEX IF NOT EXISTS checkpoint_order ON {schema}.checkpoint (space, key);
CREATE INDEX IF NOT EXISTS checkpoint_run ON {schema}.checkpoint ({schema}.short(run)) WHERE run IS NOT NULL;
CREATE INDEX IF NOT EXISTS checkpoint_tags ON {schema}.checkpoint USING gin (tags)
    WITH (gin_pending_list_limit = 256);

CREATE TABLE IF NOT EXISTS {schema}.write (
    space bigint NOT NULL,
    id bytea NOT NULL,
    number bigint NOT NULL,
    body bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS write_number ON {schema}.write (space, {schema}.short(id), number);

CREATE TABLE IF NOT EXISTS {schema}.chunk (
    thread bigint NOT NULL,
    address bytea NOT NULL,
    refs bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread, address)
);

-- tokens: of the calls that saved the list last, 8 bytes each, so that the same call made again
-- after its reply was lost is known, also when others have saved since.
CREATE TABLE IF NOT EXISTS {schema}.message (
    thread bigint PRIMARY KEY,
    revision bigint NOT NULL,
    roots bytea NOT NULL,
    body bytea,
    tokens bytea NOT NULL
);

-- What is compressed already is not compressed again.
ALTER TABLE {schema}.checkpoint ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE {schema}.write ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE {schema}.chunk ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE {schema}.message ALTER COLUMN body SET STORAGE EXTERNAL;

-- Row-level security. Over Supabase's API a signed-in user has the tenant of his own id and
-- nobody else's, an anonymous one none; whoever connects to the database itself has what the
-- grants give. A claim in the request counts whatever the role is called. The empty tenant is
-- the server's: an id that is empty names nobody. Not a text body: that would be read by the
-- caller's search_path.
CREATE OR REPLACE FUNCTION {schema}.may_use(tenant bytea) RETURNS boolean LANGUAGE sql STABLE
RETURN CASE
    WHEN current_user NOT IN ('anon', 'authenticated')
        AND nullif(current_setting('request.jwt.claims', true), '') IS NULL THEN true
    ELSE tenant = convert_to(
        nullif(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub', ''), 'UTF8'
    )
END;

ALTER TABLE {schema}.migration ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.thread ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.space ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.checkpoint ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.write ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.chunk ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.message ENABLE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS readable ON {schema}.migration;
CREATE POLICY readable ON {schema}.migration FOR SELECT USING (true);
DROP POLICY IF EXISTS own ON {schema}.thread;
CREATE POLICY own ON {schema}.thread USING ({schema}.may_use(tenant));
DROP POLICY IF EXISTS own ON {schema}.space;
CREATE POLICY own ON {schema}.space USING (EXISTS (SELECT FROM {schema}.thread t WHERE t.key = thread));
DROP POLICY IF EXISTS own ON {schema}.checkpoint;
CREATE POLICY own ON {schema}.checkpoint USING (EXISTS (SELECT FROM {schema}.space s WHERE s.key = space));
DROP POLICY IF EXISTS own ON {schema}.write;
CREATE POLICY own ON {schema}.write USING (EXISTS (SELECT FROM {schema}.space s WHERE s.key = space));
DROP POLICY IF EXISTS own ON {schema}.chunk;
CREATE POLICY own ON {schema}.chunk USING (EXISTS (SELECT FROM {schema}.thread t WHERE t.key = thread));
DROP POLICY IF EXISTS own ON {schema}.message;
CREATE POLICY own ON {schema}.message USING (EXISTS (SELECT FROM {schema}.thread t WHERE t.key = thread));
