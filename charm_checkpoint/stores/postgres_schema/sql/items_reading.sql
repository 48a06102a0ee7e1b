-- What reads items, one function a call; all are STABLE, so all of one call is read from one snapshot. Spaces below a
-- prefix are where the index has them, from p_from to p_to; the exact test comes after.

-- Return the spaces below a prefix that hold an item, without what p_spaces and p_stamps tell to be known of them. The
-- first row has a mark of all of them instead; if it is p_mark, that is all, as it is for p_inline below 0. since: the
-- stamp after which changes are told, -1 for all. born: which space of its path it is: one made anew since, which is
-- not that of p_born, is not known, though its stamp may have passed the former one's where clocks differ. Vectors come
-- along with p_inline entries or fewer; with more than p_most, the mark is all again. Nested loops are off, since the planner thinks that few spaces are known; those
-- below are the only way for what they do.
CREATE OR REPLACE FUNCTION {schema}.item_entries(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, p_spaces bytea[], p_stamps bigint[],
    p_born bigint[], p_mark bytea, p_inline bigint, p_most bigint
) RETURNS TABLE (
    mark bytea, path bytea, stamp bigint, born bigint, since bigint, names bytea[], updated bigint[], expires bigint[],
    entries bytea[], vectors bytea[], keys bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS
$$
#variable_conflict use_column
DECLARE
    v_inline boolean;
    v_entries bigint;
    v_keys bigint[];
    v_since bigint[];
BEGIN
    SELECT int8send(count(*)) || int8send(coalesce(bit_xor(hashint8extended(f.stamp, f.key)), 0)),
        array_agg(f.key ORDER BY f.path), array_agg(f.since ORDER BY f.path), coalesce(sum(
            CASE f.since WHEN -1 THEN f.items WHEN f.stamp THEN 0 ELSE (
                SELECT count(*) FROM {schema}.memory_item i WHERE i.space = f.key AND i.stamp > f.since
            ) END
        ), 0)
    INTO mark, v_keys, v_since, v_entries
    FROM (
        SELECT s.key, s.path, s.stamp, s.items,
            CASE WHEN k.stamp <= s.stamp AND coalesce(k.born = s.key, true) THEN k.stamp ELSE -1 END AS since
        FROM {schema}.memory_space s
        LEFT JOIN unnest(p_spaces, p_stamps, p_born) k(space, stamp, born) ON k.space = s.identity
        WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
            AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE
            AND s.items > 0
    ) f;
    RETURN NEXT;
    IF mark = p_mark OR p_inline < 0 OR v_entries > p_most THEN
        RETURN;
    END IF;
    v_inline := v_entries <= p_inline;
    RETURN QUERY
        SELECT NULL::bytea, s.path, s.stamp, s.key, k.since, e.names, e.updated, e.expires, e.entries,
            CASE WHEN v_inline THEN e.vectors END,
            CASE WHEN k.since >= 0 AND s.removed > k.since THEN
                ARRAY(SELECT i.name FROM {schema}.memory_item i WHERE i.space = s.key)
            END
        FROM unnest(v_keys, v_since) WITH ORDINALITY k(key, since, place), LATERAL (
            SELECT * FROM {schema}.memory_space s WHERE s.key = k.key OFFSET 0
        ) s, LATERAL (
            SELECT array_agg(i.name) AS names, array_agg(i.updated) AS updated, array_agg(i.expires) AS expires,
                array_agg(i.entry) AS entries,
                array_agg(CASE WHEN NOT v_inline THEN NULL WHEN i.vectors = 0 THEN '' ELSE (
                    SELECT v.data FROM {schema}.memory_vector v WHERE v.space = i.space AND v.identity = i.identity
                ) END) AS vectors
            FROM {schema}.memory_item i WHERE i.space = k.key AND i.stamp > k.since
        ) e ORDER BY k.place;
END
$$;

-- Some items of a space, those put last or, with p_oldest, first, behind the one of p_updated, p_path and p_name, if
-- there is one: p_size, and those put at the same time as the last of these.
CREATE OR REPLACE FUNCTION {schema}.item_some(
    p_space bigint, p_own_path bytea, p_now bigint, p_size bigint, p_tags bytea[], p_nested bytea[],
    p_updated bigint, p_path bytea, p_name bytea, p_oldest boolean
) RETURNS TABLE (identity bytea, name bytea, updated bigint)
LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
#variable_conflict use_column
BEGIN
    IF p_oldest THEN
        RETURN QUERY SELECT i.identity, i.name, i.updated FROM {schema}.memory_item i
            WHERE i.space = p_space AND i.updated >= coalesce(p_updated, -9223372036854775808)
                AND coalesce(i.updated <> p_updated OR (p_own_path, i.name) < (p_path, p_name), true)
                AND coalesce(i.expires > p_now, true)
                AND NOT EXISTS (SELECT FROM unnest(p_tags) t WHERE position(t IN i.tags) = 0)
                AND (cardinality(p_nested) = 0 OR substring(i.tags FROM 1 FOR 4) <> 'deep'
                    OR NOT EXISTS (SELECT FROM unnest(p_nested) t WHERE position(t IN i.tags) = 0))
            ORDER BY i.updated FETCH FIRST p_size ROWS WITH TIES;
    ELSE
        RETURN QUERY SELECT i.identity, i.name, i.updated FROM {schema}.memory_item i
            WHERE i.space = p_space AND i.updated <= coalesce(p_updated, 9223372036854775807)
                AND coalesce(i.updated <> p_updated OR (p_own_path, i.name) > (p_path, p_name), true)
                AND coalesce(i.expires > p_now, true)
                AND NOT EXISTS (SELECT FROM unnest(p_tags) t WHERE position(t IN i.tags) = 0)
                AND (cardinality(p_nested) = 0 OR substring(i.tags FROM 1 FOR 4) <> 'deep'
                    OR NOT EXISTS (SELECT FROM unnest(p_nested) t WHERE position(t IN i.tags) = 0))
            ORDER BY i.updated DESC FETCH FIRST p_size ROWS WITH TIES;
    END IF;
END
$$;

-- A page of items in the order of their last put, the latest first; at once put, by path and key. Spaces are looked at
-- in the order of what is newest there, and no longer than one may still hold an item for the page. complete: whether
-- p_room bytes hold all of the page.
CREATE OR REPLACE FUNCTION {schema}.item_page(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, p_now bigint, p_size bigint, p_tags bytea[],
    p_nested bytea[], p_skip bigint, p_updated bigint, p_path bytea, p_name bytea, p_oldest boolean, p_room bigint
) RETURNS TABLE (
    path bytea, name bytea, value bytea, created bigint, updated bigint, ttl bigint, expires bigint, complete boolean
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
#variable_conflict use_column
DECLARE
    v_need bigint := p_skip + p_size;
    v_spaces bigint[];
    v_newest bigint[];
    v_first bigint := 1;
    v_count bigint := 64;
    f_spaces bigint[];
    f_ids bytea[];
    f_updated bigint[];
BEGIN
    SELECT array_agg(s.key ORDER BY s.newest DESC), array_agg(s.newest ORDER BY s.newest DESC) INTO v_spaces, v_newest
        FROM {schema}.memory_space s WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
            AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE
            AND s.items > 0;
    WHILE v_first <= cardinality(v_spaces) LOOP
        EXIT WHEN NOT p_oldest AND f_updated[v_need] > v_newest[v_first];
        SELECT array_agg(b.space), array_agg(b.identity), array_agg(b.updated) INTO f_spaces, f_ids, f_updated
        FROM (
            SELECT i.space, i.identity, i.updated FROM (
                SELECT s.key AS space, s.path, i.identity, i.name, i.updated
                FROM unnest(v_spaces[v_first : v_first + v_count - 1]) k(key), LATERAL (
                    SELECT s.key, s.path FROM {schema}.memory_space s WHERE s.key = k.key OFFSET 0
                ) s, LATERAL {schema}.item_some(
                    s.key, s.path, p_now, v_need, p_tags, p_nested, p_updated, p_path, p_name, p_oldest
                ) i
                UNION ALL
                SELECT f.space, s.path, f.identity, i.name, f.updated
                FROM unnest(f_spaces, f_ids, f_updated) f(space, identity, updated), LATERAL (
                    SELECT s.path FROM {schema}.memory_space s WHERE s.key = f.space OFFSET 0
                ) s, LATERAL (
                    SELECT i.name FROM {schema}.memory_item i
                    WHERE i.space = f.space AND i.identity = f.identity OFFSET 0
                ) i
            ) i
            ORDER BY CASE WHEN p_oldest THEN i.updated ELSE -i.updated END,
                CASE WHEN NOT p_oldest THEN i.path END, CASE WHEN NOT p_oldest THEN i.name END, i.path DESC, i.name DESC
            LIMIT v_need
        ) b;
        v_first := v_first + v_count;
        v_count := v_count * 4;
    END LOOP;
    RETURN QUERY
        SELECT r.path, r.name, r.value, r.created, r.updated, r.ttl, r.expires, r.count = max(r.number) OVER ()
        FROM (
            SELECT s.path, i.*, f.place, count(*) OVER () AS count,
                sum(length(i.value)) OVER (ORDER BY f.place) AS total, row_number() OVER (ORDER BY f.place) AS number
            FROM unnest(f_spaces, f_ids) WITH ORDINALITY f(space, identity, place), LATERAL (
                SELECT s.path FROM {schema}.memory_space s WHERE s.key = f.space OFFSET 0
            ) s, LATERAL (
                SELECT i.name, i.value, i.created, i.updated, i.ttl, i.expires FROM {schema}.memory_item i
                WHERE i.space = f.space AND i.identity = f.identity OFFSET 0
            ) i WHERE f.place > p_skip
        ) r WHERE r.total <= p_room OR r.number = 1 ORDER BY r.place;
END
$$;

-- Spaces below a prefix that hold an item, in order.
CREATE OR REPLACE FUNCTION {schema}.item_spaces(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, p_now bigint, OUT paths bytea[]
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
BEGIN
    paths := ARRAY(
        SELECT s.path FROM {schema}.memory_space s
        WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
            AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE
            AND (s.endless > 0 OR (s.items > 0 AND EXISTS (
                SELECT FROM {schema}.memory_item i WHERE i.space = s.key AND i.expires > p_now
            ))) ORDER BY s.path
    );
END
$$;

CREATE OR REPLACE FUNCTION {schema}.item_count(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, p_now bigint, OUT items bigint
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
BEGIN
    items := (
        SELECT coalesce(sum(s.items - CASE WHEN s.items = s.endless THEN 0 ELSE (
            SELECT count(*) FROM {schema}.memory_item i WHERE i.space = s.key AND i.expires <= p_now
        ) END), 0) FROM {schema}.memory_space s WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
            AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE
    );
END
$$;

CREATE OR REPLACE FUNCTION {schema}.item_usage(
    p_tenant bytea, p_prefix bytea, p_from bytea, p_to bytea, OUT items bigint, OUT bytes bigint
) LANGUAGE plpgsql STABLE SET search_path = '' SET plan_cache_mode = force_generic_plan AS
$$
BEGIN
    SELECT count(*), coalesce(sum(length(i.name) + length(i.value) + length(i.entry) + i.vectors), 0)
        INTO items, bytes
        FROM {schema}.memory_space s JOIN {schema}.memory_item i ON i.space = s.key
        WHERE {schema}.item_place(s.tenant, s.path) BETWEEN p_from AND p_to
            AND substring(s.path FROM 1 FOR length(p_prefix)) = p_prefix AND (s.tenant = p_tenant) IS TRUE;
END
$$;
