package bot

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
)

// The search has two steps. The database finds the few entries whose questions share the rarest terms with what was
// asked; then those are looked at closely, with their answers.
const (
	candidates     = 40
	entriesPerTerm = 2000
	// maxAsked bounds the terms that are looked up, of a long message those that come first.
	maxAsked = 120
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
func termWeight(terms []term) float32 {
	length := 0.0
	for _, t := range terms {
		length += t.weight()
	}
	return float32((saturation + 1) / (1 + saturation*(1-lengthEffect+lengthEffect*length/typicalLength)))
}

// match is an entry that was found for a question.
type match struct {
	id               uuid.UUID
	question, answer string
	exact            bool    // it is the very question
	rank             float64 // orders the matches of one question
	score            float64 // from 0 to 1: how much of the question it covers
	evidence         float64 // how much it shares with the question, in terms that no other entry has
}

// search finds the bot's entries nearest to a text, best first: who asks an entry's very question gets it.
func (e faqEngine) search(ctx context.Context, owner db.Bot, text string) ([]match, error) {
	terms := cutTerms(text)
	terms = terms[:min(len(terms), maxAsked)]
	key := keyOf(text)
	if key == "" {
		return nil, nil
	}
	query := db.SearchFaqsParams{
		OrganizationID: owner.OrganizationID, BotID: owner.ID, QuestionKey: key,
		EntriesPerTerm: entriesPerTerm, Smoothing: smoothing, Candidates: candidates,
	}
	for _, t := range terms {
		if t.indexed() {
			query.Terms = append(query.Terms, t.text)
			query.Weights = append(query.Weights, float32(t.weight()))
		}
	}
	rows, err := e.store.SearchFaqs(ctx, query)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	a := weigh(terms, rows[0])
	found := make([]match, 0, len(rows))
	for _, row := range rows {
		found = append(found, a.compare(row))
	}
	slices.SortStableFunc(found, func(x, y match) int {
		if x.exact != y.exact {
			if x.exact {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.rank, x.rank)
	})
	return found, nil
}

// asked is a question cut into terms, with the rarity of each among the bot's entries, from 0 to 1.
type asked struct {
	terms  []term
	rarity map[string]float64
	scale  float64 // turns rarities into those of the database
}

func weigh(terms []term, row db.SearchFaqsRow) asked {
	entries := map[string]float64{}
	for i, known := range row.KnownTerms {
		entries[known] = float64(row.KnownEntries[i])
	}
	rarity := func(n float64) float64 { return math.Log(1 + (float64(row.Entries)-n+0.5)/(n+0.5)) }
	a := asked{terms: terms, rarity: map[string]float64{}, scale: rarity(0)}
	for _, t := range terms {
		a.rarity[t.text] = rarity(entries[t.text]) / a.scale
	}
	// A character is at least as common as the pairs that it is in.
	for _, t := range terms {
		if t.kind == pairTerm {
			for _, r := range t.text {
				a.rarity[string(r)] = min(a.rarity[string(r)], a.rarity[t.text])
			}
		}
	}
	return a
}

// What an entry's answer and the two coverages add to its rank; found by trying with questions asked in other words.
const (
	answerShare = 0.4 // of a term that is in the answer only
	answerBonus = 0.2
	singleShare = 0.3 // of a character that is there, but beside others
	coverEffect = 1.5 // against the share of the question that the entry covers
	backEffect  = 0.5 // and the share of the entry that the question covers
)

// compare looks closely at an entry.
func (a asked) compare(row db.SearchFaqsRow) match {
	m := match{id: row.ID, question: row.Question, answer: row.Answer, exact: row.Exact, rank: row.Rank}
	terms := cutTerms(row.Question)
	shares := a.shares(textsOf(terms), textsOf(cutTerms(row.Answer)))
	weight := float64(termWeight(terms))
	for i, t := range a.terms {
		switch shares[i] {
		case 1:
			if !t.indexed() {
				m.rank += weight * a.scale * a.rarity[t.text] * t.weight()
			}
			m.evidence += a.rarity[t.text] * t.weight()
		case answerShare:
			m.rank += answerBonus * a.scale * a.rarity[t.text] * t.weight()
		}
	}
	m.score = a.covered(shares)
	m.rank *= coverEffect + m.score + backEffect*a.covers(terms)
	if m.exact {
		m.score = 1
	}
	return m
}

// shares tells for each term of the question how much of it an entry has.
func (a asked) shares(inQuestion, inAnswer map[string]bool) []float64 {
	shares := make([]float64, len(a.terms))
	for i, t := range a.terms {
		switch {
		case inQuestion[t.text]:
			shares[i] = 1
		case inAnswer[t.text]:
			shares[i] = answerShare
		}
	}
	return shares
}

// covered is the share of the question that an entry has, its words and characters weighed by their rarity. A character
// counts in full where one of its pairs is there: most pairs that are not run across the ends of words.
func (a asked) covered(shares []float64) float64 {
	paired := map[string]float64{}
	for i, t := range a.terms {
		if t.kind == pairTerm {
			for _, r := range t.text {
				paired[string(r)] = max(paired[string(r)], shares[i])
			}
		}
	}
	sum, all := 0.0, 0.0
	for i, t := range a.terms {
		share, weight := shares[i], a.rarity[t.text]
		switch t.kind {
		case pairTerm:
			continue
		case singleTerm, loneTerm:
			share = max(share*singleShare, paired[t.text])
		case stopTerm:
			weight *= t.weight()
		}
		sum += weight * share
		all += weight
	}
	if all == 0 {
		return 0
	}
	return sum / all
}

// covers is the share of an entry's question that the question has.
func (a asked) covers(entry []term) float64 {
	sum, all := 0.0, 0.0
	for _, t := range entry {
		if _, ok := a.rarity[t.text]; ok {
			sum += t.weight()
		}
		all += t.weight()
	}
	if all == 0 {
		return 0
	}
	return sum / all
}

// What counts as near.
const (
	nearScore    = 0.5  // of a question so much covered, it is the answer
	nearEvidence = 0.42 // or of a longer one, covered less but in rare terms
	relatedScore = 0.3  // worth offering
)

// near tells whether a match is the question's answer.
func (m match) near() bool { return m.score >= nearScore || m.score*m.evidence >= nearEvidence }

// related tells whether a match is worth offering.
func (m match) related() bool { return m.score >= relatedScore }

func textsOf(terms []term) map[string]bool {
	found := make(map[string]bool, len(terms))
	for _, t := range terms {
		found[t.text] = true
	}
	return found
}
