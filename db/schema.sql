-- The current schema. It is written by hand and read by sqlc. db/migrations produces the same
-- schema; a test compares the two catalogs.
--
-- Tenancy is in the keys: every primary key begins with organization_id, every foreign key includes
-- it, and every query filters by it. A row of another organization cannot be referenced, and looks
-- like one that does not exist.
--
-- Foreign keys add cost to every message. Messages therefore reference only their session; runs and
-- records reference their session and question. Bot, user and contact are found through the
-- session.

-- Keyword search uses trigram indexes that begin with the organization, like all keys. Both
-- extensions are part of PostgreSQL and trusted: a role with CREATE on the database can install
-- them.
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gin;

-- canonical returns the canonical composition (NFC) of a text. Texts are stored as they were sent,
-- and compared in this form: é is one character or two. Most texts have the form already, which is
-- recognized in a fraction of the time. PostgreSQL inlines the function into queries.
CREATE FUNCTION canonical(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN octet_length(content) = length(content) OR content IS NFC NORMALIZED THEN content
            ELSE normalize(content, NFC)
       END
$$;

-- search_form returns the form of a text that keyword indexes contain: its canonical composition in
-- lower case, by the rule of ILIKE, so that LIKE on the form accepts what ILIKE accepts on the
-- canonical text. If the text contains Chinese, Japanese or Korean characters, a 0 is inserted
-- between all characters: otherwise a word of two characters would have no trigram.
--
-- INVARIANT: if one canonical text contains another, ignoring case, then the form of the first
-- contains the form of the second, or, if the second has no Chinese, Japanese or Korean characters,
-- the second in lower case with a 0 between its characters. A different rule requires a new
-- function and new indexes.
--
-- The function runs for every message that is sent. It is in PL/pgSQL, because PostgreSQL plans an
-- SQL function in an index expression again for each statement. Inserting zeros only after the
-- characters that need them would require a regular expression, which costs four times as much.
CREATE FUNCTION search_form(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(content) = length(content) THEN
        RETURN lower(content);
    END IF;
    IF content IS NOT NFC NORMALIZED THEN
        content := normalize(content, NFC);
    END IF;
    IF content ~ '[\u1100-\u11FF\u2E80-\u9FFF\uA960-\uA97F\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFF9F\U00020000-\U0003FFFF]' THEN
        RETURN array_to_string(string_to_array(lower(content), NULL), '0');
    END IF;
    RETURN lower(content);
END
$$;

-- searchable is the form of version 0.1.0, without the composition. Servers of that version use it
-- during an upgrade, and its index over message contents contains it until a newer server drops it.
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

-- Users are the principals of API keys: persons, a partner's portal, programs.
CREATE TABLE users (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT users_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT users_name_key UNIQUE (organization_id, name),
    CONSTRAINT users_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
);

-- API keys. A key is shown once, when it is created; only the hash of its secret is stored.
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
    -- Requests per minute of the key in each rate limit class; null: the class's limit, by user.
    messages_limit  integer,
    history_limit   integer,
    list_limit      integer,
    CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, id),
    -- The only unique index that does not begin with the organization: the key identifies it.
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
    -- The replies of the engine scripted.
    script             json,
    -- The model of the engine openai, as internal/bot encodes it, and its API key, encrypted for
    -- this row (internal/secret).
    model              json,
    model_key          bytea,
    CONSTRAINT bots_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT bots_slug_key UNIQUE (organization_id, slug),
    CONSTRAINT bots_organization_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX bots_one_default ON bots (organization_id) WHERE is_default;

-- FAQ entries of a bot. question_key is the question without case, width and punctuation; questions
-- with the same key are equal.
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

-- Hashed, because a question can exceed the size limit of an index entry.
CREATE INDEX faqs_by_question_key ON faqs (organization_id, bot_id, md5(question_key));
CREATE INDEX faqs_by_time ON faqs (organization_id, bot_id, created_at DESC, id DESC);

-- The inverted index over the questions of FAQs. Terms are words and pairs of Chinese characters,
-- from the same tokenizer for entries and queries. weight is the term's contribution to the rank of
-- its entry, before it is multiplied by the inverse document frequency of the term.
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

-- Inboxes group conversations by channel: each bot has one for the API, each web chat its own.
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

-- Contacts are the people whom bots talk to. A user of the API is represented by one contact, which
-- is in each inbox that the user has used.
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

CREATE INDEX contacts_by_name ON contacts USING gin (organization_id, search_form(name) gin_trgm_ops);
CREATE INDEX contacts_by_time ON contacts (organization_id, created_at DESC, id DESC);

-- The inboxes of contacts. source_id is a copy of the contact's, because it is unique within an
-- inbox only.
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

-- A session is a conversation. Its row contains everything that sending a message depends on.
-- INVARIANT: a transaction that writes a message, or creates, starts or finishes a run, locks the
-- session's row first. A subquery on another table would see a stale snapshot.
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
    -- Created by connecting a socket; listed once it has a message.
    is_implied      boolean NOT NULL DEFAULT false,
    last_seq        bigint NOT NULL DEFAULT 0,
    -- Time of the newest message, or of the session's creation.
    last_activity   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The running run, and the number of queued ones. They wait for the running one, or for a slot.
    active_run      uuid,
    queued_runs     integer NOT NULL DEFAULT 0,
    -- Number of finished exchanges. The record of the first is New, those of later ones Follow.
    exchanges       integer NOT NULL DEFAULT 0,
    -- Messages from the bot and agents that the user has not read, and from the user that the staff
    -- has not read.
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
-- Partial, because every send updates the row and its index entries, and most sessions have no
-- title. With the pending list, a send to a session with a title costs half more instead of twice
-- as much. The list is short, because the send that fills it must merge all of it into the index.
CREATE INDEX sessions_by_title ON sessions USING gin (organization_id, search_form(title) gin_trgm_ops)
    WITH (gin_pending_list_limit = 1024) WHERE title <> '';
CREATE INDEX sessions_without_message ON sessions (created_at) WHERE is_implied AND last_seq = 0;
CREATE INDEX sessions_unread_by_inbox ON sessions (organization_id, inbox_id) WHERE staff_unread > 0;

-- Number of listed conversations per user, bot and status: the sum of the rows. A transaction that
-- creates, changes or deletes a conversation inserts a row and updates none, so that transactions
-- never wait for a counter. CompactConversationCounts merges the rows. There are no foreign keys,
-- because conversations that are deleted by cascade are subtracted after their user or bot is gone.
CREATE TABLE conversation_counts (
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    bot_id          uuid NOT NULL,
    status          text NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    -- Not merged yet.
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT conversation_counts_pkey PRIMARY KEY (organization_id, user_id, bot_id, status, id)
);

CREATE INDEX conversation_counts_changes ON conversation_counts (organization_id, user_id, bot_id, status) WHERE is_change;

-- Number of conversations per inbox with messages that the staff has not read, maintained like
-- conversation_counts.
CREATE TABLE unread_counts (
    organization_id uuid NOT NULL,
    inbox_id        uuid NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    is_change       boolean NOT NULL DEFAULT true,
    conversations   bigint NOT NULL,
    CONSTRAINT unread_counts_pkey PRIMARY KEY (organization_id, inbox_id, id)
);

CREATE INDEX unread_counts_changes ON unread_counts (organization_id, inbox_id) WHERE is_change;

-- count_conversation maintains both counters. A conversation is listed if it has a message or was
-- not created by connecting a socket.
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

-- An ordinary send changes no counter and does not call the function. The condition is short,
-- because PostgreSQL prepares it for every statement.
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
    -- The contact, bot or user who sent the message. No foreign key: the sender can be deleted.
    sender_id       uuid,
    content         text NOT NULL,
    -- Free JSON from clients of either API family. json keeps the text as it was sent; jsonb would
    -- expand 1e999 to a thousand digits.
    metadata        json,
    content_payload json,
    query_metadata  json,
    canvas          json,
    attachments     jsonb,
    citations       jsonb,
    citation_nodes  jsonb,
    suggestions     jsonb,
    feedback        text,
    -- The run that answers the message, or that wrote it.
    run_id          uuid,
    -- Strictly greater than the time of the message with seq - 1.
    created_at      timestamptz NOT NULL,
    CONSTRAINT message_history_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT message_history_seq_key UNIQUE (organization_id, session_id, seq),
    CONSTRAINT message_history_sender_check CHECK (sender IN ('user', 'bot', 'agent')),
    CONSTRAINT message_history_feedback_check CHECK (feedback IN ('like', 'dislike')),
    CONSTRAINT message_history_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
);

-- message_history_by_form, a GIN index over search_form(content), is not part of the schema.
-- Servers build or drop it in the background (internal/store), because building takes long and
-- operators can choose to save its cost on each send.
CREATE INDEX message_history_by_time ON message_history (organization_id, created_at DESC, id DESC);
-- The last safeguard against two replies to one question.
CREATE UNIQUE INDEX message_history_one_reply_per_run ON message_history (organization_id, run_id) WHERE sender = 'bot';

-- Messages with the name and avatar of the sender, which are empty if the sender has been deleted.
CREATE VIEW messages AS
SELECT m.*,
       coalesce(c.name, b.name, u.name, '')::text AS sender_name,
       coalesce(c.avatar, '')::text AS sender_avatar
FROM message_history m
LEFT JOIN contacts c ON m.sender = 'user' AND c.organization_id = m.organization_id AND c.id = m.sender_id
LEFT JOIN bots b ON m.sender = 'bot' AND b.organization_id = m.organization_id AND b.id = m.sender_id
LEFT JOIN users u ON m.sender = 'agent' AND u.organization_id = m.organization_id AND u.id = m.sender_id;

-- first_seq_since returns the seq of the session's first message at or after a time, or last_seq +
-- 1 if there is no such message. Times increase with seq, which has no gaps, so a binary search
-- needs about fifteen lookups where a scan would read the whole session.
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

-- Attachments by id, so that later messages can reference them.
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

-- A run is the work of answering one message. Rows are narrow, because they are updated often.
CREATE TABLE runs (
    organization_id  uuid NOT NULL,
    id               uuid NOT NULL,
    session_id       uuid NOT NULL,
    question_id      uuid NOT NULL,
    question_seq     bigint NOT NULL,
    -- Id of the reply, assigned before its first delta.
    reply_id         uuid NOT NULL,
    state            text NOT NULL,
    -- Incremented when the run is reclaimed. Only the newest attempt can finish the run.
    attempt          integer NOT NULL DEFAULT 1,
    -- The lease of the attempt expires at this time of the database's clock.
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
    cached_tokens    integer,
    reasoning_tokens integer,
    -- The model that wrote the reply, as its server named it.
    model            text,
    CONSTRAINT runs_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT runs_state_check CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT runs_finish_reason_check CHECK (finish_reason IN ('stop', 'length', 'content_filter', 'cancelled', 'error')),
    CONSTRAINT runs_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);

-- Guarantees that at most one reply per session is being written.
CREATE UNIQUE INDEX runs_one_running_per_session ON runs (organization_id, session_id) WHERE state = 'running';
CREATE INDEX runs_queued_by_session ON runs (organization_id, session_id, question_seq) WHERE state = 'queued';
CREATE INDEX runs_queued_by_time ON runs (organization_id, created_at) WHERE state = 'queued';
CREATE INDEX runs_by_lease ON runs (lease_until) WHERE state = 'running';
CREATE INDEX runs_by_session ON runs (organization_id, session_id);

-- A record is one question and its finished answer. It is written once, in the statement that
-- stores the reply; only scores and feedback change later. Its id is that of the run. Both texts
-- are stored here, so that lists and exports read a single table.
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
    cached_tokens         integer,
    reasoning_tokens      integer,
    model                 text,
    CONSTRAINT records_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT records_status_check CHECK (status IN ('completed', 'failed', 'cancelled')),
    CONSTRAINT records_type_check CHECK (type IN ('New', 'Follow')),
    CONSTRAINT records_session_fkey FOREIGN KEY (organization_id, session_id) REFERENCES sessions (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX records_by_time ON records (organization_id, bot_id, created_at DESC, id DESC);
CREATE INDEX records_by_session ON records (organization_id, session_id);

-- Number of a chatbot's records per hour (UTC), so that totals need not count every record. An hour
-- is counted once, some time after its end, so that finishing a record has no extra cost. All hours
-- up to the newest row are counted; an hour without a row has no records.
-- INVARIANT: at every commit, for each chatbot and each hour up to the newest counted one, n minus
-- the record_deletions of that hour is the number of its records. Therefore created_at and bot_id
-- of a record never change, and records are removed by DELETE, never by TRUNCATE.
CREATE TABLE record_counts (
    organization_id uuid NOT NULL,
    bot_id          uuid NOT NULL,
    hour            timestamptz NOT NULL,
    n               integer NOT NULL,
    CONSTRAINT record_counts_pkey PRIMARY KEY (organization_id, bot_id, hour) INCLUDE (n),
    CONSTRAINT record_counts_bot_fkey FOREIGN KEY (organization_id, bot_id) REFERENCES bots (organization_id, id) ON DELETE CASCADE
);

-- Number of records of an hour that one statement deleted. The next count applies them. Until then,
-- those of counted hours must be subtracted, and those of later hours are ignored. There is no
-- foreign key: its check would wait for a transaction that deletes the chatbot, which can in turn
-- wait for the transaction that deletes the records.
CREATE TABLE record_deletions (
    organization_id uuid NOT NULL,
    bot_id          uuid NOT NULL,
    hour            timestamptz NOT NULL,
    id              uuid NOT NULL,
    n               integer NOT NULL,
    CONSTRAINT record_deletions_pkey PRIMARY KEY (organization_id, bot_id, hour, id)
);

-- Counted records and deletions per hour; their sum is the number of records in counted hours.
CREATE VIEW record_hours AS
SELECT c.organization_id, c.bot_id, c.hour, c.n FROM record_counts c
UNION ALL
SELECT d.organization_id, d.bot_id, d.hour, -d.n FROM record_deletions d;

-- record_counts_lock returns the key of an advisory lock. Counting a chatbot's records holds it
-- exclusively; deleting some of them holds it shared.
CREATE FUNCTION record_counts_lock(organization uuid, bot uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(organization::text || bot::text, 0);

-- oldest_writer returns the start time of the oldest open transaction that has written something,
-- or null. Transactions of other database users are visible only with the corresponding privilege.
CREATE FUNCTION oldest_writer() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL
$$;

-- note_record_deletions records deletions for the next count. A count sees all or nothing of a
-- deletion: the deletion has either committed before the count, or waits here until the count ends.
-- Deletions do not wait for each other and a count never waits, so a deadlock is impossible.
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

-- Idempotency keys with the result of their request. They expire after a day.
CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    -- Method and path of the request.
    scope           text NOT NULL,
    key             text NOT NULL,
    request_hash    bytea NOT NULL,
    -- Only for messages: the response to a repeat is built from the message itself.
    message_id      uuid,
    run_id          uuid,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The result of any other request; NULL if it contains a secret.
    answer          json,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, scope, key),
    CONSTRAINT idempotency_keys_user_fkey FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- Audit events for actions that leave no other trace: API keys created and revoked, deletions, and
-- exports. An event is written in the transaction of its action, one for each object. Objects that
-- are deleted along with another one, such as a contact's conversations, have no event of their
-- own.
-- INVARIANT: events are only inserted. They contain ids and names of what an organization
-- configures, never the contents of messages or who sent or received them.
CREATE TABLE audit_events (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    action          text NOT NULL,
    object_type     text NOT NULL,
    -- No foreign keys: the object, and the API key that was used, can be deleted.
    object_id       uuid NOT NULL,
    -- The user, the API key, the request and the network address; NULL or empty if the operator
    -- acted outside the API.
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

-- Stateless completions by the day (UTC) on which they ended, chatbot and API key. Each instance adds
-- what it has counted every second. A key stays after it was revoked, so it is not a foreign key.
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
