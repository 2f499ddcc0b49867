-- +goose Up
-- +goose StatementBegin

-- Nobody writes conversations from here to the end, so that each is counted once: below
-- where it is there already, by the triggers where it comes later. The version before
-- writes through them too.
LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE conversation_counts (
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    bot_id          uuid NOT NULL,
    status          text NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT conversation_counts_pkey PRIMARY KEY (organization_id, user_id, bot_id, status, id)
);

CREATE INDEX conversation_counts_changes ON conversation_counts (organization_id, user_id, bot_id, status) WHERE is_change;

CREATE TABLE unread_counts (
    organization_id uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT unread_counts_pkey PRIMARY KEY (organization_id, inbox_id, id)
);

CREATE INDEX unread_counts_changes ON unread_counts (organization_id, inbox_id) WHERE is_change;

CREATE FUNCTION count_conversation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_listed boolean := TG_OP <> 'INSERT' AND (OLD.last_seq > 0 OR NOT OLD.is_implied);
    is_listed  boolean := TG_OP <> 'DELETE' AND (NEW.last_seq > 0 OR NOT NEW.is_implied);
    was_unread boolean := TG_OP <> 'INSERT' AND OLD.staff_unread > 0;
    is_unread  boolean := TG_OP <> 'DELETE' AND NEW.staff_unread > 0;
    stays      boolean := was_listed AND is_listed AND OLD.status = NEW.status;
BEGIN
    IF was_listed AND NOT stays THEN
        INSERT INTO conversation_counts (organization_id, user_id, bot_id, status, conversations)
        VALUES (OLD.organization_id, OLD.user_id, OLD.bot_id, OLD.status, -1);
    END IF;
    IF is_listed AND NOT stays THEN
        INSERT INTO conversation_counts (organization_id, user_id, bot_id, status, conversations)
        VALUES (NEW.organization_id, NEW.user_id, NEW.bot_id, NEW.status, 1);
    END IF;
    IF was_unread <> is_unread THEN
        INSERT INTO unread_counts (organization_id, inbox_id, conversations)
        VALUES (coalesce(NEW.organization_id, OLD.organization_id), coalesce(NEW.inbox_id, OLD.inbox_id), is_unread::integer - was_unread::integer);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_count AFTER INSERT OR DELETE ON sessions
FOR EACH ROW EXECUTE FUNCTION count_conversation();

CREATE TRIGGER sessions_count_change AFTER UPDATE OF status, last_seq, staff_unread ON sessions
FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.last_seq = 0 OR (OLD.staff_unread = 0) <> (NEW.staff_unread = 0))
EXECUTE FUNCTION count_conversation();

INSERT INTO conversation_counts (organization_id, user_id, bot_id, status, is_change, conversations)
SELECT organization_id, user_id, bot_id, status, false, count(*) FROM sessions
WHERE last_seq > 0 OR NOT is_implied
GROUP BY organization_id, user_id, bot_id, status;

INSERT INTO unread_counts (organization_id, inbox_id, is_change, conversations)
SELECT organization_id, inbox_id, false, count(*) FROM sessions
WHERE staff_unread > 0
GROUP BY organization_id, inbox_id;

-- +goose StatementEnd
