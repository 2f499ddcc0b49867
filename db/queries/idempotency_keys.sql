-- ClaimIdempotencyKey takes a key for this transaction, and counts no row where it
-- was used before. It waits for another transaction that has it, five seconds at the
-- most; what follows in the transaction has the time that it is given by
-- ResetLockTimeout.
-- name: ClaimIdempotencyKey :execrows
INSERT INTO idempotency_keys (organization_id, user_id, scope, key, request_hash)
SELECT @organization_id, @user_id, @scope, @key, @request_hash
FROM set_config('lock_timeout', '5s', true)
ON CONFLICT DO NOTHING;

-- ResetLockTimeout gives a transaction's locks the connection's usual time again.
-- name: ResetLockTimeout :exec
SET LOCAL lock_timeout TO DEFAULT;

-- SetIdempotencyAnswer keeps what the request of a claimed key has made.
-- name: SetIdempotencyAnswer :exec
UPDATE idempotency_keys SET answer = @answer
WHERE organization_id = @organization_id AND user_id = @user_id AND scope = @scope AND key = @key;

-- GetIdempotencyKey returns what a key was used for.
-- name: GetIdempotencyKey :one
SELECT * FROM idempotency_keys
WHERE organization_id = @organization_id AND user_id = @user_id AND scope = @scope AND key = @key;

-- DeleteIdempotencyKey frees a key that was used for a run, once the run is over.
-- name: DeleteIdempotencyKey :exec
DELETE FROM idempotency_keys d
WHERE d.organization_id = @organization_id AND d.user_id = @user_id AND d.scope = @scope AND d.key = @key AND d.run_id = @run_id::uuid
  AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = @organization_id AND r.id = @run_id::uuid AND r.state IN ('queued', 'running'));

-- DeleteOldIdempotencyKeys forgets keys of more than a day ago, so many at a time.
-- name: DeleteOldIdempotencyKeys :execrows
DELETE FROM idempotency_keys d
WHERE (d.organization_id, d.user_id, d.scope, d.key) IN (
    SELECT k.organization_id, k.user_id, k.scope, k.key FROM idempotency_keys k
    WHERE k.created_at < clock_timestamp() - interval '24 hours'
    ORDER BY k.created_at
    LIMIT @batch::integer);
