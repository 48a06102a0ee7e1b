-- Checkpoints that have no tags for what is nested in their metadata, as those of the first version: a filter on
-- nested values looks for these apart. The number is the mark of the others, NESTED in contract.py.
CREATE INDEX IF NOT EXISTS checkpoint_unmarked ON {schema}.checkpoint (key) WHERE NOT tags @> ARRAY[1684366704];
