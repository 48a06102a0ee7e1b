-- What reads and puts message lists has other parameters since lists have batches behind them. A program of
-- before that is still running is told so, rather than shown a list without its batches.
DROP FUNCTION IF EXISTS {schema}.messages(bytea, bytea, bytea[], bigint);
DROP FUNCTION IF EXISTS {schema}.put_messages(
    bytea, bytea, bytea, bytea, bytea, bytea[], bytea[], bytea[], bigint, bigint, boolean, bytea
);

-- What was appended to a list since it was saved, in order; a batch's token is as in the list's.
CREATE TABLE IF NOT EXISTS {schema}.message_batch (
    thread bigint NOT NULL,
    number bigint NOT NULL,
    token bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (thread, number)
);
ALTER TABLE {schema}.message_batch ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE {schema}.message_batch ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON {schema}.message_batch;
CREATE POLICY own ON {schema}.message_batch USING (EXISTS (SELECT FROM {schema}.thread t WHERE t.key = thread));
