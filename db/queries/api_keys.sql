-- UpsertUser returns the organization's user of that name, made when new.
-- name: UpsertUser :one
INSERT INTO users (organization_id, id, name) VALUES (@organization_id, @id, @name)
ON CONFLICT ON CONSTRAINT users_name_key DO UPDATE SET name = excluded.name
RETURNING *;

-- GetUser returns a user.
-- name: GetUser :one
SELECT * FROM users WHERE organization_id = @organization_id AND id = @id;

-- CreateAPIKey stores a key by the hash of its secret.
-- name: CreateAPIKey :one
INSERT INTO api_keys (organization_id, id, user_id, name, prefix, secret_hash, scopes, expires_at)
VALUES (@organization_id, @id, @user_id, @name, @prefix, @secret_hash, @scopes, @expires_at)
RETURNING *;

-- FindAPIKey returns the key with that prefix, whatever its organization: this is
-- how the organization becomes known. An expired key is not found.
-- name: FindAPIKey :one
SELECT k.organization_id, k.id, k.user_id, k.secret_hash, k.scopes, k.expires_at, u.name AS user_name, o.name AS organization_name,
       coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true)::boolean AS is_use_stale
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
JOIN organizations o ON o.id = k.organization_id
WHERE k.prefix = @prefix AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- FindAPIKeyByID returns the key that something was made with, as FindAPIKey does.
-- name: FindAPIKeyByID :one
SELECT k.organization_id, k.id, k.user_id, k.secret_hash, k.scopes, k.expires_at, u.name AS user_name, o.name AS organization_name,
       coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true)::boolean AS is_use_stale
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
JOIN organizations o ON o.id = k.organization_id
WHERE k.organization_id = @organization_id AND k.id = @id AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());

-- ListEndedAPIKeys returns those of the keys that were revoked or have expired.
-- name: ListEndedAPIKeys :many
SELECT w.id::uuid AS id
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w
LEFT JOIN api_keys k ON k.organization_id = w.organization_id AND k.id = w.id AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
WHERE k.id IS NULL;

-- TouchAPIKey notes that a key was used, to the minute.
-- name: TouchAPIKey :exec
UPDATE api_keys SET last_used_at = clock_timestamp()
WHERE organization_id = @organization_id AND id = @id
  AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute');

-- ListAPIKeys returns a page of keys with their users' names, newest first.
-- name: ListAPIKeys :many
SELECT sqlc.embed(k), u.name AS user_name
FROM api_keys k
JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
WHERE k.organization_id = @organization_id
ORDER BY k.created_at DESC, k.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountAPIKeys counts an organization's keys.
-- name: CountAPIKeys :one
SELECT count(*) FROM api_keys WHERE organization_id = @organization_id;

-- LockAdminKeys locks the keys that keep an organization in the hands of its
-- administrators, so that two of them cannot revoke each other.
-- name: LockAdminKeys :many
SELECT id FROM api_keys
WHERE organization_id = @organization_id AND 'admin' = ANY (scopes) AND expires_at IS NULL
ORDER BY id
FOR UPDATE;

-- DeleteAPIKey revokes a key, and returns what is known of it.
-- name: DeleteAPIKey :one
DELETE FROM api_keys WHERE organization_id = @organization_id AND id = @id
RETURNING prefix, name, scopes;
