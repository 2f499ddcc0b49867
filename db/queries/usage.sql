-- AddStatelessUsage adds counts of stateless completions, given as parallel lists without duplicates
-- and in one order, so that concurrent statements cannot deadlock. Those of deleted chatbots are
-- dropped.
-- name: AddStatelessUsage :exec
INSERT INTO stateless_usage AS u (organization_id, day, bot_id, key_id, completions, failures,
                                  prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens)
SELECT b.organization_id, n.day, b.id, n.key_id, n.completions, n.failures,
       n.prompt_tokens, n.completion_tokens, n.cached_tokens, n.reasoning_tokens
FROM (SELECT unnest(@organization_ids::uuid[]) AS organization_id, unnest(@days::date[]) AS day,
             unnest(@bot_ids::uuid[]) AS bot_id, unnest(@key_ids::uuid[]) AS key_id,
             unnest(@completions::bigint[]) AS completions, unnest(@failures::bigint[]) AS failures,
             unnest(@prompt_tokens::bigint[]) AS prompt_tokens, unnest(@completion_tokens::bigint[]) AS completion_tokens,
             unnest(@cached_tokens::bigint[]) AS cached_tokens, unnest(@reasoning_tokens::bigint[]) AS reasoning_tokens) AS n
JOIN bots b ON b.organization_id = n.organization_id AND b.id = n.bot_id
ORDER BY n.organization_id, n.day, n.bot_id, n.key_id
ON CONFLICT (organization_id, day, bot_id, key_id) DO UPDATE SET
    completions       = u.completions + excluded.completions,
    failures          = u.failures + excluded.failures,
    prompt_tokens     = u.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = u.completion_tokens + excluded.completion_tokens,
    cached_tokens     = u.cached_tokens + excluded.cached_tokens,
    reasoning_tokens  = u.reasoning_tokens + excluded.reasoning_tokens;

-- ListStatelessUsage returns a page of an organization's stateless usage, newest day first, with the
-- name of each chatbot, and of each key that still exists and its user.
-- name: ListStatelessUsage :many
SELECT sqlc.embed(u), b.name AS bot_name, k.name AS key_name, s.name AS user_name
FROM stateless_usage u
JOIN bots b ON b.organization_id = u.organization_id AND b.id = u.bot_id
LEFT JOIN api_keys k ON k.organization_id = u.organization_id AND k.id = u.key_id
LEFT JOIN users s ON s.organization_id = k.organization_id AND s.id = k.user_id
WHERE u.organization_id = @organization_id AND u.day >= @first_day AND u.day <= @last_day
ORDER BY u.day DESC, u.bot_id, u.key_id
LIMIT @page_limit OFFSET @page_offset;

-- CountStatelessUsage returns the total for ListStatelessUsage.
-- name: CountStatelessUsage :one
SELECT count(*) FROM stateless_usage u
WHERE u.organization_id = @organization_id AND u.day >= @first_day AND u.day <= @last_day;
