-- CreateConversation opens a session.
-- name: CreateConversation :one
INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id)
VALUES (@organization_id, @id, @user_id, @bot_id, @inbox_id, @contact_id)
RETURNING *;

-- GetSession returns the session's own row.
-- name: GetSession :one
SELECT * FROM sessions WHERE organization_id = @organization_id AND id = @id;

-- GetConversation returns a session with what the Chatbots family shows around it.
-- name: GetConversation :one
SELECT sqlc.embed(s), sqlc.embed(c), i.name AS inbox_name, i.channel_type, b.name AS bot_name,
       (SELECT count(*) FROM sessions u
        WHERE u.organization_id = s.organization_id AND u.inbox_id = s.inbox_id AND u.staff_unread > 0) AS inbox_unread
FROM sessions s
JOIN contacts c ON c.organization_id = s.organization_id AND c.id = s.contact_id
JOIN inboxes i ON i.organization_id = s.organization_id AND i.id = s.inbox_id
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.id = @id;

-- ListConversations returns a user's sessions, latest activity first, each with
-- the text of its newest message.
-- name: ListConversations :many
SELECT s.id, s.bot_id, b.name AS bot_name, s.title, s.last_activity, s.status, s.user_unread,
       coalesce((SELECT m.content FROM message_history m
                 WHERE m.organization_id = s.organization_id AND m.session_id = s.id AND m.seq = s.last_seq), '')::text AS last_message
FROM sessions s
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.user_id = @user_id
  AND (sqlc.narg('bot_id')::uuid IS NULL OR s.bot_id = sqlc.narg('bot_id'))
  AND (sqlc.narg('status')::text IS NULL OR s.status = sqlc.narg('status'))
ORDER BY s.last_activity DESC, s.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountConversations counts what ListConversations pages through.
-- name: CountConversations :one
SELECT count(*) FROM sessions
WHERE organization_id = @organization_id AND user_id = @user_id
  AND (sqlc.narg('bot_id')::uuid IS NULL OR bot_id = sqlc.narg('bot_id'))
  AND (sqlc.narg('status')::text IS NULL OR status = sqlc.narg('status'));

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
