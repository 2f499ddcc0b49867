-- CreateWebChat inserts a web chat.
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

-- CountWebChats returns the number of an organization's web chats.
-- name: CountWebChats :one
SELECT count(*) FROM web_chats WHERE organization_id = @organization_id;

-- UpdateWebChat updates the fields that are not NULL. It also copies the name and the bot to the
-- web chat's inbox.
-- name: UpdateWebChat :one
WITH inbox AS (
    UPDATE inboxes i SET
        name   = coalesce(sqlc.narg('name'), i.name),
        bot_id = coalesce(sqlc.narg('bot_id'), i.bot_id)
    FROM web_chats w
    WHERE w.organization_id = @organization_id AND w.id = @id
      AND i.organization_id = w.organization_id AND i.id = w.inbox_id
)
UPDATE web_chats c SET
    name            = coalesce(sqlc.narg('name'), c.name),
    bot_id          = coalesce(sqlc.narg('bot_id'), c.bot_id),
    access_type     = coalesce(sqlc.narg('access_type'), c.access_type),
    allowed_origins = coalesce(sqlc.narg('allowed_origins')::text[], c.allowed_origins),
    updated_at      = clock_timestamp()
WHERE c.organization_id = @organization_id AND c.id = @id
RETURNING c.*;

-- DeleteWebChat deletes a web chat and returns it. Its inbox is kept.
-- name: DeleteWebChat :one
DELETE FROM web_chats WHERE organization_id = @organization_id AND id = @id RETURNING *;
