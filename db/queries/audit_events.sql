-- InsertAuditEvents inserts one audit event for each of the objects.
-- name: InsertAuditEvents :exec
INSERT INTO audit_events (organization_id, id, action, object_type, object_id, user_id, key_id, request_id, address, details)
SELECT @organization_id, unnest(@ids::uuid[]), @action, @object_type, unnest(@object_ids::uuid[]),
       sqlc.narg('user_id'), sqlc.narg('key_id'), @request_id, @address, @details::json;

-- ListAuditEvents returns a page of an organization's audit events with their users' names, newest
-- first, in a time range. An empty action matches every action.
-- name: ListAuditEvents :many
SELECT sqlc.embed(e), u.name AS user_name
FROM audit_events e
LEFT JOIN users u ON u.organization_id = e.organization_id AND u.id = e.user_id
WHERE e.organization_id = @organization_id
  AND (@action::text = '' OR e.action = @action)
  AND e.created_at >= @since::timestamptz AND e.created_at < @before::timestamptz
ORDER BY e.created_at DESC, e.id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountAuditEvents returns the total for ListAuditEvents.
-- name: CountAuditEvents :one
SELECT count(*) FROM audit_events e
WHERE e.organization_id = @organization_id
  AND (@action::text = '' OR e.action = @action)
  AND e.created_at >= @since::timestamptz AND e.created_at < @before::timestamptz;
