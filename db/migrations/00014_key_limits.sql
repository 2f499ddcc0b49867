-- +goose Up

-- The version before does not write the columns; null means the limit of the rate limit class.
ALTER TABLE api_keys
    ADD COLUMN messages_limit integer,
    ADD COLUMN history_limit integer,
    ADD COLUMN list_limit integer;
