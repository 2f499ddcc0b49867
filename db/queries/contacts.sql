-- UpsertOwnContact returns the contact that stands for a user in an inbox, made
-- when new.
-- name: UpsertOwnContact :one
INSERT INTO contacts (organization_id, id, inbox_id, source_id, name)
VALUES (@organization_id, @id, @inbox_id, @source_id::text, @name)
ON CONFLICT ON CONSTRAINT contacts_source_id_key DO UPDATE SET source_id = excluded.source_id
RETURNING *;

-- GetContact returns a contact.
-- name: GetContact :one
SELECT * FROM contacts WHERE organization_id = @organization_id AND id = @id;
