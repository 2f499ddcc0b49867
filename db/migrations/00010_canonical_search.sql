-- +goose Up

-- Where the extensions are, in whichever schema, they are used from there.
SELECT set_config('search_path', (
    SELECT concat_ws(', ', current_setting('search_path'), string_agg(DISTINCT quote_ident(n.nspname), ', '))
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname IN ('pg_trgm', 'btree_gin')), true);

-- +goose StatementBegin
CREATE FUNCTION canonical(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN octet_length(content) = length(content) OR content IS NFC NORMALIZED THEN content
            ELSE normalize(content, NFC)
       END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION search_form(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(content) = length(content) THEN
        RETURN lower(content);
    END IF;
    IF content IS NOT NFC NORMALIZED THEN
        content := normalize(content, NFC);
    END IF;
    IF content ~ '[\u1100-\u11FF\u2E80-\u9FFF\uA960-\uA97F\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]' THEN
        RETURN array_to_string(string_to_array(lower(content), NULL), '0');
    END IF;
    RETURN lower(content);
END
$$;
-- +goose StatementEnd

-- Sessions come last: they are locked until the end, and the version before sends to them.
DROP INDEX contacts_by_name;
CREATE INDEX contacts_by_name ON contacts USING gin (organization_id, search_form(name) gin_trgm_ops);
DROP INDEX sessions_by_title;
CREATE INDEX sessions_by_title ON sessions USING gin (organization_id, search_form(title) gin_trgm_ops)
    WITH (gin_pending_list_limit = 1024) WHERE title <> '';
