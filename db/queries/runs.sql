-- GetRun returns a run with the owner, bot and contact of its session.
-- name: GetRun :one
SELECT sqlc.embed(r), s.user_id AS owner_id, s.bot_id, s.contact_id
FROM runs r
JOIN sessions s ON s.organization_id = r.organization_id AND s.id = r.session_id
WHERE r.organization_id = @organization_id AND r.id = @id;

-- RetryRun starts or queues another run for the question of a failed run, when the request that
-- asked it is repeated under its Idempotency-Key. The key and the question then name the new run.
-- It returns no row when the session was deleted. The state is empty when the key names another
-- run by now, because another repeat was faster, or when the session has too many queued runs.
--
-- INVARIANT: the session's row is locked before anything is decided. A failed run stays failed, and
-- the update of the key is decided by the key's newest version, so at most one repeat gets a run.
-- name: RetryRun :one
WITH locked AS (
    SELECT s.organization_id, s.id, s.active_run, s.queued_runs
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id
    FOR NO KEY UPDATE
), failed AS (
    SELECT r.organization_id, r.question_id, r.question_seq, l.id AS session_id,
           @can_start::boolean AND l.active_run IS NULL AND l.queued_runs = 0 AS starts_now
    FROM locked l
    JOIN runs r ON r.organization_id = l.organization_id AND r.session_id = l.id
    WHERE r.id = @failed_run_id AND r.state = 'failed' AND l.queued_runs < @queue_limit::integer
), claimed AS (
    UPDATE idempotency_keys k SET run_id = @run_id::uuid
    FROM failed f
    WHERE k.organization_id = f.organization_id AND k.user_id = @user_id AND k.scope = @scope AND k.key = @key AND k.run_id = @failed_run_id
    RETURNING f.organization_id, f.session_id, f.question_id, f.question_seq, f.starts_now
), reopened AS (
    UPDATE sessions s SET
        active_run  = CASE WHEN c.starts_now THEN @run_id::uuid ELSE s.active_run END,
        queued_runs = s.queued_runs + CASE WHEN c.starts_now THEN 0 ELSE 1 END
    FROM claimed c
    WHERE s.organization_id = c.organization_id AND s.id = c.session_id
), question AS (
    UPDATE message_history m SET run_id = @run_id::uuid
    FROM claimed c
    WHERE m.organization_id = c.organization_id AND m.id = c.question_id
), run AS (
    INSERT INTO runs (organization_id, id, session_id, question_id, question_seq, reply_id, state, lease_until, started_at)
    SELECT c.organization_id, @run_id::uuid, c.session_id, c.question_id, c.question_seq, @reply_id::uuid,
           CASE WHEN c.starts_now THEN 'running' ELSE 'queued' END,
           clock_timestamp() + make_interval(secs => @lease_seconds::integer),
           CASE WHEN c.starts_now THEN clock_timestamp() END
    FROM claimed c
    RETURNING state
)
SELECT coalesce(r.state, '')::text AS state, (l.queued_runs >= @queue_limit::integer)::boolean AS is_queue_full
FROM locked l LEFT JOIN run r ON true;

-- RenewLeases extends the leases of attempts. It never waits: a run that is locked, because it is
-- being finished or deleted, is skipped until the next renewal and does not delay the others.
-- name: RenewLeases :exec
WITH unlocked AS MATERIALIZED (
    SELECT x.organization_id, x.id
    FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@attempts::integer[]) AS attempt) AS w
    JOIN runs x ON x.organization_id = w.organization_id AND x.id = w.id AND x.attempt = w.attempt
    WHERE x.state = 'running'
    FOR NO KEY UPDATE OF x SKIP LOCKED
)
UPDATE runs r SET lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
FROM unlocked f
WHERE r.organization_id = f.organization_id AND r.id = f.id;

-- ListCancelledOrLostAttempts returns the given attempts that must stop. An attempt is cancelled
-- when cancellation of its run was requested. It is lost when another attempt has reclaimed the
-- run, or the run is finished or deleted.
-- name: ListCancelledOrLostAttempts :many
SELECT w.id::uuid AS id, w.attempt::integer AS attempt, (r.id IS NULL)::boolean AS is_lost
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@attempts::integer[]) AS attempt) AS w
LEFT JOIN runs r ON r.organization_id = w.organization_id AND r.id = w.id AND r.attempt = w.attempt AND r.state = 'running'
WHERE r.id IS NULL OR r.cancel_requested;

-- ListRuns returns runs by their ids.
-- name: ListRuns :many
SELECT r.* FROM runs r
JOIN (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w ON r.organization_id = w.organization_id AND r.id = w.id;

-- CancelRun requests that a running attempt stops, or finishes a queued run as cancelled and
-- writes its record. It returns no row when the run has already finished.
-- name: CancelRun :one
WITH locked AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id
    FOR NO KEY UPDATE
), requested AS (
    -- One update covers both states, because a queued run may start while this waits for the
    -- session's lock.
    UPDATE runs r SET
        cancel_requested = true,
        state            = CASE r.state WHEN 'queued' THEN 'cancelled' ELSE r.state END,
        finish_reason    = CASE r.state WHEN 'queued' THEN 'cancelled' END,
        finished_at      = CASE r.state WHEN 'queued' THEN clock_timestamp() END
    FROM locked l
    WHERE r.organization_id = l.organization_id AND r.id = @id AND r.session_id = l.id AND r.state IN ('queued', 'running')
    RETURNING r.organization_id, r.id, r.session_id, r.question_id, r.state, r.finished_at
), closed AS (
    UPDATE sessions s SET queued_runs = s.queued_runs - 1, exchanges = s.exchanges + 1
    FROM requested a
    WHERE s.organization_id = a.organization_id AND s.id = a.session_id AND a.state = 'cancelled'
    RETURNING s.organization_id, s.id, s.bot_id, s.exchanges, a.id AS run_id, a.question_id, a.finished_at
), record AS (
    INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, asked_at, created_at)
    SELECT c.organization_id, c.run_id, c.bot_id, c.id, 'cancelled', CASE WHEN c.exchanges = 1 THEN 'New' ELSE 'Follow' END,
           q.content, '', q.created_at, c.finished_at
    FROM closed c
    JOIN message_history q ON q.organization_id = c.organization_id AND q.id = c.question_id
)
SELECT state FROM requested;

-- FinishRun finishes an attempt. One statement closes the run, stores the reply if it has any text
-- (has_reply), and writes the record. It returns no row and writes nothing when the attempt has
-- lost the run.
-- name: FinishRun :one
WITH locked AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id
    FOR NO KEY UPDATE
), fenced AS (
    UPDATE runs r SET
        state             = @state::text,
        finish_reason     = @finish_reason::text,
        error             = sqlc.narg('error'),
        detail            = sqlc.narg('detail'),
        prompt_tokens     = sqlc.narg('prompt_tokens'),
        completion_tokens = sqlc.narg('completion_tokens'),
        cached_tokens     = sqlc.narg('cached_tokens'),
        reasoning_tokens  = sqlc.narg('reasoning_tokens'),
        model             = sqlc.narg('model'),
        first_token_at    = r.started_at + make_interval(secs => sqlc.narg('first_token_seconds')::double precision),
        finished_at       = clock_timestamp()
    FROM locked l
    WHERE r.organization_id = l.organization_id AND r.id = @id AND r.session_id = l.id
      AND r.attempt = @attempt AND r.state = 'running'
    RETURNING r.organization_id, r.id, r.session_id, r.reply_id, r.first_token_at, r.finished_at
), closed AS (
    UPDATE sessions s SET
        last_seq      = s.last_seq + CASE WHEN @has_reply::boolean THEN 1 ELSE 0 END,
        last_activity = CASE WHEN @has_reply::boolean
                             THEN greatest(clock_timestamp(), s.last_activity + interval '1 microsecond')
                             ELSE s.last_activity END,
        exchanges     = s.exchanges + 1,
        user_unread   = s.user_unread + CASE WHEN @has_reply::boolean THEN 1 ELSE 0 END,
        active_run    = NULL
    FROM fenced f
    WHERE s.organization_id = f.organization_id AND s.id = f.session_id
    RETURNING s.organization_id, s.id, s.bot_id, s.last_seq, s.last_activity, s.exchanges, s.queued_runs,
              f.id AS run_id, f.reply_id, f.first_token_at, f.finished_at
), reply AS (
    INSERT INTO message_history (organization_id, id, session_id, seq, sender, sender_id, content,
                                 citations, citation_nodes, suggestions, run_id, created_at)
    SELECT c.organization_id, c.reply_id, c.id, c.last_seq, 'bot', c.bot_id, @content::text,
           sqlc.narg('citations')::jsonb, sqlc.narg('citation_nodes')::jsonb, sqlc.narg('suggestions')::jsonb,
           c.run_id, c.last_activity
    FROM closed c
    WHERE @has_reply::boolean
), record AS (
    INSERT INTO records (organization_id, id, bot_id, session_id, reply_id, status, type, input_message, output_message, context,
                         reply_time, first_token_time, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, model,
                         error, asked_at, created_at)
    SELECT c.organization_id, c.run_id, c.bot_id, c.id, CASE WHEN @has_reply::boolean THEN c.reply_id END, @state::text,
           CASE WHEN c.exchanges = 1 THEN 'New' ELSE 'Follow' END, @input_message::text, @content::text, @context::text,
           extract(epoch FROM c.finished_at - @asked_at::timestamptz)::double precision,
           extract(epoch FROM c.first_token_at - @asked_at::timestamptz)::double precision,
           sqlc.narg('prompt_tokens')::integer, sqlc.narg('completion_tokens')::integer,
           sqlc.narg('cached_tokens')::integer, sqlc.narg('reasoning_tokens')::integer, sqlc.narg('model')::text, sqlc.narg('detail')::text,
           @asked_at::timestamptz, c.finished_at
    FROM closed c
)
SELECT last_seq, last_activity, queued_runs FROM closed;

-- StartNextRun starts the oldest queued run of a session in which no run is running. It returns no
-- row when no run is queued or another one is running.
--
-- A run that was queued while this statement waited for the session's lock is not seen. The
-- session row still counts it, and the caller must run the statement again. With wait_for_lock =
-- false, no row can also mean that the session is locked.
-- name: StartNextRun :one
WITH waiting AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE @wait_for_lock::boolean AND s.organization_id = @organization_id AND s.id = @session_id AND s.queued_runs > 0
    FOR NO KEY UPDATE
), unlocked AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE NOT @wait_for_lock::boolean AND s.organization_id = @organization_id AND s.id = @session_id AND s.queued_runs > 0
    FOR NO KEY UPDATE SKIP LOCKED
), locked AS (
    SELECT * FROM waiting UNION ALL SELECT * FROM unlocked
), next AS (
    UPDATE runs r SET
        state       = 'running',
        started_at  = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
    WHERE (r.organization_id, r.id) = (
        SELECT q.organization_id, q.id FROM runs q JOIN locked l ON q.organization_id = l.organization_id AND q.session_id = l.id
        WHERE q.state = 'queued'
          AND NOT EXISTS (SELECT FROM runs o WHERE o.organization_id = l.organization_id AND o.session_id = l.id AND o.state = 'running')
        ORDER BY q.question_seq
        LIMIT 1)
      AND r.state = 'queued'
    RETURNING r.*
), started AS (
    UPDATE sessions s SET active_run = n.id, queued_runs = s.queued_runs - 1
    FROM next n
    WHERE s.organization_id = n.organization_id AND s.id = n.session_id
    RETURNING s.id
)
SELECT n.* FROM next n JOIN started h ON h.id = n.session_id;

-- ListSessionsWithQueuedRuns returns sessions that have a queued run and none that is running.
-- Organizations take turns: those with the fewest running runs come first, up to
-- organization_limit runs each, and within an organization the run that was queued first.
--
-- organization_ids and running_counts give the runs that are running now. Sessions in
-- excluded_session_ids are not returned.
-- name: ListSessionsWithQueuedRuns :many
WITH RECURSIVE organizations AS (
    (SELECT r.organization_id FROM runs r WHERE r.state = 'queued' ORDER BY r.organization_id, r.created_at LIMIT 1)
    UNION ALL
    SELECT (SELECT r.organization_id FROM runs r WHERE r.state = 'queued' AND r.organization_id > o.organization_id
            ORDER BY r.organization_id, r.created_at LIMIT 1)
    FROM organizations o
    WHERE o.organization_id IS NOT NULL
), loads AS (
    SELECT o.organization_id, coalesce(max(l.running), 0) AS running
    FROM organizations o
    LEFT JOIN (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@running_counts::integer[]) AS running) AS l ON l.organization_id = o.organization_id
    WHERE o.organization_id IS NOT NULL
    GROUP BY o.organization_id
    HAVING coalesce(max(l.running), 0) < @organization_limit::integer
)
SELECT w.organization_id, w.session_id
FROM loads o
CROSS JOIN LATERAL (
    SELECT f.organization_id, f.session_id, f.created_at, row_number() OVER (ORDER BY f.created_at) AS turn
    FROM (
        SELECT r.organization_id, r.session_id, r.created_at
        FROM runs r
        WHERE r.organization_id = o.organization_id AND r.state = 'queued' AND r.session_id <> ALL (@excluded_session_ids::uuid[])
          AND NOT EXISTS (SELECT FROM runs a WHERE a.organization_id = r.organization_id AND a.session_id = r.session_id AND a.state = 'running')
          AND NOT EXISTS (SELECT FROM runs e WHERE e.organization_id = r.organization_id AND e.session_id = r.session_id
                          AND e.state = 'queued' AND e.question_seq < r.question_seq)
        ORDER BY r.created_at
        LIMIT @batch::integer
    ) f
) w
WHERE o.running + w.turn <= @organization_limit::integer
ORDER BY o.running + w.turn, w.created_at
LIMIT @batch::integer;

-- ListExpiredRuns returns running runs whose lease has expired. Runs of full organizations are
-- excluded.
-- name: ListExpiredRuns :many
SELECT r.* FROM runs r
WHERE r.state = 'running' AND r.lease_until < clock_timestamp() AND r.organization_id <> ALL (@full_organizations::uuid[])
ORDER BY r.lease_until
LIMIT @batch;

-- ReclaimRun starts another attempt at a run whose lease has expired. It never waits, and returns
-- no row when another instance was faster, the lease was renewed, or the run is locked.
-- name: ReclaimRun :one
WITH unlocked AS MATERIALIZED (
    SELECT x.organization_id, x.id FROM runs x
    WHERE x.organization_id = @organization_id AND x.id = @id AND x.attempt = @attempt
      AND x.state = 'running' AND x.lease_until < clock_timestamp()
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE runs r SET
    attempt     = r.attempt + 1,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
FROM unlocked f
WHERE r.organization_id = f.organization_id AND r.id = f.id
RETURNING r.*;

-- ReleaseLease expires an attempt's lease immediately, so that the run can be reclaimed at once:
-- at the next start, or by another instance.
-- name: ReleaseLease :exec
UPDATE runs SET lease_until = 'epoch'
WHERE organization_id = @organization_id AND id = @id AND attempt = @attempt AND state = 'running';

-- ReleaseAllLeases expires the leases that an earlier process left behind. It must only be used by
-- a process that is the only one on its database.
-- name: ReleaseAllLeases :execrows
UPDATE runs SET lease_until = 'epoch' WHERE state = 'running';
