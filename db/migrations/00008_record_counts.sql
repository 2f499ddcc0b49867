-- +goose Up
-- The version before writes nothing of this: it deletes under the same trigger, and counts the records one by one.
-- +goose StatementBegin

-- How many records of a chatbot were finished in an hour of UTC, so that totals need
-- not be counted record by record. An hour is counted once, some time after it has
-- ended, so that finishing a record costs nothing for it; the hours before the newest
-- one here are counted too, and have no records where they have no row.
-- INVARIANT: at every commit, for each chatbot and each hour up to the newest counted
-- one, n less the record_deletions of that hour is the number of its records. So
-- created_at and bot_id of a record never change, and records go by DELETE, never by
-- TRUNCATE.
CREATE TABLE record_counts (
    organization_id uuid NOT NULL,
    bot_id          uuid NOT NULL,
    hour            timestamptz NOT NULL,
    n               integer NOT NULL,
    CONSTRAINT record_counts_pkey PRIMARY KEY (organization_id, bot_id, hour) INCLUDE (n),
    CONSTRAINT record_counts_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE
);

-- How many records were deleted of an hour, by one statement. The next count takes
-- them in: until then those of counted hours are to be subtracted, and those of later
-- hours mean nothing. No foreign key: it would wait for whoever deletes the chatbot,
-- who may be waiting for whoever deletes the records.
CREATE TABLE record_deletions (
    organization_id uuid NOT NULL,
    bot_id          uuid NOT NULL,
    hour            timestamptz NOT NULL,
    id              uuid NOT NULL,
    n               integer NOT NULL,
    CONSTRAINT record_deletions_pkey PRIMARY KEY (organization_id, bot_id, hour, id)
);

-- What the hours up to the newest counted one add up to.
CREATE VIEW record_hours AS
SELECT c.organization_id, c.bot_id, c.hour, c.n FROM record_counts c
UNION ALL
SELECT d.organization_id, d.bot_id, d.hour, -d.n FROM record_deletions d;

-- The key of the advisory lock that counting a chatbot's records holds alone, and
-- deleting some of them shares.
CREATE FUNCTION record_counts_lock(organization uuid, bot uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(organization::text || bot::text, 0);

-- When the oldest transaction began that has written something and is not over; null
-- when there is none. Those of other users of the database are seen by who may see them.
CREATE FUNCTION oldest_writer() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL
$$;

-- Of a deletion, a count sees all or nothing: it is either over when the count begins,
-- or waits here for its end. Deletions do not wait for each other, and a count waits
-- for nothing, so nobody waits in a circle.
CREATE FUNCTION note_record_deletions() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(record_counts_lock(d.organization_id, d.bot_id))
    FROM (SELECT DISTINCT organization_id, bot_id FROM deleted) d;
    -- A chatbot that is deleted itself takes its counts along.
    INSERT INTO record_deletions (organization_id, bot_id, hour, id, n)
    SELECT d.organization_id, d.bot_id, date_trunc('hour', d.created_at, 'UTC'), gen_random_uuid(), count(*)
    FROM deleted d
    WHERE EXISTS (SELECT FROM bots b WHERE b.organization_id = d.organization_id AND b.id = d.bot_id)
    GROUP BY d.organization_id, d.bot_id, date_trunc('hour', d.created_at, 'UTC');
    RETURN NULL;
END
$$;

CREATE TRIGGER records_note_deletions AFTER DELETE ON records
REFERENCING OLD TABLE AS deleted
FOR EACH STATEMENT EXECUTE FUNCTION note_record_deletions();

-- +goose StatementEnd
