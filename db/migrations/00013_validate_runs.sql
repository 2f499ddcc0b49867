-- +goose Up

-- In a transaction of its own: reading all runs must not happen under the lock of the migration that
-- added the constraint. This lock allows reads and writes.
ALTER TABLE runs VALIDATE CONSTRAINT runs_finish_reason_check;
