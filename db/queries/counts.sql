-- CompactConversationCounts merges rows that count the same conversations into one and returns how
-- many rows it merged. It merges up to "batch" changes and skips rows that another instance is
-- merging.
--
-- INVARIANT: the inserted count is the sum of the deleted ones, in one statement, so that readers
-- always see either the old rows or the new one.
-- name: CompactConversationCounts :one
WITH changed AS (
    SELECT DISTINCT c.organization_id, c.user_id, c.bot_id, c.status
    FROM (SELECT organization_id, user_id, bot_id, status FROM conversation_counts WHERE is_change LIMIT @batch) c
), locked AS (
    SELECT c.organization_id, c.user_id, c.bot_id, c.status, c.id
    FROM conversation_counts c
    JOIN changed ON changed.organization_id = c.organization_id AND changed.user_id = c.user_id
        AND changed.bot_id = c.bot_id AND changed.status = c.status
    FOR UPDATE OF c SKIP LOCKED
), deleted AS (
    DELETE FROM conversation_counts c USING locked h
    WHERE c.organization_id = h.organization_id AND c.user_id = h.user_id AND c.bot_id = h.bot_id AND c.status = h.status AND c.id = h.id
    RETURNING c.organization_id, c.user_id, c.bot_id, c.status, c.conversations
), sums AS (
    INSERT INTO conversation_counts (organization_id, user_id, bot_id, status, is_change, conversations)
    SELECT organization_id, user_id, bot_id, status, false, sum(conversations) FROM deleted
    GROUP BY organization_id, user_id, bot_id, status
    HAVING sum(conversations) <> 0
)
SELECT count(*) FROM deleted;

-- CompactUnreadCounts is CompactConversationCounts for the unread conversations of inboxes.
-- name: CompactUnreadCounts :one
WITH changed AS (
    SELECT DISTINCT c.organization_id, c.inbox_id
    FROM (SELECT organization_id, inbox_id FROM unread_counts WHERE is_change LIMIT @batch) c
), locked AS (
    SELECT c.organization_id, c.inbox_id, c.id
    FROM unread_counts c
    JOIN changed ON changed.organization_id = c.organization_id AND changed.inbox_id = c.inbox_id
    FOR UPDATE OF c SKIP LOCKED
), deleted AS (
    DELETE FROM unread_counts c USING locked h
    WHERE c.organization_id = h.organization_id AND c.inbox_id = h.inbox_id AND c.id = h.id
    RETURNING c.organization_id, c.inbox_id, c.conversations
), sums AS (
    INSERT INTO unread_counts (organization_id, inbox_id, is_change, conversations)
    SELECT organization_id, inbox_id, false, sum(conversations) FROM deleted
    GROUP BY organization_id, inbox_id
    HAVING sum(conversations) <> 0
)
SELECT count(*) FROM deleted;
