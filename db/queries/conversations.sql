-- CreateConversation inserts a session.
-- name: CreateConversation :one
INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, is_implied)
VALUES (@organization_id, @id, @user_id, @bot_id, @inbox_id, @contact_id, @is_implied)
RETURNING *;

-- GetSession returns a session's row.
-- name: GetSession :one
SELECT * FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- GetSessionAccess returns the columns that decide who may read a session.
-- name: GetSessionAccess :one
SELECT user_id, bot_id, contact_id FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- GetConversation returns a session with the related rows that the Chatbots family shows.
-- name: GetConversation :one
SELECT sqlc.embed(s), sqlc.embed(c), i.name AS inbox_name, i.channel_type, b.name AS bot_name,
       (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
        WHERE n.organization_id = s.organization_id AND n.inbox_id = s.inbox_id)::bigint AS inbox_unread
FROM sessions s
JOIN contacts c ON c.organization_id = s.organization_id AND c.id = s.contact_id
JOIN inboxes i ON i.organization_id = s.organization_id AND i.id = s.inbox_id
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.id = @id;

-- ListConversations returns a page of a user's sessions, latest activity first, each with the text
-- of its newest message. Messages are looked up for the rows of the page only.
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

-- CountConversations returns the total for ListConversations, from the counters that triggers on
-- sessions maintain.
-- name: CountConversations :one
SELECT coalesce(sum(conversations), 0)::bigint FROM conversation_counts
WHERE organization_id = @organization_id AND user_id = @user_id
  AND (sqlc.narg('bot_id')::uuid IS NULL OR bot_id = sqlc.narg('bot_id'))
  AND (sqlc.narg('status')::text IS NULL OR status = sqlc.narg('status'));

-- HasManyConversations reports whether a user has at least "threshold" sessions.
-- name: HasManyConversations :one
SELECT count(*) >= @threshold::integer
FROM (SELECT FROM sessions WHERE organization_id = @organization_id AND user_id = @user_id LIMIT @threshold::integer) found;

-- UpdateConversation updates the fields that are not NULL.
-- name: UpdateConversation :execrows
UPDATE sessions SET
    status     = coalesce(sqlc.narg('status'), status),
    title      = coalesce(sqlc.narg('title'), title),
    auto_reply = coalesce(sqlc.narg('auto_reply'), auto_reply),
    updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id;

-- DeleteConversation deletes a session. Its messages, runs and records are deleted by cascade.
-- name: DeleteConversation :execrows
DELETE FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- ConfigureConversationSearch prepares a transaction for listing inbox conversations: statements
-- are limited to 5 seconds and planned for their parameters, because no generic plan suits all
-- filters.
-- name: ConfigureConversationSearch :exec
SELECT set_config('statement_timeout', '5s', true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- PlanKeywordSearch returns how to search for a keyword: the patterns for the indexes; whether the
-- indexes can be used; and whether the sessions in question have so few messages that reading all
-- of them is as fast. The indexes can be used when the index over messages exists and is valid,
-- and the keyword contains three consecutive alphanumeric characters.
-- name: PlanKeywordSearch :one
SELECT ('%' || regexp_replace(search_form(@keyword::text), '[\\%_]', '\\\&', 'g') || '%')::text AS pattern,
       ('%' || regexp_replace(array_to_string(string_to_array(lower(canonical(@keyword::text)), NULL), '0'), '[\\%_]', '\\\&', 'g') || '%')::text AS spaced_pattern,
       (search_form(@keyword::text) ~ '[[:alnum:]]{3}'
        AND EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass('message_history_by_form') AND indisvalid))::boolean AS can_use_indexes,
       (SELECT count(*) < @conversation_threshold::integer AND coalesce(sum(few.last_seq), 0) < @message_threshold::integer
        FROM (SELECT s.last_seq FROM sessions s
              WHERE s.organization_id = @organization_id
                AND (@is_staff::boolean OR s.user_id = @user_id)
                AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
              LIMIT @conversation_threshold::integer) few)::boolean AS is_small;

-- SearchSessions returns the distinct sessions of an organization in which a text matches the
-- pattern, found through the indexes. is_complete is false when match_limit texts were found, so
-- that more may exist.
--
-- The conditions on indexed expressions hold for every text that the last condition accepts; the
-- last condition decides. MATERIALIZED hides the limit from the planner, which would otherwise
-- expect to find enough matches without an index.
-- name: SearchSessions :one
WITH matching AS MATERIALIZED (
    SELECT s.id
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.title <> ''
      AND (search_form(s.title) LIKE @indexed_pattern::text OR search_form(s.title) LIKE @spaced_pattern::text)
      AND CASE WHEN @ignore_case::boolean THEN canonical(s.title) ILIKE @pattern::text ELSE canonical(s.title) LIKE @pattern::text END
    UNION ALL
    SELECT s.id
    FROM contacts c
    JOIN sessions s ON s.organization_id = c.organization_id AND s.contact_id = c.id
    WHERE c.organization_id = @organization_id
      AND (search_form(c.name) LIKE @indexed_pattern::text OR search_form(c.name) LIKE @spaced_pattern::text)
      AND CASE WHEN @ignore_case::boolean THEN canonical(c.name) ILIKE @pattern::text ELSE canonical(c.name) LIKE @pattern::text END
    UNION ALL
    SELECT m.session_id
    FROM message_history m
    WHERE m.organization_id = @organization_id
      AND (search_form(m.content) LIKE @indexed_pattern::text OR search_form(m.content) LIKE @spaced_pattern::text)
      AND CASE WHEN @ignore_case::boolean THEN canonical(m.content) ILIKE @pattern::text ELSE canonical(m.content) LIKE @pattern::text END
)
SELECT coalesce(array_agg(DISTINCT read.id), '{}')::uuid[] AS ids, (count(*) < @match_limit::integer)::boolean AS is_complete
FROM (SELECT id FROM matching LIMIT @match_limit::integer) read;

-- ListInboxConversationsBefore returns the sessions before a position that the caller may read,
-- newest first, with the related rows that the Chatbots family shows. A position is a time, of the
-- last activity or of the creation, and an id. With ids, only those sessions are listed. With a
-- pattern, only sessions in which a text matches are listed, and at most walk_limit sessions are
-- examined.
--
-- OFFSET 0 keeps the planner from reading all messages to find one in a session. The CTE page
-- keeps the order of walked: a second sort would make PostgreSQL examine all sessions first.
-- name: ListInboxConversationsBefore :many
WITH walked AS (
    SELECT s.organization_id, s.id, s.inbox_id, s.contact_id, s.title,
           CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END AS position
    FROM sessions s
    WHERE s.organization_id = @organization_id
      AND (@is_staff::boolean OR s.user_id = @user_id)
      AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
      AND (sqlc.narg('ids')::uuid[] IS NULL OR s.id = ANY (sqlc.narg('ids')::uuid[]))
      AND (CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END, s.id) < (@at::timestamptz, @id::uuid)
    ORDER BY position DESC, s.id DESC
    LIMIT sqlc.narg('walk_limit')::integer
), page AS MATERIALIZED (
    SELECT w.organization_id, w.id, w.inbox_id
    FROM walked w
    WHERE sqlc.narg('pattern')::text IS NULL
       OR CASE WHEN @ignore_case::boolean THEN canonical(w.title) ILIKE sqlc.narg('pattern') ELSE canonical(w.title) LIKE sqlc.narg('pattern') END
       OR EXISTS (SELECT FROM contacts c
                  WHERE c.organization_id = w.organization_id AND c.id = w.contact_id
                    AND CASE WHEN @ignore_case::boolean THEN canonical(c.name) ILIKE sqlc.narg('pattern') ELSE canonical(c.name) LIKE sqlc.narg('pattern') END OFFSET 0)
       OR EXISTS (SELECT FROM message_history m
                  WHERE m.organization_id = w.organization_id AND m.session_id = w.id
                    AND CASE WHEN @ignore_case::boolean THEN canonical(m.content) ILIKE sqlc.narg('pattern') ELSE canonical(m.content) LIKE sqlc.narg('pattern') END OFFSET 0)
    LIMIT @page_limit
), unread AS MATERIALIZED (
    SELECT p.inbox_id, (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
                        WHERE n.organization_id = p.organization_id AND n.inbox_id = p.inbox_id)::bigint AS sessions
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

-- ListInboxConversationsAfter is ListInboxConversationsBefore in the other direction, oldest
-- first.
-- name: ListInboxConversationsAfter :many
WITH walked AS (
    SELECT s.organization_id, s.id, s.inbox_id, s.contact_id, s.title,
           CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END AS position
    FROM sessions s
    WHERE s.organization_id = @organization_id
      AND (@is_staff::boolean OR s.user_id = @user_id)
      AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
      AND (sqlc.narg('ids')::uuid[] IS NULL OR s.id = ANY (sqlc.narg('ids')::uuid[]))
      AND (CASE WHEN @by_creation::boolean THEN s.created_at ELSE s.last_activity END, s.id) > (@at::timestamptz, @id::uuid)
    ORDER BY position, s.id
    LIMIT sqlc.narg('walk_limit')::integer
), page AS MATERIALIZED (
    SELECT w.organization_id, w.id, w.inbox_id
    FROM walked w
    WHERE sqlc.narg('pattern')::text IS NULL
       OR CASE WHEN @ignore_case::boolean THEN canonical(w.title) ILIKE sqlc.narg('pattern') ELSE canonical(w.title) LIKE sqlc.narg('pattern') END
       OR EXISTS (SELECT FROM contacts c
                  WHERE c.organization_id = w.organization_id AND c.id = w.contact_id
                    AND CASE WHEN @ignore_case::boolean THEN canonical(c.name) ILIKE sqlc.narg('pattern') ELSE canonical(c.name) LIKE sqlc.narg('pattern') END OFFSET 0)
       OR EXISTS (SELECT FROM message_history m
                  WHERE m.organization_id = w.organization_id AND m.session_id = w.id
                    AND CASE WHEN @ignore_case::boolean THEN canonical(m.content) ILIKE sqlc.narg('pattern') ELSE canonical(m.content) LIKE sqlc.narg('pattern') END OFFSET 0)
    LIMIT @page_limit
), unread AS MATERIALIZED (
    SELECT p.inbox_id, (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
                        WHERE n.organization_id = p.organization_id AND n.inbox_id = p.inbox_id)::bigint AS sessions
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

-- LockConversations locks the sessions that exist and returns their owners. It locks in the order
-- of the ids, so that two batches cannot deadlock.
-- name: LockConversations :many
SELECT id, user_id FROM sessions
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[])
ORDER BY id
FOR NO KEY UPDATE;

-- ListLockedSessions returns the given sessions that another transaction has locked, or that no
-- longer exist. It never waits.
-- name: ListLockedSessions :many
WITH wanted AS (
    SELECT DISTINCT w.organization_id, w.id
    FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w
), unlocked AS MATERIALIZED (
    SELECT s.organization_id, s.id FROM wanted w
    JOIN sessions s ON s.organization_id = w.organization_id AND s.id = w.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
SELECT w.organization_id::uuid AS organization_id, w.id::uuid AS id FROM wanted w
LEFT JOIN unlocked f ON f.organization_id = w.organization_id AND f.id = w.id
WHERE f.id IS NULL;

-- SetConversationsStatus archives or activates sessions.
-- name: SetConversationsStatus :exec
UPDATE sessions SET status = @status, updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]) AND status <> @status;

-- MarkConversationsRead marks sessions as read: for their user where the caller is that user, and
-- for the staff where the caller belongs to it.
-- name: MarkConversationsRead :exec
UPDATE sessions SET
    user_unread  = CASE WHEN user_id = @user_id THEN 0 ELSE user_unread END,
    staff_unread = CASE WHEN @is_staff::boolean THEN 0 ELSE staff_unread END,
    last_read_at = CASE WHEN @is_staff::boolean THEN clock_timestamp() ELSE last_read_at END
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]);

-- DeleteConversations deletes sessions. Their messages, runs and records are deleted by cascade.
-- name: DeleteConversations :exec
DELETE FROM sessions WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]);

-- ListMessagesBySeq returns one message of each session by its seq, in the order of the sessions.
-- name: ListMessagesBySeq :many
SELECT m.*
FROM (SELECT unnest(@session_ids::uuid[]) AS session_id, unnest(@seqs::bigint[]) AS seq) AS wanted
JOIN messages m ON m.session_id = wanted.session_id AND m.seq = wanted.seq
WHERE m.organization_id = @organization_id
ORDER BY array_position(@session_ids::uuid[], m.session_id);

-- ListChangedSessions returns the given sessions that have messages after a seq or that no longer
-- exist.
-- name: ListChangedSessions :many
SELECT w.id::uuid AS id, coalesce(s.last_seq, 0)::bigint AS last_seq, (s.id IS NULL)::boolean AS is_gone
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@seqs::bigint[]) AS seq) AS w
LEFT JOIN sessions s ON s.organization_id = w.organization_id AND s.id = w.id
WHERE s.id IS NULL OR s.last_seq > w.seq;

-- DeleteEmptyConversations deletes sessions that were created by a socket more than a day ago and
-- have no message.
-- name: DeleteEmptyConversations :exec
DELETE FROM sessions WHERE is_implied AND last_seq = 0 AND created_at < clock_timestamp() - interval '24 hours';
