-- CountRecords counts a chatbot's records in a span of time, from the index alone.
-- name: CountRecords :one
SELECT count(*) FROM records
WHERE organization_id = @organization_id AND bot_id = @bot_id AND created_at >= @since AND created_at < @until;

-- ListRecords returns a page of a chatbot's records in a span of time, newest
-- first. The page is found in the index alone, and only its rows are read: a late
-- page costs little more than the first.
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

-- SearchRecords is ListRecords for those whose texts match, with how many match in
-- all; a page beyond the end has no row to tell it. Of the four patterns an empty
-- one is none. They come escaped, and as LIKE where they have no letter with a
-- case: that is twice as fast as ILIKE.
-- name: SearchRecords :many
WITH matching AS MATERIALIZED (
    SELECT i.organization_id, i.id, i.created_at FROM records i
    WHERE i.organization_id = @organization_id AND i.bot_id = @bot_id AND i.created_at >= @since AND i.created_at < @until
      AND (@user_like::text = '' OR i.input_message LIKE @user_like::text)
      AND (@user_ilike::text = '' OR i.input_message ILIKE @user_ilike::text)
      AND (@bot_like::text = '' OR i.output_message LIKE @bot_like::text)
      AND (@bot_ilike::text = '' OR i.output_message ILIKE @bot_ilike::text)
), page AS (
    SELECT m.organization_id, m.id FROM matching m
    ORDER BY m.created_at DESC, m.id DESC
    LIMIT @page_limit OFFSET @page_offset
)
SELECT sqlc.embed(r), (SELECT count(*) FROM matching) AS total
FROM page p
JOIN records r ON r.organization_id = p.organization_id AND r.id = p.id
ORDER BY r.created_at DESC, r.id DESC;

-- ListRecordsBefore returns what an export says of the block of records that follows
-- a place in the order of ListRecords: at most block_rows of them, and none after the
-- one whose texts bring the block to block_bytes, so that long texts take no more
-- memory than short ones. Empty: there are no more.
-- name: ListRecordsBefore :many
SELECT m.id, m.type, m.input_message, m.condense_message, m.context, m.output_message,
       m.faithfulness_score, m.answer_relevancy_score, m.answer_correctness_score, m.answer_similarity_score,
       m.context_precision_score, m.context_recall_score, m.reply_time, m.created_at
FROM (
    SELECT b.*, sum(b.bytes) OVER (ORDER BY b.created_at DESC, b.id DESC ROWS UNBOUNDED PRECEDING) AS bytes_so_far
    FROM (
        SELECT r.*, octet_length(r.input_message) + octet_length(r.condense_message)
                    + octet_length(r.context) + octet_length(r.output_message) AS bytes
        FROM records r
        WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id AND r.created_at >= @since
          AND (r.created_at, r.id) < (@before_time::timestamptz, @before_id::uuid)
          AND (@user_like::text = '' OR r.input_message LIKE @user_like::text)
          AND (@user_ilike::text = '' OR r.input_message ILIKE @user_ilike::text)
          AND (@bot_like::text = '' OR r.output_message LIKE @bot_like::text)
          AND (@bot_ilike::text = '' OR r.output_message ILIKE @bot_ilike::text)
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT @block_rows
    ) b
) m
WHERE m.bytes_so_far - m.bytes < @block_bytes::bigint
ORDER BY m.created_at DESC, m.id DESC;

-- ListLongTexts returns the texts of those records, newest first.
-- name: ListLongTexts :many
SELECT id, input_message, condense_message, context, output_message FROM records
WHERE organization_id = @organization_id AND id = ANY(@ids::uuid[])
ORDER BY created_at DESC, id DESC;

-- GetTime returns the database's time, by which everything in it is dated.
-- name: GetTime :one
SELECT clock_timestamp()::timestamptz;

-- SumRecords adds up a chatbot's records of some days. days holds the first instant
-- of each; a row's day is its place among them from 1. The row of day 0 is of all
-- days together, since neither means nor percentiles can be had from those of the
-- days. Without replies or first_tokens the times are 0 and mean nothing.
-- name: SumRecords :many
SELECT coalesce(d.day, 0)::integer AS day,
       count(*) AS records,
       count(*) FILTER (WHERE d.status = 'failed') AS failures,
       count(*) FILTER (WHERE d.feedback = 'like') AS likes,
       count(*) FILTER (WHERE d.feedback = 'dislike') AS dislikes,
       coalesce(sum(d.prompt_tokens), 0)::bigint AS prompt_tokens,
       coalesce(sum(d.completion_tokens), 0)::bigint AS completion_tokens,
       count(d.reply_time) AS replies,
       coalesce(avg(d.reply_time), 0)::double precision AS mean_reply_time,
       coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY d.reply_time), 0)::double precision AS p95_reply_time,
       count(d.first_token_time) AS first_tokens,
       coalesce(avg(d.first_token_time), 0)::double precision AS mean_first_token_time
FROM (
    SELECT width_bucket(r.created_at, @days::timestamptz[]) AS day,
           r.status, r.feedback, r.prompt_tokens, r.completion_tokens, r.reply_time, r.first_token_time
    FROM records r
    WHERE r.organization_id = @organization_id AND r.bot_id = @bot_id AND r.created_at >= @since AND r.created_at < @until
) d
GROUP BY GROUPING SETS ((d.day), ());

-- CountConversationsByDay counts a chatbot's conversations by the day on which they
-- began; days as for SumRecords.
-- name: CountConversationsByDay :many
SELECT width_bucket(s.created_at, @days::timestamptz[])::integer AS day, count(*) AS conversations
FROM sessions s
WHERE s.organization_id = @organization_id AND s.bot_id = @bot_id AND s.created_at >= @since AND s.created_at < @until
  AND (s.last_seq > 0 OR NOT s.is_implied)
GROUP BY 1;

-- CountMessagesByDay counts the messages in a chatbot's conversations by the day on
-- which they were sent; days as for SumRecords.
-- name: CountMessagesByDay :many
SELECT width_bucket(m.created_at, @days::timestamptz[])::integer AS day, count(*) AS messages
FROM message_history m
JOIN sessions s ON s.organization_id = m.organization_id AND s.id = m.session_id
WHERE m.organization_id = @organization_id AND s.bot_id = @bot_id AND m.created_at >= @since AND m.created_at < @until
GROUP BY 1;
