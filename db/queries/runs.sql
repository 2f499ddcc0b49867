-- GetRun returns a run with the owner of its session.
-- name: GetRun :one
SELECT sqlc.embed(r), s.user_id AS owner_id
FROM runs r
JOIN sessions s ON s.organization_id = r.organization_id AND s.id = r.session_id
WHERE r.organization_id = @organization_id AND r.id = @id;

-- RenewLease says that an attempt lives, and tells whether it is asked to stop. No
-- row: another attempt has taken over, or the run is finished or deleted.
-- name: RenewLease :one
UPDATE runs SET lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
WHERE organization_id = @organization_id AND id = @id AND attempt = @attempt AND state = 'running'
RETURNING cancel_requested;

-- FinishRun ends an attempt: in this one statement the run is closed, the reply
-- stored when there is any text, and the record written. No row: the attempt had
-- lost the run, and nothing was written. When queued_runs comes back above 0 the
-- session still belongs to this run, until StartNextRun hands it on.
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
        active_run    = CASE WHEN s.queued_runs > 0 THEN s.active_run END
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

-- StartNextRun hands a session whose run is over to the oldest run that waits. No
-- row: none waits, or another one runs. A run that was queued while this statement
-- waited for the session's lock is not seen; the session then still counts it, and
-- the statement is to be run again.
-- name: StartNextRun :one
WITH locked AS (
    SELECT s.organization_id, s.id FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id AND s.queued_runs > 0
    FOR NO KEY UPDATE
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

-- ListAbandonedRuns returns runs that nobody works on any more: running ones whose
-- lease is over, and queued ones whose session runs nothing.
-- name: ListAbandonedRuns :many
SELECT r.* FROM runs r
WHERE r.lease_until < clock_timestamp()
  AND (r.state = 'running'
       OR (r.state = 'queued' AND NOT EXISTS (SELECT FROM runs o
           WHERE o.organization_id = r.organization_id AND o.session_id = r.session_id AND o.state = 'running')))
ORDER BY r.lease_until
LIMIT @batch;

-- TakeUpRun begins another attempt at a run whose lease is over. No row: another
-- one was faster, or it lives after all.
-- name: TakeUpRun :one
UPDATE runs SET
    attempt     = attempt + 1,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::integer)
WHERE organization_id = @organization_id AND id = @id AND attempt = @attempt
  AND state = 'running' AND lease_until < clock_timestamp()
RETURNING *;

-- ReleaseRun gives a run back before its lease is over, so that it is taken up
-- again at once: by the next start, or by another instance.
-- name: ReleaseRun :exec
UPDATE runs SET lease_until = 'epoch'
WHERE organization_id = @organization_id AND id = @id AND attempt = @attempt AND state = 'running';
