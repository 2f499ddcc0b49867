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
	// sealInterval is how often records of hours that are over are looked for. Until
	// they are counted they are read one by one, as all would be.
	sealInterval = 5 * time.Minute
	// sealDays is of how many days records are counted at once, so that the first count
	// of many years neither takes long nor keeps anybody from deleting for long.
	sealDays = 31
)

// tally counts the records of a span, and tells how to come to a page that begins
// after so many of them: by walking from the instant Before, Skipped records on. With
// the shortcut Counts both are told by the hours that are counted already.
func (r *Records) tally(ctx context.Context, organization, bot uuid.UUID, since, until time.Time, offset int) (db.SumRecordCountsRow, error) {
	firstHour, lastHour := since.Add(time.Hour-1).Truncate(time.Hour), until.Truncate(time.Hour)
	if lastHour.Before(firstHour) {
		total, err := r.store.CountRecords(ctx, db.CountRecordsParams{OrganizationID: organization, BotID: bot, Since: since, Until: until})
		return db.SumRecordCountsRow{Total: total, Before: until}, err
	}
	if int64(offset) <= int64(lastHour.Sub(firstHour)/time.Hour) {
		offset = 0 // walking by so many records costs no more than by so many hours
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

// Start keeps the records of hours that are over counted, for the shortcut Counts,
// until stop, which waits. Any number of processes may do so on one database.
func (r *Records) Start(log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(sealInterval)
		defer ticker.Stop()
		for {
			if err := r.Seal(ctx); err != nil && ctx.Err() == nil {
				log.Error("the records of hours that are over could not be counted", "error", err)
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

// Seal counts the records of hours that are over, and takes those in that were deleted
// of hours counted before. A chatbot whose records are being counted or deleted is
// left to the next time.
func (r *Records) Seal(ctx context.Context) error {
	if err := r.store.DeleteOrphanedRecordDeletions(ctx); err != nil {
		return fmt.Errorf("forget deletions: %w", err)
	}
	for hasMore := true; hasMore; {
		hasMore = false
		behind, err := r.store.ListBotsWithUncountedRecords(ctx, sealDays)
		if err != nil {
			return fmt.Errorf("list what is not counted: %w", err)
		}
		for _, one := range behind {
			isSealed, err := r.seal(ctx, one)
			if err != nil {
				return fmt.Errorf("count records: %w", err)
			}
			hasMore = hasMore || isSealed && one.HasMore
		}
	}
	return nil
}

// seal counts a chatbot's records.
// INVARIANT: the lock is taken by a statement before the one that counts. What was
// deleted before it was free is then seen as deleted by the count, and what is deleted
// after it is noted as deleted of a counted hour: each deletion is one of the two.
func (r *Records) seal(ctx context.Context, behind db.ListBotsWithUncountedRecordsRow) (isSealed bool, err error) {
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		isSealed, err = q.LockRecordCounts(ctx, behind.OrganizationID, behind.BotID)
		if apperr.Is(err, apperr.NotFound) {
			return nil // the chatbot goes
		}
		if err != nil || !isSealed {
			return err
		}
		return q.UpdateRecordCounts(ctx, behind.OrganizationID, behind.BotID, behind.Until)
	})
	return isSealed, err
}
