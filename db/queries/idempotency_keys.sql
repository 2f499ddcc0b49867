-- ClaimIdempotencyKey claims a key for this transaction. It affects no row when the key was used
-- before. It waits at most five seconds for another transaction that holds the key. The lock
-- timeout applies until the caller runs ResetLockTimeout.
-- name: ClaimIdempotencyKey :execrows
INSERT INTO idempotency_keys (organization_id, user_id, scope, key, request_hash)
SELECT @organization_id, @user_id, @scope, @key, @request_hash
FROM set_config('lock_timeout', '5s', true)
ON CONFLICT DO NOTHING;

-- ResetLockTimeout restores the connection's default lock timeout in this transaction.
-- name: ResetLockTimeout :exec
SET LOCAL lock_timeout TO DEFAULT;

-- SetIdempotencyAnswer stores the result of the request that claimed a key.
-- name: SetIdempotencyAnswer :exec
UPDATE idempotency_keys SET answer = @answer
WHERE organization_id = @organization_id AND user_id = @user_id AND scope = @scope AND key = @key;

-- GetIdempotencyKey returns an idempotency key with its stored result. It locks the row, so that the
-- transaction writes something and its commit waits for synchronous standbys: a repeat is answered
-- only when they have what it repeats.
-- name: GetIdempotencyKey :one
SELECT * FROM idempotency_keys
WHERE organization_id = @organization_id AND user_id = @user_id AND scope = @scope AND key = @key
FOR KEY SHARE;

-- DeleteExpiredIdempotencyKeys deletes up to "batch" keys that are older than 24 hours, and
-- returns how many it deleted.
-- name: DeleteExpiredIdempotencyKeys :execrows
DELETE FROM idempotency_keys d
WHERE (d.organization_id, d.user_id, d.scope, d.key) IN (
    SELECT k.organization_id, k.user_id, k.scope, k.key FROM idempotency_keys k
    WHERE k.created_at < clock_timestamp() - interval '24 hours'
    ORDER BY k.created_at
    LIMIT @batch::integer);
