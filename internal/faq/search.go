package faq

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
)

// Search has two steps. First the database finds candidates: the FAQs whose questions share the
// rarest terms with the question, in any spelling. Then the candidates are ranked with their
// answers. Only the first step depends on stored terms, so knowledge of a language can change
// without a new index if only the second step uses it.
const (
	maxCandidates     = 40
	maxEntriesPerTerm = 2000
	// maxQueryTerms bounds the terms of a question that are looked up. Those of a long message that
	// come first are used.
	maxQueryTerms = 120
	// maxVariantTerms bounds the further terms that are looked up for other spellings.
	maxVariantTerms = 120
	// smoothing is added to the number of a chatbot's FAQs. A few FAQs do not show which terms are
	// rare.
	smoothing = 50
)

// The parameters of BM25, which lowers the weight of terms in long questions.
const (
	averageLength       = 14.0 // in weights of terms; BM25's avgdl
	lengthNormalization = 0.5  // b
	saturation          = 1.2  // k1
)

// indexWeight returns the weight that is stored with each term of a question.
func indexWeight(terms []term) float32 { return float32(lengthWeight(terms, term.weight)) }

// lengthWeight returns the BM25 factor for the length of a question, as the sum of its terms'
// weights.
func lengthWeight(terms []term, weight func(term) float64) float64 {
	length := 0.0
	for _, t := range terms {
		length += weight(t)
	}
	return (saturation + 1) / (1 + saturation*(1-lengthNormalization+lengthNormalization*length/averageLength))
}

// Match is an FAQ that was found for a question.
type Match struct {
	ID       uuid.UUID
	Question string
	Answer   string
	// Score is how much of the question the FAQ covers, from 0 to 1.
	Score    float64
	isExact  bool    // the FAQ's question equals the question, apart from spelling
	rank     float64 // orders the matches of one question
	evidence float64 // how many specific terms the FAQ shares with the question
}

// Search returns the FAQs of the chatbot that match the question, best first. An FAQ with exactly
// this question comes first.
func (e *Engine) Search(ctx context.Context, question bot.Question) ([]Match, error) {
	owner, text := question.Bot, question.Text
	key := questionKey(text)
	if key == "" {
		return nil, nil
	}
	params := db.SearchFaqsParams{
		OrganizationID: owner.OrganizationID, BotID: owner.ID, QuestionKey: key,
		EntriesPerTerm: maxEntriesPerTerm, Smoothing: smoothing, Candidates: maxCandidates,
	}
	for _, t := range queryTerms(text) {
		params.Terms = append(params.Terms, t.text)
		params.Weights = append(params.Weights, float32(t.weight()))
	}
	var err error
	if params.Allowed, err = e.selectedEntries(ctx, owner, question.Selection); err != nil {
		return nil, err
	}
	// Planning takes five times as long as execution, and the plan does not depend on the
	// parameters.
	rows, err := e.store.GenericPlan().SearchFaqs(ctx, params)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	query := newQuery(text, rows[0])
	matches := make([]Match, 0, len(rows))
	for _, row := range rows {
		matches = append(matches, query.match(row, e.terms))
	}
	slices.SortStableFunc(matches, func(x, y Match) int {
		if x.isExact != y.isExact {
			if x.isExact {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.rank, x.rank)
	})
	return matches, nil
}

// queryTerms returns the indexed terms of a text as it is written, and then those of its other
// spellings: a stored question may be written in either Chinese script and with either of two
// synonyms.
func queryTerms(text string) []term {
	terms, seen := []term{}, map[string]bool{}
	add := func(text string, limit int) {
		for _, t := range indexTerms(text) {
			if t.isIndexed() && !seen[t.text] && len(terms) < limit {
				seen[t.text] = true
				terms = append(terms, t)
			}
		}
	}
	add(text, maxQueryTerms)
	for _, spelling := range otherSpellings(text) {
		add(spelling, maxQueryTerms+maxVariantTerms)
	}
	return terms
}
