package faq

import (
	"math"
	"strings"

	"parley/gen/db"
)

// query is an analyzed question.
type query struct {
	terms []term
	// rarity is the inverse document frequency of each term and character among the chatbot's FAQs,
	// from 0 to 1.
	rarity map[string]float64
	// specificity is the rarity of what the question is about: that of vague terms is lowered.
	specificity map[string]float64
	// knownShare is the share of the question's words and characters that occur in any FAQ, from 0
	// to 1. It is low for questions about other subjects.
	knownShare float64
}

// vagueFactor lowers the specificity of vague terms.
const vagueFactor = 0.1

// newQuery analyzes a question. Every row of a search has the same term frequencies, so one is
// enough.
func newQuery(text string, row db.SearchFaqsRow) query {
	frequency := map[string]float64{} // different terms of the index may be one term here
	for i, known := range row.MatchedTerms {
		frequency[normalizeSpelling(known)] += float64(row.DocumentFrequencies[i])
	}
	total := float64(row.Entries)
	idf := func(n float64) float64 { return math.Log(1 + (total-min(n, total)+0.5)/(n+0.5)) }
	terms := comparisonTerms(text)
	q := query{terms: terms[:min(len(terms), maxQueryTerms)], rarity: map[string]float64{}, specificity: map[string]float64{}}
	for _, t := range q.terms {
		q.rarity[t.text] = idf(frequency[t.text]) / idf(0)
		q.specificity[t.text] = q.rarity[t.text]
		if vagueTerms[t.text] {
			q.specificity[t.text] *= vagueFactor
		}
	}
	// A character is at least as frequent as the bigrams that contain it.
	for _, t := range q.terms {
		if t.kind == bigramTerm {
			for _, r := range t.text {
				q.rarity[string(r)] = min(q.rarity[string(r)], q.rarity[t.text])
				q.specificity[string(r)] = min(q.specificity[string(r)], q.specificity[t.text])
			}
		}
	}
	q.knownShare = q.shareKnown(frequency)
	return q
}

// shareKnown returns the share of the words and characters that are known. A character is known if
// one of its bigrams is.
func (q query) shareKnown(frequency map[string]float64) float64 {
	isKnown := map[string]bool{}
	for _, t := range q.terms {
		known := frequency[t.text] > 0
		switch t.kind {
		case bigramTerm:
			for _, r := range t.text {
				isKnown[string(r)] = isKnown[string(r)] || known
			}
		case wordTerm, singleTerm:
			isKnown[t.text] = known
		}
	}
	if len(isKnown) == 0 {
		return 0
	}
	n := 0
	for _, known := range isKnown {
		if known {
			n++
		}
	}
	return float64(n) / float64(len(isKnown))
}

const (
	characterRank  = 0.8 // weight of a character in the rank; bigrams and words have 1
	answerRank     = 0.2 // weight of a term that occurs in the answer only
	answerShare    = 0.4 // share of such a term in the coverage
	characterShare = 0.3 // share of a character in the coverage if none of its bigrams occur
)

// maxComparedAnswer is how many bytes of an answer are compared.
const maxComparedAnswer = 4000

// match compares the question with an FAQ and its answer.
func (q query) match(row db.SearchFaqsRow, cache *termCache) Match {
	m := Match{ID: row.ID, Question: row.Question, Answer: row.Answer, isExact: row.IsExact}
	question := cache.get(row.Question)
	answer := cache.get(strings.ToValidUTF8(row.Answer[:min(len(row.Answer), maxComparedAnswer)], ""))
	shares := q.shares(question.texts, answer.texts)
	weight := lengthWeight(question.terms, rankWeight)
	for i, t := range q.terms {
		switch shares[i] {
		case 1:
			m.rank += weight * rankWeight(t) * q.rarity[t.text]
			m.evidence += q.knownShare * t.weight() * q.specificity[t.text]
		case answerShare:
			m.rank += answerRank * rankWeight(t) * q.rarity[t.text]
		}
	}
	m.Score = q.coverage(shares)
	if m.isExact {
		m.Score = 1
	}
	return m
}

// rankWeight returns a term's weight in the rank, apart from its rarity. Characters have nearly the
// weight of bigrams, because people abbreviate words and insert others.
func rankWeight(t term) float64 {
	if t.kind == characterTerm || t.kind == singleTerm {
		return characterRank
	}
	return t.weight()
}

// shares returns for each term of the question how much of it an FAQ has.
func (q query) shares(inQuestion, inAnswer map[string]bool) []float64 {
	shares := make([]float64, len(q.terms))
	for i, t := range q.terms {
		switch {
		case inQuestion[t.text]:
			shares[i] = 1
		case inAnswer[t.text]:
			shares[i] = answerShare
		}
	}
	return shares
}

// coverage returns the share of the question that an FAQ covers. Words and characters are weighted
// by their specificity. A character counts in full if one of its bigrams occurs: most bigrams that
// do not occur cross the boundary of words.
func (q query) coverage(shares []float64) float64 {
	bigramShares := map[string]float64{} // the largest share of each character's bigrams
	for i, t := range q.terms {
		if t.kind == bigramTerm {
			for _, r := range t.text {
				bigramShares[string(r)] = max(bigramShares[string(r)], shares[i])
			}
		}
	}
	covered, total := 0.0, 0.0
	for i, t := range q.terms {
		share, weight := shares[i], q.specificity[t.text]
		switch t.kind {
		case bigramTerm:
			continue
		case characterTerm, singleTerm:
			share = max(share*characterShare, bigramShares[t.text])
		case stopTerm:
			weight *= t.weight()
		}
		covered += weight * share
		total += weight
	}
	if total == 0 {
		return 0
	}
	return covered / total
}

// The thresholds of matches.
const (
	answerScore    = 0.42 // an FAQ that covers so much of the question answers it
	answerEvidence = 0.2  // and one that covers less of a longer question, but in rare terms
	relatedScore   = 0.15 // worth suggesting
	relatedRank    = 0.3  // the share of the best match's rank, if that answers the question
)

// IsAnswer reports whether the FAQ answers the question.
func (m Match) IsAnswer() bool { return m.Score >= answerScore || m.Score*m.evidence >= answerEvidence }

// IsRelated reports whether the FAQ is worth suggesting, besides the best match or instead of it.
func (m Match) IsRelated(best Match) bool {
	return m.Score >= relatedScore || best.IsAnswer() && m.rank >= relatedRank*best.rank
}
