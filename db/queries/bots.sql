-- InsertBot inserts a chatbot. It returns no row when the slug is taken, so that the caller can
-- try another slug in the same transaction.
-- name: InsertBot :one
INSERT INTO bots (organization_id, id, slug, name, description, engine, script, model, model_key,
                  instructions, greeting, unanswerable_reply, is_default)
VALUES (@organization_id, @id, @slug, @name, @description, @engine, @script, @model, @model_key,
        @instructions, @greeting, @unanswerable_reply, @is_default)
ON CONFLICT ON CONSTRAINT bots_slug_key DO NOTHING
RETURNING *;

-- GetBot returns a chatbot.
-- name: GetBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND id = @id;

-- GetBotBySession returns the chatbot of a session.
-- name: GetBotBySession :one
SELECT b.* FROM sessions s
JOIN bots b ON b.organization_id = s.organization_id AND b.id = s.bot_id
WHERE s.organization_id = @organization_id AND s.id = @session_id;

-- GetBotBySlug returns a chatbot by its slug.
-- name: GetBotBySlug :one
SELECT * FROM bots WHERE organization_id = @organization_id AND slug = @slug;

-- GetDefaultBot returns the chatbot that answers when a request names none.
-- name: GetDefaultBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND is_default;

-- LockBot returns a chatbot and blocks other writers of the chatbot and its FAQs until the
-- transaction ends. Conversations are not blocked.
-- name: LockBot :one
SELECT * FROM bots WHERE organization_id = @organization_id AND id = @id FOR NO KEY UPDATE;

-- ListBots returns a page of an organization's chatbots, newest first.
-- name: ListBots :many
SELECT * FROM bots
WHERE organization_id = @organization_id
ORDER BY created_at DESC, id DESC
LIMIT @page_limit OFFSET @page_offset;

-- ListBotSlugs returns the slugs of an organization's newest chatbots. It does not read scripts
-- and instructions, which can be long.
-- name: ListBotSlugs :many
SELECT slug, created_at FROM bots
WHERE organization_id = @organization_id
ORDER BY created_at DESC, id DESC
LIMIT @page_limit;

-- CountBots returns the number of an organization's chatbots.
-- name: CountBots :one
SELECT count(*) FROM bots WHERE organization_id = @organization_id;

-- ClearDefaultBot removes the default flag from the organization's default chatbot. The same
-- transaction must set another default.
-- name: ClearDefaultBot :exec
UPDATE bots SET is_default = false, updated_at = clock_timestamp()
WHERE organization_id = @organization_id AND is_default;

-- UpdateBot updates the fields that are not NULL. The script is replaced, possibly by NULL, when
-- sets_script is true; the model and its key are replaced when sets_model is true.
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

-- DeleteBot deletes a chatbot unless it is the default. Everything that belongs to the chatbot is
-- deleted by cascade.
-- name: DeleteBot :execrows
DELETE FROM bots WHERE organization_id = @organization_id AND id = @id AND NOT is_default;
