-- InsertBot adds a chatbot; no row comes back when the slug is taken, so that
-- the caller may try another one in the same transaction.
-- name: InsertBot :one
INSERT INTO bots (organization_id, id, slug, name, description, engine, script, model, model_key,
                  instructions, greeting, unanswerable_reply, is_default)
VALUES (@organization_id, @id, @slug, @name, @description, @engine, @script, @model, @model_key,
        @instructions, @greeting, @unanswerable_reply, @is_default)
ON CONFLICT ON CONSTRAINT bots_slug_key DO NOTHING
RETURNING *;

-- GetBot finds a chatbot by its id.
-- name: GetBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND id = @id;

-- GetBotOfSession finds the chatbot that a session is with.
-- name: GetBotOfSession :one
SELECT b.* FROM sessions s
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.id = @session_id;

-- GetBotBySlug finds a chatbot by its slug.
-- name: GetBotBySlug :one
SELECT * FROM bots WHERE organization_id = @organization_id AND slug = @slug;

-- GetDefaultBot finds the chatbot that answers when none is named.
-- name: GetDefaultBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND is_default;

-- LockBot finds a chatbot and makes other writers of it or of its FAQs wait until
-- the transaction ends; conversations go on.
-- name: LockBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND id = @id FOR NO KEY UPDATE;

-- ListBots returns a page of an organization's chatbots, newest first.
-- name: ListBots :many
SELECT * FROM bots
WHERE organization_id = @organization_id
ORDER BY created_at DESC, id DESC
LIMIT @page_size OFFSET @skipped;

-- ListBotSlugs returns an organization's newest chatbots by name alone: a script or
-- instructions may be long.
-- name: ListBotSlugs :many
SELECT slug, created_at FROM bots
WHERE organization_id = @organization_id
ORDER BY created_at DESC, id DESC
LIMIT @page_size;

-- CountBots counts an organization's chatbots.
-- name: CountBots :one
SELECT count(*) FROM bots WHERE organization_id = @organization_id;

-- ClearDefaultBot leaves the organization without a default chatbot, until the
-- same transaction names another one.
-- name: ClearDefaultBot :exec
UPDATE bots SET is_default = false, updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND is_default;

-- UpdateBot changes the fields that are given, the script when sets_script says
-- so, be it to none, and the model with its key when sets_model does.
-- name: UpdateBot :one
UPDATE bots SET
    name               = coalesce(sqlc.narg('name'), name),
    slug               = coalesce(sqlc.narg('slug'), slug),
    description        = coalesce(sqlc.narg('description'), description),
    engine             = coalesce(sqlc.narg('engine'), engine),
    script             = CASE WHEN @sets_script::boolean THEN sqlc.narg('script') ELSE script END,
    model              = CASE WHEN @sets_model::boolean THEN sqlc.narg('model') ELSE model END,
    model_key          = CASE WHEN @sets_model::boolean THEN sqlc.narg('model_key') ELSE model_key END,
    instructions       = coalesce(sqlc.narg('instructions'), instructions),
    greeting           = coalesce(sqlc.narg('greeting'), greeting),
    unanswerable_reply = coalesce(sqlc.narg('unanswerable_reply'), unanswerable_reply),
    is_default         = coalesce(sqlc.narg('is_default'), is_default),
    updated_at         = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id
RETURNING *;

-- DeleteBot deletes a chatbot, and with it everything that hangs on it, unless it
-- is the default.
-- name: DeleteBot :execrows
DELETE FROM bots WHERE organization_id = @organization_id AND id = @id AND NOT is_default;
