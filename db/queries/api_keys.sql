-- UpsertUser returns the organization's user with this name and creates it when missing.
-- name: UpsertUser :one
INSERT INTO users (organization_id, id, name) VALUES (@organization_id, @id, @name)
ON CONFLICT ON CONSTRAINT users_name_key DO UPDATE SET name = excluded.name
RETURNING *;

-- GetUser returns a user.
-- name: GetUser :one
SELECT * FROM users WHERE organization_id = @organization_id AND id = @id;

-- CreateAPIKey inserts an API key. Only the hash of its secret is stored.
-- name: CreateAPIKey :one
INSERT INTO api_keys (organization_id, id, user_id, name, prefix, secret_hash, scopes, expires_at, messages_limit, history_limit, list_limit)
VALUES (@organization_id, @id, @user_id, @name, @prefix, @secret_hash, @scopes, @expires_at, sqlc.narg('messages_limit'), sqlc.narg('history_limit'), sqlc.narg('list_limit'))
RETURNING *;

-- GetAPIKeyByPrefix returns the unexpired API key with this prefix. It is the one query that does
-- not filter by organization, because the key identifies the organization. needs_touch is true
-- when TouchAPIKey would update the key.
-- name: GetAPIKeyByPrefix :one
SELECT k.organization_id, k.id, k.user_id, k.secret_hash, k.scopes, k.expires_at, k.messages_limit, k.history_limit, k.list_limit, u.name AS user_name, o.name AS organization_name,
       coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true)::boolean AS needs_touch
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
JOIN organizations o ON o.id = k.organization_id
WHERE k.prefix = @prefix AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- GetAPIKey returns an unexpired API key by its id, with the columns of GetAPIKeyByPrefix.
-- name: GetAPIKey :one
SELECT k.organization_id, k.id, k.user_id, k.secret_hash, k.scopes, k.expires_at, k.messages_limit, k.history_limit, k.list_limit, u.name AS user_name, o.name AS organization_name,
       coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true)::boolean AS needs_touch
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
JOIN organizations o ON o.id = k.organization_id
WHERE k.organization_id = @organization_id AND k.id = @id AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- ListInvalidAPIKeys returns the ids of the given API keys that were revoked or have expired.
-- name: ListInvalidAPIKeys :many
SELECT w.id::uuid AS id
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w
LEFT JOIN api_keys k ON k.organization_id = w.organization_id AND k.id = w.id AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
WHERE k.id IS NULL;

-- TouchAPIKey sets the time of a key's last use, at most once per minute.
-- name: TouchAPIKey :exec
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id
  AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute');

-- ListAPIKeys returns a page of API keys with their users' names, newest first.
-- name: ListAPIKeys :many
SELECT sqlc.embed(k), u.name AS user_name
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
WHERE k.organization_id = @organization_id
ORDER BY k.created_at DESC, k.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountAPIKeys returns the number of an organization's API keys.
-- name: CountAPIKeys :one
SELECT count(*) FROM api_keys WHERE organization_id = @organization_id;

-- LockAdminKeys locks an organization's admin keys that never expire. It serializes revocations,
-- so that two administrators cannot revoke each other's keys at the same time.
-- name: LockAdminKeys :many
SELECT id FROM api_keys
WHERE organization_id = @organization_id AND 'admin' = ANY (scopes) AND expires_at IS NULL
ORDER BY id
FOR UPDATE;

-- GetAPIKeyForUpdate returns an API key with its user's name, and blocks its other writers.
-- name: GetAPIKeyForUpdate :one
SELECT sqlc.embed(k), u.name AS user_name
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
WHERE k.organization_id = @organization_id AND k.id = @id
FOR UPDATE OF k;

-- UpdateAPIKey replaces the name, the expiry and the limits of an API key.
-- name: UpdateAPIKey :exec
UPDATE api_keys SET
    name           = @name,
    expires_at     = sqlc.narg('expires_at'),
    messages_limit = sqlc.narg('messages_limit'),
    history_limit  = sqlc.narg('history_limit'),
    list_limit     = sqlc.narg('list_limit')
WHERE organization_id = @organization_id AND id = @id;

-- DeleteAPIKey revokes an API key and returns the fields that the audit event records.
-- name: DeleteAPIKey :one
DELETE FROM api_keys WHERE organization_id = @organization_id AND id = @id
RETURNING prefix, name, scopes;
