// Package records is the finished exchanges of a chatbot: their list, their scores,
// their statistics, and their export as Excel, CSV or any other file of rows.
//
// All speak of the same rows: what the list counts is what the export writes and,
// where nothing but days is filtered, what the statistics total.
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

// Records reads and scores the records of chatbots. It is safe for concurrent use.
// Whether a chatbot exists, and whether the caller may read of it, is the caller's
// affair; one of another organization has no records.
type Records struct {
	store   *store.Store
	turns   *turns
	exports *exports
}

// New returns the records kept in s.
func New(s *store.Store) *Records {
	return &Records{store: s, turns: newTurns(s.QueryCount), exports: &exports{}}
}

// List returns a page of records, newest first, and how many there are in all. Pages
// begin with 1; one beyond the end is NotFound, but for the first.
func (r *Records) List(ctx context.Context, organization, bot uuid.UUID, filter Filter, page, pageSize int) ([]db.Record, int64, error) {
	skipped := (page - 1) * pageSize
	if filter.isNarrow() {
		return r.search(ctx, organization, bot, filter, skipped, pageSize)
	}
	since, until := filter.Days.Span()
	found, err := r.tally(ctx, organization, bot, since, until, skipped)
	if err != nil {
		return nil, 0, err
	}
	if int64(skipped) >= found.Total {
		return none(skipped)
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

// search counts while it looks: either takes reading all records of those days, or of
// the conversation.
func (r *Records) search(ctx context.Context, organization, bot uuid.UUID, filter Filter, skipped, pageSize int) ([]db.Record, int64, error) {
	session, err := r.sessionOf(ctx, organization, bot, filter)
	if err != nil {
		return nil, 0, err
	}
	since, until := filter.Days.Span()
	user, answer := patternOf(filter.UserMessage), patternOf(filter.BotMessage)
	wanted := db.SearchRecordsParams{
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
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		if err := q.ConfigureRecordSearch(ctx); err != nil {
			return err
		}
		rows, err = q.SearchRecords(ctx, wanted)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if len(rows) == 0 {
		return none(skipped)
	}
	found := make([]db.Record, len(rows))
	for i, row := range rows {
		found[i] = row.Record
	}
	return found, rows[0].Total, nil
}

// none is a page without rows: beyond the end, unless it is the first.
func none(skipped int) ([]db.Record, int64, error) {
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

// Score has a chatbot's record scored: what score changes of the scores is kept, and
// of nothing else. It may be called more than once. The record is returned as it is
// then; of two that score it at once the second one sees what the first has done.
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
