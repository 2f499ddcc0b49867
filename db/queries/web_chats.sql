-- CreateInbox makes an inbox.
-- name: CreateInbox :one
INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type)
VALUES (@organization_id, @id, @bot_id, @name, @channel_type)
RETURNING *;

-- GetAPIInbox returns the inbox that a bot's conversations over the API are in.
-- name: GetAPIInbox :one
SELECT * FROM inboxes WHERE organization_id = @organization_id AND bot_id = @bot_id AND channel_type = 'api';

-- CreateWebChat makes a web chat.
-- name: CreateWebChat :one
INSERT INTO web_chats (organization_id, id, bot_id, inbox_id, name, access_type, allowed_origins)
VALUES (@organization_id, @id, @bot_id, @inbox_id, @name, @access_type, @allowed_origins)
RETURNING *;

-- GetWebChat returns a web chat.
-- name: GetWebChat :one
SELECT * FROM web_chats WHERE organization_id = @organization_id AND id = @id;

-- ListWebChats returns a page of web chats, newest first.
-- name: ListWebChats :many
SELECT * FROM web_chats WHERE organization_id = @organization_id
ORDER BY created_at DESC, id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountWebChats counts an organization's web chats.
-- name: CountWebChats :one
SELECT count(*) FROM web_chats WHERE organization_id = @organization_id;

-- UpdateWebChat changes the fields that are given.
-- name: UpdateWebChat :one
UPDATE web_chats SET
    name            = coalesce(sqlc.narg('name'), name),
    bot_id          = coalesce(sqlc.narg('bot_id'), bot_id),
    access_type     = coalesce(sqlc.narg('access_type'), access_type),
    allowed_origins = coalesce(sqlc.narg('allowed_origins')::text[], allowed_origins),
    updated_at      = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id
RETURNING *;

-- DeleteWebChat deletes a web chat; its inbox stays.
-- name: DeleteWebChat :execrows
DELETE FROM web_chats WHERE organization_id = @organization_id AND id = @id;
