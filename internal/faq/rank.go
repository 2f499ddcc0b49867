package faq

import (
	"math"
	"strings"

	"parley/gen/db"
)

// asked is a question cut into terms, with the rarity of each among the bot's entries, from 0 to 1.
type asked struct {
	terms  []term
	rarity map[string]float64
	// telling is the rarity of what the question is about: vague terms have little.
	telling map[string]float64
	// known is the share of the question that any entries have, from 0 to 1: what is about something else has words
	// that nobody wrote down here.
	known float64
}

// vagueShare is how much a vague term tells of what it would by its rarity.
const vagueShare = 0.1

func weigh(text string, row db.SearchFaqsRow) asked {
	// What the index tells apart may be one term here.
	entries := map[string]float64{}
	for i, known := range row.KnownTerms {
		entries[oneSpelling(known)] += float64(row.KnownEntries[i])
	}
	all := float64(row.Entries)
	rarity := func(n float64) float64 { return math.Log(1 + (all-min(n, all)+0.5)/(n+0.5)) }
	terms := readTerms(text)
	a := asked{terms: terms[:min(len(terms), maxAsked)], rarity: map[string]float64{}, telling: map[string]float64{}}
	for _, t := range a.terms {
		a.rarity[t.text] = rarity(entries[t.text]) / rarity(0)
		a.telling[t.text] = a.rarity[t.text]
		if vague[t.text] {
			a.telling[t.text] *= vagueShare
		}
	}
	// A character is at least as common as the pairs that it is in.
	for _, t := range a.terms {
		if t.kind == pairTerm {
			for _, r := range t.text {
				a.rarity[string(r)] = min(a.rarity[string(r)], a.rarity[t.text])
				a.telling[string(r)] = min(a.telling[string(r)], a.telling[t.text])
			}
		}
	}
	a.known = a.knownShare(entries)
	return a
}

// knownShare counts words, and characters, which are known where one of their pairs is.
func (a asked) knownShare(entries map[string]float64) float64 {
	pieces := map[string]bool{}
	for _, t := range a.terms {
		known := entries[t.text] > 0
		switch t.kind {
		case pairTerm:
			for _, r := range t.text {
				pieces[string(r)] = pieces[string(r)] || known
			}
		case wordTerm, loneTerm:
			pieces[t.text] = known
		}
	}
	if len(pieces) == 0 {
		return 0
	}
	n := 0
	for _, known := range pieces {
		if known {
			n++
		}
	}
	return float64(n) / float64(len(pieces))
}

// How much terms add to an entry's rank, and to what it covers of the question.
const (
	singleRank  = 0.8 // a character, against a pair or a word
	answerRank  = 0.2 // a term that is in the answer only
	answerShare = 0.4
	singleShare = 0.3 // a character that is there, but beside others
)

// maxRead is how many bytes of an answer are compared: those that its first terms are cut from.
const maxRead = 4000

// compare looks closely at an entry.
func (a asked) compare(row db.SearchFaqsRow, texts *termCache) Match {
	m := Match{ID: row.ID, Question: row.Question, Answer: row.Answer, isExact: row.Exact}
	question := texts.read(row.Question)
	answer := strings.ToValidUTF8(row.Answer[:min(len(row.Answer), maxRead)], "")
	shares := a.shares(question.set, texts.read(answer).set)
	weight := lengthWeight(question.terms, rankWeight)
	for i, t := range a.terms {
		switch shares[i] {
		case 1:
			m.rank += weight * rankWeight(t) * a.rarity[t.text]
			m.evidence += a.known * t.weight() * a.telling[t.text]
		case answerShare:
			m.rank += answerRank * rankWeight(t) * a.rarity[t.text]
		}
	}
	m.Score = a.covered(shares)
	if m.isExact {
		m.Score = 1
	}
	return m
}

// rankWeight is how much a term tells where entries are put in order, its rarity aside. Characters tell almost as much
// as pairs: people shorten words, and put others between.
func rankWeight(t term) float64 {
	if t.kind == singleTerm || t.kind == loneTerm {
		return singleRank
	}
	return t.weight()
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

// covered is the share of the question that an entry has, its words and characters weighed by what they tell. A
// character counts in full where one of its pairs is there: most pairs that are not run across the ends of words.
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
		share, weight := shares[i], a.telling[t.text]
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

// What counts as near.
const (
	nearScore    = 0.42 // of a question so much covered, it is the answer
	nearEvidence = 0.2  // or of a longer one, covered less but in rare terms
	relatedScore = 0.15 // worth offering
	relatedRank  = 0.3  // or so near to the best, where that is the answer
)

// IsAnswer tells whether a match is the question's answer.
func (m Match) IsAnswer() bool { return m.Score >= nearScore || m.Score*m.evidence >= nearEvidence }

// IsRelated tells whether a match is worth offering besides the best, or when that is not near.
func (m Match) IsRelated(best Match) bool {
	return m.Score >= relatedScore || best.IsAnswer() && m.rank >= relatedRank*best.rank
}

func textsOf(terms []term) map[string]bool {
	found := make(map[string]bool, len(terms))
	for _, t := range terms {
		found[t.text] = true
	}
	return found
}
