-- GetRun returns a run with the owner of its session, and with whom that is.
-- name: GetRun :one
SELECT sqlc.embed(r), s.user_id AS owner_id, s.bot_id, s.contact_id
FROM runs r
JOIN sessions s ON s.organization_id = r.organization_id AND s.id = r.session_id
WHERE r.organization_id = @organization_id AND r.id = @id;

-- RenewLeases says that attempts live. It waits for nobody: a run that is locked, since it
-- is being ended or deleted, is left for the next time, and keeps the others from nothing.
-- name: RenewLeases :exec
WITH free AS MATERIALIZED (
    SELECT x.organization_id, x.id
    FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@attempts::integer[]) AS attempt) AS w
    JOIN runs x ON x.organization_id = w.organization_id AND x.id = w.id AND x.attempt = w.attempt
    WHERE x.state = 'running'
    FOR NO KEY UPDATE OF x SKIP LOCKED
)
UPDATE runs r SET lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
FROM free f
WHERE r.organization_id = f.organization_id AND r.id = f.id;

-- ListEndedAttempts returns those of the attempts that must not go on: asked to
-- stop, or lost, because another one has taken over or the run is gone.
-- name: ListEndedAttempts :many
SELECT w.id::uuid AS id, w.attempt::integer AS attempt, (r.id IS NULL)::boolean AS is_lost
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id, unnest(@attempts::integer[]) AS attempt) AS w
LEFT JOIN runs r ON r.organization_id = w.organization_id AND r.id = w.id AND r.attempt = w.attempt AND r.state = 'running'
WHERE r.id IS NULL OR r.cancel_requested;

-- ListRuns returns runs by their ids.
-- name: ListRuns :many
SELECT r.* FROM runs r
JOIN (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@ids::uuid[]) AS id) AS w ON r.organization_id = w.organization_id AND r.id = w.id;

-- CancelRun asks an attempt to stop, and ends a run that waits, with a record. No
-- row: the run is over already.
-- name: CancelRun :one
WITH locked AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id
    FOR NO KEY UPDATE
), asked AS (
    -- One update for both states: it follows a run that begins while the session's lock is waited for.
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
    FROM asked a
    WHERE s.organization_id = a.organization_id AND s.id = a.session_id AND a.state = 'cancelled'
    RETURNING s.organization_id, s.id, s.bot_id, s.exchanges, a.id AS run_id, a.question_id, a.finished_at
), record AS (
    INSERT INTO records (organization_id, id, bot_id, session_id, status, type, input_message, output_message, asked_at, created_at)
    SELECT c.organization_id, c.run_id, c.bot_id, c.id, 'cancelled', CASE WHEN c.exchanges = 1 THEN 'New' ELSE 'Follow' END,
           q.content, '', q.created_at, c.finished_at
    FROM closed c
    JOIN message_history q ON q.organization_id = c.organization_id AND q.id = c.question_id
)
SELECT state FROM asked;

-- FinishRun ends an attempt: in this one statement the run is closed, the reply
-- stored when there is any text, and the record written. No row: the attempt had
-- lost the run, and nothing was written.
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
        first_token_at    = r.started_at + make_interval(secs => sqlc.narg('first_token_seconds')::double precision),
        finished_at       = clock_timestamp()
    FROM locked l
    WHERE r.organization_id = l.organization_id AND r.id = @id AND r.session_id = l.id
      AND r.attempt = @attempt AND r.state = 'running'
    RETURNING r.organization_id, r.id, r.session_id, r.reply_id, r.first_token_at, r.finished_at
), closed AS (
    UPDATE sessions s SET
        last_seq      = s.last_seq + CASE WHEN @is_stored::boolean THEN 1 ELSE 0 END,
        last_activity = CASE WHEN @is_stored::boolean
                             THEN greatest(clock_timestamp(), s.last_activity + interval '1 microsecond')
                             ELSE s.last_activity END,
        exchanges     = s.exchanges + 1,
        user_unread   = s.user_unread + CASE WHEN @is_stored::boolean THEN 1 ELSE 0 END,
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
    WHERE @is_stored::boolean
), record AS (
    INSERT INTO records (organization_id, id, bot_id, session_id, reply_id, status, type, input_message, output_message, context,
                         reply_time, first_token_time, prompt_tokens, completion_tokens, error, asked_at, created_at)
    SELECT c.organization_id, c.run_id, c.bot_id, c.id, CASE WHEN @is_stored::boolean THEN c.reply_id END, @state::text,
           CASE WHEN c.exchanges = 1 THEN 'New' ELSE 'Follow' END, @input_message::text, @content::text, @context::text,
           extract(epoch FROM c.finished_at - @asked_at::timestamptz)::double precision,
           extract(epoch FROM c.first_token_at - @asked_at::timestamptz)::double precision,
           sqlc.narg('prompt_tokens')::integer, sqlc.narg('completion_tokens')::integer, sqlc.narg('detail')::text,
           @asked_at::timestamptz, c.finished_at
    FROM closed c
)
SELECT last_seq, last_activity, queued_runs FROM closed;

-- StartNextRun hands a session that runs nothing to the oldest run that waits. No
-- row: none waits, or another one runs. A run that was queued while this statement
-- waited for the session's lock is not seen; the session then still counts it, and
-- the statement is to be run again. Where it may not wait, no row can also mean that the
-- session is locked.
-- name: StartNextRun :one
WITH awaited AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE @may_wait::boolean AND s.organization_id = @organization_id AND s.id = @session_id AND s.queued_runs > 0
    FOR NO KEY UPDATE
), free AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE NOT @may_wait::boolean AND s.organization_id = @organization_id AND s.id = @session_id AND s.queued_runs > 0
    FOR NO KEY UPDATE SKIP LOCKED
), locked AS (
    SELECT * FROM awaited UNION ALL SELECT * FROM free
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
), handed AS (
    UPDATE sessions s SET active_run = n.id, queued_runs = s.queued_runs - 1
    FROM next n
    WHERE s.organization_id = n.organization_id AND s.id = n.session_id
    RETURNING s.id
)
SELECT n.* FROM next n JOIN handed h ON h.id = n.session_id;

-- ListWaitingSessions returns sessions that run nothing while a run of theirs
-- waits. The organizations take turns: the one that has the fewest running comes
-- first, up to organization_limit each, and the longest waiting of each.
-- organization_ids and running tell what runs already, passed_over what is not wanted.
-- name: ListWaitingSessions :many
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
    LEFT JOIN (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@running::integer[]) AS running) AS l ON l.organization_id = o.organization_id
    WHERE o.organization_id IS NOT NULL
    GROUP BY o.organization_id
)
SELECT w.organization_id, w.session_id
FROM loads o
CROSS JOIN LATERAL (
    SELECT f.organization_id, f.session_id, f.created_at, row_number() OVER (ORDER BY f.created_at) AS turn
    FROM (
        SELECT r.organization_id, r.session_id, r.created_at
        FROM runs r
        WHERE r.organization_id = o.organization_id AND r.state = 'queued' AND r.session_id <> ALL (@passed_over::uuid[])
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

-- ListAbandonedRuns returns running runs that nobody works on any more: their lease
-- is over. Those of full organizations are left out.
-- name: ListAbandonedRuns :many
SELECT r.* FROM runs r
WHERE r.state = 'running' AND r.lease_until < clock_timestamp() AND r.organization_id <> ALL (@full_organizations::uuid[])
ORDER BY r.lease_until
LIMIT @batch;

-- TakeUpRun begins another attempt at a run whose lease is over. No row: another
-- one was faster, it lives after all, or it is locked, which is not waited for.
-- name: TakeUpRun :one
WITH free AS MATERIALIZED (
    SELECT x.organization_id, x.id FROM runs x
    WHERE x.organization_id = @organization_id AND x.id = @id AND x.attempt = @attempt
      AND x.state = 'running' AND x.lease_until < clock_timestamp()
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE runs r SET
    attempt     = r.attempt + 1,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
FROM free f
WHERE r.organization_id = f.organization_id AND r.id = f.id
RETURNING r.*;

-- ReleaseRun gives a run back before its lease is over, so that it is taken up
-- again at once: by the next start, or by another instance.
-- name: ReleaseRun :exec
UPDATE runs SET lease_until = 'epoch'
WHERE organization_id = @organization_id AND id = @id AND attempt = @attempt AND state = 'running';

-- ReleaseAllRuns gives all runs back that an earlier process left behind. Only for
-- a process that is alone on its database.
-- name: ReleaseAllRuns :execrows
UPDATE runs SET lease_until = 'epoch' WHERE state = 'running';
