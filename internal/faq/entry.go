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

// What an entry may hold; the document says the same.
const (
	maxQuestion = 2000
	maxAnswer   = 32768
	maxLabels   = 50
	maxLabel    = 100
)

// entry is an FAQ that is fit to be stored.
type entry struct {
	id       uuid.UUID
	question string
	key      string // of the question
	answer   string
	labels   []string
}

// mistake is what is wrong with an entry. It is told as a fault of a field, or as a sentence about a row.
type mistake struct {
	field  string
	detail string
}

func (m *mistake) asError() error {
	return apperr.Field(apperr.InvalidRequest, "/"+m.field, m.detail)
}

func (m *mistake) sentence() string {
	return fmt.Sprintf("The %s %s.", m.field, m.detail)
}

func newEntry(question, answer string, labels []string) (entry, *mistake) {
	e := entry{}
	if m := e.setQuestion(question); m != nil {
		return e, m
	}
	if m := e.setAnswer(answer); m != nil {
		return e, m
	}
	return e, e.setLabels(labels)
}

func changedEntry(old db.Faq, c Change) (entry, *mistake) {
	e := entry{id: old.ID, question: old.Question, key: old.QuestionKey, answer: old.Answer, labels: old.Labels}
	if c.Question != nil {
		if m := e.setQuestion(*c.Question); m != nil {
			return e, m
		}
	}
	if c.Answer != nil {
		if m := e.setAnswer(*c.Answer); m != nil {
			return e, m
		}
	}
	if c.Labels != nil {
		return e, e.setLabels(*c.Labels)
	}
	return e, nil
}

func (e *entry) setQuestion(question string) *mistake {
	e.question = strings.TrimSpace(printable(question))
	e.key = questionKey(e.question)
	switch {
	case e.question == "":
		return &mistake{"question", "is blank"}
	case utf8.RuneCountInString(e.question) > maxQuestion:
		return &mistake{"question", fmt.Sprintf("is longer than %d characters", maxQuestion)}
	}
	return nil
}

func (e *entry) setAnswer(answer string) *mistake {
	if utf8.RuneCountInString(answer) > maxAnswer {
		return &mistake{"answer", fmt.Sprintf("is longer than %d characters", maxAnswer)}
	}
	e.answer = textOf(printable(answer))
	if e.answer == "" {
		return &mistake{"answer", "holds no text"}
	}
	return nil
}

func (e *entry) setLabels(labels []string) *mistake {
	e.labels = make([]string, 0, len(labels))
	for _, label := range labels {
		label = strings.TrimSpace(printable(label))
		if utf8.RuneCountInString(label) > maxLabel {
			return &mistake{"labels", fmt.Sprintf("hold one that is longer than %d characters", maxLabel)}
		}
		if label != "" && !slices.Contains(e.labels, label) {
			e.labels = append(e.labels, label)
		}
		if len(e.labels) > maxLabels {
			return &mistake{"labels", fmt.Sprintf("are more than %d", maxLabels)}
		}
	}
	return nil
}

// printable makes line ends one kind and drops what PostgreSQL cannot store or a reader cannot see.
func printable(text string) string {
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

// insertEntries stores entries and indexes them.
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
		terms := cutTerms(e.question)
		weight := termWeight(terms)
		for _, t := range terms {
			if t.indexed() {
				rows.Terms = append(rows.Terms, t.text)
				rows.FaqIds = append(rows.FaqIds, e.id)
				rows.Weights = append(rows.Weights, weight)
			}
		}
	}
	return q.InsertFaqTerms(ctx, rows)
}
