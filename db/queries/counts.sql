-- FoldConversationCounts makes one row of those that count the same conversations, for
-- up to batch changes that nobody else is folding, and tells how many rows it took.
--
-- INVARIANT: what is added is the sum of what is deleted, in one statement, so that
-- whoever reads meanwhile finds the one or the other.
-- name: FoldConversationCounts :one
WITH changed AS (
    SELECT DISTINCT c.organization_id, c.user_id, c.bot_id, c.status
    FROM (SELECT organization_id, user_id, bot_id, status FROM conversation_counts WHERE is_change LIMIT @batch) c
), held AS (
    SELECT c.organization_id, c.user_id, c.bot_id, c.status, c.id
    FROM conversation_counts c
    JOIN changed ON changed.organization_id = c.organization_id AND changed.user_id = c.user_id
        AND changed.bot_id = c.bot_id AND changed.status = c.status
    FOR UPDATE OF c SKIP LOCKED
), taken AS (
    DELETE FROM conversation_counts c USING held h
    WHERE c.organization_id = h.organization_id AND c.user_id = h.user_id AND c.bot_id = h.bot_id AND c.status = h.status AND c.id = h.id
    RETURNING c.organization_id, c.user_id, c.bot_id, c.status, c.conversations
), sums AS (
    INSERT INTO conversation_counts (organization_id, user_id, bot_id, status, is_change, conversations)
    SELECT organization_id, user_id, bot_id, status, false, sum(conversations) FROM taken
    GROUP BY organization_id, user_id, bot_id, status
    HAVING sum(conversations) <> 0
)
SELECT count(*) FROM taken;

-- FoldUnreadCounts is FoldConversationCounts for the unread conversations of inboxes.
-- name: FoldUnreadCounts :one
WITH changed AS (
    SELECT DISTINCT c.organization_id, c.inbox_id
    FROM (SELECT organization_id, inbox_id FROM unread_counts WHERE is_change LIMIT @batch) c
), held AS (
    SELECT c.organization_id, c.inbox_id, c.id
    FROM unread_counts c
    JOIN changed ON changed.organization_id = c.organization_id AND changed.inbox_id = c.inbox_id
    FOR UPDATE OF c SKIP LOCKED
), taken AS (
    DELETE FROM unread_counts c USING held h
    WHERE c.organization_id = h.organization_id AND c.inbox_id = h.inbox_id AND c.id = h.id
    RETURNING c.organization_id, c.inbox_id, c.conversations
), sums AS (
    INSERT INTO unread_counts (organization_id, inbox_id, is_change, conversations)
    SELECT organization_id, inbox_id, false, sum(conversations) FROM taken
    GROUP BY organization_id, inbox_id
    HAVING sum(conversations) <> 0
)
SELECT count(*) FROM taken;
