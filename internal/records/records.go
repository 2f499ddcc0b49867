// Package records lists, scores, summarizes and exports the records of a chatbot: its finished
// exchanges of question and answer.
//
// All operations agree: the list counts the records that an export writes and, when only days are
// filtered, those that the statistics total.
package records

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/store"
)

const (
	noRecord       = "There is no such record."
	noConversation = "There is no such conversation."
)

// Records accesses the records of chatbots. It is safe for concurrent use. The caller checks that
// the chatbot exists and that access is allowed; a chatbot of another organization has no records.
type Records struct {
	store    *store.Store
	throttle *throttle
	exports  *exportCounters
}

// New returns the records in a store.
func New(s *store.Store) *Records {
	return &Records{store: s, throttle: newThrottle(s.QueryCount), exports: &exportCounters{}}
}

// List returns a page of records, newest first, and the total number. The first page is 1. A page
// beyond the last is NotFound, except the first.
func (r *Records) List(ctx context.Context, organization, bot uuid.UUID, filter Filter, page, pageSize int) ([]db.Record, int64, error) {
	skipped := (page - 1) * pageSize
	if filter.hasMoreThanDays() {
		return r.search(ctx, organization, bot, filter, skipped, pageSize)
	}
	since, until := filter.Days.Span()
	found, err := r.countAndSeek(ctx, organization, bot, since, until, skipped)
	if err != nil {
		return nil, 0, err
	}
	if int64(skipped) >= found.Total {
		return emptyPage(skipped)
	}
	rows, err := r.store.ListRecords(ctx, db.ListRecordsParams{
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		Until:          found.Before,
		PageOffset:     int32(int64(skipped) - found.Skipped),
		PageLimit:      int32(pageSize),
	})
	return rows, found.Total, err
}

// search counts and reads in one query: both require reading all records of the days or of the
// conversation.
func (r *Records) search(ctx context.Context, organization, bot uuid.UUID, filter Filter, skipped, pageSize int) ([]db.Record, int64, error) {
	session, err := r.findSession(ctx, organization, bot, filter)
	if err != nil {
		return nil, 0, err
	}
	since, until := filter.Days.Span()
	user, answer := newPattern(filter.UserMessage), newPattern(filter.BotMessage)
	params := db.SearchRecordsParams{
		SessionID:      session,
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		Until:          until,
		UserLike:       user.like,
		UserIlike:      user.ilike,
		BotLike:        answer.like,
		BotIlike:       answer.ilike,
		Status:         filter.Status,
		Feedback:       filter.Feedback,
		Type:           filter.Type,
		PageOffset:     int32(skipped),
		PageLimit:      int32(pageSize),
	}
	var rows []db.SearchRecordsRow
	err = r.store.Report(ctx, organization, func(s *store.Store) error {
		return s.InTx(ctx, func(q *db.Queries) error {
			if err := q.ConfigureRecordSearch(ctx); err != nil {
				return err
			}
			rows, err = q.SearchRecords(ctx, params)
			return err
		})
	})
	if err != nil {
		return nil, 0, err
	}
	if len(rows) == 0 {
		return emptyPage(skipped)
	}
	found := make([]db.Record, len(rows))
	for i, row := range rows {
		found[i] = row.Record
	}
	return found, rows[0].Total, nil
}

// emptyPage returns a page without rows, which is NotFound unless it is the first.
func emptyPage(skipped int) ([]db.Record, int64, error) {
	if skipped > 0 {
		return nil, 0, apperr.New(apperr.NotFound, "There is no such page.")
	}
	return nil, 0, nil
}

// Get returns a chatbot's record.
func (r *Records) Get(ctx context.Context, organization, bot uuid.UUID, id string) (db.Record, error) {
	key, err := store.ParseID(id, noRecord)
	if err != nil {
		return db.Record{}, err
	}
	found, err := r.store.GetRecord(ctx, organization, key, bot)
	return found, apperr.Rephrase(err, apperr.NotFound, noRecord)
}

// Score locks a record of a chatbot, calls score, stores the scores that it sets, and returns the
// record. Other changes are not stored. Concurrent calls for a record run one after the other, and
// each sees the result of the one before. The transaction, and with it score, may run more than
// once.
func (r *Records) Score(ctx context.Context, organization, bot uuid.UUID, id string, score func(*db.Record)) (db.Record, error) {
	key, err := store.ParseID(id, noRecord)
	if err != nil {
		return db.Record{}, err
	}
	var scored db.Record
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		record, err := q.LockRecord(ctx, organization, key, bot)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noRecord)
		}
		score(&record)
		scored = record
		return q.SetRecordScores(ctx, db.SetRecordScoresParams{
			OrganizationID:         organization,
			ID:                     key,
			FaithfulnessScore:      record.FaithfulnessScore,
			AnswerRelevancyScore:   record.AnswerRelevancyScore,
			ContextPrecisionScore:  record.ContextPrecisionScore,
			AnswerCorrectnessScore: record.AnswerCorrectnessScore,
			AnswerSimilarityScore:  record.AnswerSimilarityScore,
			ContextRecallScore:     record.ContextRecallScore,
		})
	})
	return scored, err
}
