package faq

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

// The limits of an FAQ, as the API document states them.
const (
	maxQuestion = 2000 // characters
	maxAnswer   = 32768
	maxLabels   = 50
	maxLabel    = 100
)

// entry is a valid FAQ, ready to be stored.
type entry struct {
	id       uuid.UUID
	question string
	key      string // the questionKey of question
	answer   string
	labels   []string
}

// violation is an invalid field of an FAQ. Requests and rows of files report it differently.
type violation struct {
	field  string
	detail string // the rest of a sentence that begins with the field
}

func (v *violation) asError() error {
	return apperr.Field(apperr.InvalidRequest, "/"+v.field, v.detail)
}

func (v *violation) asSentence() string {
	return fmt.Sprintf("The %s %s.", v.field, v.detail)
}

func newEntry(question, answer string, labels []string) (entry, *violation) {
	e := entry{}
	if v := e.setQuestion(question); v != nil {
		return e, v
	}
	if v := e.setAnswer(answer); v != nil {
		return e, v
	}
	return e, e.setLabels(labels)
}

func changedEntry(old db.Faq, c Change) (entry, *violation) {
	e := entry{id: old.ID, question: old.Question, key: old.QuestionKey, answer: old.Answer, labels: old.Labels}
	if c.Question != nil {
		if v := e.setQuestion(*c.Question); v != nil {
			return e, v
		}
	}
	if c.Answer != nil {
		if v := e.setAnswer(*c.Answer); v != nil {
			return e, v
		}
	}
	if c.Labels != nil {
		return e, e.setLabels(*c.Labels)
	}
	return e, nil
}

func (e *entry) setQuestion(question string) *violation {
	e.question = strings.TrimSpace(sanitize(question))
	e.key = questionKey(e.question)
	switch {
	case e.question == "":
		return &violation{"question", "must not be blank"}
	case utf8.RuneCountInString(e.question) > maxQuestion:
		return &violation{"question", fmt.Sprintf("must have at most %d characters", maxQuestion)}
	}
	return nil
}

func (e *entry) setAnswer(answer string) *violation {
	if utf8.RuneCountInString(answer) > maxAnswer {
		return &violation{"answer", fmt.Sprintf("must have at most %d characters", maxAnswer)}
	}
	e.answer = htmlToText(sanitize(answer))
	if e.answer == "" {
		return &violation{"answer", "must contain text"}
	}
	return nil
}

func (e *entry) setLabels(labels []string) *violation {
	e.labels = make([]string, 0, len(labels))
	for _, label := range labels {
		label = strings.TrimSpace(sanitize(label))
		if utf8.RuneCountInString(label) > maxLabel {
			return &violation{"labels", fmt.Sprintf("must have at most %d characters each", maxLabel)}
		}
		if label != "" && !slices.Contains(e.labels, label) {
			e.labels = append(e.labels, label)
		}
		if len(e.labels) > maxLabels {
			return &violation{"labels", fmt.Sprintf("must be at most %d", maxLabels)}
		}
	}
	return nil
}

// sanitize converts line endings to \n, and removes what PostgreSQL cannot store and control
// characters.
func sanitize(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\u2028' || r == '\u2029':
			return '\n'
		case r != '\n' && r != '\t' && unicode.IsControl(r), r == '\uFEFF':
			return -1
		}
		return r
	}, text)
}

// insertEntries inserts entries and indexes them.
func insertEntries(ctx context.Context, q *db.Queries, owner db.Bot, entries []entry) error {
	rows := db.InsertFaqsParams{OrganizationID: owner.OrganizationID, BotID: owner.ID}
	for _, e := range entries {
		labels, err := json.Marshal(e.labels)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, e.id)
		rows.Questions = append(rows.Questions, e.question)
		rows.QuestionKeys = append(rows.QuestionKeys, e.key)
		rows.Answers = append(rows.Answers, e.answer)
		rows.Labels = append(rows.Labels, string(labels))
	}
	if err := q.InsertFaqs(ctx, rows); err != nil {
		return err
	}
	return insertTerms(ctx, q, owner, entries)
}

// updateEntries updates the answers and labels of entries.
func updateEntries(ctx context.Context, q *db.Queries, owner db.Bot, entries []entry) error {
	rows := db.UpdateFaqsParams{OrganizationID: owner.OrganizationID, BotID: owner.ID}
	for _, e := range entries {
		labels, err := json.Marshal(e.labels)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, e.id)
		rows.Answers = append(rows.Answers, e.answer)
		rows.Labels = append(rows.Labels, string(labels))
	}
	return q.UpdateFaqs(ctx, rows)
}

// insertTerms indexes the questions of entries.
func insertTerms(ctx context.Context, q *db.Queries, owner db.Bot, entries []entry) error {
	rows := db.InsertFaqTermsParams{OrganizationID: owner.OrganizationID, BotID: owner.ID}
	for _, e := range entries {
		terms := indexTerms(e.question)
		weight := indexWeight(terms)
		for _, t := range terms {
			if t.isIndexed() {
				rows.Terms = append(rows.Terms, t.text)
				rows.FaqIds = append(rows.FaqIds, e.id)
				rows.Weights = append(rows.Weights, weight)
			}
		}
	}
	return q.InsertFaqTerms(ctx, rows)
}
