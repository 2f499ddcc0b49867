-- InsertFaqs inserts entries into a chatbot's FAQ. InsertFaqTerms indexes them. labels are JSON
-- arrays, because PostgreSQL has no arrays of arrays with different lengths.
-- name: InsertFaqs :exec
INSERT INTO faqs (organization_id, id, bot_id, question, question_key, answer, labels)
SELECT @organization_id, n.id, @bot_id, n.question, n.question_key, n.answer,
       ARRAY(SELECT jsonb_array_elements_text(n.labels))
FROM (SELECT unnest(@ids::uuid[]) AS id,
             unnest(@questions::text[]) AS question,
             unnest(@question_keys::text[]) AS question_key,
             unnest(@answers::text[]) AS answer,
             unnest(@labels::text[])::jsonb AS labels) AS n;

-- InsertFaqTerms indexes FAQ entries: one row for each term of each entry.
-- name: InsertFaqTerms :exec
INSERT INTO faq_terms (organization_id, bot_id, term, faq_id, weight)
SELECT @organization_id, @bot_id, unnest(@terms::text[]), unnest(@faq_ids::uuid[]), unnest(@weights::real[]);

-- DeleteFaqTerms removes FAQ entries from the index before they are indexed again.
-- name: DeleteFaqTerms :exec
DELETE FROM faq_terms WHERE organization_id = @organization_id AND faq_id = ANY(@faq_ids::uuid[]);

-- GetFaq returns an FAQ entry of a chatbot.
-- name: GetFaq :one
SELECT * FROM faqs WHERE organization_id = @organization_id AND bot_id = @bot_id AND id = @id;

-- ListFaqs returns a page of a chatbot's FAQ entries, newest first.
-- name: ListFaqs :many
SELECT * FROM faqs
WHERE organization_id = @organization_id AND bot_id = @bot_id
ORDER BY created_at DESC, id DESC
LIMIT @page_limit OFFSET @page_offset;

-- CountFaqs returns the number of a chatbot's FAQ entries.
-- name: CountFaqs :one
SELECT count(*) FROM faqs WHERE organization_id = @organization_id AND bot_id = @bot_id;

-- UpdateFaq replaces the question, answer and labels of an FAQ entry.
-- name: UpdateFaq :one
UPDATE faqs SET
    question     = @question,
    question_key = @question_key,
    answer       = @answer,
    labels       = @labels,
    updated_at   = clock_timestamp()
WHERE organization_id = @organization_id AND bot_id = @bot_id AND id = @id
RETURNING *;

-- LockFaq returns an FAQ entry of a chatbot and blocks its other writers until the transaction
-- ends.
-- name: LockFaq :one
SELECT * FROM faqs WHERE organization_id = @organization_id AND bot_id = @bot_id AND id = @id FOR NO KEY UPDATE;

-- DeleteFaq deletes an FAQ entry of a chatbot.
-- name: DeleteFaq :execrows
DELETE FROM faqs WHERE organization_id = @organization_id AND bot_id = @bot_id AND id = @id;

-- DeleteFaqs deletes FAQ entries of a chatbot, in the order of their ids, so that two requests cannot
-- deadlock. It returns how many existed.
-- name: DeleteFaqs :execrows
DELETE FROM faqs d WHERE (d.organization_id, d.id) IN (
    SELECT f.organization_id, f.id FROM faqs f
    WHERE f.organization_id = @organization_id AND f.bot_id = @bot_id AND f.id = ANY (@ids::uuid[])
    ORDER BY f.id
    FOR UPDATE);

-- ListFaqsForImport returns all of a chatbot's FAQ entries for comparison by an import, newest
-- first, with a hash of each answer. Looking up thousands of questions one by one is faster only
-- while the planner's statistics are current, and an import cannot wait for ANALYZE.
-- name: ListFaqsForImport :many
SELECT id, question, md5(answer) AS answer_hash, labels FROM faqs
WHERE organization_id = @organization_id AND bot_id = @bot_id
ORDER BY id DESC;

-- UpdateFaqs replaces the answers and labels of a chatbot's FAQ entries.
-- name: UpdateFaqs :exec
UPDATE faqs SET
    answer     = n.answer,
    labels     = ARRAY(SELECT jsonb_array_elements_text(n.labels)),
    updated_at = clock_timestamp()
FROM (SELECT unnest(@ids::uuid[]) AS id,
             unnest(@answers::text[]) AS answer,
             unnest(@labels::text[])::jsonb AS labels) AS n
WHERE faqs.organization_id = @organization_id AND faqs.bot_id = @bot_id AND faqs.id = ANY(@ids::uuid[]) AND faqs.id = n.id;

-- SearchFaqs returns the entries of a chatbot that best match a question, ranked by the inverse
-- document frequency of the shared terms, and the entries whose question is equal to it. With
-- "allowed", only those entries are considered.
--
-- For each term, at most entries_per_term entries are read: a term that occurs in more of them
-- discriminates little. Every row also carries the number of entries, in total and for each matched
-- term (its document frequency), so that the caller can rank the candidates exactly. smoothing is
-- added to the number of entries, because the few entries of a small bot do not show which terms
-- are rare.
-- name: SearchFaqs :many
WITH query_terms AS MATERIALIZED (
    SELECT unnest(@terms::text[]) AS term, unnest(@weights::real[]) AS weight
), hits AS MATERIALIZED (
    SELECT a.term, a.weight AS query_weight, t.faq_id, t.weight
    FROM query_terms AS a
    CROSS JOIN LATERAL (
        SELECT t.faq_id, t.weight FROM faq_terms AS t
        WHERE t.organization_id = @organization_id AND t.bot_id = @bot_id AND t.term = a.term
          AND (sqlc.narg('allowed')::uuid[] IS NULL OR t.faq_id = ANY (sqlc.narg('allowed')::uuid[]))
        LIMIT @entries_per_term
    ) AS t
), total AS MATERIALIZED (
    SELECT count(*) + @smoothing::bigint AS entries FROM faqs AS f
    WHERE f.organization_id = @organization_id AND f.bot_id = @bot_id
), matched AS MATERIALIZED (
    SELECT g.term, g.entries,
           ln(1 + (n.entries - g.entries + 0.5) / (g.entries + 0.5)) AS idf
    FROM (SELECT h.term, count(*) AS entries FROM hits AS h GROUP BY h.term) AS g
    CROSS JOIN total AS n
), ranked AS (
    SELECT h.faq_id, sum(k.idf * h.query_weight * h.weight) AS rank
    FROM hits AS h JOIN matched AS k ON k.term = h.term
    GROUP BY h.faq_id
    ORDER BY rank DESC
    LIMIT @candidates
), found AS (
    SELECT faq_id, rank FROM ranked
    UNION ALL (
        SELECT f.id, 0 FROM faqs AS f
        WHERE f.organization_id = @organization_id AND f.bot_id = @bot_id
          AND md5(f.question_key) = md5(@question_key::text) AND f.question_key = @question_key::text
          AND (sqlc.narg('allowed')::uuid[] IS NULL OR f.id = ANY (sqlc.narg('allowed')::uuid[]))
        ORDER BY f.id DESC
        LIMIT 3
    )
)
SELECT f.id, f.question, f.answer,
       max(found.rank)::float8 AS rank,
       (f.question_key = @question_key::text)::boolean AS is_exact,
       (SELECT n.entries FROM total AS n)::bigint AS entries,
       (SELECT array_agg(term ORDER BY term) FROM matched)::text[] AS matched_terms,
       (SELECT array_agg(entries ORDER BY term) FROM matched)::bigint[] AS document_frequencies
FROM found
JOIN faqs AS f ON f.organization_id = @organization_id AND f.id = found.faq_id
GROUP BY f.organization_id, f.id
ORDER BY rank DESC, f.id DESC;

-- ListFaqLabels returns the labels of a chatbot's FAQ entries.
-- name: ListFaqLabels :many
SELECT id, labels FROM faqs WHERE organization_id = @organization_id AND bot_id = @bot_id;
