package records

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

const (
	// countInterval is how often the records of past hours are counted. Until then, queries count them one by one.
	countInterval = 5 * time.Minute
	// countDays is the number of days that are counted in one transaction, so that the first count of many years
	// neither takes long nor blocks deletions for long.
	countDays = 31
)

// countAndSeek counts the records of a span and finds the start of the page that begins after
// offset records: in descending order from the time Before, after Skipped records. Both use the
// counts of whole hours (record_counts) where they exist.
func (r *Records) countAndSeek(ctx context.Context, organization, bot uuid.UUID, since, until time.Time, offset int) (db.SumRecordCountsRow, error) {
	firstHour, lastHour := since.Add(time.Hour-1).Truncate(time.Hour), until.Truncate(time.Hour)
	if lastHour.Before(firstHour) {
		total, err := r.store.CountRecords(ctx, db.CountRecordsParams{OrganizationID: organization, BotID: bot, Since: since, Until: until})
		return db.SumRecordCountsRow{Total: total, Before: until}, err
	}
	if int64(offset) <= int64(lastHour.Sub(firstHour)/time.Hour) {
		offset = 0 // skipping that many records costs no more than summing that many hours
	}
	return r.store.SumRecordCounts(ctx, db.SumRecordCountsParams{
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		Until:          until,
		FirstHour:      firstHour,
		LastHour:       lastHour,
		PageOffset:     int64(offset),
	})
}

// Start updates the counts in the background until stop is called, which waits for the end. Any
// number of processes may do so on one database.
func (r *Records) Start(log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(countInterval)
		defer ticker.Stop()
		for {
			if err := r.UpdateCounts(ctx); err != nil && ctx.Err() == nil {
				log.Error("update record counts", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// UpdateCounts counts the records of past hours and subtracts those that were deleted since their
// hour was counted. It skips a chatbot whose records are being counted or deleted, until the next
// call.
func (r *Records) UpdateCounts(ctx context.Context) error {
	if err := r.store.DeleteOrphanedRecordDeletions(ctx); err != nil {
		return fmt.Errorf("delete orphaned record deletions: %w", err)
	}
	for hasMore := true; hasMore; {
		hasMore = false
		bots, err := r.store.ListBotsWithUncountedRecords(ctx, countDays)
		if err != nil {
			return fmt.Errorf("list bots with uncounted records: %w", err)
		}
		for _, bot := range bots {
			isCounted, err := r.updateCounts(ctx, bot)
			if err != nil {
				return fmt.Errorf("count records: %w", err)
			}
			hasMore = hasMore || isCounted && bot.HasMore
		}
	}
	return nil
}

// updateCounts updates the counts of one chatbot.
//
// A deletion holds the same lock in shared mode until it commits, and records itself in
// record_deletions. Neither side waits: if the lock is taken, the chatbot is skipped.
//
// INVARIANT: the lock is taken by an earlier statement than the count. A deletion that committed
// before the lock was free is visible to the count; any later one is recorded as a deletion from a
// counted hour. Each deletion is thus subtracted exactly once.
func (r *Records) updateCounts(ctx context.Context, bot db.ListBotsWithUncountedRecordsRow) (isCounted bool, err error) {
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		isCounted, err = q.LockRecordCounts(ctx, bot.OrganizationID, bot.BotID)
		if apperr.Is(err, apperr.NotFound) {
			return nil // the chatbot is being deleted
		}
		if err != nil || !isCounted {
			return err
		}
		return q.UpdateRecordCounts(ctx, bot.OrganizationID, bot.BotID, bot.Until)
	})
	return isCounted, err
}
