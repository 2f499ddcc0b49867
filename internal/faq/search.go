package faq

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
)

// The search has two steps. The database finds the few entries whose questions share the rarest terms with what was
// asked, in any of its spellings; then those are looked at closely, with their answers. Only the first step knows what
// is stored, so all that is known of a language can be changed without indexing anew.
const (
	candidates     = 40
	entriesPerTerm = 2000
	// maxAsked bounds the terms that are looked up, of a long message those that come first.
	maxAsked = 120
	// maxRespelled bounds the terms that are looked up besides, of its other spellings.
	maxRespelled = 120
	// smoothing is how many entries every bot is taken to have besides its own: the few of a small bot do not show
	// which terms are rare.
	smoothing = 50
)

// What the length of a question takes off the weight of its terms, as in BM25: a term tells less of a long one.
const (
	typicalLength = 14.0 // in weight of its terms
	lengthEffect  = 0.5
	saturation    = 1.2
)

// termWeight is what the index holds of each term of a question.
func termWeight(terms []term) float32 { return float32(lengthWeight(terms, term.weight)) }

// lengthWeight is the weight of each of a question's terms, given what each tells by itself.
func lengthWeight(terms []term, weight func(term) float64) float64 {
	length := 0.0
	for _, t := range terms {
		length += weight(t)
	}
	return (saturation + 1) / (1 + saturation*(1-lengthEffect+lengthEffect*length/typicalLength))
}

// Match is an FAQ that was found for a question.
type Match struct {
	ID       uuid.UUID
	Question string
	Answer   string
	// Score is how much of the question the FAQ covers, from 0 to 1.
	Score    float64
	isExact  bool    // the FAQ's question is the question, apart from spelling
	rank     float64 // orders the matches of one question
	evidence float64 // how much the FAQ shares with the question, in terms that are specific to it
}

// Search returns the FAQs of the chatbot that match the question, best first. An FAQ with exactly this question comes
// first.
func (e *Engine) Search(ctx context.Context, question bot.Question) ([]Match, error) {
	owner, text := question.Bot, question.Text
	key := questionKey(text)
	if key == "" {
		return nil, nil
	}
	query := db.SearchFaqsParams{
		OrganizationID: owner.OrganizationID, BotID: owner.ID, QuestionKey: key,
		EntriesPerTerm: entriesPerTerm, Smoothing: smoothing, Candidates: candidates,
	}
	for _, t := range lookups(text) {
		query.Terms = append(query.Terms, t.text)
		query.Weights = append(query.Weights, float32(t.weight()))
	}
	var err error
	if query.Allowed, err = e.selectedEntries(ctx, owner, question.Selection); err != nil {
		return nil, err
	}
	// Planning it takes five times as long as running it, and all its plans are the same.
	rows, err := e.store.GenericPlan().SearchFaqs(ctx, query)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	a := weigh(text, rows[0])
	found := make([]Match, 0, len(rows))
	for _, row := range rows {
		found = append(found, a.compare(row, e.terms))
	}
	slices.SortStableFunc(found, func(x, y Match) int {
		if x.isExact != y.isExact {
			if x.isExact {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.rank, x.rank)
	})
	return found, nil
}

// lookups are the indexed terms of a text as it is written, and then those of its other spellings: a question may have
// been stored in either script, and with either word.
func lookups(text string) []term {
	found, seen := []term{}, map[string]bool{}
	add := func(text string, bound int) {
		for _, t := range cutTerms(text) {
			if t.indexed() && !seen[t.text] && len(found) < bound {
				seen[t.text] = true
				found = append(found, t)
			}
		}
	}
	add(text, maxAsked)
	for _, spelling := range spellings(text) {
		add(spelling, maxAsked+maxRespelled)
	}
	return found
}
