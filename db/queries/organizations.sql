-- CreateOrganization makes an organization; its name must be free.
-- name: CreateOrganization :one
INSERT INTO organizations (id, name) VALUES (@id, @name) RETURNING *;

-- ListOrganizations returns all organizations, oldest first.
-- name: ListOrganizations :many
SELECT * FROM organizations ORDER BY created_at, id;

-- CountOrganizations tells whether this is the first start.
-- name: CountOrganizations :one
SELECT count(*) FROM organizations;

-- GetFirstOrganization returns the organization that was made first: its default
-- bot is the one that visitors meet.
-- name: GetFirstOrganization :one
SELECT * FROM organizations ORDER BY created_at, id LIMIT 1;
