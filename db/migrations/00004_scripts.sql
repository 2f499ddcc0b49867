-- +goose Up
-- What the scripted engine says. The version before neither reads nor writes it.
ALTER TABLE bots ADD COLUMN script json;
