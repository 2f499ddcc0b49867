-- CreateOrganization inserts an organization. Its name must be unique.
-- name: CreateOrganization :one
INSERT INTO organizations (id, name) VALUES (@id, @name) RETURNING *;

-- ListOrganizations returns all organizations, oldest first.
-- name: ListOrganizations :many
SELECT * FROM organizations ORDER BY created_at, id;

-- CountOrganizations returns the number of organizations. It is 0 only before the first start.
-- name: CountOrganizations :one
SELECT count(*) FROM organizations;

-- GetFirstOrganization returns the oldest organization. Its default bot serves anonymous visitors.
-- name: GetFirstOrganization :one
SELECT * FROM organizations ORDER BY created_at, id LIMIT 1;
