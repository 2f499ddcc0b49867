package records

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/store"
)

const (
	// blockRows and blockBytes bound what is read at once: enough that asking costs
	// little beside reading, and too little to be noticed in memory.
	blockRows  = 2000
	blockBytes = 2 << 20
	// lineBytes is how much of a file of lines is written at once.
	lineBytes = 32 << 10
)

// Export is a file about to be written: its rows are settled, but for those that are
// deleted before they are reached.
type Export struct {
	store *store.Store
	zone  *time.Location
	first db.ListRecordsBeforeParams // asks for the first block
}

// Export prepares a file of the records that List counts. A record that is finished
// after this is not in it.
func (r *Records) Export(ctx context.Context, organization, bot uuid.UUID, filter Filter) (*Export, error) {
	session, err := r.sessionOf(ctx, organization, bot, filter)
	if err != nil {
		return nil, err
	}
	// By the clock that dates the records, to the microsecond.
	now, err := r.store.GetTime(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the time: %w", err)
	}
	since, until := filter.Days.span()
	if after := now.Add(time.Microsecond); after.Before(until) {
		until = after
	}
	user, answer := patternOf(filter.UserMessage), patternOf(filter.BotMessage)
	return &Export{store: r.store, zone: filter.Days.zone, first: db.ListRecordsBeforeParams{
		SessionID:      session,
		OrganizationID: organization,
		BotID:          bot,
		Since:          since,
		BeforeTime:     until, // before any id: the zero id is the least
		UserLike:       user.like,
		UserIlike:      user.ilike,
		BotLike:        answer.like,
		BotIlike:       answer.ilike,
		Status:         filter.Status,
		Feedback:       filter.Feedback,
		Type:           filter.Type,
		BlockRows:      blockRows,
		BlockBytes:     blockBytes,
	}}, nil
}

// Rows yields the records, newest first, each until the next one; or the error that
// ends them. It holds a connection to the database only while it reads a block, never
// while a record is with its taker, and no more in memory than that block.
func (e *Export) Rows(ctx context.Context) iter.Seq2[*db.Record, error] {
	return func(yield func(*db.Record, error) bool) {
		for next := e.first; ; {
			block, err := e.read(ctx, next)
			if err != nil {
				yield(nil, fmt.Errorf("read a block of records: %w", err))
				return
			}
			if len(block) == 0 {
				return
			}
			for i := range block {
				if !yield(&block[i], nil) {
					return
				}
			}
			last := &block[len(block)-1]
			next.BeforeTime, next.BeforeID = last.CreatedAt, last.ID
		}
	}
}

// read reads a block.
func (e *Export) read(ctx context.Context, next db.ListRecordsBeforeParams) (block []db.Record, err error) {
	err = e.store.InTx(ctx, func(q *db.Queries) error {
		if err := q.PlanInOrder(ctx); err != nil {
			return err
		}
		block, err = q.ListRecordsBefore(ctx, next)
		return err
	})
	return block, err
}

// WriteLines writes a file that begins with head and has what appendRow appends for
// each record. The head reaches w before anything is read.
//
// An error, the context's end among them, leaves w with the beginning of a file, which
// whoever takes it must be told.
func (e *Export) WriteLines(ctx context.Context, w io.Writer, head []byte, appendRow func(lines []byte, record *db.Record) []byte) error {
	if len(head) > 0 {
		if _, err := w.Write(head); err != nil {
			return fmt.Errorf("begin the file: %w", err)
		}
	}
	lines := make([]byte, 0, 2*lineBytes)
	for record, err := range e.Rows(ctx) {
		if err != nil {
			return err
		}
		if lines = appendRow(lines, record); len(lines) < lineBytes {
			continue
		}
		if _, err := w.Write(lines); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
		lines = lines[:0]
	}
	if len(lines) > 0 {
		if _, err := w.Write(lines); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
	}
	return nil
}
