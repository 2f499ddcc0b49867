-- SendMessage stores a message and starts or queues the run that answers it. It is one statement:
-- it can run as its own transaction or in a batch with others.
--
-- Without a sender, the session's owner sends as user and any other caller as agent. Only messages
-- of a user are answered. reply is 'always', 'auto' (if the session has automatic replies on) or
-- 'never'. The run starts immediately when the session has no other run to finish first and
-- can_start is true, which means that the caller has reserved a slot. Otherwise it is queued.
--
-- Refusals are returned as a column and never raised:
--
--   - no row: the session does not exist
--   - 'forbidden': the session belongs to another user
--   - 'out_of_bounds': the caller is bound to another session, bot or contact
--   - 'other_bot': the session is not with the given bot
--   - 'queue_full': the session has too many queued runs
--
-- A message that is neither sent nor refused repeats an Idempotency-Key.
--
-- INVARIANT: the session's row is locked before anything is decided. The idempotency key is
-- claimed only by a message that is not refused, and seq is taken only by one that is stored.
-- name: SendMessage :one
WITH locked AS (
    SELECT s.organization_id, s.id, s.user_id, s.bot_id, s.contact_id, s.auto_reply, s.active_run, s.queued_runs,
           CASE WHEN @sender::text <> '' THEN @sender::text WHEN s.user_id = @user_id THEN 'user' ELSE 'agent' END AS sender
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.id = @session_id
    FOR NO KEY UPDATE
), answered AS (
    SELECT l.*, l.sender = 'user' AND (@reply::text = 'always' OR (@reply::text = 'auto' AND l.auto_reply)) AS is_answered
    FROM locked l
), decided AS (
    SELECT a.*,
           CASE
               WHEN a.user_id <> @user_id AND NOT @is_staff::boolean THEN 'forbidden'
               WHEN a.id <> sqlc.narg('only_session_id')::uuid OR a.bot_id <> sqlc.narg('only_bot_id')::uuid
                    OR a.contact_id <> sqlc.narg('only_contact_id')::uuid THEN 'out_of_bounds'
               WHEN sqlc.narg('bot_id')::uuid IS NOT NULL AND a.bot_id <> sqlc.narg('bot_id')::uuid THEN 'other_bot'
               WHEN a.is_answered AND a.queued_runs >= @queue_limit::integer THEN 'queue_full'
               ELSE ''
           END AS refusal
    FROM answered a
), claim AS (
    INSERT INTO idempotency_keys (organization_id, user_id, scope, key, request_hash, message_id, run_id)
    SELECT d.organization_id, @user_id, @scope::text, sqlc.narg('idempotency_key')::text, @request_hash::bytea, @message_id::uuid,
           CASE WHEN d.is_answered THEN @run_id::uuid END
    FROM decided d
    WHERE d.refusal = '' AND sqlc.narg('idempotency_key')::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING message_id
), ready AS MATERIALIZED (
    SELECT d.*, d.is_answered AND @can_start::boolean AND d.active_run IS NULL AND d.queued_runs = 0 AS starts_now
    FROM decided d
    WHERE d.refusal = '' AND (sqlc.narg('idempotency_key')::text IS NULL OR EXISTS (SELECT FROM claim))
), sent AS (
    UPDATE sessions s SET
        last_seq      = s.last_seq + 1,
        last_activity = greatest(clock_timestamp(), s.last_activity + interval '1 microsecond'),
        status        = 'active',
        active_run    = CASE WHEN r.starts_now THEN @run_id::uuid ELSE s.active_run END,
        queued_runs   = s.queued_runs + CASE WHEN r.is_answered AND NOT r.starts_now THEN 1 ELSE 0 END,
        staff_unread  = s.staff_unread + CASE WHEN r.sender = 'user' THEN 1 ELSE 0 END,
        user_unread   = s.user_unread + CASE WHEN r.sender = 'user' THEN 0 ELSE 1 END
    FROM ready r
    WHERE s.organization_id = r.organization_id AND s.id = r.id
    RETURNING s.organization_id, s.id, s.contact_id, s.last_seq, s.last_activity, r.sender, r.is_answered,
              CASE WHEN r.starts_now THEN 'running' ELSE 'queued' END AS run_state
), message AS (
    INSERT INTO message_history (organization_id, id, session_id, seq, sender, sender_id, content, metadata,
                                 content_payload, query_metadata, canvas, attachments, run_id, created_at)
    SELECT s.organization_id, @message_id, s.id, s.last_seq, s.sender,
           CASE s.sender WHEN 'agent' THEN @user_id ELSE coalesce(sqlc.narg('sender_id')::uuid, s.contact_id) END, @content::text,
           sqlc.narg('metadata')::json, sqlc.narg('content_payload')::json, sqlc.narg('query_metadata')::json,
           sqlc.narg('canvas')::json, sqlc.narg('attachments')::jsonb,
           CASE WHEN s.is_answered THEN @run_id::uuid END, s.last_activity
    FROM sent s
), files AS (
    INSERT INTO attachments (organization_id, id, user_id, type, filename, file)
    SELECT s.organization_id, f.id, @user_id, f.type, f.filename, f.file
    FROM sent s, jsonb_to_recordset(coalesce(sqlc.narg('attachments')::jsonb, '[]')) AS f (id uuid, type text, filename text, file text)
    ON CONFLICT DO NOTHING
), run AS (
    INSERT INTO runs (organization_id, id, session_id, question_id, question_seq, reply_id, state, lease_until, started_at)
    SELECT s.organization_id, @run_id::uuid, s.id, @message_id, s.last_seq, @reply_id::uuid, s.run_state,
           clock_timestamp() + make_interval(secs => @lease_seconds::integer),
           CASE WHEN s.run_state = 'running' THEN clock_timestamp() END
    FROM sent s
    WHERE s.is_answered
)
SELECT d.refusal::text AS refusal, (s.id IS NOT NULL)::boolean AS is_sent, coalesce(s.last_seq, 0)::bigint AS seq,
       coalesce(s.last_activity, 'epoch')::timestamptz AS created_at,
       d.sender::text AS sender, coalesce(s.is_answered, false)::boolean AS is_answered, coalesce(s.run_state, '')::text AS run_state
FROM decided d LEFT JOIN sent s ON true;

-- ListAttachments returns the given attachments that the user's own messages introduced. Staff may
-- read those of all users.
-- name: ListAttachments :many
SELECT * FROM attachments
WHERE organization_id = @organization_id AND id = ANY (@ids::uuid[]) AND (user_id = @user_id OR @is_staff::boolean);

-- GetMessage returns a message with the owner, bot and contact of its session.
-- name: GetMessage :one
SELECT sqlc.embed(m), s.user_id AS owner_id, s.bot_id, s.contact_id
FROM messages m
JOIN sessions s ON s.organization_id = m.organization_id AND s.id = m.session_id
WHERE m.organization_id = @organization_id AND m.id = @id;

-- GetMessageBySeq returns a session's message by its seq.
-- name: GetMessageBySeq :one
SELECT * FROM messages WHERE organization_id = @organization_id AND session_id = @session_id AND seq = @seq;

-- ListHistoryForward returns the oldest messages between two seqs of a session, both exclusive,
-- oldest first, without the senders' names. If given, since (inclusive) and until (exclusive)
-- limit the times of the messages.
-- name: ListHistoryForward :many
SELECT id, seq, sender, content, created_at, attachments, metadata FROM message_history
WHERE organization_id = @organization_id AND session_id = @session_id
  AND seq > greatest(@after_seq::bigint, CASE WHEN sqlc.narg('since')::timestamptz IS NOT NULL
                                              THEN first_seq_since(@organization_id, @session_id, sqlc.narg('since')) - 1 END)
  AND seq < least(@before_seq::bigint, CASE WHEN sqlc.narg('until')::timestamptz IS NOT NULL
                                            THEN first_seq_since(@organization_id, @session_id, sqlc.narg('until')) END)
ORDER BY seq
LIMIT @page_limit;

-- ListHistoryBackward returns the newest messages between two seqs of a session, both exclusive,
-- newest first, without the senders' names. Times are limited as in ListHistoryForward.
-- name: ListHistoryBackward :many
SELECT id, seq, sender, content, created_at, attachments, metadata FROM message_history
WHERE organization_id = @organization_id AND session_id = @session_id
  AND seq > greatest(@after_seq::bigint, CASE WHEN sqlc.narg('since')::timestamptz IS NOT NULL
                                              THEN first_seq_since(@organization_id, @session_id, sqlc.narg('since')) - 1 END)
  AND seq < least(@before_seq::bigint, CASE WHEN sqlc.narg('until')::timestamptz IS NOT NULL
                                            THEN first_seq_since(@organization_id, @session_id, sqlc.narg('until')) END)
ORDER BY seq DESC
LIMIT @page_limit;

-- ListSessionMessagesAfter returns a session's messages after a seq, oldest first.
-- name: ListSessionMessagesAfter :many
SELECT * FROM messages
WHERE organization_id = @organization_id AND session_id = @session_id AND seq > @seq
ORDER BY seq
LIMIT @page_limit;

-- ListSessionMessagesBefore returns a session's messages before a seq, newest first.
-- name: ListSessionMessagesBefore :many
SELECT * FROM messages
WHERE organization_id = @organization_id AND session_id = @session_id AND seq < @seq
ORDER BY seq DESC
LIMIT @page_limit;

-- ListMessagesBefore returns an organization's messages before a position in time, newest first.
-- Staff read all of them; other users read those of their own sessions among the first scan_limit
-- messages. It suits callers whose messages are frequent enough to fill a page within that limit.
--
-- The owner is looked up by a scalar subquery for each message. The planner would turn EXISTS into
-- a scan of all sessions.
-- name: ListMessagesBefore :many
WITH page AS MATERIALIZED (
    SELECT scanned.organization_id, scanned.id
    FROM (SELECT h.organization_id, h.id, h.session_id, h.created_at FROM message_history h
          WHERE h.organization_id = @organization_id AND (h.created_at, h.id) < (@created_at::timestamptz, @id::uuid)
          ORDER BY h.created_at DESC, h.id DESC
          LIMIT @scan_limit) scanned
    WHERE @is_staff::boolean OR (SELECT s.user_id FROM sessions s WHERE s.organization_id = scanned.organization_id AND s.id = scanned.session_id) = @user_id
    ORDER BY scanned.created_at DESC, scanned.id DESC
    LIMIT @page_limit
)
SELECT m.* FROM page
JOIN messages m ON m.organization_id = page.organization_id AND m.id = page.id
ORDER BY m.created_at DESC, m.id DESC;

-- ListMessagesAfter is ListMessagesBefore in the other direction, oldest first.
-- name: ListMessagesAfter :many
WITH page AS MATERIALIZED (
    SELECT scanned.organization_id, scanned.id
    FROM (SELECT h.organization_id, h.id, h.session_id, h.created_at FROM message_history h
          WHERE h.organization_id = @organization_id AND (h.created_at, h.id) > (@created_at::timestamptz, @id::uuid)
          ORDER BY h.created_at, h.id
          LIMIT @scan_limit) scanned
    WHERE @is_staff::boolean OR (SELECT s.user_id FROM sessions s WHERE s.organization_id = scanned.organization_id AND s.id = scanned.session_id) = @user_id
    ORDER BY scanned.created_at, scanned.id
    LIMIT @page_limit
)
SELECT m.* FROM page
JOIN messages m ON m.organization_id = page.organization_id AND m.id = page.id
ORDER BY m.created_at, m.id;

-- ListUserMessagesBefore returns the messages of a user's sessions before a position in time,
-- newest first. Its cost depends only on the user's own sessions, not on the organization's.
--
-- A page of n messages can only come from sessions that continue beyond the position, and from the
-- n most recent of those that end before it, apart from ties. In the former, a binary search finds
-- the position. Of all these, the n sessions with the newest message before the position are then
-- read, n messages deep.
-- name: ListUserMessagesBefore :many
WITH below AS (
    SELECT s.last_activity FROM sessions s
    WHERE s.organization_id = @organization_id AND s.user_id = @user_id AND s.last_activity < @created_at::timestamptz AND s.last_seq > 0
    ORDER BY s.last_activity DESC
    LIMIT @page_limit::integer
), candidates AS (
    SELECT s.organization_id, s.id,
           CASE WHEN s.last_activity < @created_at::timestamptz THEN s.last_seq
                ELSE first_seq_since(s.organization_id, s.id, @created_at::timestamptz) END AS seq
    FROM sessions s
    WHERE s.organization_id = @organization_id AND s.user_id = @user_id AND s.last_seq > 0
      AND s.last_activity >= coalesce((SELECT min(below.last_activity) FROM below), @created_at::timestamptz)
), sources AS (
    SELECT n.organization_id, n.id, newest.seq
    FROM candidates n
    CROSS JOIN LATERAL (
        SELECT h.seq, h.created_at, h.id FROM message_history h
        WHERE h.organization_id = n.organization_id AND h.session_id = n.id AND h.seq <= n.seq
          AND (h.created_at, h.id) < (@created_at::timestamptz, @id::uuid)
        ORDER BY h.seq DESC
        LIMIT 1) newest
    ORDER BY newest.created_at DESC, newest.id DESC
    LIMIT @page_limit::integer
), page AS MATERIALIZED (
    SELECT candidate_messages.organization_id, candidate_messages.id
    FROM sources o
    CROSS JOIN LATERAL (
        SELECT h.organization_id, h.id, h.created_at FROM message_history h
        WHERE h.organization_id = o.organization_id AND h.session_id = o.id AND h.seq <= o.seq
        ORDER BY h.seq DESC
        LIMIT @page_limit::integer) candidate_messages
    ORDER BY candidate_messages.created_at DESC, candidate_messages.id DESC
    LIMIT @page_limit::integer
)
SELECT m.* FROM page
JOIN messages m ON m.organization_id = page.organization_id AND m.id = page.id
ORDER BY m.created_at DESC, m.id DESC;

-- ListUserMessagesAfter is ListUserMessagesBefore in the other direction, oldest first. Only
-- sessions that continue beyond the position can contribute messages.
-- name: ListUserMessagesAfter :many
WITH sources AS (
    SELECT s.organization_id, s.id, oldest.seq
    FROM sessions s
    CROSS JOIN LATERAL (
        SELECT h.seq, h.created_at, h.id FROM message_history h
        WHERE h.organization_id = s.organization_id AND h.session_id = s.id
          AND h.seq >= first_seq_since(s.organization_id, s.id, @created_at::timestamptz)
          AND (h.created_at, h.id) > (@created_at::timestamptz, @id::uuid)
        ORDER BY h.seq
        LIMIT 1) oldest
    WHERE s.organization_id = @organization_id AND s.user_id = @user_id AND s.last_activity >= @created_at::timestamptz AND s.last_seq > 0
    ORDER BY oldest.created_at, oldest.id
    LIMIT @page_limit::integer
), page AS MATERIALIZED (
    SELECT candidate_messages.organization_id, candidate_messages.id
    FROM sources o
    CROSS JOIN LATERAL (
        SELECT h.organization_id, h.id, h.created_at FROM message_history h
        WHERE h.organization_id = o.organization_id AND h.session_id = o.id AND h.seq >= o.seq
        ORDER BY h.seq
        LIMIT @page_limit::integer) candidate_messages
    ORDER BY candidate_messages.created_at, candidate_messages.id
    LIMIT @page_limit::integer
)
SELECT m.* FROM page
JOIN messages m ON m.organization_id = page.organization_id AND m.id = page.id
ORDER BY m.created_at, m.id;

-- SetFeedback sets the feedback on a message and on the record of its exchange.
-- name: SetFeedback :exec
WITH rated AS (
    UPDATE message_history m SET feedback = sqlc.narg('feedback')::text
    WHERE m.organization_id = @organization_id AND m.id = @id
    RETURNING m.organization_id, m.id, m.run_id
)
UPDATE records r SET feedback = sqlc.narg('feedback')::text
FROM rated t
WHERE r.organization_id = t.organization_id AND r.id = t.run_id AND r.reply_id = t.id;

-- ListTurns returns a session's messages for answering a run, newest first: those up to and
-- including the run's question, and later ones that do not come from the user. Replies to earlier
-- questions can have a higher seq than the question; later questions belong to later runs. The text
-- of failed runs of the same question is left out.
-- name: ListTurns :many
SELECT h.seq, h.sender, h.content, h.attachments, h.id = r.question_id AS is_question
FROM runs r
JOIN message_history h ON h.organization_id = r.organization_id AND h.session_id = r.session_id
WHERE r.organization_id = @organization_id AND r.id = @run_id AND (h.seq <= r.question_seq OR h.sender <> 'user')
  AND NOT (h.sender = 'bot' AND h.seq > r.question_seq AND EXISTS (
      SELECT FROM runs f WHERE f.organization_id = h.organization_id AND f.id = h.run_id AND f.question_id = r.question_id))
ORDER BY h.seq DESC
LIMIT @page_limit;
