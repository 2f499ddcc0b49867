-- +goose Up

-- Every POST takes an Idempotency-Key, not messages alone: what one has made is kept
-- as its answer.
ALTER TABLE idempotency_keys
    ALTER COLUMN message_id DROP NOT NULL,
    ADD COLUMN answer json;
