package records

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/audit"
	"parley/internal/store"
)

const (
	// blockRows and blockBytes bound what is read and written down in one turn: enough
	// that asking costs little beside reading, and too little to be noticed in memory, or
	// by whoever waits for the next turn.
	blockRows  = 500
	blockBytes = 512 << 10
	// pieceBytes is how much of a file is written at once.
	pieceBytes = 32 << 10
)

// Export is a file about to be written: its rows are settled, but for those that are
// deleted before they are reached.
type Export struct {
	store *store.Store
	turns *turns
	tally *exports
	zone  *time.Location
	first db.ListRecordsBeforeParams // asks for the first block
}

// exports counts those that are being written, and how the others ended.
type exports struct{ writing, written, brokenOff atomic.Int64 }

// note counts one that begins, and by ended its end.
func (e *exports) note() (ended func(err error)) {
	e.writing.Add(1)
	return func(err error) {
		e.writing.Add(-1)
		if err != nil {
			e.brokenOff.Add(1)
		} else {
			e.written.Add(1)
		}
	}
}

// Exports tells how many exports are being written, were written, and were broken off,
// because their reader left or for another reason.
func (r *Records) Exports() (writing, written, brokenOff int64) {
	return r.exports.writing.Load(), r.exports.written.Load(), r.exports.brokenOff.Load()
}

// Export prepares a file of the records that List counts, and notes in the audit trail
// that it is taken. A record that is finished after this is not in it.
func (r *Records) Export(ctx context.Context, organization, bot uuid.UUID, filter Filter) (*Export, error) {
	session, err := r.sessionOf(ctx, organization, bot, filter)
	if err != nil {
		return nil, err
	}
	var now time.Time
	err = r.store.InTx(ctx, func(q *db.Queries) error {
		// By the clock that dates the records, to the microsecond.
		if now, err = q.GetCurrentTime(ctx); err != nil {
			return fmt.Errorf("read the time: %w", err)
		}
		return audit.Record(ctx, q, organization, audit.RecordsExported, filter.Days.details(), bot)
	})
	if err != nil {
		return nil, err
	}
	since, until := filter.Days.Span()
	if after := now.Add(time.Microsecond); after.Before(until) {
		until = after
	}
	user, answer := patternOf(filter.UserMessage), patternOf(filter.BotMessage)
	return &Export{store: r.store, turns: r.turns, tally: r.exports, zone: filter.Days.zone, first: db.ListRecordsBeforeParams{
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

// inBlocks calls add with each record, newest first, and then sends what add has put into
// the file, a block at a time. A block is read and added in one turn, while nobody else
// works; add must wait for nothing, and the record is its until it returns. What is sent
// waits for whoever takes it, without a turn and without a connection to the database.
func (e *Export) inBlocks(ctx context.Context, file *file, add func(*db.Record) error) error {
	for next := e.first; ; {
		last, err := e.addBlock(ctx, next, add)
		if err != nil {
			return err
		}
		if err := file.send(); err != nil {
			return err
		}
		if last.ID == (uuid.UUID{}) {
			return nil
		}
		next.BeforeTime, next.BeforeID = last.CreatedAt, last.ID
	}
}

// addBlock calls add with each record of a block, and returns the last; its id is zero
// where there are no more.
func (e *Export) addBlock(ctx context.Context, next db.ListRecordsBeforeParams, add func(*db.Record) error) (last db.Record, err error) {
	turn, err := e.turns.begin(ctx)
	if err != nil {
		return last, err
	}
	defer turn.end()
	var row row
	err = e.store.ReadRaw(ctx, func(q *db.Queries) {
		_ = q.ConfigureRecordExport(ctx)
		_, _ = q.ListRecordsBefore(ctx, next)
	}, func(query int, columns [][]byte) error {
		if query == 0 {
			return nil
		}
		turn.step()
		if err := row.read(columns); err != nil {
			return err
		}
		return add(&row.record)
	})
	if err != nil {
		return last, fmt.Errorf("read a block of records: %w", err)
	}
	return row.record, nil
}

// WriteLines writes a file that begins with head and has what appendRow appends for
// each record. The head reaches w before anything is read.
//
// An error, the context's end among them, leaves w with the beginning of a file, which
// whoever takes it must be told.
func (e *Export) WriteLines(ctx context.Context, w io.Writer, head []byte, appendRow func(lines []byte, record *db.Record) []byte) (err error) {
	ended := e.tally.note()
	defer func() { ended(err) }()
	file := &file{to: w}
	_, _ = file.Write(head) // it is memory
	if err := file.send(); err != nil {
		return err
	}
	return e.inBlocks(ctx, file, func(record *db.Record) error {
		_, err := file.Write(appendRow(file.AvailableBuffer(), record))
		return err
	})
}

// file is what is ready of a file and did not leave yet: that of one block.
type file struct {
	bytes.Buffer
	to io.Writer
}

// send writes what is ready, in pieces.
func (f *file) send() error {
	for f.Len() > 0 {
		if _, err := f.to.Write(f.Next(pieceBytes)); err != nil {
			return fmt.Errorf("write the file: %w", err)
		}
	}
	f.Reset()
	return nil
}
