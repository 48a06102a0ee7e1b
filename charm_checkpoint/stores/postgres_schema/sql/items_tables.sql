-- Version 3: items, which are values under keys in spaces, for long-term memory. Paths of spaces and keys of items
-- may be longer than an index takes: both are found by 16-byte hashes, and paths by their beginning, too.

-- Every writer of a space locks its row and updates it in place, for which there is room left on the page.
-- stamp: of the last change; removed: of the last that removed an item, or the first of all; newest: no item was
-- put later; items: how many rows there are, expired ones too; endless: those of them that do not expire. tokens: of
-- the batches with conditions done last, so that the same one made again after its reply was lost is known: 8 bytes,
-- then the batch's first and last stamp in the space.
CREATE TABLE IF NOT EXISTS {schema}.memory_space (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant bytea NOT NULL,
    identity bytea NOT NULL,
    path bytea NOT NULL,
    stamp bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,
    newest bigint NOT NULL DEFAULT 0,
    items bigint NOT NULL DEFAULT 0,
    endless bigint NOT NULL DEFAULT 0,
    tokens bytea,
    UNIQUE (tenant, identity)
) WITH (fillfactor = 50);

-- Where an index has a space: by tenant and the beginning of its path, in one, so that no plan takes it for the tenant
-- alone.
CREATE OR REPLACE FUNCTION {schema}.item_place(tenant bytea, path bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT substring(sha256(tenant) FROM 1 FOR 16) || substring(path FROM 1 FOR 200) $$;
CREATE INDEX IF NOT EXISTS memory_space_place ON {schema}.memory_space ({schema}.item_place(tenant, path));

-- vectors: how many bytes of them there are, apart.
CREATE TABLE IF NOT EXISTS {schema}.memory_item (
    space bigint NOT NULL,
    identity bytea NOT NULL,
    name bytea NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    stamp bigint NOT NULL,
    ttl bigint,
    expires bigint,
    vectors integer NOT NULL,
    tags bytea NOT NULL,
    entry bytea NOT NULL,
    value bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS memory_item_updated ON {schema}.memory_item (space, updated);
CREATE INDEX IF NOT EXISTS memory_item_stamp ON {schema}.memory_item (space, stamp);
CREATE INDEX IF NOT EXISTS memory_item_expires ON {schema}.memory_item (space, expires) WHERE expires IS NOT NULL;
-- Last: as long as a table is small, all its indexes seem to be as good, and the planner takes the one made last.
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint c WHERE c.conrelid = '{schema}.memory_item'::regclass AND c.contype = 'p'
    ) THEN
        ALTER TABLE {schema}.memory_item ADD PRIMARY KEY (space, identity);
    END IF;
END $$;

-- They do not compress.
CREATE TABLE IF NOT EXISTS {schema}.memory_vector (
    space bigint NOT NULL,
    identity bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (space, identity)
);
ALTER TABLE {schema}.memory_vector ALTER COLUMN data SET STORAGE EXTERNAL;

ALTER TABLE {schema}.memory_space ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.memory_item ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.memory_vector ENABLE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS own ON {schema}.memory_space;
CREATE POLICY own ON {schema}.memory_space USING ({schema}.may_use(tenant));
DROP POLICY IF EXISTS own ON {schema}.memory_item;
CREATE POLICY own ON {schema}.memory_item USING (EXISTS (SELECT FROM {schema}.memory_space s WHERE s.key = space));
DROP POLICY IF EXISTS own ON {schema}.memory_vector;
CREATE POLICY own ON {schema}.memory_vector USING (EXISTS (SELECT FROM {schema}.memory_space s WHERE s.key = space));
