-- +goose Up
-- The version before neither reads nor writes it: what that one does meanwhile has no events.

-- What was done that cannot be looked up any more once it is done: keys made and revoked,
-- deletions, and exports. An event is written in the transaction of what it tells of, one
-- for each thing, so there is neither without the other; what goes with a thing, such as a
-- contact's conversations, has none of its own.
-- INVARIANT: the product only adds to it. It holds ids and names of what an organization
-- configures, never what somebody said or whom it was said to.
CREATE TABLE audit_events (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    action          text NOT NULL,
    object_type     text NOT NULL,
    -- No foreign keys: the things, and the key that was used, may be gone.
    object_id       uuid NOT NULL,
    -- Who did it, with which key, in which request and from where; NULL and empty where
    -- it was the operator, beside the API.
    user_id         uuid,
    key_id          uuid,
    request_id      text NOT NULL DEFAULT '',
    address         text NOT NULL DEFAULT '',
    details         json NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_events_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT audit_events_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
);

CREATE INDEX audit_events_by_time ON audit_events (organization_id, created_at DESC, id DESC);
