-- UpsertOwnContact returns the contact that stands for a user, made when new, and
-- puts it into an inbox, unless somebody else has its source id there. One that is
-- there is shared, not written: else all who begin conversations for a user would
-- wait for each other's commits.
-- name: UpsertOwnContact :one
WITH known AS (
    SELECT c.* FROM contacts c WHERE c.organization_id = @organization_id AND c.user_id = @user_id
    FOR KEY SHARE
), made AS (
    INSERT INTO contacts (organization_id, id, user_id, name)
    SELECT @organization_id, @id::uuid, @user_id, @name::text
    WHERE NOT EXISTS (SELECT FROM known)
    -- Another one makes it at this moment.
    ON CONFLICT ON CONSTRAINT contacts_user_key DO UPDATE SET name = contacts.name
    RETURNING *
), own AS (
    SELECT * FROM known
    UNION ALL
    SELECT * FROM made
), placed AS (
    INSERT INTO contact_inboxes (organization_id, contact_id, inbox_id, source_id)
    SELECT own.organization_id, own.id, @inbox_id, own.source_id FROM own
    ON CONFLICT DO NOTHING
)
SELECT * FROM own;

-- GetContact returns a contact.
-- name: GetContact :one
SELECT * FROM contacts WHERE organization_id = @organization_id AND id = @id;

-- CreateContact makes a contact, which is in no inbox yet.
-- name: CreateContact :exec
INSERT INTO contacts (organization_id, id, source_id, name, avatar, email, phone_number, query_metadata)
VALUES (@organization_id, @id, sqlc.narg('source_id'), @name, @avatar, @email, @phone_number, sqlc.narg('query_metadata')::json);

-- PlaceContact puts a contact into those of the inboxes that there are, under its
-- source id, and returns how many there are; in the others it stays as it is.
-- name: PlaceContact :one
WITH known AS (
    SELECT i.organization_id, i.id FROM inboxes i
    WHERE i.organization_id = @organization_id AND i.id = ANY (@inbox_ids::uuid[])
), placed AS (
    INSERT INTO contact_inboxes (organization_id, contact_id, inbox_id, source_id)
    SELECT c.organization_id, c.id, k.id, c.source_id
    FROM known k JOIN contacts c ON c.organization_id = k.organization_id AND c.id = @contact_id
    ON CONFLICT ON CONSTRAINT contact_inboxes_pkey DO NOTHING
)
SELECT count(*) FROM known;

-- RemoveContact takes a contact out of every inbox but these.
-- name: RemoveContact :exec
DELETE FROM contact_inboxes
WHERE organization_id = @organization_id AND contact_id = @contact_id AND inbox_id <> ALL (@inbox_ids::uuid[]);

-- UpdateSourceID makes a contact's source id that of its place in each inbox.
-- name: UpdateSourceID :exec
UPDATE contact_inboxes p SET source_id = c.source_id
FROM contacts c
WHERE c.organization_id = @organization_id AND c.id = @contact_id
  AND p.organization_id = c.organization_id AND p.contact_id = c.id;

-- GetContactWithInboxes returns a contact and the inboxes that it is in.
-- name: GetContactWithInboxes :one
SELECT sqlc.embed(c),
       ARRAY(SELECT p.inbox_id FROM contact_inboxes p
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::uuid[] AS inbox_ids
FROM contacts c
WHERE c.organization_id = @organization_id AND c.id = @id;

-- ListContacts returns a page of contacts with the inboxes that they are in, newest
-- first; with a pattern those whose name or source id is like it.
-- name: ListContacts :many
SELECT sqlc.embed(c),
       ARRAY(SELECT p.inbox_id FROM contact_inboxes p
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::uuid[] AS inbox_ids
FROM contacts c
WHERE c.organization_id = @organization_id
  AND (sqlc.narg('pattern')::text IS NULL OR c.name ILIKE sqlc.narg('pattern') OR c.source_id ILIKE sqlc.narg('pattern'))
ORDER BY c.created_at DESC, c.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountContacts counts what ListContacts pages through.
-- name: CountContacts :one
SELECT count(*) FROM contacts c
WHERE c.organization_id = @organization_id
  AND (sqlc.narg('pattern')::text IS NULL OR c.name ILIKE sqlc.narg('pattern') OR c.source_id ILIKE sqlc.narg('pattern'));

-- UpdateContact changes the fields that are given.
-- name: UpdateContact :execrows
UPDATE contacts SET
    source_id      = coalesce(sqlc.narg('source_id'), source_id),
    name           = coalesce(sqlc.narg('name'), name),
    avatar         = coalesce(sqlc.narg('avatar'), avatar),
    email          = coalesce(sqlc.narg('email'), email),
    phone_number   = coalesce(sqlc.narg('phone_number'), phone_number),
    query_metadata = coalesce(sqlc.narg('query_metadata')::json, query_metadata)
WHERE organization_id = @organization_id AND id = @id;

-- DeleteContact deletes a contact with its conversations.
-- name: DeleteContact :execrows
DELETE FROM contacts WHERE organization_id = @organization_id AND id = @id;
