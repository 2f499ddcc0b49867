-- CreateInbox inserts an inbox.
-- name: CreateInbox :one
INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type)
VALUES (@organization_id, @id, @bot_id, @name, @channel_type)
RETURNING *;

-- GetAPIInbox returns the inbox for a bot's API conversations.
-- name: GetAPIInbox :one
SELECT * FROM inboxes WHERE organization_id = @organization_id AND bot_id = @bot_id AND channel_type = 'api';

-- GetInbox returns an inbox.
-- name: GetInbox :one
SELECT * FROM inboxes WHERE organization_id = @organization_id AND id = @id;

-- ListInboxes returns a page of inboxes, newest first. Each has its channel: its web chat, or its
-- chatbot if the web chat has been deleted.
-- name: ListInboxes :many
SELECT sqlc.embed(i), coalesce(w.id, b.id)::uuid AS channel_id, coalesce(w.name, b.name)::text AS channel_name,
       (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
        WHERE n.organization_id = i.organization_id AND n.inbox_id = i.id)::bigint AS unread
FROM inboxes i
JOIN bots b ON b.organization_id = i.organization_id AND b.id = i.bot_id
LEFT JOIN web_chats w ON w.organization_id = i.organization_id AND w.inbox_id = i.id
WHERE i.organization_id = @organization_id
ORDER BY i.created_at DESC, i.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountInboxes returns the number of an organization's inboxes.
-- name: CountInboxes :one
SELECT count(*) FROM inboxes WHERE organization_id = @organization_id;

-- GetInboxWithChannel returns an inbox with the columns of ListInboxes.
-- name: GetInboxWithChannel :one
SELECT sqlc.embed(i), coalesce(w.id, b.id)::uuid AS channel_id, coalesce(w.name, b.name)::text AS channel_name,
       (SELECT coalesce(sum(n.conversations), 0) FROM unread_counts n
        WHERE n.organization_id = i.organization_id AND n.inbox_id = i.id)::bigint AS unread
FROM inboxes i
JOIN bots b ON b.organization_id = i.organization_id AND b.id = i.bot_id
LEFT JOIN web_chats w ON w.organization_id = i.organization_id AND w.inbox_id = i.id
WHERE i.organization_id = @organization_id AND i.id = @id;
