-- CreateConversation opens a session.
-- name: CreateConversation :one
INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, is_implied)
VALUES (@organization_id, @id, @user_id, @bot_id, @inbox_id, @contact_id, @is_implied)
RETURNING *;

-- GetSession returns the session's own row.
-- name: GetSession :one
SELECT * FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- GetBelonging returns what decides on who may read a session.
-- name: GetBelonging :one
SELECT user_id, bot_id, contact_id FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- GetConversation returns a session with what the Chatbots family shows around it.
-- name: GetConversation :one
SELECT sqlc.embed(s), sqlc.embed(c), i.name AS inbox_name, i.channel_type, b.name AS bot_name,
       CASE WHEN @is_counted::boolean
            THEN (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
                  WHERE n.organization_id = s.organization_id AND n.inbox_id = s.inbox_id)
            ELSE (SELECT count(*) FROM sessions u
                  WHERE u.organization_id = s.organization_id AND u.inbox_id = s.inbox_id AND u.staff_unread > 0)
       END::bigint AS inbox_unread
FROM sessions s
JOIN contacts c ON c.organization_id = s.organization_id AND c.id = s.contact_id
JOIN inboxes i ON i.organization_id = s.organization_id AND i.id = s.inbox_id
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.id = @id;

-- ListConversations returns a user's sessions, latest activity first, each with
-- the text of its newest message, which is looked up for those of the page alone.
-- name: ListConversations :many
WITH page AS MATERIALIZED (
    SELECT s.organization_id, s.id, s.bot_id, s.title, s.last_activity, s.status, s.user_unread, s.last_seq
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.user_id = @user_id AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('bot_id')::uuid IS NULL OR s.bot_id = sqlc.narg('bot_id'))
      AND (sqlc.narg('status')::text IS NULL OR s.status = sqlc.narg('status'))
    ORDER BY s.last_activity DESC, s.id DESC
    LIMIT @page_limit OFFSET @page_offset
)
SELECT p.id, p.bot_id, b.name AS bot_name, p.title, p.last_activity, p.status, p.user_unread,
       coalesce((SELECT m.content FROM message_history m
                 WHERE m.organization_id = p.organization_id AND m.session_id = p.id AND m.seq = p.last_seq), '')::text AS last_message
FROM page p
JOIN bots b ON b.organization_id = p.organization_id AND b.id = p.bot_id
ORDER BY p.last_activity DESC, p.id DESC;

-- CountConversations counts what ListConversations pages through.
-- name: CountConversations :one
SELECT count(*) FROM sessions
WHERE organization_id = @organization_id AND user_id = @user_id AND (last_seq > 0 OR NOT is_implied)
  AND (sqlc.narg('bot_id')::uuid IS NULL OR bot_id = sqlc.narg('bot_id'))
  AND (sqlc.narg('status')::text IS NULL OR status = sqlc.narg('status'));

-- SumConversations is CountConversations from the counters.
-- name: SumConversations :one
SELECT coalesce(sum(conversations), 0)::bigint FROM conversation_counts
WHERE organization_id = @organization_id AND user_id = @user_id
  AND (sqlc.narg('bot_id')::uuid IS NULL OR bot_id = sqlc.narg('bot_id'))
  AND (sqlc.narg('status')::text IS NULL OR status = sqlc.narg('status'));

-- HasManyConversations tells whether a user has so many sessions or more.
-- name: HasManyConversations :one
SELECT count(*) >= @many::integer
FROM (SELECT FROM sessions WHERE organization_id = @organization_id AND user_id = @user_id LIMIT @many::integer) found;

-- UpdateConversation changes the fields that are given.
-- name: UpdateConversation :execrows
UPDATE sessions SET
    status     = coalesce(sqlc.narg('status'), status),
    title      = coalesce(sqlc.narg('title'), title),
    auto_reply = coalesce(sqlc.narg('auto_reply'), auto_reply),
    updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id;

-- DeleteConversation deletes a session with its messages, runs and records.
-- name: DeleteConversation :execrows
DELETE FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- BoundSearch prepares a transaction for ListInboxConversations: its statements may
-- take 5 seconds, and are planned for the filters that they have, since no one plan is
-- good for all.
-- name: BoundSearch :exec
SELECT set_config('statement_timeout', '5s', true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- PlanSearch returns how a keyword is looked up: whether that is by the indexes, which
-- takes that the one over the messages is there and whole, and three letters in a row
-- for it to go by; the patterns for them; and whether the sessions that are asked about
-- have so few messages that reading them is as fast.
-- name: PlanSearch :one
SELECT ('%' || regexp_replace(searchable(@keyword::text), '[\\%_]', '\\\&', 'g') || '%')::text AS pattern,
       ('%' || regexp_replace(array_to_string(string_to_array(lower(@keyword::text), NULL), '0'), '[\\%_]', '\\\&', 'g') || '%')::text AS spaced_pattern,
       (searchable(@keyword::text) ~ '[[:alnum:]]{3}'
        AND EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass('message_history_by_content') AND indisvalid))::boolean AS is_indexed,
       (SELECT count(*) < @short_conversations::integer AND coalesce(sum(few.last_seq), 0) < @short_messages::integer
        FROM (SELECT s.last_seq FROM sessions s
              WHERE s.organization_id = @organization_id
                AND (@is_staff::boolean OR s.user_id = @user_id)
                AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
              LIMIT @short_conversations::integer) few)::boolean AS is_short;

-- FindSessions returns the sessions of an organization in which a text is like the
-- pattern, each once, found by the indexes; is_all is false when there are match_limit
-- such texts or more, of which some are left out.
--
-- What the indexes are asked holds wherever the last condition does, which decides.
-- MATERIALIZED keeps the limit from the planner, who would else bet on meeting as many
-- matches without an index.
-- name: FindSessions :one
WITH matching AS MATERIALIZED (
    SELECT s.id
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.title <> ''
      AND (searchable(s.title) LIKE @indexed_pattern::text OR searchable(s.title) LIKE @spaced_pattern::text)
      AND CASE WHEN @is_cased::boolean THEN s.title ILIKE @pattern::text ELSE s.title LIKE @pattern::text END
    UNION ALL
    SELECT s.id
    FROM contacts c
    JOIN sessions s ON s.organization_id = c.organization_id AND s.contact_id = c.id
    WHERE c.organization_id = @organization_id
      AND (searchable(c.name) LIKE @indexed_pattern::text OR searchable(c.name) LIKE @spaced_pattern::text)
      AND CASE WHEN @is_cased::boolean THEN c.name ILIKE @pattern::text ELSE c.name LIKE @pattern::text END
    UNION ALL
    SELECT m.session_id
    FROM message_history m
    WHERE m.organization_id = @organization_id
      AND (searchable(m.content) LIKE @indexed_pattern::text OR searchable(m.content) LIKE @spaced_pattern::text)
      AND CASE WHEN @is_cased::boolean THEN m.content ILIKE @pattern::text ELSE m.content LIKE @pattern::text END
)
SELECT coalesce(array_agg(DISTINCT read.id), '{}')::uuid[] AS ids, (count(*) < @match_limit::integer)::boolean AS is_all
FROM (SELECT id FROM matching LIMIT @match_limit::integer) read;

-- ListInboxConversationsOlder returns the sessions that the caller may read, newest
-- first, from a place downwards, with what the Chatbots family shows around each. The
-- place is a time, of the last activity or of the creation, and an id. With ids it is
-- those of them that are listed; with a pattern those in which a text is like it, among
-- the walk_limit sessions from the place on.
--
-- OFFSET 0 keeps the planner from reading all messages to find one in this session. The
-- page takes the sessions as they come, in the order of the walk: sorted once more, they
-- would all be read first.
-- name: ListInboxConversationsOlder :many
WITH walked AS (
    SELECT s.organization_id, s.id, s.inbox_id, s.contact_id, s.title,
           CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END AS place
    FROM sessions s
    WHERE s.organization_id = @organization_id
      AND (@is_staff::boolean OR s.user_id = @user_id)
      AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
      AND (sqlc.narg('ids')::uuid[] IS NULL OR s.id = ANY (sqlc.narg('ids')::uuid[]))
      AND (CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END, s.id) < (@at::timestamptz, @id::uuid)
    ORDER BY place DESC, s.id DESC
    LIMIT sqlc.narg('walk_limit')::integer
), page AS MATERIALIZED (
    SELECT w.organization_id, w.id, w.inbox_id
    FROM walked w
    WHERE sqlc.narg('pattern')::text IS NULL
       OR CASE WHEN @is_cased::boolean THEN w.title ILIKE sqlc.narg('pattern') ELSE w.title LIKE sqlc.narg('pattern') END
       OR EXISTS (SELECT FROM contacts c
                  WHERE c.organization_id = w.organization_id AND c.id = w.contact_id
                    AND CASE WHEN @is_cased::boolean THEN c.name ILIKE sqlc.narg('pattern') ELSE c.name LIKE sqlc.narg('pattern') END OFFSET 0)
       OR EXISTS (SELECT FROM message_history m
                  WHERE m.organization_id = w.organization_id AND m.session_id = w.id
                    AND CASE WHEN @is_cased::boolean THEN m.content ILIKE sqlc.narg('pattern') ELSE m.content LIKE sqlc.narg('pattern') END OFFSET 0)
    LIMIT @page_limit
), unread AS MATERIALIZED (
    SELECT p.inbox_id, CASE WHEN @is_counted::boolean
                            THEN (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
                                  WHERE n.organization_id = p.organization_id AND n.inbox_id = p.inbox_id)
                            ELSE (SELECT count(*) FROM sessions u
                                  WHERE u.organization_id = p.organization_id AND u.inbox_id = p.inbox_id AND u.staff_unread > 0)
                       END::bigint AS sessions
    FROM (SELECT DISTINCT organization_id, inbox_id FROM page) p
)
SELECT sqlc.embed(s), sqlc.embed(c), i.name AS inbox_name, i.channel_type, b.name AS bot_name, unread.sessions AS inbox_unread
FROM page
JOIN sessions s ON s.organization_id = page.organization_id AND s.id = page.id
JOIN contacts c ON c.organization_id = s.organization_id AND c.id = s.contact_id
JOIN inboxes i ON i.organization_id = s.organization_id AND i.id = s.inbox_id
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
JOIN unread ON unread.inbox_id = s.inbox_id
ORDER BY CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END DESC, s.id DESC;

-- ListInboxConversationsNewer is ListInboxConversationsOlder upwards, oldest first.
-- name: ListInboxConversationsNewer :many
WITH walked AS (
    SELECT s.organization_id, s.id, s.inbox_id, s.contact_id, s.title,
           CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END AS place
    FROM sessions s
    WHERE s.organization_id = @organization_id
      AND (@is_staff::boolean OR s.user_id = @user_id)
      AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
      AND (sqlc.narg('ids')::uuid[] IS NULL OR s.id = ANY (sqlc.narg('ids')::uuid[]))
      AND (CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END, s.id) > (@at::timestamptz, @id::uuid)
    ORDER BY place, s.id
    LIMIT sqlc.narg('walk_limit')::integer
), page AS MATERIALIZED (
    SELECT w.organization_id, w.id, w.inbox_id
    FROM walked w
    WHERE sqlc.narg('pattern')::text IS NULL
       OR CASE WHEN @is_cased::boolean THEN w.title ILIKE sqlc.narg('pattern') ELSE w.title LIKE sqlc.narg('pattern') END
       OR EXISTS (SELECT FROM contacts c
                  WHERE c.organization_id = w.organization_id AND c.id = w.contact_id
                    AND CASE WHEN @is_cased::boolean THEN c.name ILIKE sqlc.narg('pattern') ELSE c.name LIKE sqlc.narg('pattern') END OFFSET 0)
       OR EXISTS (SELECT FROM message_history m
                  WHERE m.organization_id = w.organization_id AND m.session_id = w.id
                    AND CASE WHEN @is_cased::boolean THEN m.content ILIKE sqlc.narg('pattern') ELSE m.content LIKE sqlc.narg('pattern') END OFFSET 0)
    LIMIT @page_limit
), unread AS MATERIALIZED (
    SELECT p.inbox_id, CASE WHEN @is_counted::boolean
                            THEN (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
                                  WHERE n.organization_id = p.organization_id AND n.inbox_id = p.inbox_id)
                            ELSE (SELECT count(*) FROM sessions u
                                  WHERE u.organization_id = p.organization_id AND u.inbox_id = p.inbox_id AND u.staff_unread > 0)
                       END::bigint AS sessions
    FROM (SELECT DISTINCT organization_id, inbox_id FROM page) p
)
SELECT sqlc.embed(s), sqlc.embed(c), i.name AS inbox_name, i.channel_type, b.name AS bot_name, unread.sessions AS inbox_unread
FROM page
JOIN sessions s ON s.organization_id = page.organization_id AND s.id = page.id
JOIN contacts c ON c.organization_id = s.organization_id AND c.id = s.contact_id
JOIN inboxes i ON i.organization_id = s.organization_id AND i.id = s.inbox_id
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
JOIN unread ON unread.inbox_id = s.inbox_id
ORDER BY CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END, s.id;

-- LockConversations locks those of the sessions that there are, and tells whose they
-- are. Locking them in the order of their ids keeps two batches from waiting for each
-- other.
-- name: LockConversations :many
SELECT id, user_id FROM sessions
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- ListHeldSessions returns those of the sessions that another transaction has locked at
-- this moment, or that are gone. It waits for nobody.
-- name: ListHeldSessions :many
WITH wanted AS (
    SELECT DISTINCT w.organization_id, w.id
    FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w
), free AS MATERIALIZED (
    SELECT s.organization_id, s.id FROM wanted w
    JOIN sessions s ON s.organization_id = w.organization_id AND s.id = w.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
SELECT w.organization_id::uuid AS organization_id, w.id::uuid AS id FROM wanted w
LEFT JOIN free f ON f.organization_id = w.organization_id AND f.id = w.id
WHERE f.id IS NULL;

-- SetConversationsStatus archives sessions or makes them active.
-- name: SetConversationsStatus :exec
UPDATE sessions SET status = @status, updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]) AND status <> @status;

-- MarkConversationsRead says that their user has read sessions, where that is the
-- caller, and that the staff has, where the caller is of it.
-- name: MarkConversationsRead :exec
UPDATE sessions SET
    user_unread  = CASE WHEN user_id = @user_id THEN 0 ELSE user_unread END,
    staff_unread = CASE WHEN @is_staff::boolean THEN 0 ELSE staff_unread END,
    last_read_at = CASE WHEN @is_staff::boolean THEN clock_timestamp() ELSE last_read_at END
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]);

-- DeleteConversations deletes sessions with their messages, runs and records.
-- name: DeleteConversations :exec
DELETE FROM sessions WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]);

-- ListMessagesAt returns the message at a place of each of some sessions, in their order.
-- name: ListMessagesAt :many
SELECT m.*
FROM (SELECT unnest(@session_ids::uuid[]) AS session_id, unnest(@seqs::bigint[]) AS seq) AS wanted
JOIN messages m ON m.session_id = wanted.session_id AND m.seq = wanted.seq
WHERE m.organization_id = @organization_id
ORDER BY array_position(@session_ids::uuid[], m.session_id);

-- ListNewerSessions returns those of the sessions that have come beyond a seq, and those
-- that are gone.
-- name: ListNewerSessions :many
SELECT w.id::uuid AS id, coalesce(s.last_seq, 0)::bigint AS last_seq, (s.id IS NULL)::boolean AS is_gone
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@seqs::bigint[]) AS seq) AS w
LEFT JOIN sessions s ON s.organization_id = w.organization_id AND s.id = w.id
WHERE s.id IS NULL OR s.last_seq > w.seq;

-- DeleteEmptyConversations deletes sessions that a socket made more than a day ago
-- and that never had a message.
-- name: DeleteEmptyConversations :exec
DELETE FROM sessions WHERE is_implied AND last_seq = 0 AND created_at < clock_timestamp() - interval '24 hours';
