package bot

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/store"
)

const noFAQ = "There is no such FAQ."

// NewFAQ is an entry of a chatbot's knowledge. HTML in Answer is turned into text.
type NewFAQ struct {
	Question       string
	Answer         string
	Labels         []string
	IdempotencyKey *store.IdempotencyKey // the request's Idempotency-Key; nil: none
}

// FAQChange is what becomes of an entry; nil leaves a field as it is.
type FAQChange struct {
	Question *string
	Answer   *string
	Labels   *[]string
}

// CreateFAQ adds an entry to a chatbot's knowledge, once for a key. Another entry may have the same question.
func (b *Bots) CreateFAQ(ctx context.Context, org uuid.UUID, botRef string, n NewFAQ) (db.Faq, error) {
	e, mistake := newEntry(n.Question, n.Answer, n.Labels)
	if mistake != nil {
		return db.Faq{}, mistake.asError()
	}
	var err error
	if e.id, err = uuid.NewV7(); err != nil {
		return db.Faq{}, err
	}
	made, err := store.Idempotent(ctx, b.store, n.IdempotencyKey, func(q *db.Queries) (db.Faq, error) {
		owner, err := b.Within(q).Get(ctx, org, botRef)
		if err != nil {
			return db.Faq{}, err
		}
		if err := insertEntries(ctx, q, owner, []entry{e}); err != nil {
			return db.Faq{}, err
		}
		return q.GetFaq(ctx, org, owner.ID, e.id)
	})
	// The bot may have been deleted in between.
	return made, apperr.Rephrase(err, apperr.NotFound, noBot)
}

// GetFAQ returns an entry of a chatbot; one of another chatbot is NotFound.
func (b *Bots) GetFAQ(ctx context.Context, org uuid.UUID, botRef, faqID string) (db.Faq, error) {
	owner, id, err := b.locate(ctx, org, botRef, faqID)
	if err != nil {
		return db.Faq{}, err
	}
	found, err := b.store.GetFaq(ctx, org, owner.ID, id)
	return found, apperr.Rephrase(err, apperr.NotFound, noFAQ)
}

// ListFAQs returns a page of a chatbot's entries, newest first, and how many there are. Pages begin with 1; one beyond
// the end is NotFound, but for the first.
func (b *Bots) ListFAQs(ctx context.Context, org uuid.UUID, botRef string, page, pageSize int) ([]db.Faq, int64, error) {
	owner, err := b.Get(ctx, org, botRef)
	if err != nil {
		return nil, 0, err
	}
	total, err := b.store.CountFaqs(ctx, org, owner.ID)
	if err != nil {
		return nil, 0, err
	}
	skipped, err := skip(page, pageSize, total)
	if err != nil {
		return nil, 0, err
	}
	found, err := b.store.ListFaqs(ctx, db.ListFaqsParams{
		OrganizationID: org, BotID: owner.ID, PageLimit: int32(pageSize), PageOffset: skipped,
	})
	return found, total, err
}

// UpdateFAQ changes an entry of a chatbot.
func (b *Bots) UpdateFAQ(ctx context.Context, org uuid.UUID, botRef, faqID string, c FAQChange) (db.Faq, error) {
	owner, id, err := b.locate(ctx, org, botRef, faqID)
	if err != nil {
		return db.Faq{}, err
	}
	var changed db.Faq
	err = b.store.InTx(ctx, func(q *db.Queries) error {
		old, err := q.LockFaq(ctx, org, owner.ID, id)
		if err != nil {
			return err
		}
		e, mistake := changedEntry(old, c)
		if mistake != nil {
			return mistake.asError()
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
	return changed, apperr.Rephrase(err, apperr.NotFound, noFAQ)
}

// DeleteFAQ deletes an entry of a chatbot.
func (b *Bots) DeleteFAQ(ctx context.Context, org uuid.UUID, botRef, faqID string) error {
	owner, id, err := b.locate(ctx, org, botRef, faqID)
	if err != nil {
		return err
	}
	return b.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteFaq(ctx, org, owner.ID, id)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return apperr.New(apperr.NotFound, noFAQ)
		}
		return audit.Record(ctx, q, org, audit.FAQDeleted, audit.Details{"chatbot": owner.ID}, id)
	})
}

// locate finds the chatbot and reads the entry's id.
func (b *Bots) locate(ctx context.Context, org uuid.UUID, botRef, faqID string) (db.Bot, uuid.UUID, error) {
	owner, err := b.Get(ctx, org, botRef)
	if err != nil {
		return db.Bot{}, uuid.Nil, err
	}
	id, ok := parseID(faqID)
	if !ok {
		return db.Bot{}, uuid.Nil, apperr.New(apperr.NotFound, noFAQ)
	}
	return owner, id, nil
}
