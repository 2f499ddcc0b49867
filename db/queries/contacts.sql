-- UpsertUserContact returns the contact that represents a user and creates it when missing. It
-- also adds the contact to an inbox, unless another contact has its source id there.
--
-- An existing contact is locked FOR KEY SHARE and not updated. An update would make all callers
-- that start conversations for the same user wait for each other's commits.
-- name: UpsertUserContact :one
WITH existing AS (
    SELECT c.* FROM contacts c WHERE c.organization_id = @organization_id AND c.user_id = @user_id
    FOR KEY SHARE
), created AS (
    INSERT INTO contacts (organization_id, id, user_id, name)
    SELECT @organization_id, @id::uuid, @user_id, @name::text
    WHERE NOT EXISTS (SELECT FROM existing)
    -- Another transaction may insert the contact at the same time.
    ON CONFLICT ON CONSTRAINT contacts_user_key DO UPDATE SET name = contacts.name
    RETURNING *
), contact AS (
    SELECT * FROM existing
    UNION ALL
    SELECT * FROM created
), added AS (
    INSERT INTO contact_inboxes (organization_id, contact_id, inbox_id, source_id)
    SELECT contact.organization_id, contact.id, @inbox_id, contact.source_id FROM contact
    ON CONFLICT DO NOTHING
)
SELECT * FROM contact;

-- GetContact returns a contact.
-- name: GetContact :one
SELECT * FROM contacts WHERE organization_id = @organization_id AND id = @id;

-- CreateContact inserts a contact, which is not in any inbox yet.
-- name: CreateContact :exec
INSERT INTO contacts (organization_id, id, source_id, name, avatar, email, phone_number, query_metadata)
VALUES (@organization_id, @id, sqlc.narg('source_id'), @name, @avatar, @email, @phone_number, sqlc.narg('query_metadata')::json);

-- AddContactToInboxes adds a contact to the inboxes, under its source id, and returns how many of
-- the inboxes exist. Inboxes that the contact is already in are left unchanged.
-- name: AddContactToInboxes :one
WITH existing AS (
    SELECT i.organization_id, i.id FROM inboxes i
    WHERE i.organization_id = @organization_id AND i.id = ANY (@inbox_ids::uuid[])
), added AS (
    INSERT INTO contact_inboxes (organization_id, contact_id, inbox_id, source_id)
    SELECT c.organization_id, c.id, k.id, c.source_id
    FROM existing k JOIN contacts c ON c.organization_id = k.organization_id AND c.id = @contact_id
    ON CONFLICT ON CONSTRAINT contact_inboxes_pkey DO NOTHING
)
SELECT count(*) FROM existing;

-- RemoveContactFromOtherInboxes removes a contact from every inbox that is not listed.
-- name: RemoveContactFromOtherInboxes :exec
DELETE FROM contact_inboxes
WHERE organization_id = @organization_id AND contact_id = @contact_id AND inbox_id <> ALL (@inbox_ids::uuid[]);

-- UpdateContactInboxSourceIDs copies a contact's source id to its row for each inbox.
-- name: UpdateContactInboxSourceIDs :exec
UPDATE contact_inboxes p SET source_id = c.source_id
FROM contacts c
WHERE c.organization_id = @organization_id AND c.id = @contact_id
  AND p.organization_id = c.organization_id AND p.contact_id = c.id;

-- GetContactWithInboxes returns a contact with the ids and names of its inboxes.
-- name: GetContactWithInboxes :one
SELECT sqlc.embed(c),
       ARRAY(SELECT p.inbox_id FROM contact_inboxes p
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::uuid[] AS inbox_ids,
       ARRAY(SELECT i.name FROM contact_inboxes p JOIN inboxes i ON i.organization_id = p.organization_id AND i.id = p.inbox_id
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::text[] AS inbox_names
FROM contacts c
WHERE c.organization_id = @organization_id AND c.id = @id;

-- ListContacts returns a page of contacts with the ids and names of their inboxes, newest first.
-- With a pattern, only contacts are returned whose name or source id matches it, or that have the id; with
-- an inbox, only those in it.
-- name: ListContacts :many
SELECT sqlc.embed(c),
       ARRAY(SELECT p.inbox_id FROM contact_inboxes p
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::uuid[] AS inbox_ids,
       ARRAY(SELECT i.name FROM contact_inboxes p JOIN inboxes i ON i.organization_id = p.organization_id AND i.id = p.inbox_id
             WHERE p.organization_id = c.organization_id AND p.contact_id = c.id ORDER BY p.inbox_id)::text[] AS inbox_names
FROM contacts c
WHERE c.organization_id = @organization_id
  AND (sqlc.narg('pattern')::text IS NULL OR canonical(c.name) ILIKE sqlc.narg('pattern') OR canonical(c.source_id) ILIKE sqlc.narg('pattern')
       OR c.id = sqlc.narg('id')::uuid)
  AND (sqlc.narg('inbox_id')::uuid IS NULL OR EXISTS (
      SELECT FROM contact_inboxes p
      WHERE p.organization_id = c.organization_id AND p.contact_id = c.id AND p.inbox_id = sqlc.narg('inbox_id')))
ORDER BY c.created_at DESC, c.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountContacts returns the total for ListContacts.
-- name: CountContacts :one
SELECT count(*) FROM contacts c
WHERE c.organization_id = @organization_id
  AND (sqlc.narg('pattern')::text IS NULL OR canonical(c.name) ILIKE sqlc.narg('pattern') OR canonical(c.source_id) ILIKE sqlc.narg('pattern')
       OR c.id = sqlc.narg('id')::uuid)
  AND (sqlc.narg('inbox_id')::uuid IS NULL OR EXISTS (
      SELECT FROM contact_inboxes p
      WHERE p.organization_id = c.organization_id AND p.contact_id = c.id AND p.inbox_id = sqlc.narg('inbox_id')));

-- UpdateContact updates the fields that are not NULL.
-- name: UpdateContact :execrows
UPDATE contacts SET
    source_id      = coalesce(sqlc.narg('source_id'), source_id),
    name           = coalesce(sqlc.narg('name'), name),
    avatar         = coalesce(sqlc.narg('avatar'), avatar),
    email          = coalesce(sqlc.narg('email'), email),
    phone_number   = coalesce(sqlc.narg('phone_number'), phone_number),
    query_metadata = coalesce(sqlc.narg('query_metadata')::json, query_metadata)
WHERE organization_id = @organization_id AND id = @id;

-- DeleteContact deletes a contact. Its conversations are deleted by cascade.
-- name: DeleteContact :execrows
DELETE FROM contacts WHERE organization_id = @organization_id AND id = @id;

-- FindContactConversations returns the ids of a page of a contact's conversations, latest activity
-- first, and how many there are. With a pattern, only those are counted in which a text matches.
-- All of the contact's conversations are read, because no index has the order of their activity.
-- name: FindContactConversations :one
WITH found AS MATERIALIZED (
    SELECT s.id, s.last_activity
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.contact_id = @contact_id AND (s.last_seq > 0 OR NOT s.is_implied)
      AND (sqlc.narg('inbox_id')::uuid IS NULL OR s.inbox_id = sqlc.narg('inbox_id'))
      AND (sqlc.narg('pattern')::text IS NULL OR canonical(s.title) ILIKE sqlc.narg('pattern')
           OR EXISTS (SELECT FROM message_history m
                      WHERE m.organization_id = s.organization_id AND m.session_id = s.id
                        AND canonical(m.content) ILIKE sqlc.narg('pattern') OFFSET 0))
)
SELECT (SELECT count(*) FROM found)::bigint AS total,
       ARRAY(SELECT f.id FROM found f ORDER BY f.last_activity DESC, f.id DESC LIMIT @page_limit OFFSET @page_offset)::uuid[] AS ids;

-- ListInboxContactIDs returns contacts of an inbox, other than the excluded ones, ordered by id.
-- name: ListInboxContactIDs :many
SELECT p.contact_id FROM contact_inboxes p
WHERE p.organization_id = @organization_id AND p.inbox_id = @inbox_id AND p.contact_id <> ALL (@excluded::uuid[])
ORDER BY p.contact_id
LIMIT @page_limit;

-- ListLatestConversations returns those of the contacts that exist, each with the session that has
-- the latest activity, or the nil UUID. OFFSET 0 keeps the planner from walking all sessions of the
-- organization in the order of their activity.
-- name: ListLatestConversations :many
SELECT c.id AS contact_id,
       coalesce((SELECT s.id
        FROM (SELECT a.id, a.last_activity FROM sessions a
              WHERE a.organization_id = c.organization_id AND a.contact_id = c.id AND (a.last_seq > 0 OR NOT a.is_implied) OFFSET 0) s
        ORDER BY s.last_activity DESC, s.id DESC
        LIMIT 1), '00000000-0000-0000-0000-000000000000')::uuid AS session_id
FROM contacts c
WHERE c.organization_id = @organization_id AND c.id = ANY (@ids::uuid[]);
