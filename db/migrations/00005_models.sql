-- +goose Up
-- What the engine openai asks, and its API key, encrypted. The version before neither reads nor writes them.
ALTER TABLE bots ADD COLUMN model json, ADD COLUMN model_key bytea;
