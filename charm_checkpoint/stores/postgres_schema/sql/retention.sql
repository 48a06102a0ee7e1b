-- Version 5: what keeping a store for years needs: how much each thread holds, on its own row, which each of its writers
-- changes anyway; which threads are to be kept; and what is known of threads that were erased.

-- checkpoints, size: how many, and the bytes of payload of these, their writes and chunks; NULL as long as nobody has
-- counted what was there before this was kept. pinned: whatever it is that the thread holds. All of these are kept on
-- the rows of kind 0.
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS checkpoints bigint;
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS size bigint;
ALTER TABLE {schema}.thread ALTER COLUMN checkpoints SET DEFAULT 0, ALTER COLUMN size SET DEFAULT 0;
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS pinned boolean NOT NULL DEFAULT false;

-- The counter of sweeps of a thread begins where that of none of the same name before it has been, be that one forgotten:
-- at the microseconds since 1970.
ALTER TABLE {schema}.thread ALTER COLUMN sweeps SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- What makes the hashes of erased threads this store's alone; it is never changed.
CREATE TABLE IF NOT EXISTS {schema}.thread_secret (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret bytea NOT NULL
);
INSERT INTO {schema}.thread_secret (secret)
    VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) ON CONFLICT DO NOTHING;

-- A row of an erased thread, of which the counters are left until that second; hash is of the secret and the identity.
-- One that is begun anew goes on from there, and this goes.
CREATE TABLE IF NOT EXISTS {schema}.tombstone (
    tenant bytea NOT NULL,
    hash bytea NOT NULL,
    kind smallint NOT NULL,
    deletes bigint NOT NULL,
    sweeps bigint NOT NULL,
    seq bigint NOT NULL,
    revision bigint NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (tenant, hash)
);
CREATE INDEX IF NOT EXISTS tombstone_until ON {schema}.tombstone (tenant, until);

ALTER TABLE {schema}.thread_secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.tombstone ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS readable ON {schema}.thread_secret;
CREATE POLICY readable ON {schema}.thread_secret FOR SELECT USING (true);
DROP POLICY IF EXISTS own ON {schema}.tombstone;
CREATE POLICY own ON {schema}.tombstone USING ({schema}.may_use(tenant));

-- What a sweep removes is to be room again before it is a fifth of the table, unless somebody decided otherwise.
DO $$ DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r'
        AND c.relname IN ('checkpoint', 'write', 'chunk') AND c.reloptions IS NULL
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.05)', v_table);
    END LOOP;
END $$;

-- A store that is small is counted here; in a large one each thread is when it is swept, or by forget_erased.
DO $$ BEGIN
    IF pg_relation_size('{schema}.checkpoint') + pg_relation_size('{schema}.write')
        + pg_relation_size('{schema}.chunk') < 67108864
    THEN
        WITH hung (thread, checkpoints, size) AS (
            SELECT s.thread, 1, length(c.body) FROM {schema}.checkpoint c JOIN {schema}.space s ON s.key = c.space
            UNION ALL SELECT s.thread, 0, length(w.body) FROM {schema}.write w JOIN {schema}.space s ON s.key = w.space
            UNION ALL SELECT k.thread, 0, length(k.data) FROM {schema}.chunk k
        )
        UPDATE {schema}.thread t SET checkpoints = coalesce(n.checkpoints, 0), size = coalesce(n.size, 0)
            FROM {schema}.thread o LEFT JOIN (
                SELECT h.thread, sum(h.checkpoints) AS checkpoints, sum(h.size) AS size FROM hung h GROUP BY h.thread
            ) n ON n.thread = o.key
            WHERE t.key = o.key AND t.kind = 0 AND t.size IS NULL;
    END IF;
END $$;

-- Functions that nobody calls but those of functions.sql, which makes them anew with other results.
DROP FUNCTION IF EXISTS {schema}.hold(bytea, bytea, smallint, bytea);
DROP FUNCTION IF EXISTS {schema}.sweep(bigint, bytea[]);
DROP FUNCTION IF EXISTS {schema}.add_chunks(bigint, bytea[], bytea[], bytea[]);
