-- +goose Up

-- The version before writes neither the columns nor the table.
ALTER TABLE runs
    ADD COLUMN cached_tokens integer,
    ADD COLUMN reasoning_tokens integer,
    ADD COLUMN model text,
    DROP CONSTRAINT runs_finish_reason_check,
    ADD CONSTRAINT runs_finish_reason_check CHECK (finish_reason IN ('stop', 'length', 'content_filter', 'cancelled', 'error')) NOT VALID;

ALTER TABLE records
    ADD COLUMN cached_tokens integer,
    ADD COLUMN reasoning_tokens integer,
    ADD COLUMN model text;

CREATE TABLE stateless_usage (
    organization_id   uuid NOT NULL,
    day               date NOT NULL,
    bot_id            uuid NOT NULL,
    key_id            uuid NOT NULL,
    completions       bigint NOT NULL,
    failures          bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    CONSTRAINT stateless_usage_pkey PRIMARY KEY (organization_id, day, bot_id, key_id),
    CONSTRAINT stateless_usage_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE
);
