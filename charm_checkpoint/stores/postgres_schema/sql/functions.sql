-- What the store does, one function a call. Those that write lock the thread's row first: under
-- READ COMMITTED each statement after that sees what was committed while it waited. Those that
-- read are STABLE, so all of one call is read from one snapshot. All name the table of threads
-- first: whoever changes the schema locks that first, and never meets them half way.

-- The chunks reached from some roots; what is known, and what only that reaches, is left out.
-- A level at a time, by index: a recursive query would be planned for millions of rows and set
-- aside memory for them. OFFSET 0 keeps the planner from scanning all the thread's chunks, which
-- would grow with its age. A level that does not fit into p_room bytes is left to be asked for.
-- PL/pgSQL here, also where plain SQL would do, because it keeps its plans; generic ones, or the
-- lengths of arrays would have each call planned anew.
CREATE OR REPLACE FUNCTION {schema}.closure(
    p_thread bigint, p_roots bytea, p_known bytea[], p_room bigint,
    OUT addresses bytea[], OUT refs bytea[], OUT data bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_joined bytea := p_roots;
    v_room bigint := p_room;
    v_front bytea[];
    level record;
BEGIN
    addresses := '{}';
    WHILE length(v_joined) > 0 LOOP
        v_front := ARRAY(
            SELECT substring(v_joined FROM place FOR 16) FROM generate_series(1, length(v_joined), 16) place
            EXCEPT SELECT unnest(addresses) EXCEPT SELECT unnest(p_known)
        );
        SELECT array_agg(c.address) AS addresses, array_agg(c.refs) AS refs, array_agg(c.data) AS data,
            sum(length(c.data)) AS size, string_agg(c.refs, '') AS joined
        INTO level FROM unnest(v_front) wanted, LATERAL (
            SELECT c.address, c.refs, c.data FROM {schema}.chunk c
            WHERE c.thread = p_thread AND c.address = wanted OFFSET 0
        ) c;
        v_room := v_room - level.size;
        EXIT WHEN v_room < 0;
        addresses := addresses || level.addresses;
        refs := refs || level.refs;
        data := data || level.data;
        v_joined := level.joined;
    END LOOP;
END
$$;

-- The addresses that some roots of a held thread reach.
CREATE OR REPLACE FUNCTION {schema}.reached(p_thread bigint, p_roots bytea[])
RETURNS bytea[] LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_joined bytea[] := p_roots;
    v_front bytea[];
    v_reached bytea[] := '{}';
BEGIN
    WHILE cardinality(v_joined) > 0 LOOP
        v_front := ARRAY(
            SELECT substring(j FROM place FOR 16) FROM unnest(v_joined) j, generate_series(1, length(j), 16) place
            EXCEPT SELECT unnest(v_reached)
        );
        v_reached := v_reached || v_front;
        v_joined := ARRAY(
            SELECT c.refs FROM unnest(v_front) wanted, LATERAL (
                SELECT c.refs FROM {schema}.chunk c WHERE c.thread = p_thread AND c.address = wanted OFFSET 0
            ) c WHERE length(c.refs) > 0
        );
    END LOOP;
    RETURN v_reached;
END
$$;

-- Remove the chunks of a held thread that no root reaches; return their bytes.
CREATE OR REPLACE FUNCTION {schema}.sweep(p_thread bigint, p_roots bytea[])
RETURNS bigint LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_reached bytea[] := {schema}.reached(p_thread, p_roots);
    v_freed bigint;
BEGIN
    WITH gone AS (
        DELETE FROM {schema}.chunk c WHERE c.thread = p_thread AND c.address NOT IN (SELECT unnest(v_reached))
        RETURNING length(c.data) AS size
    )
    SELECT coalesce(sum(g.size), 0) INTO v_freed FROM gone g;
    RETURN v_freed;
END
$$;

-- Remove some of those chunks, at least as many as are looked at for that if there are as many; return their bytes, and
-- whether there may be more.
CREATE OR REPLACE FUNCTION {schema}.sweep_some(
    p_thread bigint, p_roots bytea[], p_most bigint, OUT freed bigint, OUT more boolean
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_reached bytea[] := {schema}.reached(p_thread, p_roots);
    v_most bigint := greatest(p_most, cardinality(v_reached));
BEGIN
    WITH gone AS (
        DELETE FROM {schema}.chunk c WHERE c.thread = p_thread AND c.address = ANY (ARRAY(
            SELECT k.address FROM {schema}.chunk k
            WHERE k.thread = p_thread AND k.address NOT IN (SELECT unnest(v_reached)) LIMIT v_most
        ))
        RETURNING length(c.data) AS size
    )
    SELECT coalesce(sum(g.size), 0), count(*) = v_most INTO freed, more FROM gone g;
END
$$;

-- Lock a thread's row, made if it is missing; an empty row says no more than none. One that is made has the counters
-- of the thread that was erased before, if one was, and whoever made it settles whether it stays. What is returned is as
-- if it had been there before.
CREATE OR REPLACE FUNCTION {schema}.hold(
    p_tenant bytea, p_identity bytea, p_kind smallint, p_name bytea,
    OUT key bigint, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint, OUT made boolean
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_erased record;
BEGIN
    made := false;
    LOOP
        SELECT t.key, t.deletes, t.sweeps, t.seq INTO key, deletes, sweeps, seq
        FROM {schema}.thread t WHERE t.tenant = p_tenant AND t.identity = p_identity FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO {schema}.thread (tenant, identity, kind, name)
        VALUES (p_tenant, p_identity, p_kind, p_name) ON CONFLICT DO NOTHING;
        made := FOUND;
    END LOOP;
    IF made THEN
        sweeps := 0;
        -- Looked up with the row held: who erases a thread holds its row, too.
        SELECT * INTO v_erased FROM {schema}.erased(p_tenant, p_identity);
        IF v_erased.seq IS NOT NULL THEN
            UPDATE {schema}.thread t SET deletes = v_erased.deletes, sweeps = v_erased.sweeps, seq = v_erased.seq
                WHERE t.key = hold.key RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
            IF p_kind = 1 THEN
                INSERT INTO {schema}.message (thread, revision, roots, tokens) VALUES (key, v_erased.revision, '', '');
            END IF;
        END IF;
    END IF;
END
$$;

-- Note a change in a held thread's row.
CREATE OR REPLACE FUNCTION {schema}.touch(
    p_thread bigint, p_name bytea, p_sweeps integer,
    OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
BEGIN
    UPDATE {schema}.thread t SET
        seq = t.seq + 1, sweeps = t.sweeps + p_sweeps, name = coalesce(t.name, p_name),
        touched_at = extract(epoch FROM clock_timestamp())::bigint
    WHERE t.key = p_thread RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
END
$$;

-- Add chunks where they are not there; return the bytes of those added.
CREATE OR REPLACE FUNCTION {schema}.add_chunks(p_thread bigint, p_addresses bytea[], p_refs bytea[], p_data bytea[])
RETURNS bigint LANGUAGE plpgsql SET search_path = '' AS
$$
DECLARE
    v_added bigint;
BEGIN
    WITH added AS (
        INSERT INTO {schema}.chunk (thread, address, refs, data)
        SELECT p_thread, n.address, n.refs, n.data FROM unnest(p_addresses, p_refs, p_data) n(address, refs, data)
        ON CONFLICT DO NOTHING RETURNING length(data) AS size
    )
    SELECT coalesce(sum(a.size), 0) INTO v_added FROM added a;
    RETURN v_added;
END
$$;

-- Tell whether a write to a thread without chunks left some out that it names.
CREATE OR REPLACE FUNCTION {schema}.is_partial(p_base_sweeps bigint, p_roots bytea, p_addresses bytea[], p_refs bytea[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = '' AS
$$
BEGIN
    RETURN p_base_sweeps IS NOT NULL AND EXISTS (
        SELECT substring(j.joined FROM n.place FOR 16) FROM unnest(p_refs || p_roots) j(joined),
            generate_series(1, length(j.joined), 16) n(place)
        EXCEPT SELECT unnest(p_addresses)
    );
END
$$;

-- What becomes of a write, deleted, stale, conflict, changed or stored, is the rule of stores/shared/write_rule.py, which
-- put, put_writes and put_messages say again here; the cases of testing/write_cases.py are played on both.

-- Tell whether a writer began before the thread was deleted.
CREATE OR REPLACE FUNCTION {schema}.is_late(p_space bigint, p_id bytea, p_deletes bigint, p_seen bigint)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
BEGIN
    IF p_seen IS NOT NULL THEN
        RETURN p_seen <> p_deletes;
    END IF;
    RETURN p_deletes > 0 AND p_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.checkpoint c WHERE c.space = p_space AND {schema}.short(c.id) = {schema}.short(p_id)
    );
END
$$;

CREATE OR REPLACE FUNCTION {schema}.put(
    p_tenant bytea, p_identity bytea, p_name bytea, p_ns bytea, p_id bytea, p_parent bytea,
    p_body bytea, p_roots bytea, p_tags integer[], p_run bytea,
    p_addresses bytea[], p_refs bytea[], p_data bytea[],
    p_base_sweeps bigint, p_seen_deletes bigint, p_on_conflict text, p_title bytea, p_note bytea,
    p_again boolean DEFAULT false,
    OUT outcome text, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint, OUT head bytea, OUT branched boolean
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
    v_space bigint;
    v_stored bigint;
    v_mark bytea;
    v_sure boolean;
    v_made boolean;
    v_chunk bytea;
    v_sent bigint := 0;
    v_less bigint := 0;
BEGIN
    FOREACH v_chunk IN ARRAY p_data LOOP
        v_sent := v_sent + length(v_chunk);
    END LOOP;
    -- Where nothing can speak against it, one statement both holds the row and notes the change.
    UPDATE {schema}.thread t SET
        seq = t.seq + 1, name = coalesce(t.name, p_name), touched_at = extract(epoch FROM clock_timestamp())::bigint,
        title = coalesce(t.title, p_title), note = coalesce(p_note, t.note),
        checkpoints = t.checkpoints + 1, size = t.size + length(p_body) + v_sent
        WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.deletes = coalesce(p_seen_deletes, 0)
            AND t.sweeps = coalesce(p_base_sweeps, t.sweeps) AND p_on_conflict <> 'raise'
        RETURNING t.key, t.deletes, t.sweeps, t.seq INTO v_thread, deletes, sweeps, seq;
    v_sure := FOUND;
    IF NOT v_sure THEN
        SELECT h.* INTO v_thread, deletes, sweeps, seq, v_made
            FROM {schema}.hold(p_tenant, p_identity, 0::smallint, p_name) h;
    END IF;
    SELECT s.key, (SELECT c.id FROM {schema}.checkpoint c WHERE c.space = s.key ORDER BY c.key DESC LIMIT 1),
        (SELECT c.key FROM {schema}.checkpoint c WHERE c.space = s.key AND {schema}.short(c.id) = {schema}.short(p_id))
        INTO v_space, head, v_stored
        FROM {schema}.space s WHERE s.thread = v_thread AND {schema}.short(s.ns) = {schema}.short(p_ns);
    branched := p_on_conflict <> 'allow' AND v_stored IS NULL AND head IS NOT NULL
        AND head IS DISTINCT FROM p_parent AND head <> p_id;
    IF NOT v_sure THEN
        outcome := CASE
            WHEN {schema}.is_late(v_space, p_parent, deletes, p_seen_deletes) THEN 'deleted'
            WHEN p_base_sweeps <> sweeps THEN 'stale'
            WHEN v_made AND {schema}.is_partial(p_base_sweeps, p_roots, p_addresses, p_refs) THEN 'stale'
            WHEN branched AND p_on_conflict = 'raise' THEN 'conflict'
        END;
        IF outcome IS NOT NULL THEN
            branched := outcome = 'conflict';
            IF v_made THEN
                PERFORM {schema}.settle(p_tenant, p_identity, v_thread, false);
            END IF;
            RETURN;
        END IF;
        IF v_made THEN
            PERFORM {schema}.settle(p_tenant, p_identity, v_thread, true);
        END IF;
        UPDATE {schema}.thread t SET
            seq = t.seq + 1, name = coalesce(t.name, p_name), touched_at = extract(epoch FROM clock_timestamp())::bigint,
            title = coalesce(t.title, p_title), note = coalesce(p_note, t.note),
            checkpoints = t.checkpoints + 1, size = t.size + length(p_body) + v_sent
            WHERE t.key = v_thread RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
    END IF;
    IF v_space IS NULL THEN
        INSERT INTO {schema}.space (thread, ns) VALUES (v_thread, p_ns) RETURNING key INTO v_space;
    END IF;
    IF cardinality(p_addresses) > 0 THEN
        v_less := v_sent - {schema}.add_chunks(v_thread, p_addresses, p_refs, p_data);
    END IF;
    IF v_stored IS NULL THEN
        INSERT INTO {schema}.checkpoint (space, id, parent, run, conflict, tags, roots, body)
        VALUES (v_space, p_id, p_parent, p_run, CASE WHEN branched THEN head END, p_tags, p_roots, p_body);
    ELSE
        v_less := v_less + (SELECT length(c.body) FROM {schema}.checkpoint c WHERE c.key = v_stored);
        UPDATE {schema}.checkpoint c SET parent = p_parent, run = p_run, tags = p_tags, roots = p_roots, body = p_body
        WHERE c.key = v_stored RETURNING c.conflict INTO v_mark;
        -- A call whose reply was lost is told what the first one was.
        IF p_again AND v_mark IS NOT NULL THEN
            branched := true;
            head := v_mark;
        END IF;
    END IF;
    -- What was taken for new and was there.
    IF v_less <> 0 OR v_stored IS NOT NULL THEN
        UPDATE {schema}.thread t SET checkpoints = t.checkpoints - (v_stored IS NOT NULL)::integer,
            size = t.size - v_less WHERE t.key = v_thread;
    END IF;
    outcome := 'stored';
END
$$;

CREATE OR REPLACE FUNCTION {schema}.put_writes(
    p_tenant bytea, p_identity bytea, p_name bytea, p_ns bytea, p_id bytea, p_body bytea, p_seen_deletes bigint,
    p_note bytea, p_again boolean DEFAULT false,
    OUT outcome text, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
    v_space bigint;
    v_sure boolean;
    v_made boolean;
BEGIN
    UPDATE {schema}.thread t SET
        seq = t.seq + 1, name = coalesce(t.name, p_name), touched_at = extract(epoch FROM clock_timestamp())::bigint,
        writes_note = coalesce(p_note, t.writes_note), size = t.size + length(p_body)
        WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.deletes = coalesce(p_seen_deletes, 0)
        RETURNING t.key, t.deletes, t.sweeps, t.seq INTO v_thread, deletes, sweeps, seq;
    v_sure := FOUND;
    IF NOT v_sure THEN
        SELECT h.* INTO v_thread, deletes, sweeps, seq, v_made
            FROM {schema}.hold(p_tenant, p_identity, 0::smallint, p_name) h;
    END IF;
    SELECT s.key INTO v_space FROM {schema}.space s
        WHERE s.thread = v_thread AND {schema}.short(s.ns) = {schema}.short(p_ns);
    IF NOT v_sure THEN
        IF {schema}.is_late(v_space, p_id, deletes, p_seen_deletes) THEN
            outcome := 'deleted';
            IF v_made THEN
                PERFORM {schema}.settle(p_tenant, p_identity, v_thread, false);
            END IF;
            RETURN;
        END IF;
        IF v_made THEN
            PERFORM {schema}.settle(p_tenant, p_identity, v_thread, true);
        END IF;
        UPDATE {schema}.thread t SET
            seq = t.seq + 1, name = coalesce(t.name, p_name), touched_at = extract(epoch FROM clock_timestamp())::bigint,
            writes_note = coalesce(p_note, t.writes_note), size = t.size + length(p_body)
            WHERE t.key = v_thread RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
    END IF;
    IF v_space IS NULL THEN
        INSERT INTO {schema}.space (thread, ns) VALUES (v_thread, p_ns) RETURNING key INTO v_space;
    END IF;
    outcome := 'stored';
    -- A call whose reply was lost is not made twice.
    IF p_again AND p_body = (
        SELECT w.body FROM {schema}.write w WHERE w.space = v_space AND {schema}.short(w.id) = {schema}.short(p_id)
        ORDER BY w.number DESC LIMIT 1
    ) THEN
        UPDATE {schema}.thread t SET size = t.size - length(p_body) WHERE t.key = v_thread;
        RETURN;
    END IF;
    INSERT INTO {schema}.write (space, id, number, body) VALUES (v_space, p_id, (
        SELECT coalesce(max(w.number), 0) + 1 FROM {schema}.write w
        WHERE w.space = v_space AND {schema}.short(w.id) = {schema}.short(p_id)
    ), p_body);
END
$$;

CREATE OR REPLACE FUNCTION {schema}.writes_of(p_space bigint, p_id bytea)
RETURNS bytea[] LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
BEGIN
    RETURN (
        SELECT array_agg(w.body ORDER BY w.number) FROM {schema}.write w
        WHERE w.space = p_space AND {schema}.short(w.id) = {schema}.short(p_id)
    );
END
$$;

CREATE OR REPLACE FUNCTION {schema}.find(
    p_tenant bytea, p_identity bytea, p_ns bytea, p_id bytea, p_known bytea[], p_room bigint,
    OUT deletes bigint, OUT sweeps bigint, OUT seq bigint, OUT head bytea,
    OUT key bigint, OUT id bytea, OUT parent bytea, OUT conflict bytea, OUT roots bytea, OUT body bytea,
    OUT writes bytea[], OUT addresses bytea[], OUT refs bytea[], OUT data bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
    v_space bigint;
BEGIN
    SELECT t.key, t.deletes, t.sweeps, t.seq, s.key, c.key, c.id, c.parent, c.conflict, c.roots, c.body
        INTO v_thread, deletes, sweeps, seq, v_space, key, id, parent, conflict, roots, body
        FROM {schema}.thread t
        LEFT JOIN {schema}.space s ON s.thread = t.key AND {schema}.short(s.ns) = {schema}.short(p_ns)
        LEFT JOIN LATERAL (
            SELECT * FROM {schema}.checkpoint c WHERE c.space = s.key ORDER BY c.key DESC LIMIT 1
        ) c ON true
        WHERE t.tenant = p_tenant AND t.identity = p_identity;
    IF v_thread IS NULL THEN
        SELECT e.deletes, e.sweeps, e.seq INTO deletes, sweeps, seq FROM {schema}.erased(p_tenant, p_identity) e;
        RETURN;
    END IF;
    head := id;
    IF p_id <> head THEN
        SELECT c.key, c.id, c.parent, c.conflict, c.roots, c.body INTO key, id, parent, conflict, roots, body
            FROM {schema}.checkpoint c WHERE c.space = v_space AND {schema}.short(c.id) = {schema}.short(p_id);
    END IF;
    IF key IS NULL THEN
        RETURN;
    END IF;
    writes := (
        SELECT array_agg(w.body ORDER BY w.number) FROM {schema}.write w
        WHERE w.space = v_space AND {schema}.short(w.id) = {schema}.short(find.id)
    );
    IF length(roots) > 0 THEN
        SELECT c.addresses, c.refs, c.data INTO addresses, refs, data
            FROM {schema}.closure(v_thread, roots, p_known, p_room) c;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.ancestors(
    p_tenant bytea, p_identity bytea, p_ns bytea, p_id bytea, p_size bigint
) RETURNS TABLE (
    deletes bigint, sweeps bigint, seq bigint,
    key bigint, id bytea, parent bytea, conflict bytea, roots bytea, body bytea, writes bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
#variable_conflict use_column
DECLARE
    v_space bigint;
    v_step bytea := p_id;
    v_seen bigint[] := '{}';
BEGIN
    SELECT t.deletes, t.sweeps, t.seq, s.key INTO deletes, sweeps, seq, v_space
    FROM {schema}.thread t JOIN {schema}.space s ON s.thread = t.key AND {schema}.short(s.ns) = {schema}.short(p_ns)
    WHERE t.tenant = p_tenant AND t.identity = p_identity;
    FOR _ IN 1 .. p_size LOOP
        SELECT c.key, c.id, c.parent, c.conflict, c.roots, c.body INTO key, id, parent, conflict, roots, body
            FROM {schema}.checkpoint c WHERE c.space = v_space AND {schema}.short(c.id) = {schema}.short(v_step);
        EXIT WHEN NOT FOUND OR key = ANY (v_seen);
        v_seen := v_seen || key;
        writes := {schema}.writes_of(v_space, id);
        v_step := parent;
        RETURN NEXT;
    END LOOP;
END
$$;

-- The next checkpoints of a listing; the chunks that the page needs come with its first row.
CREATE OR REPLACE FUNCTION {schema}.page(
    p_tenant bytea, p_identity bytea, p_ns bytea, p_id bytea, p_before bytea, p_before_identity bytea,
    p_tags integer[], p_after bigint, p_size bigint, p_whole boolean, p_known bytea[], p_room bigint
) RETURNS TABLE (
    name bytea, ns bytea, deletes bigint, sweeps bigint, seq bigint,
    key bigint, id bytea, parent bytea, conflict bytea, roots bytea, body bytea,
    writes bytea[], addresses bytea[], refs bytea[], data bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
#variable_conflict use_column
DECLARE
    v_bound bigint;
    v_keys bigint[];
BEGIN
    IF p_before IS NOT NULL AND p_before_identity IS NOT NULL THEN
        SELECT max(c.key) INTO v_bound FROM {schema}.thread t
        JOIN {schema}.space s ON s.thread = t.key JOIN {schema}.checkpoint c ON c.space = s.key
        WHERE t.tenant = p_tenant AND t.identity = p_before_identity AND {schema}.short(c.id) = {schema}.short(p_before);
    ELSIF p_before IS NOT NULL THEN
        SELECT max(c.key) INTO v_bound FROM {schema}.thread t
        JOIN {schema}.space s ON s.thread = t.key JOIN {schema}.checkpoint c ON c.space = s.key
        WHERE t.tenant = p_tenant AND {schema}.short(c.id) = {schema}.short(p_before);
    END IF;
    IF p_identity IS NOT NULL AND p_ns IS NOT NULL AND p_id IS NULL AND cardinality(p_tags) = 0
        AND (p_before IS NULL OR v_bound IS NOT NULL)
    THEN
        v_keys := ARRAY(
            SELECT c.key FROM {schema}.thread t, {schema}.space s, LATERAL (
                SELECT c.key FROM {schema}.checkpoint c
                WHERE c.space = s.key AND c.key < least(p_after, v_bound, 9223372036854775807)
                ORDER BY c.key DESC LIMIT p_size
            ) c
            WHERE t.tenant = p_tenant AND t.identity = p_identity
                AND s.thread = t.key AND {schema}.short(s.ns) = {schema}.short(p_ns)
        );
    ELSE
        v_keys := {schema}.page_keys(p_tenant, p_identity, p_ns, p_id, p_before, v_bound, p_tags, p_after, p_size);
    END IF;
    RETURN QUERY WITH p AS MATERIALIZED (
        SELECT t.key AS thread, s.key AS space, t.name, s.ns, t.deletes, t.sweeps, t.seq,
            c.key, c.id, c.parent, c.conflict, c.roots, c.body
        FROM unnest(v_keys) wanted, LATERAL (SELECT * FROM {schema}.checkpoint c WHERE c.key = wanted OFFSET 0) c,
            LATERAL (SELECT * FROM {schema}.space s WHERE s.key = c.space OFFSET 0) s,
            LATERAL (SELECT * FROM {schema}.thread t WHERE t.key = s.thread OFFSET 0) t
    ), g AS (
        SELECT p.thread, string_agg(p.roots, '') AS roots, count(*) OVER () AS threads FROM p
        WHERE p_whole AND length(p.roots) > 0 GROUP BY p.thread
    ), x AS MATERIALIZED (
        SELECT r.addresses, r.refs, r.data
        FROM g, LATERAL {schema}.closure(g.thread, g.roots, p_known, p_room / g.threads) r
    )
    SELECT p.name, p.ns, p.deletes, p.sweeps, p.seq, p.key, p.id, p.parent, p.conflict, p.roots, p.body,
        CASE WHEN p_whole THEN {schema}.writes_of(p.space, p.id) END,
        CASE WHEN p.key = v_keys[1] THEN ARRAY(SELECT a FROM x, unnest(x.addresses) a) END,
        CASE WHEN p.key = v_keys[1] THEN ARRAY(SELECT a FROM x, unnest(x.refs) a) END,
        CASE WHEN p.key = v_keys[1] THEN ARRAY(SELECT a FROM x, unnest(x.data) a) END
    FROM p ORDER BY p.key DESC;
END
$$;

-- The keys of the checkpoints of a page, latest first. Conditions that were not asked for are left
-- out of the statement, so that it is planned for those that were; values are bound. Namespaces
-- are looked up before: how many checkpoints these very ones hold tells whether to read them in
-- order or to ask the index of a filter.
-- p_tags: those that each has; behind the mark of tags of nested values, those that each has that
-- has the mark. These and the few others are looked for apart, so that each are found by an index.
CREATE OR REPLACE FUNCTION {schema}.page_keys(
    p_tenant bytea, p_identity bytea, p_ns bytea, p_id bytea, p_before bytea, p_bound bigint,
    p_tags integer[], p_after bigint, p_size bigint
) RETURNS bigint[] LANGUAGE plpgsql STABLE SET search_path = '' AS
$$
DECLARE
    v_keys bigint[];
    v_spaces bigint[];
    v_mark integer := array_position(p_tags, 1684366704);
    v_nested integer[] := p_tags[v_mark + 1:];
    v_tags integer[] := CASE WHEN v_mark IS NULL THEN p_tags ELSE p_tags[:v_mark - 1] END;
    v_where text := CASE WHEN p_id IS NULL THEN '' ELSE ' AND {schema}.short(c.id) = {schema}.short($4)' END
        || CASE WHEN p_before IS NOT NULL AND p_bound IS NULL THEN ' AND c.id < $5' ELSE '' END
        || CASE WHEN p_bound IS NULL THEN '' ELSE ' AND c.key < $6' END
        || CASE WHEN cardinality(v_tags) = 0 THEN '' ELSE ' AND c.tags @> $7' END
        || CASE WHEN p_after IS NULL THEN '' ELSE ' AND c.key < $8' END;
    v_order text := ' ORDER BY c.key DESC LIMIT $9';
BEGIN
    IF p_identity IS NULL THEN
        v_where := '{schema}.thread t JOIN {schema}.space s ON s.thread = t.key
            JOIN {schema}.checkpoint c ON c.space = s.key WHERE t.tenant = $1'
            || CASE WHEN p_ns IS NULL THEN '' ELSE ' AND {schema}.short(s.ns) = {schema}.short($3)' END || v_where;
    ELSE
        v_spaces := ARRAY(
            SELECT s.key FROM {schema}.thread t JOIN {schema}.space s ON s.thread = t.key
            WHERE t.tenant = p_tenant AND t.identity = p_identity
                AND (p_ns IS NULL OR {schema}.short(s.ns) = {schema}.short(p_ns))
        );
        IF cardinality(p_tags) > 0 THEN
            v_where := '{schema}.checkpoint c WHERE c.space = ANY ($2)' || v_where;
        ELSE
            v_where := 'unnest($2) space, LATERAL (SELECT c.key FROM {schema}.checkpoint c WHERE c.space = space.space'
                || v_where || v_order || ') c';
        END IF;
    END IF;
    IF v_mark IS NOT NULL THEN
        v_where := '((SELECT c.key FROM ' || v_where || ' AND c.tags @> $10' || v_order
            || ') UNION (SELECT c.key FROM ' || v_where || ' AND NOT c.tags @> ARRAY[1684366704]' || v_order || ')) c';
    END IF;
    EXECUTE 'SELECT ARRAY(SELECT c.key FROM ' || v_where || v_order || ')' INTO v_keys
        USING p_tenant, v_spaces, p_ns, p_id, p_before, p_bound, v_tags, p_after, p_size, v_nested;
    RETURN v_keys;
END
$$;

-- Those of these chunks that there are: as many as p_room bytes hold, one at least. found: how many there are.
CREATE OR REPLACE FUNCTION {schema}.chunks(
    p_tenant bytea, p_identity bytea, p_addresses bytea[], p_room bigint,
    OUT found bigint, OUT addresses bytea[], OUT refs bytea[], OUT data bytea[]
) LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT max(f.found), array_agg(f.address), array_agg(f.refs), array_agg(f.data) FROM (
        SELECT c.*, count(*) OVER () AS found, sum(length(c.data)) OVER w AS total, row_number() OVER w AS place
        FROM {schema}.thread t, unnest(p_addresses) wanted, LATERAL (
            SELECT c.address, c.refs, c.data FROM {schema}.chunk c
            WHERE c.thread = t.key AND c.address = wanted OFFSET 0
        ) c WHERE t.tenant = p_tenant AND t.identity = p_identity
        WINDOW w AS (ROWS UNBOUNDED PRECEDING)
    ) f WHERE f.total <= p_room OR f.place = 1
$$;

-- Where an id is empty, which none is, the checkpoints' chunks are left for another call; one without ids removes some
-- of the chunks that nothing reaches, and returns 'more' if it may not be all.
CREATE OR REPLACE FUNCTION {schema}.remove(
    p_tenant bytea, p_identity bytea, p_ns bytea[], p_ids bytea[], p_expect bigint,
    OUT outcome text, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
    v_emptied bigint[];
    v_rootless boolean;
    v_removed bigint;
    v_size bigint;
    v_freed bigint;
    v_roots bytea[];
    swept record;
BEGIN
    outcome := 'stored';
    SELECT t.key, t.deletes, t.sweeps, t.seq, t.size INTO v_thread, deletes, sweeps, seq, v_size FROM {schema}.thread t
        WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.seq > 0 FOR UPDATE;
    IF NOT FOUND THEN
        SELECT e.deletes, e.sweeps, e.seq INTO deletes, sweeps, seq FROM {schema}.erased(p_tenant, p_identity) e;
        RETURN;
    END IF;
    IF p_expect <> seq THEN
        outcome := 'changed';
        RETURN;
    END IF;
    WITH gone AS (
        DELETE FROM {schema}.checkpoint c USING {schema}.space s, unnest(p_ns, p_ids) d(ns, id)
        WHERE s.thread = v_thread AND {schema}.short(s.ns) = {schema}.short(d.ns)
            AND c.space = s.key AND {schema}.short(c.id) = {schema}.short(d.id)
        RETURNING length(c.body) AS size
    )
    SELECT count(*), coalesce(sum(g.size), 0) INTO v_removed, v_freed FROM gone g;
    WITH gone AS (
        DELETE FROM {schema}.write w USING {schema}.space s, unnest(p_ns, p_ids) d(ns, id)
        WHERE s.thread = v_thread AND {schema}.short(s.ns) = {schema}.short(d.ns)
            AND w.space = s.key AND {schema}.short(w.id) = {schema}.short(d.id)
        RETURNING length(w.body) AS size
    )
    SELECT v_freed + coalesce(sum(g.size), 0) INTO v_freed FROM gone g;
    SELECT array_agg(s.key), coalesce(bool_or(length(s.ns) = 0), false) INTO v_emptied, v_rootless
        FROM {schema}.space s WHERE s.thread = v_thread AND s.ns = ANY (p_ns)
            AND NOT EXISTS (SELECT FROM {schema}.checkpoint c WHERE c.space = s.key);
    WITH gone AS (
        DELETE FROM {schema}.write w WHERE w.space = ANY (v_emptied) RETURNING length(w.body) AS size
    )
    SELECT v_freed + coalesce(sum(g.size), 0) INTO v_freed FROM gone g;
    DELETE FROM {schema}.space s WHERE s.key = ANY (v_emptied);
    IF NOT '' = ANY (p_ids) THEN
        v_roots := ARRAY(
            SELECT c.roots FROM {schema}.space s JOIN {schema}.checkpoint c ON c.space = s.key WHERE s.thread = v_thread
        );
        IF cardinality(p_ids) > 0 THEN
            v_freed := v_freed + {schema}.sweep(v_thread, v_roots);
        ELSE
            SELECT * INTO swept FROM {schema}.sweep_some(v_thread, v_roots, 500);
            v_freed := v_freed + swept.freed;
            outcome := CASE WHEN swept.more THEN 'more' ELSE outcome END;
        END IF;
    END IF;
    UPDATE {schema}.thread t SET
        seq = t.seq + 1, sweeps = t.sweeps + 1, touched_at = extract(epoch FROM clock_timestamp())::bigint,
        checkpoints = t.checkpoints - v_removed, size = t.size - v_freed,
        title = CASE WHEN NOT v_rootless THEN t.title END, note = CASE WHEN NOT v_rootless THEN t.note END,
        writes_note = CASE WHEN NOT v_rootless THEN t.writes_note END
        WHERE t.key = v_thread RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
    IF v_size IS NULL THEN
        PERFORM {schema}.recount(v_thread);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.runs(p_tenant bytea, p_runs bytea[])
RETURNS TABLE (name bytea, ns bytea, id bytea) LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT t.name, s.ns, c.id
    FROM {schema}.thread t JOIN {schema}.space s ON s.thread = t.key JOIN {schema}.checkpoint c ON c.space = s.key
    JOIN unnest(p_runs) wanted ON c.run IS NOT NULL AND {schema}.short(c.run) = {schema}.short(wanted)
    WHERE t.tenant = p_tenant
$$;

CREATE OR REPLACE FUNCTION {schema}.delete_thread(
    p_tenant bytea, p_identity bytea, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
BEGIN
    SELECT t.key INTO v_thread FROM {schema}.thread t
        WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.seq > 0 FOR UPDATE;
    IF NOT FOUND THEN
        UPDATE {schema}.thread t SET pinned = false
            WHERE t.tenant = p_tenant AND t.identity = p_identity AND t.pinned;
        SELECT e.deletes, e.sweeps, e.seq INTO deletes, sweeps, seq FROM {schema}.erased(p_tenant, p_identity) e;
        RETURN;
    END IF;
    PERFORM {schema}.remove_all(v_thread);
    -- The name may be personal data; the hash is enough to refuse late writes.
    UPDATE {schema}.thread t SET
        seq = t.seq + 1, sweeps = t.sweeps + 1, deletes = t.deletes + 1, name = NULL,
        title = NULL, note = NULL, writes_note = NULL, checkpoints = 0, size = 0, pinned = false,
        touched_at = extract(epoch FROM clock_timestamp())::bigint
    WHERE t.key = v_thread RETURNING t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.copy_thread(
    p_tenant bytea, p_source bytea, p_target bytea, p_name bytea,
    OUT outcome text, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_source bigint;
    v_target bigint;
    -- What is sealed begins with this, and then with the mark of its thread: a copy gets that of its own.
    v_sealed constant bytea := '\x03';
    v_mark constant bytea := substring(p_target FROM 1 FOR 8);
    held record;
    v_made boolean := false;
BEGIN
    -- Both are locked in the order of their keys, so that two copies cannot wait for each other; and one that somebody
    -- erases meanwhile is made again.
    LOOP
        IF NOT EXISTS (SELECT FROM {schema}.thread t WHERE t.tenant = p_tenant AND t.identity = p_target) THEN
            SELECT * INTO held FROM {schema}.hold(p_tenant, p_target, 0::smallint, p_name);
            v_made := held.made;
        END IF;
        PERFORM FROM {schema}.thread t
            WHERE t.tenant = p_tenant AND t.identity IN (p_source, p_target) ORDER BY t.key FOR UPDATE;
        SELECT t.key, t.deletes, t.sweeps, t.seq INTO v_target, deletes, sweeps, seq FROM {schema}.thread t
            WHERE t.tenant = p_tenant AND t.identity = p_target;
        EXIT WHEN FOUND;
    END LOOP;
    SELECT t.key INTO v_source FROM {schema}.thread t WHERE t.tenant = p_tenant AND t.identity = p_source;
    IF EXISTS (SELECT FROM {schema}.space s JOIN {schema}.checkpoint c ON c.space = s.key WHERE s.thread = v_target) THEN
        outcome := 'conflict';
        RETURN;
    END IF;
    outcome := 'stored';
    IF NOT EXISTS (
        SELECT FROM {schema}.space s JOIN {schema}.checkpoint c ON c.space = s.key WHERE s.thread = v_source
    ) THEN
        IF v_made THEN
            PERFORM {schema}.settle(p_tenant, p_target, v_target, false);
        END IF;
        RETURN;
    END IF;
    IF v_made THEN
        PERFORM {schema}.settle(p_tenant, p_target, v_target, true);
    END IF;
    INSERT INTO {schema}.chunk (thread, address, refs, data)
        SELECT v_target, c.address, c.refs, c.data FROM {schema}.chunk c WHERE c.thread = v_source
        ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.space (thread, ns)
        SELECT v_target, s.ns FROM {schema}.space s WHERE s.thread = v_source ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.checkpoint (space, id, parent, run, conflict, tags, roots, body)
        SELECT theirs.key, c.id, c.parent, c.run, c.conflict, c.tags, c.roots,
            CASE WHEN substring(c.body FROM 1 FOR 1) = v_sealed
                THEN overlay(c.body PLACING v_mark FROM 2 FOR 8) ELSE c.body END
        FROM {schema}.checkpoint c JOIN {schema}.space ours ON ours.key = c.space AND ours.thread = v_source
        JOIN {schema}.space theirs ON theirs.thread = v_target AND {schema}.short(theirs.ns) = {schema}.short(ours.ns)
        ORDER BY c.key;
    -- The target may hold writes that came before their checkpoint: these go on counting after them.
    INSERT INTO {schema}.write (space, id, number, body)
        SELECT theirs.key, w.id, w.number + coalesce((
            SELECT max(e.number) + 1 FROM {schema}.write e
            WHERE e.space = theirs.key AND {schema}.short(e.id) = {schema}.short(w.id)
        ), 0),
            CASE WHEN substring(w.body FROM 1 FOR 1) = v_sealed
                THEN overlay(w.body PLACING v_mark FROM 2 FOR 8) ELSE w.body END
        FROM {schema}.write w JOIN {schema}.space ours ON ours.key = w.space AND ours.thread = v_source
        JOIN {schema}.space theirs ON theirs.thread = v_target AND {schema}.short(theirs.ns) = {schema}.short(ours.ns);
    UPDATE {schema}.thread t SET title = o.title, note = o.note, writes_note = o.writes_note
        FROM {schema}.thread o WHERE t.key = v_target AND o.key = v_source;
    SELECT t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq FROM {schema}.touch(v_target, p_name, 0) t;
    PERFORM {schema}.recount(v_target);
END
$$;

CREATE OR REPLACE FUNCTION {schema}.message_list(
    p_tenant bytea, p_identity bytea, p_known bytea[], p_room bigint,
    OUT deletes bigint, OUT sweeps bigint, OUT seq bigint, OUT body bytea, OUT roots bytea, OUT revision bigint,
    OUT addresses bytea[], OUT refs bytea[], OUT data bytea[], OUT batches bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
BEGIN
    SELECT t.key, t.deletes, t.sweeps, t.seq, m.body, m.roots, m.revision
        INTO v_thread, deletes, sweeps, seq, body, roots, revision
        FROM {schema}.thread t LEFT JOIN {schema}.message m ON m.thread = t.key
        WHERE t.tenant = p_tenant AND t.identity = p_identity;
    IF v_thread IS NULL THEN
        SELECT e.deletes, e.sweeps, e.seq, e.revision INTO deletes, sweeps, seq, revision
            FROM {schema}.erased(p_tenant, p_identity) e;
        RETURN;
    END IF;
    batches := (SELECT array_agg(b.body ORDER BY b.number) FROM {schema}.message_batch b WHERE b.thread = v_thread);
    IF length(roots) > 0 THEN
        SELECT c.addresses, c.refs, c.data INTO addresses, refs, data
            FROM {schema}.closure(v_thread, roots, p_known, p_room) c;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION {schema}.put_messages(
    p_tenant bytea, p_identity bytea, p_name bytea, p_body bytea, p_roots bytea,
    p_addresses bytea[], p_refs bytea[], p_data bytea[],
    p_base_sweeps bigint, p_expect bigint, p_sweep boolean, p_token bytea, p_taken bigint,
    OUT outcome text, OUT deletes bigint, OUT sweeps bigint, OUT seq bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    held record;
    v_revision bigint;
    v_tokens bytea;
    v_taken bytea;
BEGIN
    SELECT * INTO held FROM {schema}.hold(p_tenant, p_identity, 1::smallint, p_name);
    deletes := held.deletes;
    sweeps := held.sweeps;
    seq := held.seq;
    SELECT m.revision, m.tokens INTO v_revision, v_tokens FROM {schema}.message m WHERE m.thread = held.key;
    IF position(p_token IN v_tokens) > 0 THEN
        outcome := 'stored';
        RETURN;
    END IF;
    outcome := CASE
        WHEN p_expect <> coalesce(v_revision, 0) THEN 'changed'
        WHEN p_base_sweeps <> sweeps THEN 'stale'
        WHEN held.made AND {schema}.is_partial(p_base_sweeps, p_roots, p_addresses, p_refs) THEN 'stale'
    END;
    IF held.made THEN
        PERFORM {schema}.settle(p_tenant, p_identity, held.key, outcome IS NULL);
    END IF;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM {schema}.add_chunks(held.key, p_addresses, p_refs, p_data);
    -- The oldest batches, as many as the new list takes in, all if that is NULL.
    WITH gone AS (
        DELETE FROM {schema}.message_batch b WHERE b.thread = held.key AND b.number IN (
            SELECT o.number FROM {schema}.message_batch o WHERE o.thread = held.key ORDER BY o.number LIMIT p_taken
        ) RETURNING b.token
    )
    SELECT string_agg(gone.token, '') INTO v_taken FROM gone;
    INSERT INTO {schema}.message AS m (thread, revision, roots, body, tokens)
        VALUES (held.key, 1, p_roots, p_body, p_token || coalesce(v_taken, ''))
        ON CONFLICT (thread) DO UPDATE SET revision = m.revision + 1, roots = excluded.roots, body = excluded.body,
            tokens = substring(excluded.tokens || m.tokens FOR 2048);
    IF p_sweep THEN
        PERFORM {schema}.sweep(held.key, ARRAY[p_roots]);
    END IF;
    IF p_body IS NULL THEN
        UPDATE {schema}.thread t SET name = NULL WHERE t.key = held.key;
    END IF;
    SELECT t.deletes, t.sweeps, t.seq INTO deletes, sweeps, seq
        FROM {schema}.touch(held.key, CASE WHEN p_body IS NOT NULL THEN p_name END, p_sweep::integer) t;
    outcome := 'stored';
END
$$;

-- Put a batch behind a message list: nothing but the thread's row is waited for, and nothing is refused.
CREATE OR REPLACE FUNCTION {schema}.append_messages(
    p_tenant bytea, p_identity bytea, p_name bytea, p_body bytea, p_token bytea, OUT batches bigint, OUT size bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_thread bigint;
    v_last bigint;
    v_again boolean;
    held record;
BEGIN
    LOOP
        UPDATE {schema}.thread t SET
            seq = t.seq + 1, name = coalesce(t.name, p_name),
            touched_at = extract(epoch FROM clock_timestamp())::bigint
            WHERE t.tenant = p_tenant AND t.identity = p_identity RETURNING t.key INTO v_thread;
        EXIT WHEN FOUND;
        SELECT * INTO held FROM {schema}.hold(p_tenant, p_identity, 1::smallint, p_name);
        IF held.made THEN
            PERFORM {schema}.settle(p_tenant, p_identity, held.key, true);
        END IF;
    END LOOP;
    SELECT coalesce(max(b.number), 0), count(*), coalesce(sum(length(b.body)), 0), bool_or(b.token = p_token)
        INTO v_last, batches, size, v_again FROM {schema}.message_batch b WHERE b.thread = v_thread;
    IF v_again OR EXISTS (
        SELECT FROM {schema}.message m WHERE m.thread = v_thread AND position(p_token IN m.tokens) > 0
    ) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.message_batch (thread, number, token, body) VALUES (v_thread, v_last + 1, p_token, p_body);
    batches := batches + 1;
    size := size + length(p_body);
END
$$;

-- p_identities: of one thread, checkpoints and messages; NULL for all threads of the tenant.
CREATE OR REPLACE FUNCTION {schema}.usage(
    p_tenant bytea, p_identities bytea[],
    OUT threads bigint, OUT checkpoints bigint, OUT writes bigint, OUT chunks bigint, OUT bytes bigint
) LANGUAGE sql STABLE SET search_path = '' AS
$$
    WITH t AS MATERIALIZED (
        SELECT key, name FROM {schema}.thread
        WHERE tenant = p_tenant AND name IS NOT NULL AND (p_identities IS NULL OR identity = ANY (p_identities))
    ), s AS MATERIALIZED (SELECT space.key, space.thread FROM t JOIN {schema}.space ON space.thread = t.key
    ), c AS MATERIALIZED (
        SELECT s.thread, count(*) AS n, sum(length(r.body)) AS size
        FROM s JOIN {schema}.checkpoint r ON r.space = s.key GROUP BY s.thread
    ), w AS MATERIALIZED (
        SELECT s.thread, count(*) AS n, sum(length(r.body)) AS size
        FROM s JOIN {schema}.write r ON r.space = s.key GROUP BY s.thread
    ), k AS (
        SELECT count(*) AS n, sum(length(r.data)) AS size FROM t JOIN {schema}.chunk r ON r.thread = t.key
    ), m AS MATERIALIZED (
        SELECT t.key AS thread, length(r.body) AS size
        FROM t JOIN {schema}.message r ON r.thread = t.key WHERE r.body IS NOT NULL
        UNION ALL SELECT t.key, length(r.body) FROM t JOIN {schema}.message_batch r ON r.thread = t.key
    )
    SELECT
        (SELECT count(DISTINCT t.name) FROM t WHERE t.key IN (
            SELECT thread FROM c UNION SELECT thread FROM w UNION SELECT thread FROM m)),
        (SELECT coalesce(sum(n), 0) FROM c)::bigint,
        (SELECT coalesce(sum(n), 0) FROM w)::bigint,
        (SELECT n FROM k)::bigint,
        (coalesce((SELECT sum(size) FROM c), 0) + coalesce((SELECT sum(size) FROM w), 0)
            + coalesce((SELECT size FROM k), 0) + coalesce((SELECT sum(size) FROM m), 0))::bigint
$$;
