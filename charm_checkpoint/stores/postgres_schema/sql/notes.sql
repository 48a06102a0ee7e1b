-- What listings show of a thread, on its own row, which each of its writers changes anyway: the title
-- that its first message gives it, and what its last checkpoint and its last writes say of its state.
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS title bytea;
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS note bytea;
ALTER TABLE {schema}.thread ADD COLUMN IF NOT EXISTS writes_note bytea;
