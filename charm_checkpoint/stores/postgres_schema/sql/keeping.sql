-- What a thread's row tells of it for years: how much it holds, whether it is to be kept; and how threads are erased.

-- Count what hangs on a row of the table of threads; what is large is not read for that.
CREATE OR REPLACE FUNCTION {schema}.measure(
    p_thread bigint, OUT checkpoints bigint, OUT writes bigint, OUT chunks bigint, OUT size bigint
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_spaces bigint[] := ARRAY(SELECT s.key FROM {schema}.space s WHERE s.thread = p_thread);
    v_size bigint;
BEGIN
    SELECT count(*), coalesce(sum(length(c.body)), 0) INTO checkpoints, size
        FROM {schema}.checkpoint c WHERE c.space = ANY (v_spaces);
    SELECT count(*), size + coalesce(sum(length(w.body)), 0) INTO writes, size
        FROM {schema}.write w WHERE w.space = ANY (v_spaces);
    SELECT count(*), size + coalesce(sum(length(k.data)), 0) INTO chunks, size
        FROM {schema}.chunk k WHERE k.thread = p_thread;
END
$$;

-- Note on a held thread's row how much it holds.
CREATE OR REPLACE FUNCTION {schema}.recount(p_thread bigint)
RETURNS void LANGUAGE plpgsql SET search_path = '' AS
$$
BEGIN
    UPDATE {schema}.thread t SET checkpoints = m.checkpoints, size = m.size
        FROM {schema}.measure(p_thread) m WHERE t.key = p_thread;
END
$$;

-- Note how much each of the next threads holds of which nobody knows, behind the one with the key p_after: a few, and
-- none that somebody is writing to. Return where to go on, NULL at the end.
CREATE OR REPLACE FUNCTION {schema}.count_threads(p_tenant bytea, p_after bigint, OUT next bigint)
LANGUAGE plpgsql SET search_path = '' AS
$$
DECLARE
    v_key bigint;
    v_until timestamptz := clock_timestamp() + interval '50 milliseconds';
BEGIN
    FOR v_key IN
        SELECT t.key FROM {schema}.thread t
        WHERE t.tenant = p_tenant AND t.kind = 0 AND t.size IS NULL AND t.key > p_after ORDER BY t.key LIMIT 200
    LOOP
        next := v_key;
        IF EXISTS (SELECT FROM {schema}.thread t WHERE t.key = v_key FOR UPDATE SKIP LOCKED) THEN
            PERFORM {schema}.recount(v_key);
        END IF;
        EXIT WHEN clock_timestamp() > v_until;
    END LOOP;
END
$$;

-- Return the hash by which an erased thread is known, which nobody without the store's secret can make.
CREATE OR REPLACE FUNCTION {schema}.keyed(p_identity bytea)
RETURNS bytea LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
BEGIN
    RETURN (SELECT sha256(s.secret || p_identity) FROM {schema}.thread_secret s);
END
$$;

-- Tell the counters that an erased thread left; NULLs if it is none.
CREATE OR REPLACE FUNCTION {schema}.erased(
    p_tenant bytea, p_identity bytea, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint, OUT revision bigint
) LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
BEGIN
    SELECT b.deletes, b.sweeps, b.seq, b.revision INTO deletes, sweeps, seq, revision
        FROM {schema}.tombstone b WHERE b.tenant = p_tenant AND b.hash = {schema}.keyed(p_identity);
END
$$;

-- A row that was made for a call stays, or goes again where the call is refused: nothing is left of who came too late.
CREATE OR REPLACE FUNCTION {schema}.settle(p_tenant bytea, p_identity bytea, p_thread bigint, p_stored boolean)
RETURNS void LANGUAGE plpgsql SET search_path = '' AS
$$
BEGIN
    IF p_stored THEN
        DELETE FROM {schema}.tombstone b WHERE b.tenant = p_tenant AND b.hash = {schema}.keyed(p_identity);
    ELSE
        DELETE FROM {schema}.message m WHERE m.thread = p_thread;
        DELETE FROM {schema}.thread t WHERE t.key = p_thread;
    END IF;
END
$$;

-- Remove all of a thread, whose rows of each kind have these identities; keep its counters until then, if that is not 0. With p_idle
-- it is done only if nothing of it changed after that second, and it is not pinned.
CREATE OR REPLACE FUNCTION {schema}.erase_thread(
    p_tenant bytea, p_identities bytea[], p_until bigint, p_idle bigint,
    OUT threads bigint, OUT checkpoints bigint, OUT writes bigint, OUT chunks bigint, OUT bytes bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_identity bytea;
    v_lists bigint;
    v_said bigint;
    held record;
    holds record;
    left_of record;
BEGIN
    threads := 0; checkpoints := 0; writes := 0; chunks := 0; bytes := 0;
    PERFORM FROM {schema}.thread t
        WHERE t.tenant = p_tenant AND t.identity = ANY (p_identities) ORDER BY t.key FOR UPDATE;
    IF p_idle IS NOT NULL AND EXISTS (
        SELECT FROM {schema}.thread t WHERE t.tenant = p_tenant AND t.identity = ANY (p_identities)
            AND t.name IS NOT NULL AND (t.pinned OR t.touched_at > p_idle)
    ) THEN
        RETURN;
    END IF;
    FOREACH v_identity IN ARRAY p_identities LOOP
        SELECT t.key, t.deletes, t.sweeps, t.seq, coalesce(m.revision, 0) AS revision INTO held
            FROM {schema}.thread t LEFT JOIN {schema}.message m ON m.thread = t.key
            WHERE t.tenant = p_tenant AND t.identity = v_identity;
        SELECT * INTO left_of FROM {schema}.erased(p_tenant, v_identity);
        IF held.key IS NOT NULL THEN
            SELECT * INTO holds FROM {schema}.measure(held.key);
            SELECT count(*), coalesce(sum(length(l.body)), 0) INTO v_lists, v_said FROM (
                SELECT m.body FROM {schema}.message m WHERE m.thread = held.key AND m.body IS NOT NULL
                UNION ALL SELECT b.body FROM {schema}.message_batch b WHERE b.thread = held.key
            ) l;
            threads := greatest(threads, least(1, holds.checkpoints + holds.writes + v_lists));
            checkpoints := checkpoints + holds.checkpoints;
            writes := writes + holds.writes;
            chunks := chunks + holds.chunks;
            bytes := bytes + holds.size + v_said;
            PERFORM {schema}.remove_all(held.key);
            DELETE FROM {schema}.message m WHERE m.thread = held.key;
            DELETE FROM {schema}.message_batch b WHERE b.thread = held.key;
            DELETE FROM {schema}.thread t WHERE t.key = held.key;
        END IF;
        IF p_until = 0 THEN
            DELETE FROM {schema}.tombstone b WHERE b.tenant = p_tenant AND b.hash = {schema}.keyed(v_identity);
        ELSE
            INSERT INTO {schema}.tombstone AS b (tenant, hash, kind, deletes, sweeps, seq, revision, until)
            VALUES (
                p_tenant, {schema}.keyed(v_identity), array_position(p_identities, v_identity) - 1,
                greatest(held.deletes, left_of.deletes, 0) + 1, greatest(held.sweeps, left_of.sweeps, 0) + 1,
                greatest(held.seq, left_of.seq, 0) + 1, greatest(held.revision, left_of.revision, 0) + 1, p_until
            ) ON CONFLICT (tenant, hash) DO UPDATE SET deletes = excluded.deletes, sweeps = excluded.sweeps,
                seq = excluded.seq, revision = excluded.revision, until = excluded.until;
        END IF;
    END LOOP;
END
$$;

-- Remove checkpoints, writes and chunks of a held thread.
CREATE OR REPLACE FUNCTION {schema}.remove_all(p_thread bigint)
RETURNS void LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_spaces bigint[] := ARRAY(SELECT s.key FROM {schema}.space s WHERE s.thread = p_thread);
BEGIN
    DELETE FROM {schema}.checkpoint c WHERE c.space = ANY (v_spaces);
    DELETE FROM {schema}.write w WHERE w.space = ANY (v_spaces);
    DELETE FROM {schema}.space s WHERE s.thread = p_thread;
    DELETE FROM {schema}.chunk c WHERE c.thread = p_thread;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.forget_erased(p_tenant bytea, p_now bigint, OUT threads bigint)
LANGUAGE plpgsql SET search_path = '' AS
$$
BEGIN
    WITH gone AS (DELETE FROM {schema}.tombstone b WHERE b.tenant = p_tenant AND b.until <= p_now RETURNING b.kind)
    SELECT count(*) INTO threads FROM gone g WHERE g.kind = 0;
END
$$;

-- Note on the row of a thread's checkpoints, made if need be, that the thread is to be kept, or no longer.
CREATE OR REPLACE FUNCTION {schema}.pin(
    p_tenant bytea, p_identity bytea, p_list bytea, p_name bytea, p_pinned boolean, OUT holds boolean
) LANGUAGE plpgsql SET search_path = '' AS
$$
DECLARE
    held record;
BEGIN
    holds := EXISTS (
        SELECT FROM {schema}.thread t JOIN {schema}.space s ON s.thread = t.key
        WHERE t.tenant = p_tenant AND t.identity = p_identity
    ) OR EXISTS (
        SELECT FROM {schema}.thread t WHERE t.tenant = p_tenant AND t.identity = p_list AND (
            EXISTS (SELECT FROM {schema}.message m WHERE m.thread = t.key AND m.body IS NOT NULL)
            OR EXISTS (SELECT FROM {schema}.message_batch b WHERE b.thread = t.key)
        )
    );
    IF holds AND p_pinned THEN
        SELECT * INTO held FROM {schema}.hold(p_tenant, p_identity, 0::smallint, p_name);
        IF held.made THEN
            PERFORM {schema}.settle(p_tenant, p_identity, held.key, true);
        END IF;
        UPDATE {schema}.thread t SET pinned = true, name = coalesce(t.name, p_name) WHERE t.key = held.key;
    ELSE
        UPDATE {schema}.thread t SET pinned = false
            WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.pinned;
    END IF;
END
$$;

-- Threads by name, those changed last first, after (p_at, p_after), or those whose rows have these identities alone; no
-- body is read, and checkpoints but the head are counted only where nobody has. A thread's checkpoints and its messages
-- have rows of their own. It is planned anew each time: whether all rows are read depends on what is asked for.
CREATE OR REPLACE FUNCTION {schema}.thread_rows(
    p_tenant bytea, p_at bigint, p_after bytea, p_size bigint, p_identities bytea[]
) RETURNS TABLE (
    name bytea, at bigint, checkpoints bigint, has_messages boolean, head bytea,
    title bytea, note bytea, writes_note bytea, holds boolean, size bigint, pinned boolean
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_custom_plan AS
$$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.name, p.at, n.checkpoints, m.listed, h.id, t.title, t.note, t.writes_note,
        n.checkpoints > 0 OR m.listed OR EXISTS (
            SELECT FROM {schema}.space s JOIN {schema}.write w ON w.space = s.key WHERE s.thread = p.key
        ),
        CASE WHEN p.key IS NULL THEN 0 ELSE t.size END, coalesce(t.pinned, false)
    FROM (
        SELECT r.name, max(r.touched_at) AS at, max(r.key) FILTER (WHERE r.kind = 0) AS key,
            max(r.key) FILTER (WHERE r.kind = 1) AS list
        FROM {schema}.thread r WHERE r.tenant = p_tenant AND r.name IS NOT NULL
            AND (p_identities IS NULL OR r.identity = ANY (p_identities))
        GROUP BY r.name
        HAVING p_at IS NULL OR (max(r.touched_at), r.name) < (p_at, p_after)
        ORDER BY max(r.touched_at) DESC, r.name DESC LIMIT p_size
    ) p LEFT JOIN {schema}.thread t ON t.key = p.key
    CROSS JOIN LATERAL (
        SELECT coalesce(CASE WHEN p.key IS NULL THEN 0 ELSE t.checkpoints END, (
            SELECT count(*) FROM {schema}.space s JOIN {schema}.checkpoint c ON c.space = s.key
            WHERE s.thread = p.key
        )) AS checkpoints
    ) n
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM {schema}.message e WHERE e.thread = p.list AND e.body IS NOT NULL)
            OR EXISTS (SELECT FROM {schema}.message_batch b WHERE b.thread = p.list) AS listed
    ) m
    LEFT JOIN LATERAL (
        SELECT c.id FROM {schema}.space s, LATERAL (
            SELECT c.id FROM {schema}.checkpoint c WHERE c.space = s.key ORDER BY c.key DESC LIMIT 1
        ) c WHERE s.thread = p.key AND {schema}.short(s.ns) = ''::bytea
    ) h ON true
    ORDER BY p.at DESC, p.name DESC;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.thread_list(p_tenant bytea, p_at bigint, p_after bytea, p_size bigint)
RETURNS TABLE (
    name bytea, at bigint, checkpoints bigint, has_messages boolean, head bytea,
    title bytea, note bytea, writes_note bytea, holds boolean, size bigint, pinned boolean
) LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT * FROM {schema}.thread_rows(p_tenant, p_at, p_after, p_size, NULL)
$$;

-- What thread_list says of one thread, whose rows of each kind have these identities.
CREATE OR REPLACE FUNCTION {schema}.thread_row(p_tenant bytea, p_identities bytea[])
RETURNS TABLE (
    name bytea, at bigint, checkpoints bigint, has_messages boolean, head bytea,
    title bytea, note bytea, writes_note bytea, holds boolean, size bigint, pinned boolean
) LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT * FROM {schema}.thread_rows(p_tenant, NULL, NULL, NULL, p_identities)
$$;

-- The listing for programs of before there were sizes and pins.
CREATE OR REPLACE FUNCTION {schema}.threads(p_tenant bytea, p_at bigint, p_after bytea, p_size bigint)
RETURNS TABLE (
    name bytea, at bigint, checkpoints bigint, has_messages boolean, head bytea,
    title bytea, note bytea, writes_note bytea, holds boolean
) LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT t.name, t.at, t.checkpoints, t.has_messages, t.head, t.title, t.note, t.writes_note, t.holds
    FROM {schema}.thread_list(p_tenant, p_at, p_after, p_size) t
$$;

-- How many bytes the tables take with their indexes. Who sees a tenant's rows alone is told nothing: it is of all tenants.
CREATE OR REPLACE FUNCTION {schema}.space_taken(OUT taken bigint)
LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
BEGIN
    IF row_security_active('{schema}.thread') THEN
        RETURN;
    END IF;
    SELECT sum(pg_total_relation_size(t.name))::bigint INTO taken FROM unnest(ARRAY[
        '{schema}.thread', '{schema}.space', '{schema}.checkpoint', '{schema}.write', '{schema}.chunk',
        '{schema}.message', '{schema}.message_batch', '{schema}.tombstone',
        '{schema}.memory_space', '{schema}.memory_item', '{schema}.memory_vector'
    ]::regclass[]) t(name);
END
$$;
