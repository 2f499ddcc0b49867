-- CountRecords returns the number of a chatbot's records in a time range. It uses an index-only
-- scan.
-- name: CountRecords :one
SELECT count(*) FROM records
WHERE organization_id = @organization_id AND bot_id = @bot_id AND created_at >= @since AND created_at < @until;

-- ListRecords returns a page of a chatbot's records in a time range, newest first. It locates the
-- page with an index-only scan and reads only the rows of the page, so a late page costs little
-- more than the first.
-- name: ListRecords :many
WITH page AS (
    SELECT i.organization_id, i.id FROM records i
    WHERE i.organization_id = @organization_id AND i.bot_id = @bot_id AND i.created_at >= @since AND i.created_at < @until
    ORDER BY i.created_at DESC, i.id DESC
    LIMIT @page_limit OFFSET @page_offset
)
SELECT r.* FROM page p
JOIN records r ON r.organization_id = p.organization_id AND r.id = p.id
ORDER BY r.created_at DESC, r.id DESC;

-- SumRecordCounts returns the same total as CountRecords, but takes complete hours from the hourly
-- counts. first_hour is the start of the first complete hour, last_hour the end of the last one.
-- Only the records before first_hour, after last_hour, and in hours that are not counted yet are
-- read.
--
-- It also returns where to start reading a page: skip page_offset - skipped of the records before
-- the instant "before". When page_offset is 0, no start is computed.
-- name: SumRecordCounts :one
WITH counted AS (
    SELECT CASE WHEN n.until < @first_hour::timestamptz THEN @first_hour::timestamptz
                WHEN n.until > @last_hour::timestamptz THEN @last_hour::timestamptz
                ELSE n.until END AS until
    FROM (
        SELECT coalesce(max(c.hour) + interval '1 hour', '-infinity')::timestamptz AS until FROM record_counts c
        WHERE c.organization_id = @organization_id AND c.bot_id = @bot_id
    ) n
), hours AS NOT MATERIALIZED (
    SELECT h.hour, h.n FROM record_hours h
    WHERE h.organization_id = @organization_id AND h.bot_id = @bot_id
      AND h.hour >= @first_hour::timestamptz AND h.hour < (SELECT c.until FROM counted c)
), newer AS MATERIALIZED (
    SELECT count(*) AS n FROM records r
    WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id
      AND r.created_at >= (SELECT c.until FROM counted c) AND r.created_at < @until
), older AS (
    SELECT count(*) AS n FROM records r
    WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id
      AND r.created_at >= @since AND r.created_at < @first_hour::timestamptz
), skipped AS (
    SELECT s.hour, s.n FROM (
        SELECT h.hour, w.n + sum(h.n) OVER (ORDER BY h.hour DESC) AS n FROM hours h, newer w
    ) s
    WHERE @page_offset::bigint > 0 AND s.n <= @page_offset::bigint
    ORDER BY s.hour
    LIMIT 1
)
SELECT (w.n + coalesce((SELECT sum(h.n) FROM hours h), 0) + o.n)::bigint AS total,
       coalesce((SELECT s.hour FROM skipped s), @until)::timestamptz AS before,
       coalesce((SELECT s.n FROM skipped s), 0)::bigint AS skipped
FROM newer w, older o;

-- ConfigureRecordSearch limits the statements of the transaction to 10 seconds and has them
-- planned for their parameters. A generic plan cannot know which filters are unset, and would scan
-- the whole time range for the records of one conversation.
-- name: ConfigureRecordSearch :exec
SELECT set_config('statement_timeout', '10s', true), set_config('plan_cache_mode', 'force_custom_plan', true);

-- ConfigureRecordExport has the statements of the transaction planned for their parameters and
-- makes them read records in index order. An export must not read and sort all matching records
-- for each of its blocks, however selective the planner believes a filter to be.
-- name: ConfigureRecordExport :exec
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('enable_bitmapscan', 'off', true);

-- SearchRecords is ListRecords with filters. Each row carries the total number of matching
-- records; a page beyond the end has no rows and therefore no total.
--
-- An empty filter is unset; feedback = 'none' matches records without feedback. Patterns must be
-- escaped. A pattern without cased letters is passed as LIKE, which is twice as fast as ILIKE.
-- Run it after ConfigureRecordSearch.
-- name: SearchRecords :many
WITH matching AS MATERIALIZED (
    SELECT i.organization_id, i.id, i.created_at FROM records i
    WHERE i.organization_id = @organization_id AND i.bot_id = @bot_id AND i.created_at >= @since AND i.created_at < @until
      AND (sqlc.narg('session_id')::uuid IS NULL OR i.session_id = sqlc.narg('session_id')::uuid)
      AND (@user_like::text = '' OR canonical(i.input_message) LIKE @user_like::text)
      AND (@user_ilike::text = '' OR canonical(i.input_message) ILIKE @user_ilike::text)
      AND (@bot_like::text = '' OR canonical(i.output_message) LIKE @bot_like::text)
      AND (@bot_ilike::text = '' OR canonical(i.output_message) ILIKE @bot_ilike::text)
      AND (@status::text = '' OR i.status = @status::text)
      AND (@feedback::text = '' OR i.feedback = @feedback::text OR @feedback::text = 'none' AND i.feedback IS NULL)
      AND (@type::text = '' OR i.type = @type::text)
), page AS (
    SELECT m.organization_id, m.id FROM matching m
    ORDER BY m.created_at DESC, m.id DESC
    LIMIT @page_limit OFFSET @page_offset
)
SELECT sqlc.embed(r), (SELECT count(*) FROM matching) AS total
FROM page p
JOIN records r ON r.organization_id = p.organization_id AND r.id = p.id
ORDER BY r.created_at DESC, r.id DESC;

-- ListRecordsBefore returns the block of records after a position in the order of ListRecords,
-- with the filters of SearchRecords. A block has at most block_rows rows and ends with the row
-- whose texts bring it to block_bytes, so memory does not grow with the length of the texts. No
-- rows means that the export is complete. Run it after ConfigureRecordExport.
--
-- The columns are those that an export format shows, in the order in which records.row reads them.
-- name: ListRecordsBefore :many
SELECT m.id, m.created_at, m.asked_at, m.session_id, m.status, m.type, m.input_message, m.condense_message, m.context,
       m.output_message, m.faithfulness_score, m.answer_relevancy_score, m.context_precision_score, m.answer_correctness_score,
       m.answer_similarity_score, m.context_recall_score, m.reply_time, m.feedback, m.error,
       m.model, m.prompt_tokens, m.completion_tokens, m.cached_tokens, m.reasoning_tokens
FROM (
    SELECT b.*, sum(b.bytes) OVER (ORDER BY b.created_at DESC, b.id DESC ROWS UNBOUNDED PRECEDING) AS bytes_so_far
    FROM (
        SELECT i.*, octet_length(i.input_message) + octet_length(i.condense_message)
                    + octet_length(i.context) + octet_length(i.output_message) AS bytes
        FROM records i
        WHERE i.organization_id = @organization_id AND i.bot_id = @bot_id AND i.created_at >= @since
          AND (i.created_at, i.id) < (@before_time::timestamptz, @before_id::uuid)
          AND (sqlc.narg('session_id')::uuid IS NULL OR i.session_id = sqlc.narg('session_id')::uuid)
          AND (@user_like::text = '' OR canonical(i.input_message) LIKE @user_like::text)
          AND (@user_ilike::text = '' OR canonical(i.input_message) ILIKE @user_ilike::text)
          AND (@bot_like::text = '' OR canonical(i.output_message) LIKE @bot_like::text)
          AND (@bot_ilike::text = '' OR canonical(i.output_message) ILIKE @bot_ilike::text)
          AND (@status::text = '' OR i.status = @status::text)
          AND (@feedback::text = '' OR i.feedback = @feedback::text OR @feedback::text = 'none' AND i.feedback IS NULL)
          AND (@type::text = '' OR i.type = @type::text)
        ORDER BY i.created_at DESC, i.id DESC
        LIMIT @block_rows
    ) b
) m
WHERE m.bytes_so_far - m.bytes < @block_bytes::bigint
ORDER BY m.created_at DESC, m.id DESC;

-- ListRecordTexts returns the texts of the given records, newest first.
-- name: ListRecordTexts :many
SELECT id, input_message, condense_message, context, output_message FROM records
WHERE organization_id = @organization_id AND id = ANY(@ids::uuid[])
ORDER BY created_at DESC, id DESC;

-- GetCurrentTime returns the time of the database's clock, which dates all rows.
-- name: GetCurrentTime :one
SELECT clock_timestamp()::timestamptz;

-- AggregateRecordsByDay aggregates a chatbot's records per day. days holds the start of each day;
-- the column day is a 1-based index into it. Day 0 is the aggregate over all days, because means
-- and percentiles cannot be derived from those of single days. A reply time is meaningless (0)
-- when replies is 0, and a first-token time when first_tokens is 0.
-- name: AggregateRecordsByDay :many
SELECT coalesce(d.day, 0)::integer AS day,
       count(*) AS records,
       count(*) FILTER (WHERE d.status = 'failed') AS failures,
       count(*) FILTER (WHERE d.feedback = 'like') AS likes,
       count(*) FILTER (WHERE d.feedback = 'dislike') AS dislikes,
       coalesce(sum(d.prompt_tokens), 0)::bigint AS prompt_tokens,
       coalesce(sum(d.completion_tokens), 0)::bigint AS completion_tokens,
       coalesce(sum(d.cached_tokens), 0)::bigint AS cached_tokens,
       coalesce(sum(d.reasoning_tokens), 0)::bigint AS reasoning_tokens,
       count(d.reply_time) AS replies,
       coalesce(avg(d.reply_time), 0)::double precision AS mean_reply_time,
       coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY d.reply_time), 0)::double precision AS p95_reply_time,
       count(d.first_token_time) AS first_tokens,
       coalesce(avg(d.first_token_time), 0)::double precision AS mean_first_token_time
FROM (
    SELECT width_bucket(r.created_at, @days::timestamptz[]) AS day,
           r.status, r.feedback, r.prompt_tokens, r.completion_tokens, r.cached_tokens, r.reasoning_tokens, r.reply_time, r.first_token_time
    FROM records r
    WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id AND r.created_at >= @since AND r.created_at < @until
) d
GROUP BY GROUPING SETS ((d.day), ());

-- CountConversationsByDay counts a chatbot's conversations per day of their creation. Days are
-- those of AggregateRecordsByDay.
-- name: CountConversationsByDay :many
SELECT width_bucket(s.created_at, @days::timestamptz[])::integer AS day, count(*) AS conversations
FROM sessions s
WHERE s.organization_id = @organization_id AND s.bot_id = @bot_id AND s.created_at >= @since AND s.created_at < @until
  AND (s.last_seq > 0 OR NOT s.is_implied)
GROUP BY 1;

-- CountMessagesByDay counts the messages in a chatbot's conversations per day. Days are those of
-- AggregateRecordsByDay.
-- name: CountMessagesByDay :many
SELECT width_bucket(m.created_at, @days::timestamptz[])::integer AS day, count(*) AS messages
FROM message_history m
JOIN sessions s ON s.organization_id = m.organization_id AND s.id = m.session_id
WHERE m.organization_id = @organization_id AND s.bot_id = @bot_id AND m.created_at >= @since AND m.created_at < @until
GROUP BY 1;

-- HasConversation reports whether a conversation exists and belongs to the chatbot.
-- name: HasConversation :one
SELECT EXISTS (SELECT FROM sessions WHERE organization_id = @organization_id AND id = @id AND bot_id = @bot_id);

-- GetRecord returns a chatbot's record.
-- name: GetRecord :one
SELECT * FROM records WHERE organization_id = @organization_id AND id = @id AND bot_id = @bot_id;

-- LockRecord is GetRecord and also blocks other writers of the record until the transaction ends.
-- name: LockRecord :one
SELECT * FROM records WHERE organization_id = @organization_id AND id = @id AND bot_id = @bot_id
FOR NO KEY UPDATE;

-- SetRecordScores replaces a record's scores.
-- name: SetRecordScores :exec
UPDATE records SET
    faithfulness_score       = sqlc.narg('faithfulness_score'),
    answer_relevancy_score   = sqlc.narg('answer_relevancy_score'),
    context_precision_score  = sqlc.narg('context_precision_score'),
    answer_correctness_score = sqlc.narg('answer_correctness_score'),
    answer_similarity_score  = sqlc.narg('answer_similarity_score'),
    context_recall_score     = sqlc.narg('context_recall_score')
WHERE organization_id = @organization_id AND id = @id;

-- ListBotsWithUncountedRecords returns the chatbots that have records in complete hours which are
-- not counted yet, or deletions to subtract from counted hours. "until" is the end of the range to
-- count next, at most max_days of records; has_more is true when more records follow.
--
-- An hour is complete five minutes after its end, which tolerates a clock that is set back, and
-- once every writing transaction began after its end. A record is dated within its transaction, so
-- no record can then appear in that hour.
-- name: ListBotsWithUncountedRecords :many
WITH complete AS (
    SELECT date_trunc('hour', least(clock_timestamp() - interval '5 minutes', oldest_writer()), 'UTC') AS until
)
SELECT b.organization_id, b.id AS bot_id,
       least(o.until, date_trunc('hour', f.created_at, 'UTC') + make_interval(days => @max_days::integer))::timestamptz AS until,
       coalesce(date_trunc('hour', f.created_at, 'UTC') + make_interval(days => @max_days::integer) < o.until, false)::boolean AS has_more
FROM complete o
CROSS JOIN bots b
CROSS JOIN LATERAL (
    SELECT coalesce(max(n.hour) + interval '1 hour', '-infinity') AS until FROM record_counts n
    WHERE n.organization_id = b.organization_id AND n.bot_id = b.id
) c
LEFT JOIN LATERAL (
    SELECT r.created_at FROM records r
    WHERE r.organization_id = b.organization_id AND r.bot_id = b.id AND r.created_at >= c.until AND r.created_at < o.until
    ORDER BY r.created_at, r.id
    LIMIT 1
) f ON true
WHERE f.created_at IS NOT NULL
   OR EXISTS (SELECT FROM record_deletions d WHERE d.organization_id = b.organization_id AND d.bot_id = b.id AND d.hour < o.until);

-- LockRecordCounts tries to lock a chatbot's record counts until the transaction ends, and returns
-- whether it could. It never waits. Other counts and deletions of the chatbot's records are
-- blocked meanwhile.
--
-- It must be a separate statement, so that the next one sees what was committed before the lock
-- was taken. It returns no row when the chatbot is deleted or being deleted.
-- name: LockRecordCounts :one
SELECT pg_try_advisory_xact_lock(record_counts_lock(b.organization_id, b.id)) AS is_locked
FROM bots b
WHERE b.organization_id = @organization_id AND b.id = @bot_id
FOR KEY SHARE SKIP LOCKED;

-- UpdateRecordCounts counts a chatbot's records from the newest counted hour up to "until", and
-- applies the deletions. Deletions are subtracted from hours that were counted before; hours
-- counted now do not contain the deleted records.
--
-- INVARIANT: the transaction holds the lock of LockRecordCounts.
-- name: UpdateRecordCounts :exec
WITH counted AS (
    SELECT coalesce(max(c.hour) + interval '1 hour', '-infinity') AS until FROM record_counts c
    WHERE c.organization_id = @organization_id AND c.bot_id = @bot_id
), deleted AS (
    DELETE FROM record_deletions d
    WHERE d.organization_id = @organization_id AND d.bot_id = @bot_id AND d.hour < @until::timestamptz
    RETURNING d.hour, d.n
)
INSERT INTO record_counts AS c (organization_id, bot_id, hour, n)
SELECT @organization_id::uuid AS organization_id, @bot_id::uuid AS bot_id, date_trunc('hour', r.created_at, 'UTC') AS hour, count(*) AS n
FROM records r
WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id
  AND r.created_at >= (SELECT until FROM counted) AND r.created_at < @until::timestamptz
GROUP BY 3
UNION ALL
SELECT @organization_id::uuid AS organization_id, @bot_id::uuid AS bot_id, d.hour AS hour, -sum(d.n) AS n
FROM deleted d
WHERE d.hour < (SELECT until FROM counted)
GROUP BY 3
ON CONFLICT (organization_id, bot_id, hour) DO UPDATE SET n = c.n + excluded.n;

-- DeleteOrphanedRecordDeletions deletes the record deletions of chatbots that no longer exist.
-- name: DeleteOrphanedRecordDeletions :exec
DELETE FROM record_deletions d
WHERE NOT EXISTS (SELECT FROM bots b WHERE b.organization_id = d.organization_id AND b.id = d.bot_id);
