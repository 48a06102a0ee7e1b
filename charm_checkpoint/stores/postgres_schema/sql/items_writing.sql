-- What changes items, one function a call. A space's writers take turns by its row, which they lock in the order of
-- the spaces' hashes, so that none waits in a circle. All that follows is as of after that: read committed. Subqueries,
-- OFFSET 0 and settings keep the planner, which has seen small tables, from scanning large ones: an index finds each.

-- Lock spaces; the first p_made of them are made if they are missing. Return their keys in the order of p_spaces, NULL
-- for one that is not there. Making comes first: who waits for somebody's new row holds no row that others lock.
CREATE OR REPLACE FUNCTION {schema}.item_hold(p_tenant bytea, p_spaces bytea[], p_paths bytea[], p_made bigint)
RETURNS bigint[] LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_held bigint[];
    v_keys bigint[];
BEGIN
    IF p_made > 0 THEN
        INSERT INTO {schema}.memory_space (tenant, identity, path)
            SELECT p_tenant, w.identity, w.path
            FROM unnest(p_spaces, p_paths) WITH ORDINALITY w(identity, path, place)
            WHERE w.place <= p_made AND NOT EXISTS (
                SELECT FROM {schema}.memory_space s WHERE s.tenant = p_tenant AND s.identity = w.identity OFFSET 0
            ) ORDER BY w.identity
            ON CONFLICT DO NOTHING;
    END IF;
    v_held := ARRAY(
        SELECT h.key FROM (
            SELECT s.key FROM {schema}.memory_space s WHERE s.tenant = p_tenant AND s.identity = ANY (p_spaces)
            ORDER BY s.identity FOR UPDATE
        ) h
    );
    v_keys := ARRAY(
        SELECT (SELECT s.key FROM {schema}.memory_space s WHERE s.tenant = p_tenant AND s.identity = w.identity)
        FROM unnest(p_spaces) WITH ORDINALITY w(identity, place) ORDER BY w.place
    );
    -- A space that was erased and made again while this waited is another row, which is not held: what is held is
    -- still there, so that is told by how many there are.
    IF array_position(v_keys[:p_made], NULL) IS NOT NULL
        OR cardinality(array_remove(v_keys, NULL)) <> cardinality(v_held)
    THEN
        -- The caller makes the call again, which lets go of the others first.
        RAISE serialization_failure USING MESSAGE = 'a space was erased meanwhile';
    END IF;
    RETURN v_keys;
END
$$;

-- Put off the end of those items of held spaces that have one.
CREATE OR REPLACE FUNCTION {schema}.item_put_off(p_now bigint, p_spaces bigint[], p_keys bytea[])
RETURNS void LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS
$$
BEGIN
    WITH t AS MATERIALIZED (
        SELECT i.space, i.identity,
            greatest(p_now, s.stamp + 1) + row_number() OVER (PARTITION BY i.space ORDER BY w.place) - 1 AS stamp
        FROM unnest(p_spaces, p_keys) WITH ORDINALITY w(space, identity, place), LATERAL (
            SELECT i.space, i.identity FROM {schema}.memory_item i
            WHERE i.space = w.space AND i.identity = w.identity AND i.expires > p_now OFFSET 0
        ) i JOIN {schema}.memory_space s ON s.key = i.space
    ), u AS (
        UPDATE {schema}.memory_item i SET expires = p_now + i.ttl, stamp = t.stamp
        FROM t WHERE i.space = t.space AND i.identity = t.identity
    )
    UPDATE {schema}.memory_space s SET stamp = n.stamp
        FROM (SELECT t.space, max(t.stamp) AS stamp FROM t GROUP BY t.space) n WHERE s.key = n.space;
END
$$;

-- Return items and, where p_touches is not 0, put off their end. p_now NULL: expired ones, too. p_room: as many as
-- so many bytes hold, one at least; NULL for all. places: which of those asked for they are.
CREATE OR REPLACE FUNCTION {schema}.item_read(
    p_tenant bytea, p_now bigint, p_spaces bytea[], p_keys bytea[], p_touches integer[], p_vectors boolean,
    p_room bigint,
    OUT places bigint[], OUT data bytea[], OUT created bigint[], OUT updated bigint[], OUT ttls bigint[],
    OUT expires bigint[], OUT complete boolean
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_touched boolean;
    v_spaces bytea[];
    v_keys bigint[];
BEGIN
    -- What is put off is read again once nobody else can remove it.
    LOOP
        SELECT array_agg(f.place), array_agg(f.data), array_agg(f.created), array_agg(f.updated), array_agg(f.ttl),
            array_agg(f.expires), max(f.found) = count(*), bool_or(f.touched)
        INTO places, data, created, updated, ttls, expires, complete, v_touched
        FROM (
            SELECT i.*, w.place, w.touch <> 0 AND i.ttl IS NOT NULL AS touched, count(*) OVER () AS found,
                CASE WHEN p_room IS NOT NULL THEN sum(length(i.data)) OVER (ORDER BY w.place) END AS total,
                CASE WHEN p_room IS NOT NULL THEN row_number() OVER (ORDER BY w.place) END AS number
            FROM unnest(p_spaces, p_keys, p_touches) WITH ORDINALITY w(space, identity, touch, place), LATERAL (
                SELECT s.key FROM {schema}.memory_space s WHERE s.tenant = p_tenant AND s.identity = w.space OFFSET 0
            ) s, LATERAL (
                SELECT CASE WHEN NOT p_vectors THEN i.value WHEN i.vectors = 0 THEN ''
                    ELSE (SELECT v.data FROM {schema}.memory_vector v WHERE v.space = s.key AND v.identity = w.identity)
                    END AS data, i.created, i.updated, i.ttl, i.expires
                FROM {schema}.memory_item i
                WHERE i.space = s.key AND i.identity = w.identity AND coalesce(i.expires > p_now, true) OFFSET 0
            ) i
        ) f WHERE p_room IS NULL OR f.total <= p_room OR f.number = 1;
        EXIT WHEN v_keys IS NOT NULL OR v_touched IS NOT TRUE;
        v_spaces := ARRAY(SELECT DISTINCT w.space FROM unnest(p_spaces, p_touches) w(space, touch) WHERE w.touch <> 0);
        v_keys := {schema}.item_hold(p_tenant, v_spaces, NULL, 0);
    END LOOP;
    IF v_keys IS NOT NULL THEN
        PERFORM {schema}.item_put_off(p_now, array_agg(h.key ORDER BY w.place), array_agg(w.identity ORDER BY w.place))
            FROM unnest(v_spaces, v_keys) h(space, key)
            JOIN unnest(p_spaces, p_keys, p_touches) WITH ORDINALITY w(space, identity, touch, place)
            ON w.space = h.space AND w.touch <> 0;
    END IF;
END
$$;

-- What a batch stored when it was done before: for an item that another has changed since, the batch's last stamp.
CREATE OR REPLACE FUNCTION {schema}.item_stored(
    p_token bytea, p_spaces bigint[], p_ids bytea[], p_updated bigint[]
) RETURNS bigint[] LANGUAGE sql STABLE SET search_path = '' AS
$$
    SELECT array_agg(coalesce(
        c.updated,
        (SELECT i.updated FROM {schema}.memory_item i WHERE i.space = c.space AND i.identity = c.identity
            AND i.updated BETWEEN d.first AND d.last),
        d.last, 0
    ) ORDER BY c.place)
    FROM unnest(p_spaces, p_ids, p_updated) WITH ORDINALITY c(space, identity, updated, place)
    LEFT JOIN LATERAL (
        SELECT ('x' || encode(substring(t.record FROM 9 FOR 8), 'hex'))::bit(64)::bigint AS first,
            ('x' || encode(substring(t.record FROM 17 FOR 8), 'hex'))::bit(64)::bigint AS last
        FROM (
            SELECT substring(s.tokens FROM position(p_token IN s.tokens) FOR 24) AS record
            FROM {schema}.memory_space s WHERE s.key = c.space AND position(p_token IN s.tokens) > 0
        ) t
    ) d ON true
$$;

-- Do a batch. Of p_spaces, the first p_made are made if they are missing, the first p_held are changed; other arrays
-- name spaces by their places there. p_kinds: 0 is a put, 1 a delete, 2 a delete of an item that is expired. p_token
-- is NULL if nothing is expected.
CREATE OR REPLACE FUNCTION {schema}.item_change(
    p_tenant bytea, p_now bigint, p_spaces bytea[], p_paths bytea[], p_made bigint, p_held bigint,
    p_read_spaces integer[], p_read_keys bytea[], p_touch_spaces integer[], p_touch_keys bytea[],
    p_change_spaces integer[], p_ids bytea[], p_kinds integer[], p_names bytea[], p_values bytea[], p_tags bytea[],
    p_entries bytea[], p_vectors bytea[], p_ttls bigint[], p_expects bigint[], p_created bigint[], p_updated bigint[],
    p_token bytea, p_again boolean,
    OUT outcome text, OUT replies bigint[],
    OUT places bigint[], OUT data bytea[], OUT created bigint[], OUT updated bigint[], OUT ttls bigint[],
    OUT expires bigint[]
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS
$$
DECLARE
    v_keys bigint[];
    v_spaces bigint[];
    v_stamps bigint[];
    v_born bigint[];
    v_were integer[];
    v_vectors boolean;
    v_stale boolean;
    v_deletes boolean;
BEGIN
    v_keys := {schema}.item_hold(p_tenant, p_spaces[:p_held], p_paths, p_made);
    IF cardinality(p_read_keys) > 0 THEN
        SELECT r.places, r.data, r.created, r.updated, r.ttls, r.expires
            INTO places, data, created, updated, ttls, expires
            FROM {schema}.item_read(
                p_tenant, p_now, ARRAY(
                    SELECT s.identity FROM unnest(p_read_spaces) WITH ORDINALITY w(space, place)
                    JOIN unnest(p_spaces) WITH ORDINALITY s(identity, number) ON s.number = w.space ORDER BY w.place
                ), p_read_keys, NULL, false, NULL
            ) r;
    END IF;
    v_spaces := ARRAY(
        SELECT v_keys[c.space] FROM unnest(p_change_spaces) WITH ORDINALITY c(space, place) ORDER BY c.place
    );
    outcome := 'stored';
    IF p_token IS NOT NULL THEN
        IF p_again AND EXISTS (
            SELECT FROM unnest(v_keys) k JOIN {schema}.memory_space s ON s.key = k
            WHERE position(p_token IN s.tokens) > 0
        ) THEN
            replies := {schema}.item_stored(p_token, v_spaces, p_ids, p_updated);
            RETURN;
        END IF;
        IF EXISTS (
            SELECT FROM unnest(v_spaces, p_ids, p_expects) c(space, identity, expect)
            WHERE c.expect <> coalesce((
                SELECT i.updated FROM {schema}.memory_item i
                WHERE i.space = c.space AND i.identity = c.identity AND coalesce(i.expires > p_now, true)
            ), 0)
        ) THEN
            outcome := 'changed';
            RETURN;
        END IF;
    END IF;
    IF cardinality(p_touch_keys) > 0 THEN
        PERFORM {schema}.item_put_off(p_now, ARRAY(
            SELECT v_keys[t.space] FROM unnest(p_touch_spaces) WITH ORDINALITY t(space, place) ORDER BY t.place
        ), p_touch_keys);
    END IF;
    IF cardinality(p_ids) = 0 THEN
        replies := '{}';
        RETURN;
    END IF;
    -- What there was, and the stamp of each change; a delete of nothing has none. were: 0 no row, 1 without an end,
    -- 2 with one, and 4 more if there are vectors.
    SELECT array_agg(f.stamp ORDER BY f.place), array_agg(f.created ORDER BY f.place),
        array_agg(f.was ORDER BY f.place), bool_or(f.vectors), bool_or(f.was >= 4), bool_or(f.kind > 0)
    INTO v_stamps, v_born, v_were, v_vectors, v_stale, v_deletes
    FROM (
        SELECT e.place, e.created, e.was, e.kind, e.vectors,
            CASE WHEN e.done THEN
                greatest(p_now, (SELECT s.stamp + 1 FROM {schema}.memory_space s WHERE s.key = e.space)) - 1
                + count(*) FILTER (WHERE e.done) OVER (PARTITION BY e.space ORDER BY e.place)
            END AS stamp
        FROM (
            SELECT c.space, c.place, c.kind, length(c.vectors) > 0 AS vectors,
                CASE WHEN coalesce(i.expires > p_now, true) THEN i.created END AS created,
                CASE WHEN i.updated IS NULL THEN 0 WHEN i.expires IS NULL THEN 1 ELSE 2 END
                    + CASE WHEN i.vectors > 0 THEN 4 ELSE 0 END AS was,
                c.kind = 0 OR (i.updated IS NOT NULL AND coalesce(i.expires > p_now, true) = (c.kind = 1)) AS done
            FROM unnest(v_spaces, p_ids, p_kinds, p_vectors) WITH ORDINALITY c(space, identity, kind, vectors, place)
            LEFT JOIN LATERAL (
                SELECT i.created, i.updated, i.expires, i.vectors FROM {schema}.memory_item i
                WHERE i.space = c.space AND i.identity = c.identity OFFSET 0
            ) i ON true
        ) e
    ) f;
    INSERT INTO {schema}.memory_item
        (space, identity, name, created, updated, stamp, ttl, expires, vectors, tags, entry, value)
        SELECT c.space, c.identity, c.name, coalesce(c.created, c.born, c.updated, c.stamp),
            coalesce(c.updated, c.stamp), c.stamp, c.ttl, p_now + c.ttl, length(c.vectors), c.tags, c.entry, c.value
        FROM unnest(
            v_spaces, p_ids, p_kinds, p_names, p_created, v_born, p_updated, v_stamps, p_ttls, p_vectors, p_tags,
            p_entries, p_values
        ) c(space, identity, kind, name, created, born, updated, stamp, ttl, vectors, tags, entry, value)
        WHERE c.kind = 0
        ON CONFLICT (space, identity) DO UPDATE SET
            created = excluded.created, updated = excluded.updated, stamp = excluded.stamp, ttl = excluded.ttl,
            expires = excluded.expires, vectors = excluded.vectors, tags = excluded.tags, entry = excluded.entry,
            value = excluded.value;
    IF v_deletes THEN
        DELETE FROM {schema}.memory_item i
            USING unnest(v_spaces, p_ids, p_kinds, v_stamps) c(space, identity, kind, stamp)
            WHERE c.kind > 0 AND c.stamp IS NOT NULL AND i.space = c.space AND i.identity = c.identity;
    END IF;
    IF v_vectors THEN
        INSERT INTO {schema}.memory_vector (space, identity, data)
            SELECT c.space, c.identity, c.vectors
            FROM unnest(v_spaces, p_ids, p_kinds, p_vectors) c(space, identity, kind, vectors)
            WHERE c.kind = 0 AND length(c.vectors) > 0
            ON CONFLICT (space, identity) DO UPDATE SET data = excluded.data;
    END IF;
    IF v_stale THEN
        DELETE FROM {schema}.memory_vector v
            USING unnest(v_spaces, p_ids, p_kinds, p_vectors, v_stamps, v_were)
                c(space, identity, kind, vectors, stamp, was)
            WHERE c.was >= 4 AND c.stamp IS NOT NULL AND (c.kind > 0 OR length(c.vectors) = 0)
                AND v.space = c.space AND v.identity = c.identity;
    END IF;
    UPDATE {schema}.memory_space s SET
        stamp = n.last, newest = greatest(s.newest, n.newest), items = s.items + n.items,
        endless = s.endless + n.endless,
        removed = CASE WHEN s.stamp = 0 THEN n.first ELSE greatest(s.removed, n.removed) END,
        tokens = CASE WHEN p_token IS NULL THEN s.tokens ELSE
            substring(p_token || int8send(n.first) || int8send(n.last) || coalesce(s.tokens, '') FOR 480) END
        FROM (
            SELECT c.space, min(c.stamp) AS first, max(c.stamp) AS last,
                max(coalesce(c.updated, c.stamp)) FILTER (WHERE c.kind = 0) AS newest,
                max(c.stamp) FILTER (WHERE c.kind > 0) AS removed,
                sum((c.kind = 0)::integer - (c.was % 4 > 0)::integer) AS items,
                sum((c.kind = 0 AND c.ttl IS NULL)::integer - (c.was % 4 = 1)::integer) AS endless
            FROM unnest(v_spaces, p_kinds, v_stamps, v_were, p_ttls, p_updated) c(space, kind, stamp, was, ttl, updated)
            WHERE c.stamp IS NOT NULL GROUP BY c.space
        ) n WHERE s.key = n.space;
    replies := ARRAY(
        SELECT coalesce(CASE WHEN c.kind = 0 THEN c.updated END, c.stamp, 0)
        FROM unnest(p_kinds, v_stamps, p_updated) WITH ORDINALITY c(kind, stamp, updated, place) ORDER BY c.place
    );
END
$$;

-- Remove expired items of all spaces.
CREATE OR REPLACE FUNCTION {schema}.item_expire(p_tenant bytea, p_now bigint, p_size bigint, OUT items bigint)
LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS
$$
DECLARE
    v_spaces bytea[];
    v_keys bigint[];
BEGIN
    v_spaces := ARRAY(
        SELECT s.identity FROM {schema}.memory_space s
        WHERE s.tenant = p_tenant AND s.items > s.endless AND EXISTS (
            SELECT FROM {schema}.memory_item i WHERE i.space = s.key AND i.expires <= p_now
        ) LIMIT p_size
    );
    v_keys := {schema}.item_hold(p_tenant, v_spaces, NULL, 0);
    WITH gone AS (
        DELETE FROM {schema}.memory_item i USING (
            SELECT e.space, e.identity FROM unnest(v_keys) k(key), LATERAL (
                SELECT e.space, e.identity FROM {schema}.memory_item e
                WHERE e.space = k.key AND e.expires <= p_now ORDER BY e.expires LIMIT p_size
            ) e LIMIT p_size
        ) e WHERE i.space = e.space AND i.identity = e.identity RETURNING i.space, i.identity
    ), vectors AS (
        DELETE FROM {schema}.memory_vector v USING gone WHERE v.space = gone.space AND v.identity = gone.identity
    ), counted AS (
        UPDATE {schema}.memory_space s SET
            stamp = greatest(p_now, s.stamp + 1) + n.items - 1, removed = greatest(p_now, s.stamp + 1) + n.items - 1,
            items = s.items - n.items
            FROM (SELECT gone.space, count(*) AS items FROM gone GROUP BY gone.space) n WHERE s.key = n.space
    )
    SELECT count(*) INTO items FROM gone;
END
$$;

-- Remove all spaces below a prefix, with their items. p_from and p_to are as in items_reading.sql.
CREATE OR REPLACE FUNCTION {schema}.item_erase(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, OUT items bigint
) LANGUAGE plpgsql SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
DECLARE
    v_keys bigint[];
BEGIN
    v_keys := ARRAY(
        SELECT s.key FROM (
            SELECT s.key, s.identity FROM {schema}.memory_space s
            WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
                AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE
            ORDER BY s.identity FOR UPDATE
        ) s
    );
    DELETE FROM {schema}.memory_vector v WHERE v.space = ANY (v_keys);
    DELETE FROM {schema}.memory_item i WHERE i.space = ANY (v_keys);
    GET DIAGNOSTICS items = ROW_COUNT;
    DELETE FROM {schema}.memory_space s WHERE s.key = ANY (v_keys);
END
$$;
