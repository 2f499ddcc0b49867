-- +goose Up

-- Both come with PostgreSQL (contrib) and are trusted: whoever may create in the
-- database may install them. Where they are already, in whichever schema, they are
-- used from there.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
SELECT set_config('search_path', (
    SELECT concat_ws(', ', current_setting('search_path'), string_agg(DISTINCT quote_ident(n.nspname), ', '))
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname IN ('pg_trgm', 'btree_gin')), true);

-- +goose StatementBegin
CREATE FUNCTION searchable(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN content ~ '[\u1100-\u11FF\u2E80-\u9FFF\uA960-\uA97F\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]'
            THEN array_to_string(string_to_array(lower(content), NULL), '0')
            ELSE lower(content)
       END
$$;
-- +goose StatementEnd

-- Sessions come last: they are locked until the end, and the version before sends to them.
CREATE INDEX contacts_by_name ON contacts USING gin (organization_id, searchable(name) gin_trgm_ops);
CREATE INDEX sessions_by_title ON sessions USING gin (organization_id, searchable(title) gin_trgm_ops)
    WITH (gin_pending_list_limit = 1024) WHERE title <> '';
