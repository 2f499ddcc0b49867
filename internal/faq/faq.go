// Package faq manages the FAQs of chatbots and answers questions from them.
//
// An FAQ is a question with its answer. The Engine ranks a chatbot's FAQs by how well they match
// what was asked, in English or Chinese, and replies with the answer of the best match.
package faq

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/bot"
	"parley/internal/store"
)

const notFoundMessage = "There is no such FAQ."

// FAQs manages the FAQs of chatbots. It is safe for concurrent use.
type FAQs struct {
	store *store.Store
	bots  *bot.Bots
	// readers is a semaphore for the files that are read at once.
	readers chan struct{}
}

// New returns the FAQs of the chatbots, stored in s.
func New(s *store.Store, bots *bot.Bots) *FAQs {
	return &FAQs{store: s, bots: bots, readers: make(chan struct{}, maxReaders)}
}

// NewFAQ describes an FAQ to create. HTML in the answer is converted to text.
type NewFAQ struct {
	Question       string
	Answer         string
	Labels         []string
	IdempotencyKey *store.IdempotencyKey // may be nil
}

// Change describes changes to an FAQ. A nil field is left unchanged.
type Change struct {
	Question *string
	Answer   *string
	Labels   *[]string
}

// Create adds an FAQ to a chatbot, once per idempotency key. Several FAQs may have the same
// question.
func (f *FAQs) Create(ctx context.Context, org uuid.UUID, botRef string, n NewFAQ) (db.Faq, error) {
	e, invalid := newEntry(n.Question, n.Answer, n.Labels)
	if invalid != nil {
		return db.Faq{}, invalid.asError()
	}
	var err error
	if e.id, err = uuid.NewV7(); err != nil {
		return db.Faq{}, err
	}
	created, err := store.Idempotent(ctx, f.store, n.IdempotencyKey, func(q *db.Queries) (db.Faq, error) {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return db.Faq{}, err
		}
		if err := insertEntries(ctx, q, owner, []entry{e}); err != nil {
			return db.Faq{}, err
		}
		return q.GetFaq(ctx, org, owner.ID, e.id)
	})
	// A concurrent request may have deleted the chatbot.
	return created, apperr.Rephrase(err, apperr.NotFound, bot.NotFoundMessage)
}

// Get returns an FAQ of a chatbot. An FAQ of another chatbot is NotFound.
func (f *FAQs) Get(ctx context.Context, org uuid.UUID, botRef, faqID string) (db.Faq, error) {
	owner, id, err := f.locate(ctx, org, botRef, faqID)
	if err != nil {
		return db.Faq{}, err
	}
	found, err := f.store.GetFaq(ctx, org, owner.ID, id)
	return found, apperr.Rephrase(err, apperr.NotFound, notFoundMessage)
}

// List returns a page of a chatbot's FAQs, newest first, and their total number. See bot.PageOffset
// for the pages.
func (f *FAQs) List(ctx context.Context, org uuid.UUID, botRef string, page, pageSize int) ([]db.Faq, int64, error) {
	owner, err := f.bots.Get(ctx, org, botRef)
	if err != nil {
		return nil, 0, err
	}
	total, err := f.store.CountFaqs(ctx, org, owner.ID)
	if err != nil {
		return nil, 0, err
	}
	offset, err := bot.PageOffset(page, pageSize, total)
	if err != nil {
		return nil, 0, err
	}
	found, err := f.store.ListFaqs(ctx, db.ListFaqsParams{
		OrganizationID: org, BotID: owner.ID, PageLimit: int32(pageSize), PageOffset: offset,
	})
	return found, total, err
}

// Update changes an FAQ of a chatbot.
func (f *FAQs) Update(ctx context.Context, org uuid.UUID, botRef, faqID string, c Change) (db.Faq, error) {
	owner, id, err := f.locate(ctx, org, botRef, faqID)
	if err != nil {
		return db.Faq{}, err
	}
	var changed db.Faq
	err = f.store.InTx(ctx, func(q *db.Queries) error {
		old, err := q.LockFaq(ctx, org, owner.ID, id)
		if err != nil {
			return err
		}
		e, invalid := changedEntry(old, c)
		if invalid != nil {
			return invalid.asError()
		}
		changed, err = q.UpdateFaq(ctx, db.UpdateFaqParams{
			OrganizationID: org, BotID: owner.ID, ID: id,
			Question: e.question, QuestionKey: e.key, Answer: e.answer, Labels: e.labels,
		})
		if err != nil || e.question == old.Question {
			return err
		}
		if err := q.DeleteFaqTerms(ctx, org, []uuid.UUID{id}); err != nil {
			return err
		}
		return insertTerms(ctx, q, owner, []entry{e})
	})
	return changed, apperr.Rephrase(err, apperr.NotFound, notFoundMessage)
}

// Delete deletes an FAQ of a chatbot.
func (f *FAQs) Delete(ctx context.Context, org uuid.UUID, botRef, faqID string) error {
	owner, id, err := f.locate(ctx, org, botRef, faqID)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteFaq(ctx, org, owner.ID, id)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return apperr.New(apperr.NotFound, notFoundMessage)
		}
		return audit.Record(ctx, q, org, audit.FAQDeleted, audit.Details{"chatbot": owner.ID}, id)
	})
}

// DeleteAll deletes FAQs of a chatbot, once per idempotency key. If one of them is NotFound, none is
// deleted.
func (f *FAQs) DeleteAll(ctx context.Context, org uuid.UUID, botRef string, faqIDs []string, key *store.IdempotencyKey) error {
	_, err := store.Idempotent(ctx, f.store, key, func(q *db.Queries) (struct{}, error) {
		owner, err := f.bots.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return struct{}{}, err
		}
		ids, err := store.ParseIDs(faqIDs, notFoundMessage)
		if err != nil {
			return struct{}{}, err
		}
		deleted, err := q.DeleteFaqs(ctx, org, owner.ID, ids)
		if err != nil {
			return struct{}{}, err
		}
		if deleted < int64(len(ids)) {
			return struct{}{}, apperr.New(apperr.NotFound, notFoundMessage)
		}
		return struct{}{}, audit.Record(ctx, q, org, audit.FAQDeleted, audit.Details{"chatbot": owner.ID}, ids...)
	})
	return err
}

// locate looks up the chatbot and parses the FAQ's id.
func (f *FAQs) locate(ctx context.Context, org uuid.UUID, botRef, faqID string) (db.Bot, uuid.UUID, error) {
	owner, err := f.bots.Get(ctx, org, botRef)
	if err != nil {
		return db.Bot{}, uuid.Nil, err
	}
	id, err := store.ParseID(faqID, notFoundMessage)
	return owner, id, err
}
