-- The schema as it is: written by hand, read by sqlc, reached by db/migrations
-- (a test compares the catalogs of the two).
--
-- Tenancy is in the keys: every primary key begins with the organization, every
-- foreign key carries it, every query filters by it. A row of another
-- organization cannot be referred to, and looks like one that does not exist.
--
-- Foreign keys cost on the path of every message, so messages refer to their
-- session only, runs and records to their session and question; bot, user and
-- contact are reached through the session.

-- The indexes that keywords are looked up in are made of trigrams, and begin with the
-- organization as keys do. Both extensions come with PostgreSQL and are trusted: whoever
-- may create in the database may install them.
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gin;

-- What a text is indexed as, for keywords to be found in it. Where it has Chinese,
-- Japanese or Korean in it, a 0 stands between all characters, or else a word of two
-- would have no trigram; other texts have longer words and are as they are. All is
-- lower case here, by the rule that ILIKE has, so that LIKE tells what ILIKE would of
-- the text itself; lowered again, by pg_trgm, it stays as it is.
--
-- INVARIANT: of two texts one of which contains the other, in any case, the form of the
-- one contains the form of the other, or, where the shorter has none of these scripts in
-- it, may contain it with the zeros put in. A new rule needs a new function and new
-- indexes.
--
-- It runs on every message that is sent. Putting the zeros only behind the characters
-- that need them would take a regular expression, at four times the cost.
CREATE FUNCTION searchable(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN content ~ '[\u1100-\u11FF\u2E80-\u9FFF\uA960-\uA97F\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]'
            THEN array_to_string(string_to_array(lower(content), NULL), '0')
            ELSE lower(content)
       END
$$;

CREATE TABLE organizations (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT organizations_name_key UNIQUE (name)
);

-- A user is whoever a key speaks for: a person, a partner's portal, a program.
CREATE TABLE users (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT users_name_key UNIQUE (organization_id, name),
    CONSTRAINT users_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
);

-- A key is shown once, when it is made; what is kept is the hash of its secret.
CREATE TABLE api_keys (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    name            text NOT NULL,
    prefix          text NOT NULL,
    secret_hash     bytea NOT NULL,
    scopes          text[] NOT NULL,
    expires_at      timestamptz,
    last_used_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, id),
    -- The one index that does not begin with the organization: a key is found
    -- before its organization is known.
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix),
    CONSTRAINT api_keys_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);

CREATE TABLE bots (
    organization_id    uuid NOT NULL,
    id                 uuid NOT NULL,
    slug               text NOT NULL,
    name               text NOT NULL,
    description        text NOT NULL DEFAULT '',
    engine             text NOT NULL,
    instructions       text NOT NULL DEFAULT '',
    greeting           text NOT NULL DEFAULT '',
    unanswerable_reply text NOT NULL DEFAULT '',
    is_default         boolean NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the scripted engine says.
    script             json,
    -- What the engine openai asks, as internal/bot writes it, and its API key, sealed
    -- for this row (internal/secret).
    model              json,
    model_key          bytea,
    CONSTRAINT bots_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT bots_slug_key UNIQUE (organization_id, slug),
    CONSTRAINT bots_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX bots_one_default ON bots (organization_id) WHERE is_default;

-- An entry of a bot's knowledge. question_key is the question without case, width
-- and punctuation: who asks it in other spelling asks the same.
CREATE TABLE faqs (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    bot_id          uuid NOT NULL,
    question        text NOT NULL,
    question_key    text NOT NULL,
    answer          text NOT NULL,
    labels          text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT faqs_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT faqs_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE
);

-- Hashed, since a question may be longer than an entry of an index.
CREATE INDEX faqs_by_question_key ON faqs (organization_id, bot_id, md5(question_key));
CREATE INDEX faqs_by_time ON faqs (organization_id, bot_id, created_at DESC, id DESC);

-- The inverted index over the questions: terms are words and pairs of Chinese
-- characters, cut by the same code for entries and for queries. weight is what the
-- term adds to the rank of its entry, the rarity of the term aside.
CREATE TABLE faq_terms (
    organization_id uuid NOT NULL,
    bot_id          uuid NOT NULL,
    term            text NOT NULL,
    faq_id          uuid NOT NULL,
    weight          real NOT NULL,
    CONSTRAINT faq_terms_pkey PRIMARY KEY (organization_id, bot_id, term, faq_id) INCLUDE (weight),
    CONSTRAINT faq_terms_faq_fkey FOREIGN KEY (organization_id, faq_id) REFERENCES faqs (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX faq_terms_by_faq ON faq_terms (organization_id, faq_id);

-- Where conversations come in: a bot has one inbox for the API, a web chat has
-- its own.
CREATE TABLE inboxes (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    bot_id          uuid NOT NULL,
    name            text NOT NULL,
    channel_type    text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT inboxes_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT inboxes_channel_type_check CHECK (channel_type IN ('web', 'line', 'telegram', 'messenger', 'api')),
    CONSTRAINT inboxes_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX inboxes_one_api_inbox_per_bot ON inboxes (organization_id, bot_id) WHERE channel_type = 'api';

CREATE TABLE web_chats (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    bot_id          uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    name            text NOT NULL,
    access_type     text NOT NULL DEFAULT 'web',
    allowed_origins text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT web_chats_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT web_chats_inbox_key UNIQUE (organization_id, inbox_id),
    CONSTRAINT web_chats_access_type_check CHECK (access_type IN ('web', 'api')),
    CONSTRAINT web_chats_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT web_chats_inbox_fkey FOREIGN KEY (organization_id, inbox_id) REFERENCES inboxes (organization_id, id) ON DELETE CASCADE
);

-- Whom the bot talks to. A user of the API has one contact that stands for them,
-- in each inbox that they use.
CREATE TABLE contacts (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid,
    source_id       text,
    name            text NOT NULL,
    avatar          text NOT NULL DEFAULT '',
    email           text NOT NULL DEFAULT '',
    phone_number    text NOT NULL DEFAULT '',
    query_metadata  json,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT contacts_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT contacts_user_key UNIQUE (organization_id, user_id),
    CONSTRAINT contacts_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX contacts_by_name ON contacts USING gin (organization_id, searchable(name) gin_trgm_ops);
CREATE INDEX contacts_by_time ON contacts (organization_id, created_at DESC, id DESC);

-- The inboxes that a contact is in. The contact's source_id is here too, because
-- it is unique in an inbox and not beyond.
CREATE TABLE contact_inboxes (
    organization_id uuid NOT NULL,
    contact_id      uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    source_id       text,
    CONSTRAINT contact_inboxes_pkey PRIMARY KEY (organization_id, contact_id, inbox_id),
    CONSTRAINT contact_inboxes_source_id_key UNIQUE (organization_id, inbox_id, source_id),
    CONSTRAINT contact_inboxes_contact_fkey FOREIGN KEY (organization_id, contact_id) REFERENCES contacts (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT contact_inboxes_inbox_fkey FOREIGN KEY (organization_id, inbox_id) REFERENCES inboxes (organization_id, id) ON DELETE CASCADE
);

-- A session is a conversation. Its row carries everything that a send decides
-- on.
-- INVARIANT: whoever writes a message, or opens, ends or starts a run, locks the
-- session's row first; sub-selects on other tables would see a stale snapshot.
CREATE TABLE sessions (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    bot_id          uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    contact_id      uuid NOT NULL,
    title           text NOT NULL DEFAULT '',
    status          text NOT NULL DEFAULT 'active',
    auto_reply      boolean NOT NULL DEFAULT true,
    -- Made by connecting a socket: listed once it has a message.
    is_implied      boolean NOT NULL DEFAULT false,
    last_seq        bigint NOT NULL DEFAULT 0,
    -- The time of the newest message; of the session itself while it has none.
    last_activity   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The run that is being answered, and how many wait: behind it, or for their
    -- turn among other sessions'.
    active_run      uuid,
    queued_runs     integer NOT NULL DEFAULT 0,
    -- Finished exchanges: the first one's record is New, every later one Follow.
    exchanges       integer NOT NULL DEFAULT 0,
    -- What the user has not read of the bot and the agents, and the staff of the user.
    user_unread     integer NOT NULL DEFAULT 0,
    staff_unread    integer NOT NULL DEFAULT 0,
    last_read_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sessions_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT sessions_status_check CHECK (status IN ('active', 'archived')),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT sessions_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT sessions_inbox_fkey FOREIGN KEY (organization_id, inbox_id) REFERENCES inboxes (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT sessions_contact_fkey FOREIGN KEY (organization_id, contact_id) REFERENCES contacts (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);

CREATE INDEX sessions_by_user ON sessions (organization_id, user_id, last_activity DESC, id DESC);
CREATE INDEX sessions_by_activity ON sessions (organization_id, last_activity DESC, id DESC);
CREATE INDEX sessions_by_creation ON sessions (organization_id, created_at DESC, id DESC);
CREATE INDEX sessions_by_inbox ON sessions (organization_id, inbox_id, last_activity DESC, id DESC);
CREATE INDEX sessions_by_contact ON sessions (organization_id, contact_id);
CREATE INDEX sessions_by_bot ON sessions (organization_id, bot_id);
-- Each send writes the row anew, and its entries in here; most have no title. What is new
-- waits in a list, with which such a send has half more work instead of twice as much; the
-- list is short, since the send that finds it full puts all that is in it in place.
CREATE INDEX sessions_by_title ON sessions USING gin (organization_id, searchable(title) gin_trgm_ops)
    WITH (gin_pending_list_limit = 1024) WHERE title <> '';
CREATE INDEX sessions_without_message ON sessions (created_at) WHERE is_implied AND last_seq = 0;
CREATE INDEX sessions_unread_by_inbox ON sessions (organization_id, inbox_id) WHERE staff_unread > 0;

-- How many conversations a user has with a bot in a status, as lists show them: the sum
-- of the rows. Whoever makes, moves or deletes a conversation adds a row in the same
-- transaction and touches no other, so that nobody waits for a counter; chat folds them.
-- There are no foreign keys: what goes with its user or bot is subtracted after them.
CREATE TABLE conversation_counts (
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    bot_id          uuid NOT NULL,
    status          text NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    -- Not folded yet.
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT conversation_counts_pkey PRIMARY KEY (organization_id, user_id, bot_id, status, id)
);

CREATE INDEX conversation_counts_changes ON conversation_counts (organization_id, user_id, bot_id, status) WHERE is_change;

-- How many conversations of an inbox hold what the staff has not read, kept as
-- conversation_counts are.
CREATE TABLE unread_counts (
    organization_id uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT unread_counts_pkey PRIMARY KEY (organization_id, inbox_id, id)
);

CREATE INDEX unread_counts_changes ON unread_counts (organization_id, inbox_id) WHERE is_change;

-- Counts a conversation in both tables; a list shows it once it has a message, or was
-- begun on purpose.
-- INVARIANT: user_id, bot_id, inbox_id and is_implied of a session never change.
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

-- An ordinary send changes none of it, and does not call. The condition is read anew by
-- each statement, so it is kept short.
CREATE TRIGGER sessions_count_change AFTER UPDATE OF status, last_seq, staff_unread ON sessions
FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.last_seq = 0 OR (OLD.staff_unread = 0) <> (NEW.staff_unread = 0))
EXECUTE FUNCTION count_conversation();

CREATE TABLE message_history (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    session_id      uuid NOT NULL,
    -- 1, 2, 3 … without gaps in the session.
    seq             bigint NOT NULL,
    sender          text NOT NULL,
    -- The contact, bot or user who speaks; gone when that one is deleted.
    sender_id       uuid,
    content         text NOT NULL,
    -- What General Bots' clients attach, and MaiAgent's: json keeps it as it was
    -- written, where jsonb would write 1e999 out in a thousand digits.
    metadata        json,
    content_payload json,
    query_metadata  json,
    canvas          json,
    attachments     jsonb,
    citations       jsonb,
    citation_nodes  jsonb,
    suggestions     jsonb,
    feedback        text,
    -- The run that the message asked for, or that wrote it.
    run_id          uuid,
    -- Strictly greater than the time of seq - 1.
    created_at      timestamptz NOT NULL,
    CONSTRAINT message_history_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT message_history_seq_key UNIQUE (organization_id, session_id, seq),
    CONSTRAINT message_history_sender_check CHECK (sender IN ('user', 'bot', 'agent')),
    CONSTRAINT message_history_feedback_check CHECK (feedback IN ('like', 'dislike')),
    CONSTRAINT message_history_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
);

-- message_history_by_content, a GIN index over searchable(content), is built and dropped by
-- the servers while they serve (internal/store), since it takes long, and not every
-- operator wants what it adds to each send.
CREATE INDEX message_history_by_time ON message_history (organization_id, created_at DESC, id DESC);
-- The last line of defence against a question answered twice.
CREATE UNIQUE INDEX message_history_one_reply_per_run ON message_history (organization_id, run_id) WHERE sender = 'bot';

-- A message with the name and avatar of who speaks; both are empty when that one
-- is gone.
CREATE VIEW messages AS
SELECT m.*,
       coalesce(c.name, b.name, u.name, '')::text AS sender_name,
       coalesce(c.avatar, '')::text AS sender_avatar
FROM message_history m
LEFT JOIN contacts c ON m.sender = 'user' AND c.organization_id = m.organization_id AND c.id = m.sender_id
LEFT JOIN bots b ON m.sender = 'bot' AND b.organization_id = m.organization_id AND b.id = m.sender_id
LEFT JOIN users u ON m.sender = 'agent' AND u.organization_id = m.organization_id AND u.id = m.sender_id;

-- The seq of the session's first message at or after a time; one more than its
-- last seq when there is none. Times grow with seq, which has no gaps, so halving
-- finds it in some fifteen look-ups where a scan would read the session.
CREATE FUNCTION first_seq_since(organization uuid, session uuid, since timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    low    bigint := 1;
    high   bigint;
    middle bigint;
    at     timestamptz;
BEGIN
    SELECT last_seq + 1 INTO high FROM sessions WHERE organization_id = organization AND id = session;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT created_at INTO at FROM message_history
        WHERE organization_id = organization AND session_id = session AND seq = middle;
        IF at < since THEN
            low := middle + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- Attachments by id, so that a later message can name one again.
CREATE TABLE attachments (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL,
    type            text NOT NULL,
    filename        text NOT NULL,
    file            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT attachments_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT attachments_type_check CHECK (type IN ('image', 'video', 'audio', 'sticker', 'other')),
    CONSTRAINT attachments_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);

-- A run is the work of answering one message: narrow, and written often.
CREATE TABLE runs (
    organization_id  uuid NOT NULL,
    id               uuid NOT NULL,
    session_id       uuid NOT NULL,
    question_id      uuid NOT NULL,
    question_seq     bigint NOT NULL,
    -- The id that the reply has from its first delta on.
    reply_id         uuid NOT NULL,
    state            text NOT NULL,
    -- Each taking-up is one attempt; only the newest one can finish the run.
    attempt          integer NOT NULL DEFAULT 1,
    -- Until when the attempt is believed to be alive, by the database's clock.
    lease_until      timestamptz NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false,
    finish_reason    text,
    error            text,
    detail           text,
    prompt_tokens     integer,
    completion_tokens integer,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    first_token_at   timestamptz,
    finished_at      timestamptz,
    CONSTRAINT runs_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT runs_state_check CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT runs_finish_reason_check CHECK (finish_reason IN ('stop', 'length', 'cancelled', 'error')),
    CONSTRAINT runs_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);

-- The backstop of one reply at a time.
CREATE UNIQUE INDEX runs_one_running_per_session ON runs (organization_id, session_id) WHERE state = 'running';
CREATE INDEX runs_queued_by_session ON runs (organization_id, session_id, question_seq) WHERE state = 'queued';
CREATE INDEX runs_queued_by_time ON runs (organization_id, created_at) WHERE state = 'queued';
CREATE INDEX runs_by_lease ON runs (lease_until) WHERE state = 'running';
CREATE INDEX runs_by_session ON runs (organization_id, session_id);

-- A record is one question and its finished answer, written once, in the
-- statement that stores the reply; only scores and feedback change later. Its id
-- is the run's. Both texts are here, so that lists and exports read one table.
CREATE TABLE records (
    organization_id       uuid NOT NULL,
    id                    uuid NOT NULL,
    bot_id                uuid NOT NULL,
    session_id            uuid NOT NULL,
    reply_id              uuid,
    status                text NOT NULL,
    type                  text NOT NULL,
    input_message         text NOT NULL,
    condense_message      text NOT NULL DEFAULT '',
    output_message        text NOT NULL,
    context               text NOT NULL DEFAULT '',
    faithfulness_score        double precision,
    answer_relevancy_score    double precision,
    context_precision_score   double precision,
    answer_correctness_score  double precision,
    answer_similarity_score   double precision,
    context_recall_score      double precision,
    -- Seconds from the question to the finished answer, and to its first token.
    reply_time            double precision,
    first_token_time      double precision,
    prompt_tokens         integer,
    completion_tokens     integer,
    feedback              text,
    error                 text,
    asked_at              timestamptz NOT NULL,
    created_at            timestamptz NOT NULL,
    CONSTRAINT records_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT records_status_check CHECK (status IN ('completed', 'failed', 'cancelled')),
    CONSTRAINT records_type_check CHECK (type IN ('New', 'Follow')),
    CONSTRAINT records_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX records_by_time ON records (organization_id, bot_id, created_at DESC, id DESC);
CREATE INDEX records_by_session ON records (organization_id, session_id);

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

-- What a repeated request is answered from, for a day.
CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    -- Method and path of the request.
    scope           text NOT NULL,
    key             text NOT NULL,
    request_hash    bytea NOT NULL,
    -- A message is answered from the message itself, and only it has these two.
    message_id      uuid,
    run_id          uuid,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the request has made, of all others; NULL where it shows a secret.
    answer          json,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, scope, key),
    CONSTRAINT idempotency_keys_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

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
